"""Joules: modelled ones against hand-worked examples, measured ones from replayed counters."""

import threading

import pandas as pd
import pytest
import torch
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


@pytest.mark.parametrize("hidden, holds", [(32, "8 KB"), (96, "32 KB"), (700, "1 MB"),
                                           (5000, "DRAM")])
def test_what_fits_no_memory_comes_from_the_next(hidden, holds):
    table = layered(nn.Linear(64, hidden, bias=False), like((64,), hidden))
    cost = {"8 KB": 10, "32 KB": 20, "1 MB": 100, "DRAM": 1300}[holds]
    joules = energy.modelled(table)
    assert joules.weights_j.sum() == pytest.approx(64 * hidden * 4 / 8 * cost * 1e-12)
    assert (joules.most_j.sum() > joules.energy_j.sum()) == (holds == "DRAM")


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
    assert found.idle_watts == pytest.approx(3 / 0.02, rel=0.5)
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


# carbon

def test_grams_are_of_measured_joules_and_a_range_over_grids():
    """A million images at 1.217 J are 0.338 kWh: 19 g in France, 241 g in India."""
    found = energy.carbon(1.217e6, "measured").set_index("country").g_co2e
    assert found["France"] == pytest.approx(19, abs=0.5)
    assert found["India"] == pytest.approx(241, abs=0.5)
    assert found.is_monotonic_increasing and len(found) == 15
    grids = energy.grids()
    assert (grids.year > 2020).all() and (grids.source.str.len() > 3).all()
    with pytest.raises(ValueError, match="modelled stand for no grams"):
        energy.carbon(1.0, "modelled")
