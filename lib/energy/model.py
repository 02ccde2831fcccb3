"""Modelled joules: what counting says, times what an operation and an access cost.

    E = macs · products · e(product) + (weight bytes / batch + activation bytes) · e(access)

(Horowitz 2014; Yang, Chen, Sze, CVPR 2017, 1611.05128, with one level of memory: each value is
moved once, from on-chip memory or, where it does not fit, from DRAM: `Process.access`.) Weights
and each layer's activations are charged as if each had the on-chip memory alone. Instructions and
idle power are not modelled, so it is no measurement and never added to one.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lib.energy.processes import INTERPOLATED, ON_CHIP, Process
from lib.energy.processes import process as figures_of

PICO = 1e-12
WORD = 8                                    # bytes of an access
FLOAT = 4                                   # bytes of a value while a net is trained
# Accesses to each weight's memory in an update: the gradient is read, and weight and moments are
# read and written.
UPDATES = {"sgd": 5, "adam": 7, "adamw": 7}


def modelled(table: pd.DataFrame, process: str = "45nm", batch: int = 1,
             w_bits: int | None = None, a_bits: int | None = None, skip_zeros: bool = False,
             on_chip: int = ON_CHIP) -> pd.DataFrame:
    """Joules of one prediction, a line a layer of `table` (`energy.layers`): layer, compute_j,
    weights_j, activations_j, energy_j, with least_j and most_j, its range where a memory has one.

    batch: examples that are answered at once, among which reading the weights is shared. w_bits,
    a_bits: as if weights, or what enters layers, were codes of so many bits on even grids;
    skip_zeros: as if no weight of 0 were read or multiplied, which takes hardware that skips them.
    on_chip: bytes of on-chip memory. `attrs["source"]` says what was assumed. A layer whose
    products cannot be counted has missing joules. ValueError: a process without figures, a batch
    below 1.
    """
    if batch < 1:
        raise ValueError(f"batch={batch}: a batch holds 1 example or more")
    chip = figures_of(process)
    table = as_if(table, w_bits, a_bits)
    counted = table.macs_nonzero if skip_zeros else table.macs
    each = [chip.product(line.arithmetic, line.w_bits, line.a_bits) for line in table.itertuples()]
    found = pd.DataFrame({"layer": table.layer,
                          "compute_j": counted.astype(float) * table.products * each * PICO})
    read = table[["read_bytes", "weight_bytes"]].min(axis=1) if skip_zeros else table.read_bytes
    kept = max(read.sum(), table.weight_bytes.sum())
    weights = [read / WORD / batch * cost * PICO for cost in chip.access(kept, on_chip)]
    moved = table.activation_bytes / WORD * PICO
    costs = [chip.access(size * batch, on_chip) for size in table.activation_bytes]
    activations = [moved * [cost[i] for cost in costs] for i in range(3)]
    found["weights_j"], found["activations_j"] = weights[1], activations[1]
    for name, i in (("energy_j", 1), ("least_j", 0), ("most_j", 2)):
        found[name] = found.compute_j + weights[i] + activations[i]
    found.attrs["source"] = _source(chip, on_chip) + (
        ", assumes zero-skipping hardware" if skip_zeros else "") + (
        f", {batch} at once" if batch > 1 else "")
    return found


def sensitivity(table: pd.DataFrame, process: str = "45nm",
                sizes: Sequence[int] = (2**16, 2**20, 2**23), **how: Any) -> pd.DataFrame:
    """Joules of one prediction by the size of the on-chip memory, a line a size: on_chip (bytes),
    energy_j (missing where a layer's is). how: other arguments of `modelled`."""
    joules = [modelled(table, process, on_chip=size, **how).energy_j.sum(skipna=False)
              for size in sizes]
    return pd.DataFrame({"on_chip": list(sizes), "energy_j": joules})


def _source(chip: Process, on_chip: int) -> str:
    """What a modelled cost rests on: process, memory model, and its size if it is not ON_CHIP."""
    size = "" if on_chip == ON_CHIP else f", {on_chip} bytes on chip"
    return f"{chip.source}, {INTERPOLATED}{size}"


def as_if(table: pd.DataFrame, w_bits: int | None, a_bits: int | None) -> pd.DataFrame:
    """The table of a model whose weights, or inputs of layers, had so many bits."""
    table = table.copy()
    multiplies = table.macs > 0                 # a norm's numbers stay what they are
    if w_bits is not None:
        share = (w_bits / table.w_bits).where(multiplies, 1.0)
        table["weight_bytes"] = table.weight_bytes * share
        table["read_bytes"] = table.read_bytes * share
        table["w_bits"] = table.w_bits.where(~multiplies, w_bits)
    if a_bits is not None:
        table["activation_bytes"] = table.activation_bytes * a_bits / table.a_bits
        table["a_bits"] = a_bits
    if w_bits is not None and a_bits is not None:
        table["arithmetic"] = "integer" if max(w_bits, a_bits) < 16 else table.arithmetic
    return table


def learns(table: pd.DataFrame, frozen: Sequence[str]) -> pd.Series:
    """Of each line of `table` (`energy.layers`): is it trained, if these parts of the net rest?"""
    parts = tuple(f"{part}." for part in frozen)
    return pd.Series([not f"{name}.".startswith(parts) for name in table.layer], table.index)


def training(table: pd.DataFrame, process: str = "45nm", batch: int = 64,
             optimizer: str = "sgd", bits: int = 32, density: float = 1.0,
             frozen: Sequence[str] = (), on_chip: int = ON_CHIP) -> pd.DataFrame:
    """Joules of training on one example, a line a layer of `table` (`energy.layers` of the net that
    is trained): layer, forward_j, backward_j, update_j, energy_j, with least_j and most_j.

    A training computes in floats of `bits` (16: products in half precision), whatever it rounds,
    and with every weight, masked or not: the gradient of a weight that is 0 is needed where it may
    come back. Backward: a product for the input's gradient and one for the weight's; activations
    are kept until then, so all layers' together are the working set. The update touches weights,
    gradients and the optimizer's moments once a batch.

    density: as if so large a share of the weights were multiplied, on hardware that skips zeros;
    the weights' own gradients stay whole. frozen: names of parts at the net's beginning that are
    not trained, which have neither gradients nor updates. on_chip: bytes of on-chip memory.
    ValueError: another optimizer.
    """
    if optimizer not in UPDATES:
        raise ValueError(f"there is no optimizer {optimizer!r}; choose one of: "
                         f"{', '.join(UPDATES)}")
    chip = figures_of(process)
    product = table.macs.astype(float) * chip.product(f"float{bits}") * PICO
    learning = learns(table, frozen)
    values = FLOAT * table.elements                                 # bytes of the weights
    moved = table.activation_bytes * 32 / table.a_bits              # floats, while it is trained
    states = FLOAT * table.elements.sum() * UPDATES[optimizer]
    of_weights = chip.access(states, on_chip)
    of_activations = chip.access(moved.sum() * batch, on_chip)
    found = pd.DataFrame({"layer": table.layer})
    for name, i in (("least_j", 0), ("most_j", 2), ("energy_j", 1)):   # the parts: as counted
        once = values / WORD * of_weights[i] * PICO / batch         # each weight's memory, once
        kept = moved / WORD * of_activations[i] * PICO
        found["forward_j"] = density * product + once + kept
        found["backward_j"] = learning * ((1 + density) * product + 2 * once + 2 * kept)
        found["update_j"] = learning * UPDATES[optimizer] * once
        found[name] = found.forward_j + found.backward_j + found.update_j
    skips = ", assumes zero-skipping hardware" if density < 1 else ""
    found.attrs["source"] = (f"{_source(chip, on_chip)}, {batch} at once, {optimizer}, floats of "
                             f"{bits} bits{skips}")
    return found
