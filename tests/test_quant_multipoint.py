"""Multipoint quantization: sums of few-bit points, as many as a channel needs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lib.quant import quantize

weights = hnp.arrays("float32", hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7),
                     elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
                     ).map(torch.from_numpy)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.02


def relative(q, w: torch.Tensor) -> float:
    return ((q.dequantize().double() - w).norm() / w.double().norm()).item()


@settings(max_examples=50, deadline=None)
@given(w=weights, bits=st.integers(1, 8), points=st.integers(1, 5), axis=st.sampled_from([None, 0]))
def test_another_point_never_errs_more(w, bits, points, axis):
    before = w.clone()
    q, more = (quantize(w, "multipoint", bits=bits, points=n, axis=axis)
               for n in (points, points + 1))
    assert torch.equal(w, before) and q.dequantize().isfinite().all()
    assert q.levels <= q.base**points
    slack = 1e-6 * w.norm()
    assert (more.dequantize() - w).norm() <= (q.dequantize() - w).norm() + slack
    if bits > 2:
        assert (q.dequantize()[w == 0] == 0).all()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_one_point_is_no_worse_than_the_affine_grid_fitted_in_least_squares(bits):
    w = normal(32, 600)
    one = relative(quantize(w, "multipoint", bits=bits, points=1), w)
    grid = quantize(w, "affine", bits=bits, clip="mse", symmetric=True)
    assert one <= 1.02 * relative(grid, w)


def test_five_points_of_four_bits():
    w = normal(128, 128, 3, 3)
    ours = quantize(w, "multipoint", bits=4, points=5)
    assert ours.bits_per_weight < 20.15 and relative(ours, w) < 3e-6
    within = quantize(w, "multipoint", bits=4, budget=20)
    assert within.bits_per_weight <= 20 and relative(within, w) < 1e-5
    edge = quantize(w, "edge_multipoint", bits=4, generator=torch.Generator().manual_seed(0))
    assert edge.bits_per_weight == pytest.approx(20, abs=0.01)
    assert relative(edge, w) == pytest.approx(0.93, abs=0.02)


def test_edge_multipoint_costs_72_bits_at_8():
    w = normal(64, 64, 3, 3)
    q = quantize(w, "edge_multipoint", bits=8, generator=torch.Generator().manual_seed(0))
    assert q.bits_per_weight == pytest.approx(72, abs=0.01) and q.count.tolist() == [9]
    assert 0.1 < relative(q, w) < 0.3
    assert quantize(w, "edge_multipoint", bits=8, points=2).count.tolist() == [2]
    with pytest.raises(ValueError, match="2 bits or more"):
        quantize(w, "edge_multipoint", bits=1)
    with pytest.raises(ValueError, match="no width"):
        quantize(-w.abs() * torch.arange(64).view(-1, 1, 1, 1), "edge_multipoint", bits=4)


def test_channels_get_points_until_their_own_error_is_small():
    w = normal(12, 300)
    w[:6] = w[:6].sign() * 0.1                       # a single point is exact for these
    q = quantize(w, "multipoint", bits=4, tolerance=1e-3)
    error = (q.dequantize() - w).norm(dim=1) / w.norm(dim=1)
    assert (error <= 1e-3).all()
    assert (q.count[:6] == 1).all() and (q.count[6:] > 1).all()
    assert q.size_bytes == sum(q.count.tolist()) * (150 + 4) + 12 + 1


def test_a_budget_goes_to_the_worst_channels_and_is_kept():
    w = normal(16, 400)
    for budget in (4.2, 6.0, 9.5):
        q = quantize(w, "multipoint", bits=4, budget=budget)
        assert budget - 0.3 < q.bits_per_weight <= budget
    spread = torch.ones(16, 1)
    spread[:4] = 30
    heavy = normal(16, 400, seed=1).pow(3) / spread + normal(16, 400) * spread
    q = quantize(heavy, "multipoint", bits=4, budget=6)
    one = quantize(heavy, "multipoint", bits=4, points=1)
    each = (one.dequantize() - heavy).norm(dim=1) / heavy.norm(dim=1)
    assert each[q.count > 1].min() >= each[q.count == 1].max()
    with pytest.raises(ValueError, match="does not pay"):
        quantize(w, "multipoint", bits=4, budget=4)


def test_errors_are_those_of_the_outputs_where_inputs_are_known():
    w = normal(8, 50)
    x = normal(400, 50, seed=2)
    x[:, 25:] = 0                                    # half the columns never matter
    w[:4, :25] = w[:4, :25].sign() * 0.02
    w[:4, 25:] *= 0.3
    blind = quantize(w, "multipoint", bits=4, tolerance=0.02)
    seeing = quantize(w, "multipoint", bits=4, tolerance=0.02, inputs=x)
    assert seeing.count.sum() <= blind.count.sum()
    error = (x @ (seeing.dequantize() - w).T).norm(dim=0) / (x @ w.T).norm(dim=0)
    assert (error <= 0.02 * 1.001).all()
    grouped = quantize(w.view(8, 50, 1, 1), "multipoint", bits=4, inputs=torch.stack([x, x]))
    assert grouped.dequantize().shape == (8, 50, 1, 1)


@pytest.mark.parametrize("w", [torch.zeros(3, 4), torch.full((3, 4), -1.7), torch.tensor([[2.5]])])
def test_constants_come_back(w):
    q = quantize(w, "multipoint", bits=4)
    assert torch.allclose(q.dequantize(), w, rtol=1e-6)
    with pytest.raises(ValueError, match="points=0"):
        quantize(w, "multipoint", points=0)
