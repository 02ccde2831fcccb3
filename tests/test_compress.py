"""One path from a setting to a smaller model, and it is the methods' own."""

import pytest
import torch

from lib import compress, models, prune, quant
from lib.base import Setting
from lib.quant import allocate, fold, layers

from .toys import blobs


@pytest.fixture(scope="module")
def task():
    return blobs()


@pytest.fixture
def model(task):
    return models.build("mlp_simple", task).eval()


def weights(model) -> torch.Tensor:
    return torch.cat([layer.weight.flatten() for layer in layers.layers(model).values()])


@pytest.mark.parametrize("asked, same", [
    ({"quantizer": "affine", "bits": 3}, lambda m, x: quant.ptq(m, "affine", 3)),
    ({"quantizer": "affine", "bits": 3, "granularity": "tensor"},
     lambda m, x: quant.ptq(m, "affine", 3, axis=None)),
    ({"quantizer": "affine", "bits": 3, "granularity": "group-2"},
     lambda m, x: quant.ptq(m, "affine", 3, group=2)),
    ({"quantizer": "affine", "levels": 3}, lambda m, x: quant.ptq(m, "affine", 2, levels=3)),
    ({"quantizer": "gptq", "bits": 2}, lambda m, x: quant.ptq(m, "gptq", 2, calibration=x)),
    ({"quantizer": "stochastic_uniform", "bits": 2}, lambda m, x: quant.ptq(
        m, "stochastic_uniform", 2, generator=torch.Generator().manual_seed(0))),
    ({"quantizer": "gptq", "bits": 4, "repairs": "smooth"},
     lambda m, x: quant.ptq(m, "gptq", 4, calibration=x, smooth=0.5)),
    ({"pruner": "magnitude_l1", "amount": 0.5}, lambda m, x: prune.prune(m, "magnitude_l1", 0.5)),
    ({"quantizer": "affine", "bits": 4, "pruner": "magnitude_l1", "amount": 0.5},
     lambda m, x: quant.ptq(prune.prune(m, "magnitude_l1", 0.5), "affine", 4)),
    ({"quantizer": "affine", "bits": 4, "pruner": "magnitude_l1", "amount": 0.5,
      "order": "quantize prune"},
     lambda m, x: prune.prune(quant.ptq(m, "affine", 4), "magnitude_l1", 0.5)),
    ({"quantizer": "affine", "bits": 2, "repairs": "equalized corrected"},
     lambda m, x: fold.correct_bias(quant.ptq(fold.cross_layer_equalize(m), "affine", 2),
                                    fold.cross_layer_equalize(m), x))])
def test_a_setting_is_the_methods_it_names(task, model, asked, same):
    x, before = task.calibration, weights(model).clone()
    small = compress.apply(model, Setting(**asked), x, torch.Generator().manual_seed(0))
    assert torch.equal(weights(small), weights(same(model, x)))
    assert torch.equal(weights(model), before)                          # the given one stays


def test_rounded_activations_and_budgets(task, model):
    x = task.calibration
    small = compress.apply(model, Setting(quantizer="affine", bits=4, a_bits=4), x)
    same = quant.ptq(model, "affine", 4, a_bits=4, calibration=x)
    assert torch.equal(small(x), same(x)) and not torch.equal(small(x), model(x))
    table = compress.sensitivity(model, x)
    for how, choose in (("exact", allocate.allocate), ("greedy", allocate.greedy)):
        asked = Setting(quantizer="gptq", budget=f"mean 3 bits, {how}")
        levels = choose(table, allocate.budget(table, 3), "levels")
        same = quant.ptq(model, "gptq", levels=levels, calibration=x)
        assert torch.equal(weights(compress.apply(model, asked, x)), weights(same))
        given = compress.apply(model, asked, x, sensitivity=lambda: table)
        assert torch.equal(weights(given), weights(same))


def test_nothing_asked_is_a_copy(task, model):
    same = compress.apply(model, Setting(recipe="ours"))
    assert same is not model and torch.equal(weights(same), weights(model))
    assert not compress.asked(Setting(recipe="edge", epochs=3))
    assert compress.asked(Setting(pruner="edge", amount=0.0))


def test_an_unknown_method_is_refused_with_those_that_are(model):
    with pytest.raises(ValueError, match="choose one of: .*affine"):
        compress.apply(model, Setting(quantizer="affin", bits=4))
