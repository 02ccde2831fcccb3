"""The earlier studies' quantizers: what the repaired ones promise, and what Edge's really do."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm

from lib.quant import clusters, quantize
from lib.quant.codebook import METHODS as REPAIRED
from lib.quant.edge import METHODS as EDGE

NEAREST = [name for name in REPAIRED if "stochastic" not in name]
WHOLE = [name for name in REPAIRED if not name.endswith("_iqr")]       # sets that cover the range
weights = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7),
                     elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
                     ).map(torch.from_numpy)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed)) * 0.02


def mse(w: torch.Tensor, name: str, bits: int, **how) -> float:
    q = quantize(w, name, bits=bits, generator=seeded(), **how)
    return (q.dequantize() - w).square().mean().item()


@settings(max_examples=60, deadline=None)
@given(w=weights, name=st.sampled_from(list(REPAIRED)), bits=st.integers(1, 10),
       axis=st.sampled_from([None, 0]), group=st.sampled_from([None, 1, 3]))
def test_repaired_sets_have_at_most_2_to_the_bits_levels(w, name, bits, axis, group):
    before = w.clone()
    q = quantize(w, name, bits=bits, axis=axis, group=group if axis == 0 else None,
                 generator=seeded())
    decoded = q.dequantize()
    assert q.levels <= q.base == 2**bits
    assert decoded.shape == w.shape and decoded.dtype == w.dtype and decoded.isfinite().all()
    assert torch.equal(w, before)
    assert q.nonzero == decoded.count_nonzero()
    assert 0 <= int(q.codes.min()) and int(q.codes.max()) < q.base


@settings(max_examples=60, deadline=None)
@given(w=weights, name=st.sampled_from(["mid_rise", "mid_tread", "nearest_uniform"]),
       bits=st.integers(1, 12))
def test_an_even_grid_errs_by_half_a_step_at_most(w, name, bits):
    q = quantize(w, name, bits=bits)
    rows = (q.dequantize() - w).reshape(len(w), -1).abs().amax(1, keepdim=True)
    largest = w.reshape(len(w), -1).abs().amax(1, keepdim=True)
    assert (rows <= q.scale / 2 + 1e-6 * largest).all()      # float32 has 24 bits for the value
    width = w.reshape(len(w), -1).amax(1) - w.reshape(len(w), -1).amin(1)
    if name != "mid_tread":
        wide = width > 0
        assert torch.allclose(q.scale[wide, 0], width[wide] / (2**bits - 1), rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(w=weights, name=st.sampled_from([n for n in WHOLE if "stochastic" not in n]),
       bits=st.integers(1, 6))
def test_nearest_takes_the_nearest_level_and_covers_the_tails(w, name, bits):
    q = quantize(w, name, bits=bits, axis=None)
    every = type(q)(**{**vars(q), "layout": type(q.layout)((2**bits,), w.dtype, None),
                       "codes": torch.arange(2**bits)}).dequantize()     # the whole set
    gap = (w.flatten()[:, None] - every).abs().amin(1)
    close = 1e-6 * (1 + w.abs().max())
    assert ((q.dequantize() - w).flatten().abs() <= gap + close).all()
    assert (every.diff() >= 0).all()
    low, high = w.min(), w.max()
    reach = q.scale.item() / 2 if hasattr(q, "scale") else 0
    if name != "kmeans":
        assert every[0] <= low + reach + close and every[-1] >= high - reach - close


@settings(max_examples=40, deadline=None)
@given(w=weights, bits=st.integers(1, 8), axis=st.sampled_from([None, 0]),
       name=st.sampled_from(["mid_tread", "mid_tread_iqr"]))
def test_mid_tread_keeps_zeros(w, bits, axis, name):
    w = torch.where(torch.rand(w.shape, generator=seeded()) < 0.5, 0, w)
    assert (quantize(w, name, bits=bits, axis=axis).dequantize()[w == 0] == 0).all()


def test_mid_rise_has_no_zero_and_mid_tread_has():
    w = normal(4, 200)
    assert quantize(w, "mid_rise", bits=4).nonzero == w.numel()
    assert quantize(w, "mid_tread", bits=4).nonzero < w.numel()


@pytest.mark.parametrize("name", [n for n in WHOLE if "stochastic" in n])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_stochastic_rounding_is_unbiased(name, bits):
    w, draws = normal(1, 40), 4000
    q = quantize(w.repeat(draws, 1), name, bits=bits, axis=None, generator=seeded())
    decoded = q.dequantize().double()
    error = decoded.mean(0) - w[0]
    assert (error.abs() <= 5 * decoded.std(0) / draws**0.5 + 1e-7).all()
    assert decoded.std(0).max() > 0


def test_stochastic_rounding_takes_a_neighbour_and_a_generator():
    w = normal(8, 50)
    one, same, other = (quantize(w, "stochastic_histogram", bits=3, generator=seeded(s)).codes
                        for s in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    q = quantize(w, "stochastic_uniform", bits=3, generator=seeded())
    assert ((q.dequantize() - w).abs() <= q.scale * (1 + 1e-4)).all()


@pytest.mark.parametrize("name", NEAREST)
def test_more_bits_never_err_more(name):
    errors = [mse(normal(20, 1000), name, bits) for bits in (1, 2, 3, 4, 5, 6, 8)]
    # Fences cut the same tails at every width, so their error stops at what lies beyond them.
    assert all(b <= a * 1.001 for a, b in zip(errors, errors[1:], strict=False)), errors


@pytest.mark.parametrize("bits, known", [(1, 0.3634), (2, 0.1175), (3, 0.03454), (4, 0.009497)])
def test_kmeans_is_the_lloyd_max_quantizer(bits, known):
    """Distortions for a Gaussian of variance 1: Max (1960), table I."""
    w = torch.from_numpy(norm.ppf((np.arange(200_000) + 0.5) / 200_000)).float()[None]
    assert mse(w, "kmeans", bits) == pytest.approx(known, rel=0.005)


@pytest.mark.parametrize("draw", [torch.randn, torch.rand, lambda *s, generator: torch.randn(
    *s, generator=generator).pow(3)])
@pytest.mark.parametrize("axis", [None, 0])
def test_kmeans_is_the_best_set(draw, axis):
    w = draw(6, 4000, generator=seeded())
    best = mse(w, "kmeans", 4, axis=axis)
    assert all(best <= mse(w, name, 4, axis=axis) * 1.0001 for name in NEAREST)


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=1,
                       max_size=16, unique=True), seed=st.integers(0, 99))
def test_kmeans_is_exact_where_the_levels_suffice(values, seed):
    w = torch.tensor(values)[torch.randint(len(values), (3, 50), generator=seeded(seed))]
    # Between neighbouring floats there is no edge, so one may stand for the other.
    assert torch.allclose(quantize(w, "kmeans", bits=4).dequantize(), w, rtol=2e-7, atol=0)


def square_error(ordered: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    codes = torch.searchsorted(clusters.middles(levels), ordered)
    return (ordered - levels.gather(1, codes)).double().square().sum(1)


def least_of_all_cuts(values: np.ndarray, count: int) -> float:
    """The least square error over every way to cut sorted values into `count` intervals."""
    least = np.inf
    for inner in combinations(range(1, len(values)), count - 1):
        parts = np.split(values, inner)
        least = min(least, sum(((part - part.mean())**2).sum() for part in parts))
    return least


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(-1000, 1000, width=16) | st.integers(-3, 3), min_size=5,
                       max_size=11), count=st.integers(2, 4))
def test_no_way_to_cut_is_better_than_kmeans(values, count):
    ordered = torch.tensor(values, dtype=torch.float32).sort().values[None]
    found = float(square_error(ordered, clusters.best_levels(ordered, count)))
    least = least_of_all_cuts(ordered[0].double().numpy(), count)
    scale = float(ordered.double().square().sum()) + 1e-30
    assert found == pytest.approx(least, rel=1e-4, abs=1e-9 * scale)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
@pytest.mark.parametrize("draw", ["normal", "heavy", "uniform", "gapped"])
def test_kmeans_is_nowhere_worse_than_lloyds_algorithm(bits, draw):
    w = torch.randn(20, 400, generator=seeded(bits))
    w = {"normal": w, "heavy": w.pow(3), "uniform": w.erf(),
         "gapped": torch.where(w > 0, w + 10, w * 1e-3)}[draw].sort().values
    before = square_error(w, clusters.lloyd_levels(w, 2**bits))
    now = square_error(w, clusters.kmeans_levels(w, 2**bits))
    assert (now <= before * (1 + 1e-6) + 1e-12 * w.square().sum(1)).all()
    if bits == 8:
        assert now.sum() < 0.7 * before.sum()       # where levels are many, by far


def test_what_lloyds_algorithm_misses_where_not_all_cuts_are_compared():
    w = torch.randn(1, 2**16, generator=seeded()).sort().values
    assert w.shape[1] * 8 > clusters.MOST_COMPARED
    lloyd, best = (square_error(w, levels(w, 8)) for levels in (
        clusters.kmeans_levels, clusters.best_levels))
    assert 1 <= float(lloyd / best) + 1e-6 < 1.001


def test_kmeans_looks_at_a_sample_of_a_huge_slice_and_keeps_its_ends_within_reach():
    w = normal(1, 2**20 + 2**18)
    assert mse(w, "kmeans", 4) == pytest.approx(0.009497 * 0.02**2, rel=0.01)


@pytest.mark.parametrize("name", NEAREST)
def test_slices_know_nothing_of_each_other(name):
    w = normal(3, 4, 5) * torch.tensor([1.0, 10, 100])[:, None, None]
    together = quantize(w, name, bits=3).dequantize()
    alone = torch.stack([quantize(row, name, bits=3, axis=None).dequantize() for row in w])
    assert torch.allclose(together, alone, rtol=1e-5)
    grouped = quantize(w, name, bits=3, group=7).dequantize().view(3, 20)   # 7, 7 and 6 values
    for start in (0, 7):
        part = w.view(3, 20)[:, start:start + 7]
        assert torch.allclose(grouped[:, start:start + 7],
                              quantize(part, name, bits=3).dequantize(), rtol=1e-5)


@pytest.mark.parametrize("name", list(REPAIRED))
@pytest.mark.parametrize("value", [0.0, 1.7, -3e-9])
def test_constant_tensors_and_single_weights_come_back(name, value):
    for shape in ((3, 4), (1, 1), (1,)):
        w = torch.full(shape, value)
        assert torch.allclose(quantize(w, name, bits=3, generator=seeded()).dequantize(), w,
                              rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", [*REPAIRED, *EDGE, "affine", "hqq", "multipoint",
                                  "edge_multipoint"])
@pytest.mark.parametrize("w, said", [
    (torch.tensor([[1.0, float("nan")]]), "NaN"), (torch.tensor([[1.0, float("inf")]]), "infinite"),
    (torch.zeros(0, 3), "no values"), (torch.ones(2, 2, dtype=torch.int64), "floating-point")])
def test_bad_weights_are_refused(name, w, said):
    with pytest.raises(ValueError, match=said):
        quantize(w, name, bits=4)


@pytest.mark.parametrize("name", [*REPAIRED, *EDGE, "affine", "hqq", "multipoint"])
@pytest.mark.parametrize("bits", [0, 17, 33, 2.5, -1, True])
def test_bad_bits_are_refused(name, bits):
    with pytest.raises(ValueError, match="whole number from 1 to 16"):
        quantize(normal(2, 3), name, bits=bits)


def test_bad_cuts_and_names_are_refused():
    for how, said in (({"axis": 1}, "axis=1"), ({"axis": None, "group": 4}, "group=4"),
                      ({"group": 0}, "group=0")):
        with pytest.raises(ValueError, match=said):
            quantize(normal(2, 8), "mid_rise", **how)
    with pytest.raises(ValueError, match="mid_rise, "):
        quantize(normal(2, 8), "mid_raise")
    with pytest.raises(ValueError, match="outweigh"):
        quantize(torch.zeros(70_000, 1), "kmeans", bits=12)


def test_sizes_count_codes_and_tables():
    w = normal(8, 64)
    assert quantize(w, "mid_tread", bits=4).size_bytes == 256 + 8 * (4 + 1)
    assert quantize(w, "nearest_uniform", bits=4, axis=None).size_bytes == 256 + 8
    assert quantize(w, "kmeans", bits=4).size_bytes == 256 + 8 * 16 * 4
    assert quantize(w, "nearest_normal", bits=4).size_bytes == 256 + 8 * 16
    assert quantize(w.half(), "kmeans", bits=4).dequantize().dtype == torch.float16


# Edge, written out value by value from its description.

def edge_set(w: np.ndarray, kind: str, bits: int) -> np.ndarray:
    """In Edge's order: the normal set ends with min and max."""
    if kind == "uniform":
        return np.linspace(w.min(), w.max(), 2**bits)
    if kind == "uniform_iqr":
        q1, q3 = np.percentile(w, [25, 75], method="midpoint")
        return np.linspace(q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1), 2**bits)
    if kind == "histogram":
        edges = np.histogram_bin_edges(w, bins=2**bits)
        return (edges[1:] + edges[:-1]) / 2
    inner = norm.ppf(np.linspace(0, 1, 2**bits)[1:-1], w.mean(), w.std(ddof=1))
    return np.array([*inner, w.min(), w.max()])


def edge_nearest(value: float, levels: np.ndarray) -> float:
    if value <= levels.min():
        return levels[0]
    if value >= levels.max():
        return levels[-1]
    below, above = levels[levels <= value].max(), levels[levels >= value].min()
    return below if value - below < above - value else above


@pytest.mark.parametrize("kind", ["uniform", "uniform_iqr", "histogram", "normal"])
@pytest.mark.parametrize("bits", [1, 2, 4, 7])
def test_edge_nearest_is_what_its_description_says(kind, bits):
    w = normal(3, 60) + 0.01
    levels = edge_set(w.numpy().astype(float), kind, bits)
    slow = torch.tensor([edge_nearest(v, levels) for v in w.flatten().double().tolist()])
    ours = quantize(w, f"edge_nearest_{kind}", bits=bits).dequantize().flatten()
    assert torch.allclose(ours, slow.float(), atol=1e-7)
    random = quantize(w, f"edge_stochastic_{kind}", bits=bits, generator=seeded()).dequantize()
    assert np.abs(random.numpy().reshape(-1, 1) - levels).min(1).max() < 1e-7
    assert (random.flatten() != ours).any()


def test_edge_mid_rise_has_a_level_too_many_and_with_fences_many_more():
    w = torch.linspace(-1, 1, 1001)[None].repeat(2, 1) + 0.05
    assert quantize(w, "edge_mid_rise", bits=2).levels == 5
    assert quantize(w, "mid_rise", bits=2).levels == 4
    heavy = normal(10, 1000).pow(3)
    q = quantize(heavy, "edge_mid_rise_iqr", bits=4)
    assert q.levels > 40 and q.size_bytes > 5 / 8 * heavy.numel()     # "4 bits", and stored as such
    delta = (w.max() - w.min()) / 4
    assert torch.allclose(quantize(w, "edge_mid_rise", bits=2).dequantize(),
                          delta * ((w / delta).floor() + 0.5))


def test_edge_bugs_are_kept():
    row = normal(1, 20)                                # one output: hardly quantized
    assert torch.allclose(quantize(row, "edge_mid_rise", bits=4).dequantize(), row * (1 + 1 / 32))
    w = torch.cat([normal(1, 4000), torch.tensor([[-1.0]])], 1)    # the least weight is pulled in
    assert quantize(w, "edge_nearest_normal", bits=4).dequantize()[0, -1] > -0.1
    assert quantize(w, "nearest_normal", bits=4, axis=None).dequantize()[0, -1] == -1
    for name in ("edge_mid_rise", "edge_mid_rise_iqr", "edge_nearest_normal"):
        with pytest.raises(ValueError, match="NaN"):   # where its logits were NaN
            quantize(torch.full((2,), 0.3), name, bits=4)
    with pytest.raises(ValueError, match="NaN"):
        quantize(torch.tensor([0.1, 0.2]), "edge_mid_rise_iqr", bits=4)     # two biases: IQR 0


def test_the_missing_zero_of_every_edge_set():
    w = torch.cat([torch.zeros(500), normal(1, 500)[0]])
    for name in EDGE:
        decoded = quantize(w, name, bits=4, axis=None, generator=seeded()).dequantize()
        assert decoded[:500].ne(0).all(), name
