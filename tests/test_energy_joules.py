"""Joules: modelled ones against hand-worked examples, measured ones from replayed counters."""

import threading

import pandas as pd
import pytest
import torch
from hypothesis import given, strategies
from torch import nn

from lib import energy, models, prune, quant
from lib.energy import counters as meters
from lib.energy.model import UPDATES
from tests.test_models import IMAGES, like
from tests.toys import blobs

IMAGENET = like((3, 224, 224), 1000)


def layered(model: nn.Module, task) -> pd.DataFrame:
    return energy.layers(model.eval(), torch.rand(1, *task.inputs))


# modelled

def test_resnet50_is_the_worked_example():
    """4.09 G products at 4.6 pJ, and 25.6 M floats from DRAM at 1300 pJ for 64 bits: 18.9 mJ and
    16.4 mJ, each within 5 %."""
    joules = energy.modelled(layered(models.build("resnet50", IMAGENET), IMAGENET))
    assert 1e3 * joules.compute_j.sum() == pytest.approx(18.9, rel=0.05)
    assert 1e3 * joules.weights_j.sum() == pytest.approx(16.4, rel=0.05)
    assert joules.activations_j.sum() > 0
    assert joules.energy_j.sum() == pytest.approx(
        joules[["compute_j", "weights_j", "activations_j"]].to_numpy().sum())


@pytest.mark.parametrize("process, each, sram", [("45nm", 4.6, 10.0), ("7nm", 1.69, 7.5)])
def test_a_small_layer_by_hand(process, each, sram):
    """8 → 4, without bias: 32 products; 128 bytes of weights and 48 of activations, all from the
    smallest memory."""
    joules = energy.modelled(layered(nn.Linear(8, 4, bias=False), like((8,), 4)), process)
    assert joules.compute_j.sum() == pytest.approx(32 * each * 1e-12)
    assert joules.weights_j.sum() == pytest.approx(16 * sram * 1e-12)
    assert joules.activations_j.sum() == pytest.approx(6 * sram * 1e-12)
    assert joules.least_j.sum() == joules.most_j.sum() == joules.energy_j.sum()


def test_weights_are_shared_by_a_batch_and_nothing_else_is():
    table = layered(nn.Linear(8, 4, bias=False), like((8,), 4))
    one, many = energy.modelled(table), energy.modelled(table, batch=4)
    assert many.weights_j.sum() == pytest.approx(one.weights_j.sum() / 4)
    assert many.compute_j.sum() == one.compute_j.sum()
    assert "4 at once" in many.attrs["source"]
    with pytest.raises(ValueError, match="batch=0"):
        energy.modelled(table, batch=0)


# Bytes of a working set -> picojoules of an access at 45 nm with 1 MiB on chip, by hand: published
# points; half-way between two in logarithms, their geometric mean; a quarter beyond 1 MiB, of
# which DRAM holds a fifth; 100 times 1 MiB.
BY_HAND = [(2**12, 10), (2**13, 10), (2**14, 200**0.5), (2**15, 20), (2**17.5, 2000**0.5),
           (2**20, 100), (1.25 * 2**20, 0.8 * 100 + 0.2 * 1300), (100 * 2**20, 1 + 0.99 * 1300)]


@pytest.mark.parametrize("size, picojoules", BY_HAND)
def test_an_access_by_hand(size, picojoules):
    least, counted, most = energy.PROCESSES["45nm"].access(size)
    assert (least, counted) == pytest.approx((picojoules, picojoules))
    share = max(0.0, 1 - 2**20 / size)
    assert most == pytest.approx(counted + share * 1300)        # DRAM's own range: 1300 to 2600


def test_other_sizes_on_chip_by_hand():
    """64 KiB lie a fifth of the way from 32 KiB to 1 MiB, 8 MiB three fifths beyond 1 MiB."""
    for name, (middle, large) in {"45nm": (20, 100), "7nm": (8.5, 14)}.items():
        chip, ratio = energy.PROCESSES[name], large / middle
        assert chip.access(2**16, 2**16)[1] == pytest.approx(middle * ratio**0.2)
        assert chip.access(2**23, 2**23)[1] == pytest.approx(large * ratio**0.6)
        half = (middle * ratio**0.2 + 1300) / 2
        assert chip.access(2**17, 2**16)[1] == pytest.approx(half)
    with pytest.raises(ValueError, match="on_chip=0"):
        energy.PROCESSES["45nm"].access(1, 0)


SIZES = strategies.floats(1, 2**33)
CHIPS = strategies.sampled_from(list(energy.PROCESSES.values()))
ON_CHIP = strategies.sampled_from([2**12, 2**13, 2**15, 2**16, 2**20, 2**23, 2**26])


@given(CHIPS, SIZES, strategies.floats(1, 1.5), ON_CHIP)
def test_an_access_never_jumps_and_never_gets_cheaper(chip, size, times, on_chip):
    """Bounds of the relative slope: on chip 1 (5 times the energy for 32 times the bytes), and
    where DRAM begins e(DRAM) / e(on chip)."""
    small, large = chip.access(size, on_chip), chip.access(times * size, on_chip)
    steepest = max(1.0, *(dram / chip.access(on_chip, on_chip)[0] for dram in chip.dram))
    for before, after in zip(small, large, strict=True):
        assert before * (1 - 1e-12) <= after <= before * (1 + steepest * (times - 1) + 1e-12)
    least, counted, most = small
    assert 0 < least <= counted <= most
    assert size > on_chip or least == most                  # a range comes from DRAM alone


@given(CHIPS, strategies.sampled_from([2**13, 2**15, 2**20]))
def test_no_step_at_a_published_capacity(chip, holds):
    below, above = chip.access(holds * (1 - 1e-6)), chip.access(holds * (1 + 1e-6))
    assert above == pytest.approx(below, rel=2e-3)


@given(CHIPS, SIZES, ON_CHIP)
def test_only_what_does_not_fit_is_charged_as_dram(chip, size, on_chip):
    each = chip.access(on_chip, on_chip)
    for found, full, dram in zip(chip.access(on_chip + size, on_chip), each, chip.dram,
                                 strict=True):
        assert (on_chip + size) * found == pytest.approx(on_chip * full + size * dram)


@pytest.mark.parametrize("process", energy.PROCESSES)
def test_a_network_just_above_the_on_chip_size_saves_what_it_drops(process):
    """4 % fewer bytes around 1 MiB are no cliff: the step charged 13 times as much above it."""
    table = layered(nn.Linear(512, 530, bias=False), like((512,), 530))      # 1.035 MiB
    fewer = table.assign(**{name: 0.96 * table[name] for name in ("read_bytes", "weight_bytes")})
    whole, less = (energy.modelled(one, process).energy_j.sum() for one in (table, fewer))
    above = table.weight_bytes.sum() / 2**20 - 1
    dram = energy.PROCESSES[process].dram[1] / energy.PROCESSES[process].access(2**20)[1]
    assert 1 < whole / less < 1.05 * (1 + above * dram)


@pytest.mark.parametrize("process", energy.PROCESSES)
def test_resnet20_without_6_percent_of_its_bytes_keeps_most_of_its_energy(process):
    """In FP32 it is 5.6 % larger than 1 MiB; with a step at 1 MiB, 4 in 10 joules would go."""
    table = layered(models.build("resnet20", IMAGES), IMAGES)
    assert 2**20 < table.weight_bytes.sum() < 1.06 * 2**20
    smaller = {name: 0.94 * table[name] for name in ("read_bytes", "weight_bytes")}
    whole, less = (energy.modelled(one, process).energy_j.sum()
                   for one in (table, table.assign(**smaller)))
    assert 0.85 < less / whole < 1


def test_sensitivity_is_the_model_at_each_size_on_chip():
    table = layered(nn.Linear(512, 1024, bias=False), like((512,), 1024))    # 2 MiB
    found = energy.sensitivity(table, "7nm", batch=2)
    assert found.on_chip.tolist() == [2**16, 2**20, 2**23]
    assert found.energy_j.is_monotonic_decreasing and found.energy_j.is_unique
    usual = energy.modelled(table, "7nm", batch=2)
    assert found.energy_j[1] == usual.energy_j.sum()
    other = energy.modelled(table, "7nm", batch=2, on_chip=2**16)
    assert other.energy_j.sum() == found.energy_j[0]
    assert energy.INTERPOLATED in usual.attrs["source"]
    assert other.attrs["source"].startswith(usual.attrs["source"].split(", 2 at")[0])
    assert "65536 bytes" in other.attrs["source"] and "bytes" not in usual.attrs["source"]
    train = energy.training(table, "7nm"), energy.training(table, "7nm", on_chip=2**23)
    assert train[1].energy_j.sum() < train[0].energy_j.sum()
    assert all(energy.INTERPOLATED in one.attrs["source"] for one in train)
    blank = energy.sensitivity(table.assign(macs=float("nan")))
    assert blank.energy_j.isna().all()


def test_whole_numbers_are_multiplied_only_where_both_operands_are_codes_on_even_grids():
    """Weight-only methods and tables of levels compute in floats, and save reading alone (tables of
    ten weights' levels outweigh what they are for)."""
    task = blobs()
    net = models.build("mlp_simple", task).eval()
    x = task.train.x[:64]
    whole = energy.modelled(layered(net, task))

    def compute(method: str, **more) -> float:
        small = quant.ptq(net, method, calibration=x, **more)
        found = energy.modelled(layered(small, task))
        assert method == "kmeans" or found.weights_j.sum() < whole.weights_j.sum()
        return float(found.compute_j.sum())

    floats = float(whole.compute_j.sum())
    assert compute("affine", bits=4) == compute("kmeans", bits=4) == floats
    assert compute("kmeans", bits=4, a_bits=8) == floats
    macs = layered(net, task).macs.sum()
    assert compute("affine", bits=8, a_bits=8) == pytest.approx(macs * (0.2 + 0.1) * 1e-12)
    # The ends' inputs keep 8 bits, of two layers therefore both.
    assert compute("affine", bits=4, a_bits=4) == pytest.approx(macs * (0.1 + 0.1) * 1e-12)


def test_a_sum_of_points_costs_a_product_a_point():
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64))
    task = like((64,), 64)
    small = quant.ptq(net, "edge_multipoint", bits=4, axis=None)
    table = layered(small, task)
    linear = table[table.macs > 0]
    codes = [m.compressed["weight"].codes.numel() / 64**2 for m in small
             if "weight" in getattr(m, "compressed", {})]
    assert sorted(linear.products)[-len(codes):] == pytest.approx(sorted(codes))
    assert max(linear.products) >= 2
    joules = energy.modelled(table)
    assert joules.compute_j.sum() == pytest.approx(
        float((table.macs * table.products).sum()) * 4.6e-12)


def test_masked_zeros_save_nothing_but_on_hardware_that_skips_them():
    net = models.build("resnet8", IMAGES, width=8)
    thin = prune.prune(net, amount=0.8)
    whole, masked = layered(net, IMAGES), layered(thin, IMAGES)
    assert energy.modelled(masked).energy_j.sum() == energy.modelled(whole).energy_j.sum()
    skipped = energy.modelled(masked, skip_zeros=True)
    assert skipped.compute_j.sum() < 0.5 * energy.modelled(whole).compute_j.sum()
    assert skipped.weights_j.sum() < 0.5 * energy.modelled(whole).weights_j.sum()
    assert "assumes zero-skipping hardware" in skipped.attrs["source"]
    assert "zero" not in energy.modelled(masked).attrs["source"]


def test_as_if_it_had_so_many_bits_is_as_what_has_them():
    task = blobs()
    net = models.build("mlp_simple", task).eval()
    table = layered(net, task)
    asif = energy.modelled(table, w_bits=8, a_bits=8)
    real = energy.modelled(layered(
        quant.ptq(net, "affine", bits=8, a_bits=8, calibration=task.train.x[:64]), task))
    assert asif.compute_j.sum() == pytest.approx(real.compute_j.sum())
    assert energy.modelled(table, w_bits=8).compute_j.sum() == pytest.approx(
        energy.modelled(table).compute_j.sum())


def test_a_table_of_words_is_read_by_the_line():
    words = nn.Sequential(nn.Embedding(1000, 16), nn.Linear(16, 4, bias=False))
    table = energy.layers(words, torch.tensor([[3, 3, 8]]))
    assert table.read_bytes.tolist() == [2 * 16 * 4, 64 * 4]
    assert table.weight_bytes.tolist() == [64_000, 256]


def test_joules_of_what_cannot_be_counted_are_missing_and_other_processes_are_named():
    net = nn.ModuleDict({"first": nn.Linear(4, 4), "second": nn.Bilinear(4, 4, 2)})
    net.forward = lambda x: net["second"](net["first"](x), x)
    table = energy.layers(net, torch.rand(1, 2, 4))
    assert energy.modelled(table).energy_j.isna().sum() == 1
    with pytest.raises(ValueError, match="there is no process '3nm'; choose one of: 45nm, 7nm"):
        energy.modelled(table, "3nm")


@pytest.mark.parametrize("optimizer", UPDATES)
def test_a_training_by_hand(optimizer):
    """8 → 4: three products each; weights read forward, read and their gradient written backward,
    and the optimizer's moves, shared by 16 examples; activations kept, read, and their gradients.
    """
    table = layered(nn.Linear(8, 4, bias=False), like((8,), 4))
    joules = energy.training(table, batch=16, optimizer=optimizer).sum(numeric_only=True)
    weights, moved, sram = 16 * 10e-12 / 16, 6 * 10e-12, UPDATES[optimizer]
    product = 32 * 4.6e-12
    assert joules.forward_j == pytest.approx(product + weights + moved)
    assert joules.backward_j == pytest.approx(2 * (product + weights + moved))
    assert joules.update_j == pytest.approx(sram * weights)
    assert joules.energy_j == pytest.approx(joules.forward_j + joules.backward_j + joules.update_j)


def test_a_training_takes_floats_whatever_it_rounds_and_masks():
    task = blobs()
    net = models.build("mlp_simple", task).eval()
    whole = energy.training(layered(net, task)).energy_j.sum()
    small = quant.ptq(prune.prune(net, amount=0.9), "affine", bits=2, a_bits=2,
                      calibration=task.train.x[:64])
    table = layered(small, task)
    assert energy.training(table[~table.layer.str.endswith("activation")]).energy_j.sum() \
        == pytest.approx(whole)
    assert energy.training(layered(net, task), bits=16).energy_j.sum() < whole
    with pytest.raises(ValueError, match="no optimizer 'lion'; choose one of: sgd, adam, adamw"):
        energy.training(table, optimizer="lion")


def test_what_is_skipped_or_frozen_saves_what_it_can():
    """A third of a training's products makes the weights' own gradients, which no zero spares."""
    table = layered(models.build("resnet8", IMAGES, width=8), IMAGES)
    whole, half = energy.training(table), energy.training(table, density=0.5)
    product = float(table.macs.sum()) * 4.6e-12
    assert whole.energy_j.sum() - half.energy_j.sum() == pytest.approx(product, rel=1e-6)
    assert "zero-skipping" in half.attrs["source"]
    rest = energy.training(table, frozen=["conv1", "layer1"]).set_index("layer")
    started = rest.index.str.startswith(("conv1", "layer1"))
    assert (rest.backward_j[started] == 0).all() and (rest.update_j[started] == 0).all()
    assert (rest.forward_j.to_numpy() == whole.forward_j.to_numpy()).all()
    assert (rest.backward_j[~started].to_numpy() == whole.backward_j[~started].to_numpy()).all()


# measured

class Replayed:
    """A counter that shows what it is told to, and then its last value."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def __call__(self) -> float:
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


def test_joules_are_what_counters_advance_by():
    gpu = energy.Counter("nvml A", Replayed(100.0, 130.0))
    package = energy.Counter("rapl package-0", Replayed(5.0, 12.5))
    with energy.meter([gpu, package]) as used:
        assert used.joules is None and "not over" in used.source
    assert used.joules == 37.5 and used.parts == {"nvml A": 30.0, "rapl package-0": 7.5}
    assert used.source == "nvml A, rapl package-0" and used.seconds > 0


def test_a_counter_that_wraps_goes_on():
    package = energy.Counter("rapl package-0", Replayed(262_000.0, 143.0), span=262_143.0)
    with energy.meter([package]) as used:
        pass
    assert used.joules == pytest.approx(286.0)


def test_a_counter_is_looked_at_often_enough_to_see_each_wrap(monkeypatch):
    monkeypatch.setattr(meters, "POLLED", 0.01)
    looked = threading.Event()
    values = [0.0, 60.0, 20.0, 80.0, 40.0]

    def read() -> float:
        if len(values) == 1:
            looked.set()
        return values.pop(0) if len(values) > 1 else values[0]

    with energy.meter([energy.Counter("rapl package-0", read, span=100.0)]) as used:
        assert looked.wait(10)
    assert used.joules == pytest.approx(240.0)


def test_a_counter_that_stands_still_counts_for_nothing():
    """As a perf event that is there and always reads 0."""
    idle = energy.Counter("rapl package-0", Replayed(0.0))
    with energy.meter([idle]) as used:
        pass
    assert used.joules is None
    assert used.source == "unavailable: rapl package-0 stood still"
    found = energy.joules(lambda: None, windows=2, seconds=0.01, counters=[idle])
    assert found.joules is None and found.idle_watts is None and "stood still" in found.source


def test_windows_have_a_spread_and_idle_power_stands_beside():
    rising = iter(range(0, 100_000, 3))
    counter = energy.Counter("nvml A", lambda: float(next(rising)))
    found = energy.joules(lambda: None, windows=5, seconds=0.02, counters=[counter])
    assert found.windows == 5 and found.calls >= 5 and found.source == "nvml A"
    assert 0 < found.low <= found.joules <= found.high
    assert 0 < found.idle_watts <= 1.01 * 3 / 0.02      # a wait takes its time, or longer
    with pytest.raises(ValueError, match="windows=0"):
        energy.joules(lambda: None, windows=0, counters=[counter])


def test_an_error_within_passes_and_the_watch_ends():
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="mine"), energy.meter(
            [energy.Counter("nvml A", Replayed(0.0, 1.0))]):
        raise RuntimeError("mine")
    assert threading.active_count() == before


def zone(folder, name: str, label: str, energy_uj: int = 0):
    place = folder / name
    place.mkdir(parents=True)
    (place / "name").write_text(f"{label}\n")
    (place / "energy_uj").write_text(f"{energy_uj}\n")
    (place / "max_energy_range_uj").write_text("262143328850\n")
    return place


def test_rapl_counts_packages_and_memory_and_not_what_lies_within(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core")
    zone(tmp_path, "intel-rapl:0:1", "dram", 1_000_000)
    zone(tmp_path, "intel-rapl:1", "psys")
    found, why = meters._rapl(tmp_path)
    assert [counter.name for counter in found] == [
        "rapl package-0 (intel-rapl:0)", "rapl dram (intel-rapl:0:1)"]
    assert [counter.read() for counter in found] == [5.0, 1.0] and why == ""
    assert found[0].span == pytest.approx(262_143.32885)


def test_what_this_machine_lacks_is_said_in_its_own_words(tmp_path, monkeypatch):
    found, why = meters._rapl(tmp_path / "powercap")
    assert found == [] and why == f"no {tmp_path / 'powercap'}"
    (tmp_path / "empty").mkdir()
    assert meters._rapl(tmp_path / "empty") == ([], f"no package in {tmp_path / 'empty'}")
    locked = zone(tmp_path / "locked", "intel-rapl:0", "package-0") / "energy_uj"
    real = type(locked).read_text

    def refuse(self, *args, **more):
        if self.name == "energy_uj":
            raise PermissionError(13, "denied")
        return real(self, *args, **more)

    monkeypatch.setattr(type(locked), "read_text", refuse)
    assert meters._rapl(tmp_path / "locked") == ([], f"{locked} is for root alone")
    monkeypatch.setattr(meters, "here", lambda: ([], "no GPU; no /sys/class/powercap"))
    with energy.meter() as used:
        pass
    assert used.joules is None and used.source == "unavailable: no GPU; no /sys/class/powercap"
    found = energy.joules(lambda: None, seconds=0.01)
    assert found.joules is None and found.source.startswith("unavailable: no GPU")


def test_here_either_measures_or_says_why():
    counters, why = meters.here()
    assert counters or why
    assert all(counter.read() >= 0 for counter in counters)
