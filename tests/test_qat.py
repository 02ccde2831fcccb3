"""Training through a quantizer: its gradients, its start, and that what comes out is what ran."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from lib import data, measure, models, prune, quant, train
from lib.layers.walk import check_codes
from lib.quant import packing, qat, unfold
from lib.quant.layers import layers
from lib.quant.learned import (
    LearnedActivation,
    LearnedRounding,
    RoundedByStep,
    StraightThrough,
    share_of_step,
)
from tests.toys import blobs


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(),
                         nn.Linear(32, 3))


def x(count: int = 64) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(3))


def trained(model: nn.Module, epochs: int = 3, **more) -> nn.Module:
    train.fit(model, blobs(), epochs=epochs, lr=0.01, batch_size=32, keep="last", **more)
    return model


# the function

def test_the_gradients_are_those_of_lsq():
    """Of x: 1 inside, 0 outside. Of s: code − z − x/s inside, the end of the grid outside."""
    values = torch.tensor([[-9.0, -0.3, 0.2, 0.74, 9.0]], requires_grad=True)
    scale = torch.tensor([[0.5]], requires_grad=True)
    zero = torch.tensor([[2.0]])
    rounded = RoundedByStep.apply(values, scale, zero, 4, 1.0)
    assert rounded.tolist() == [[-1.0, -0.5, 0.0, 0.5, 0.5]]
    rounded.sum().backward()
    assert values.grad.tolist() == [[0, 1, 1, 1, 0]]
    wanted = -2 + (-1 + 0.6) + (0 - 0.4) + (1 - 1.48) + 1
    assert scale.grad.item() == pytest.approx(wanted, abs=1e-5)


def test_the_steps_gradient_has_lsqs_share_and_one_step_serves_all_values_of_an_input():
    values, scale = torch.randn(3, 5, 7), torch.tensor(0.1, requires_grad=True)
    RoundedByStep.apply(values, scale, torch.tensor(8.0), 16, 0.25).sum().backward()
    whole = scale.grad.item()
    scale.grad = None
    RoundedByStep.apply(values, scale, torch.tensor(8.0), 16, 1.0).sum().backward()
    assert scale.grad.shape == () and whole == pytest.approx(scale.grad.item() / 4)


# prepare and convert

THROUGH = ["lsq", "affine", "nearest_uniform", "mid_rise", "kmeans", "hqq", "stochastic_uniform",
           "edge_nearest_normal", "edge_mid_rise"]


@pytest.mark.parametrize("method", THROUGH)
@pytest.mark.parametrize("bits", [2, 4])
def test_what_is_converted_answers_as_what_was_prepared(method, bits):
    axis = None if method.startswith("edge_") else 0
    ready = trained(quant.qat_prepare(net(), method, bits=bits, axis=axis))
    assert all(isinstance(m.parametrizations.weight[0], LearnedRounding | StraightThrough)
               for m in layers(ready).values())
    torch.manual_seed(0)                    # what rounds at random rounds anew each time
    wanted = ready(x())
    torch.manual_seed(0)
    done = quant.qat_convert(ready)
    assert torch.equal(wanted, done(x()))
    for layer in layers(done).values():
        q = layer.compressed["weight"]
        assert torch.equal(q.dequantize(), layer.weight) and q.bits == bits
        assert len(layer.weight.unique()) <= 2 ** bits * len(layer.weight) + 1
    row = measure.measure(done, blobs()).row
    assert row.arithmetic == "simulated" and row.bits_per_weight < 32
    assert quant.METHODS and not [m for m in done.modules() if hasattr(m, "qat")]


@pytest.mark.parametrize("a_bits", [2, 4, 8])
def test_inputs_are_rounded_by_steps_that_are_learned(a_bits, tmp_path):
    ready = quant.qat_prepare(net(), "lsq", bits=4, a_bits=a_bits, calibration=x())
    steps = [m for m in ready.modules() if isinstance(m, LearnedActivation)]
    before = [float(step.scale.detach()) for step in steps]
    assert [step.bits for step in steps] == [8, a_bits, 8]          # the ends keep 8 bits or more
    trained(ready)
    assert all(float(step.scale.detach()) != was for step, was in zip(steps, before, strict=True))
    done = quant.qat_convert(ready)
    assert torch.equal(done(x()), ready(x()))
    assert not [p for m in done.modules() if type(m).__name__ == "Activation"
                for p in m.parameters()]
    packing.save(done, tmp_path / "done.safetensors")
    back = packing.load(net(), tmp_path / "done.safetensors")
    assert torch.equal(back(x()), done(x()))


def test_a_training_through_the_quantizer_beats_rounding_afterwards():
    """At 2 bits of weights and inputs, on a toy: both start from the same net."""
    task = blobs()
    model = trained(net(), epochs=10)
    small = quant.ptq(model, "affine", bits=2, a_bits=2, calibration=task.train.x[:256])
    ready = quant.qat_prepare(model, "lsq", bits=2, a_bits=2, calibration=task.train.x[:256])
    done = quant.qat_convert(trained(ready, epochs=10))
    rounded, learned = (measure.measure(one, task).row.loss for one in (small, done))
    assert learned < rounded


@pytest.mark.parametrize("rate", [0.03, 0.3])
@pytest.mark.parametrize("bits", [8, 2])
def test_steps_stay_steps_under_sgd(bits, rate):
    """A step of 8 bits is small: by LSQ's own share of its gradient some passed zero at once, the
    net answered the same of everything, and never came back."""
    model = trained(net(), epochs=10)
    ready = quant.qat_prepare(model, "lsq", bits=bits, a_bits=bits, calibration=x())
    before = [p.detach().clone() for m in ready.modules() for p in qat._steps(m)]
    how = {"optimizer": "sgd", "lr": rate, "weight_decay": 5e-4}
    train.fit(ready, blobs(), epochs=4, batch_size=16, keep="last", after_step=qat.keep_steps,
        groups=partial(qat.groups, **how), **how)
    after = [p.detach() for m in ready.modules() for p in qat._steps(m)]
    assert all((now >= was / 16 * 0.999).all() for was, now in zip(before, after, strict=True))
    if rate == 0.03:
        start = quant.qat_prepare(model, "lsq", bits=bits, a_bits=bits, calibration=x())
        assert measure.measure(quant.qat_convert(ready), blobs()).row.loss \
            < measure.measure(quant.qat_convert(start), blobs()).row.loss + 0.02


def test_with_many_levels_a_step_moves_less_than_lsqs():
    assert share_of_step(100, 3) == pytest.approx((100 * 1) ** -0.5)
    assert share_of_step(100, 4) == pytest.approx((100 * 2) ** -0.5)
    assert share_of_step(100, 256) == pytest.approx((100 * 128) ** -0.5 / 64)


@pytest.mark.parametrize("method", ["gptq", "affine"])
def test_it_starts_from_what_is_quantized_already(method):
    """Step, zero and weights are those of the start, so that the first answer is the start's."""
    small = quant.ptq(net(), method, bits=3, a_bits=4, calibration=x())
    ready = quant.qat_prepare(small, "lsq", bits=3, a_bits=4)
    assert torch.equal(ready(x()), small(x()))
    done = quant.qat_convert(ready)
    assert torch.equal(done(x()), small(x()))


def test_block_reconstruction_is_such_a_start():
    small = quant.ptq(net(), "brecq", bits=2, a_bits=4, calibration=x(), steps=20)
    ready = quant.qat_prepare(small, "lsq", bits=2, a_bits=4)
    assert torch.allclose(ready(x()), small(x()), atol=1e-6)


def test_ternary_weights_have_three_levels():
    done = quant.qat_convert(trained(quant.qat_prepare(net(), "lsq", levels=3)))
    assert all(len(row.unique()) <= 3 for layer in layers(done).values() for row in layer.weight)


def test_a_mask_survives_the_training_through_a_quantizer():
    thin = prune.prune(net(), "magnitude_l1", 0.6)
    for method in ("lsq", "mid_rise"):
        done = quant.qat_convert(trained(quant.qat_prepare(thin, method, bits=4)))
        assert prune.sparsity(done) >= 0.59
        for before, after in zip(layers(thin).values(), layers(done).values(), strict=True):
            assert (after.weight[before.weight == 0] == 0).all()
    masked = net()
    prune.mask(masked, prune.kept(masked, "magnitude_l1", 0.6))
    done = quant.qat_convert(trained(quant.qat_prepare(masked, "lsq", bits=4)))
    assert prune.sparsity(done) >= 0.59


# gradients that pass straight through

def test_the_clipped_slope_stops_beyond_the_levels_and_the_published_one_is_a_ratio():
    w = torch.tensor([[-1.0, 0.1, 0.4, 5.0]])

    def levels(values):
        return quant.quantize(values.clamp(-1, 1), "nearest_uniform", bits=2, axis=None)

    for slope, wanted in (("clipped", [1, 1, 1, 0]), ("ranges", [1 / 3] * 4)):
        leaf = w.clone().requires_grad_()
        StraightThrough(levels, slope)(leaf).sum().backward()
        assert leaf.grad[0].tolist() == pytest.approx(wanted)
    with pytest.raises(ValueError, match="no slope 'steep'"):
        StraightThrough(levels, "steep")


def test_steps_learn_but_do_not_decay():
    ready = quant.qat_prepare(net(), "lsq", bits=4, a_bits=4, calibration=x())
    weights, *steps = qat.groups(ready, 0.1, 0.01, "sgd")
    assert len(steps) == 6 and weights["lr"] == 0.1 and weights["weight_decay"] == 0.01
    assert all((step["lr"], step["weight_decay"]) == (0.1, 0.0) for step in steps)
    every = sum(p.numel() for p in ready.parameters())
    assert sum(p.numel() for group in (weights, *steps) for p in group["params"]) == every
    _, *steps = qat.groups(ready, 0.1, 0.01, "adamw")       # Adam moves by the rate itself
    for step in steps:
        assert step["lr"] == pytest.approx(0.1 * float(step["params"][0].detach().abs().mean()))


def test_nothing_of_the_given_model_is_changed():
    model = net()
    before = copy.deepcopy(model.state_dict())
    trained(quant.qat_prepare(model, "lsq", bits=2, a_bits=4, calibration=x()))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [m for m in model.modules() if hasattr(m, "activation")] == []


def test_what_cannot_be_trained_through_is_said():
    with pytest.raises(ValueError, match="through 'gptq', .* choose one of: affine, hqq"):
        quant.qat_prepare(net(), "gptq")
    with pytest.raises(ValueError, match="no training through 'l7'"):
        quant.qat_prepare(net(), "l7")
    with pytest.raises(ValueError, match="a_bits needs calibration="):
        quant.qat_prepare(net(), "lsq", a_bits=4)
    with pytest.raises(ValueError, match="ReLU has no Linear or convolution"):
        quant.qat_prepare(nn.ReLU())


# norms that a training needs

@pytest.mark.parametrize("group", [None, 8])
def test_norms_that_were_folded_away_come_back_and_go_again(group):
    task = data.load("digits")
    whole = models.build("resnet8", task, width=8)
    whole.train()
    with torch.no_grad():
        for i in range(3):
            whole(task.train.batch(slice(64 * i, 64 * i + 64)))     # statistics not of 0 and 1
    small = quant.ptq(whole.eval(), "brecq", bits=3, a_bits=4, group=group, steps=3,
                      calibration=task.calibration)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in small.modules())
    ready = unfold.unfold_batch_norm(small, whole, task.calibration)
    norms = [m for m in ready.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == sum(isinstance(m, nn.BatchNorm2d) for m in whole.modules())
    x = task.test.batch(slice(64))
    assert torch.allclose(ready(x), small(x), atol=1e-4)
    for norm in norms:
        norm.weight.data.mul_(1.2), norm.bias.data.add_(0.1)    # as a training would
    done = unfold.fold_unfolded(ready)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in done.modules())
    assert torch.allclose(done(x), ready(x), atol=1e-3)
    halves = sum(layer.compressed["weight"].scale.numel() for layer in layers(small).values())
    more = measure.size(done)["size_bytes"] - measure.size(small)["size_bytes"]
    assert 0 <= more <= 2 * halves                      # learned steps are no half-precise ones
    check_codes(done)


def test_a_net_whose_norms_are_its_own_keeps_them():
    task = data.load("digits")
    whole = models.build("resnet8", task, width=8).eval()
    small = quant.ptq(whole, "affine", bits=4)
    same = unfold.fold_unfolded(unfold.unfold_batch_norm(small, whole, task.calibration))
    assert measure.size(same) == measure.size(small)
    assert torch.equal(same(task.test.batch(slice(8))), small(task.test.batch(slice(8))))
