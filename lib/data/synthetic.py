"""har_synthetic: an accelerometer set that we make up, so that the quick study needs no network.

It has the shape of UniMiB SHAR's daily activities (Micucci et al. 2017): windows of 151 samples at
50 Hz, three axes, m/s², nine classes, 30 subjects. Nothing in it was measured on anybody.
"""

import functools

import numpy as np

from lib.data import splits
from lib.data.task import Task

RATE, LENGTH, SUBJECTS, GRAVITY = 50, 151, 30, 9.81       # Hz, samples, –, m/s²
STEP = 1 / 64    # m/s², the sensor's resolution: a grid also makes the bytes equal on every machine

# Windows per subject, about in UniMiB SHAR's proportions.
COUNTS = {"StandingUpFS": 5, "StandingUpFL": 6, "Walking": 20, "Running": 18, "GoingUpS": 14,
          "Jumping": 10, "GoingDownS": 16, "LyingDownFS": 6, "SittingDown": 5}
# Gaits: pace (× the subject's), force (× the subject's), share of the second harmonic, lean (rad).
GAITS = {"Walking": (1.00, 1.00, 0.40, 0.05), "Running": (1.42, 2.60, 0.30, 0.15),
         "GoingUpS": (0.84, 0.85, 0.65, 0.25), "Jumping": (1.15, 2.60, 0.55, 0.00),
         "GoingDownS": (1.03, 1.20, 0.85, -0.08)}
# Changes of posture: angle of the thigh to the vertical before and after (rad), seconds it takes.
POSTURES = {"StandingUpFS": (1.35, 0.10, 1.0), "StandingUpFL": (1.55, 0.10, 1.8),
            "LyingDownFS": (0.10, 1.55, 1.7), "SittingDown": (0.10, 1.35, 1.0)}


def load(name: str, variant: None, fold: int) -> Task:
    """har_synthetic, in five folds in which every subject is tested once."""
    x, y, group = windows()
    rows = splits.of_fold(splits.stored(name, len(y), group), fold)
    return splits.divide(name, "series", x, y, rows, classes=tuple(COUNTS), group=group,
                         fold=fold, source="synthetic: made up by lib/data/synthetic.py, "
                                           "shaped like UniMiB SHAR; no person was measured")


@functools.lru_cache(maxsize=1)
def windows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (3000, 3, 151) float32, class (3000,), subject 1…30 (3000,)."""
    rng = np.random.default_rng(seed)
    xs, ys, groups = [], [], []
    for subject in range(1, SUBJECTS + 1):
        person = {"pace": rng.normal(1.85, 0.13), "force": rng.lognormal(1.05, 0.18),
                  "harmonic": rng.normal(1.0, 0.13), "lean": rng.normal(0, 0.12),
                  "sway": rng.uniform(0.3, 0.8), "noise": rng.uniform(0.4, 1.2),
                  "pocket": _rotation(rng.normal(0, [0.2, 0.2, 0.4]))}
        for number, (activity, count) in enumerate(COUNTS.items()):
            make = _gait if activity in GAITS else _posture
            xs.append(make(rng, person, activity, count))
            ys += [number] * count
            groups += [subject] * count
    x = np.round(np.concatenate(xs) / STEP) * STEP
    return x.astype(np.float32), np.array(ys), np.array(groups)


def _gait(rng: np.random.Generator, person: dict, activity: str, count: int) -> np.ndarray:
    """Steps as two harmonics of the pace, up, forwards and (at half the pace) sideways."""
    pace, force, harmonic, lean = GAITS[activity]
    draw = rng.normal(size=(4, count, 1))
    rate = person["pace"] * pace * (1 + 0.05 * draw[0])
    force = person["force"] * force * (1 + 0.15 * draw[1])
    second = harmonic * person["harmonic"] * (1 + 0.2 * draw[2])
    middle = (np.arange(LENGTH) - LENGTH / 2) / RATE      # windows are cut around a step, roughly
    phase = 2 * np.pi * (rate * middle + rng.normal(0, 0.1, (count, 1)))
    up = force * (np.cos(phase) + second * np.cos(2 * phase + 0.6))
    forwards = 0.6 * force * (np.sin(phase + 0.4) + 0.5 * second * np.sin(2 * phase))
    sideways = person["sway"] * force * np.sin(phase / 2 + rng.uniform(0, 2 * np.pi, (count, 1)))
    if activity in ("Jumping", "Running"):                    # in flight nothing presses
        up = np.maximum(up, -GRAVITY)
    angle = lean + person["lean"] + 0.08 * draw[3] + 0.25 * np.sin(phase / 2)   # the thigh swings
    return _sensed(rng, person, angle, forwards, sideways, up)


def _posture(rng: np.random.Generator, person: dict, activity: str, count: int) -> np.ndarray:
    """The thigh turns along a sigmoid, with a push while it turns and a bump at its end."""
    before, after, seconds = POSTURES[activity]
    draw = rng.normal(size=(5, count, 1))
    time = (np.arange(LENGTH) - LENGTH / 2) / RATE - 0.35 * draw[0]
    spread = seconds * np.exp(0.3 * draw[1]) / 6
    turned = 1 / (1 + np.exp(-time / spread))
    angle = before + (after - before) * turned + person["lean"] + 0.18 * draw[2]
    push = 4 * turned * (1 - turned) * person["force"] * (1 + 0.3 * draw[3])
    bump = person["force"] * np.exp(-((time - 3 * spread) / 0.08) ** 2)
    lying = "Lying" in activity or activity.endswith("FL")
    sideways = (2.5 if lying else 0.8) * draw[4] * (turned if after > before else 1 - turned)
    return _sensed(rng, person, angle, 0.5 * push, sideways, push + bump)


def _sensed(rng: np.random.Generator, person: dict, angle: np.ndarray, forwards: np.ndarray,
            sideways: np.ndarray, up: np.ndarray) -> np.ndarray:
    """What the sensor in the pocket feels (count, 3, LENGTH): gravity at `angle` to the thigh plus
    motion, half of the windows from the other pocket, turned as the sensor lies, with noise."""
    felt = np.stack([forwards + GRAVITY * np.sin(angle), sideways,
                     up + GRAVITY * np.cos(angle)], 1)
    felt[1::2, 1] *= -1
    noise = rng.normal(size=felt.shape)
    noise[..., 1:] = 0.6 * noise[..., :-1] + 0.8 * noise[..., 1:]
    return np.einsum("ij,njt->nit", person["pocket"], felt) + person["noise"] * noise


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation about x, y and z in turn (3, 3)."""
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        i, j = [a for a in range(3) if a != axis]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        total = turn @ total
    return total
