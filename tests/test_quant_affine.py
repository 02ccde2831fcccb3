"""Affine grids, HQQ, and what layers do for each other: folding, equalizing, correcting."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from lib import models, quant
from lib.base.metric import METRICS
from lib.data.task import Split, Task
from lib.quant import quantize
from lib.quant.fold import (
    correct_bias,
    cross_layer_equalize,
    fold_batch_norm,
    reestimate_batch_norm,
)
from lib.quant.grid import choose_qparams, fake_quantize

weights = hnp.arrays("float32", hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7),
                     elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
                     ).map(torch.from_numpy)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(w=weights, levels=st.integers(2, 300), group=st.sampled_from([None, 4]))
def test_asymmetric_grids_hold_zero_and_err_by_half_a_step(w, levels, group):
    before = w.clone()
    w.view(-1)[0] = before.view(-1)[0] = 0
    q = quantize(w, "affine", levels=levels, group=group)
    decoded = q.dequantize()
    assert q.levels <= levels == q.base and torch.equal(w, before)
    assert decoded.view(-1)[0] == 0
    step = q.layout.join(q.scale.expand(-1, q.layout.length))
    assert ((decoded - w).abs() <= step * 0.5001 + 1e-6 * w.abs().max()).all()


@settings(max_examples=30, deadline=None)
@given(w=weights, levels=st.integers(3, 64))
def test_symmetric_grids_mirror(w, levels):
    decoded = quantize(w, "affine", levels=levels, symmetric=True).dequantize()
    assert torch.equal(quantize(-w, "affine", levels=levels, symmetric=True).dequantize(), -decoded)
    assert (decoded[w == 0] == 0).all()


def test_ternary_is_three_levels_at_a_fifth_of_a_byte():
    w = normal(10, 500)
    q = quantize(w, "affine", levels=3, symmetric=True, clip="mse")
    assert q.levels == 3 and q.size_bytes == 1000 + 4 * 10 + 1
    with pytest.raises(ValueError, match="needs 3 levels"):
        quantize(w, "affine", bits=1, symmetric=True)
    with pytest.raises(ValueError, match="from 2 to 65536"):
        quantize(w, "affine", levels=1)


@pytest.mark.parametrize("symmetric", [False, True])
def test_mse_ranges_err_least_and_percentiles_clip(symmetric):
    w = normal(6, 2000)
    w[:, 0] = 40.0                                                            # one outlier a row
    error, scale = {}, {}
    for clip in ("minmax", "percentile", "mse"):
        q = quantize(w, "affine", bits=4, clip=clip, symmetric=symmetric)
        error[clip], scale[clip] = (q.dequantize() - w).square().sum(1), q.scale.mean()
    assert (error["mse"] <= error["minmax"]).all()
    assert scale["percentile"] < scale["minmax"] / 5
    flat = normal(6, 2000)
    worst, best = (quantize(flat, "affine", bits=2, clip=c, symmetric=symmetric).dequantize() - flat
                   for c in ("minmax", "mse"))
    assert best.square().mean() < 0.8 * worst.square().mean()
    with pytest.raises(ValueError, match="minmax, percentile, mse"):
        quantize(w, "affine", clip="best")


def test_qparams_of_zeros_and_of_denormals_are_finite():
    for s in (torch.zeros(2, 3), torch.full((2, 3), 1e-42), torch.full((1, 1), 3e38)):
        scale, zero = choose_qparams(s, 16)
        assert scale.isfinite().all() and (scale > 0).all() and zero.isfinite().all()
        assert torch.allclose(fake_quantize(s, scale, zero, 16), s, atol=1e-36)


def test_hqq_beats_min_max_in_the_norm_it_minimises():
    w = normal(16, 256)
    for bits in (2, 3, 4):
        loss = {m: (quantize(w, m, bits=bits, group=64).dequantize() - w).abs().pow(0.7).sum(1)
                for m in ("affine", "hqq")}
        assert (loss["hqq"] <= loss["affine"] * 1.0001).all()
        assert loss["hqq"].sum() < 0.99 * loss["affine"].sum()
    zeros = torch.zeros(2, 64)
    assert torch.equal(quantize(zeros, "hqq", bits=4).dequantize(), zeros)


# Whole nets.

def image_task() -> Task:
    x, y = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(8)
    part = Split(x, y)
    return Task("toy", "image", METRICS["accuracy"], tuple("01234567"), (3, 32, 32), 8, "synthetic",
                torch.full((3,), 0.5), torch.full((3,), 0.3), part, part, part, "none")


def lived_in(name: str, **sizes) -> tuple[nn.Module, torch.Tensor]:
    """A net of the study whose batch-norms have seen something, and inputs for it."""
    task = image_task()
    model = models.build(name, task, **sizes)
    generator = torch.Generator().manual_seed(1)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.3, generator=generator)
            m.running_var.uniform_(0.5, 2, generator=generator)
            m.weight.data.uniform_(0.5, 1.5, generator=generator)
            m.bias.data.normal_(0, 0.3, generator=generator)
    return model.eval(), task.train.x


@pytest.mark.parametrize("name, sizes", [
    ("cnn_edge", {}), ("resnet9", {"width": 8}), ("resnet8", {}), ("resnet20", {"width": 4}),
    ("resnet18", {"width": 8, "stem": "cifar"}), ("resnet50", {"width": 8, "stem": "cifar"})])
def test_folding_and_equalizing_change_no_output(name, sizes):
    try:
        model, x = lived_in(name, **sizes)
    except ValueError:
        model, x = lived_in(name)                                # has no such size
    with torch.no_grad():
        y = model(x)
        folded = fold_batch_norm(model)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
        assert torch.allclose(folded(x), y, atol=1e-4 * y.abs().max())
        equal = cross_layer_equalize(folded)
        assert torch.allclose(equal(x), y, atol=1e-4 * y.abs().max())
        assert torch.equal(model(x), y)                          # and the model is as it was
    assert any(not torch.equal(a, b) for a, b in
               zip(folded.parameters(), equal.parameters(), strict=True))


def test_a_norm_that_cannot_be_folded_stays():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)
            self.norm, self.twice = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            y = self.conv(self.first(x))
            return self.norm(y) + y + self.twice(self.twice(y))

    model, x = Odd().eval(), normal(2, 3, 8, 8)
    folded = fold_batch_norm(model)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) == 2
    assert torch.allclose(folded(x), model(x))

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x):
            return self.norm(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match="must not branch"):
        fold_batch_norm(Branching())


def test_equalizing_evens_out_the_channels_of_a_depthwise_chain_too():
    scale = torch.logspace(-2, 2, 8)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(),
                        nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        net[0].weight.mul_(scale.view(-1, 1, 1, 1))
        net[0].bias.mul_(scale)
        net[2].weight.div_(scale.view(-1, 1, 1, 1))
    equal, x = cross_layer_equalize(net), normal(2, 3, 6, 6)
    assert torch.allclose(equal(x), net(x), atol=1e-4)
    ranges = equal[0].weight.flatten(1).abs().amax(1)
    assert ranges.max() / ranges.min() < 10 < 9e3 < scale.max() / scale.min()
    error = {name: (quant.ptq(m, "affine", bits=6, axis=None)(x) - net(x)).norm()
             for name, m in (("as it was", net), ("equalized", equal))}
    assert error["equalized"] < 0.5 * error["as it was"]


def test_corrected_biases_restore_the_mean_output():
    model, x = lived_in("resnet8")
    model = fold_batch_norm(model)
    rough = quant.ptq(model, "mid_rise", bits=3)
    before = rough.linear.bias.clone()
    mended = correct_bias(rough, model, x)
    with torch.no_grad():
        y, bad, good = model(x), rough(x), mended(x)
    assert torch.allclose(good.mean(0), y.mean(0), atol=1e-4 * y.abs().max())
    assert (good - y).norm() < 0.5 * (bad - y).norm()
    assert torch.equal(rough.linear.bias, before)
    assert torch.equal(mended.linear.weight, rough.linear.weight)


def test_reestimated_norms_are_the_calibration_inputs_own():
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(), normal(96, 3, 8, 8)
    fresh = reestimate_batch_norm(net, x, batch=32)
    y = net[0](x)
    assert torch.allclose(fresh[1].running_mean, y.mean((0, 2, 3)), atol=1e-6)
    parts = torch.stack([p.transpose(0, 1).flatten(1).var(1) for p in y.chunk(3)])
    assert torch.allclose(fresh[1].running_var, parts.mean(0), atol=1e-5)
    assert (net[1].running_mean == 0).all() and not fresh[1].training
    assert fresh[1].momentum == net[1].momentum
