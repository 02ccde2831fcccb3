"""Which weights a ranking gives up, in which structure, and masks that last."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from lib import prune, quant, train
from lib.layers.walk import stored
from lib.quant import packing
from tests.toys import blobs

RANKINGS = [name for name in prune.METHODS if name != "edge"]


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 16))


def images(count: int = 32) -> torch.Tensor:
    return torch.randn(count, 4, 6, 6, generator=torch.Generator().manual_seed(1))


def losses(model: nn.Module):
    for x in images().split(8):
        yield F.cross_entropy(model(x), torch.arange(8) % 16)


GIVEN = {"calibration": images(), "losses": losses}


@pytest.mark.parametrize("method", RANKINGS)
@pytest.mark.parametrize("amount", [0.0, 0.3, 0.9])
def test_every_ranking_reaches_what_was_asked_and_leaves_the_rest_alone(method, amount):
    model = net()
    thin = prune.prune(model, method, amount, **GIVEN)
    assert prune.sparsity(thin) == pytest.approx(amount, abs=0.03)
    for whole, left in zip(model.parameters(), thin.parameters(), strict=True):
        assert torch.equal(left[left != 0], whole[left != 0])
        assert whole.dim() > 1 or torch.equal(whole, left)


def test_by_layer_each_loses_its_share_by_model_all_together_and_by_row_each_output():
    model = net()
    model[0].weight.data *= 10
    shares = {}
    for method in ("magnitude_l1", "magnitude_l1_layer", "wanda"):
        thin = prune.prune(model, method, 0.5, **GIVEN)
        shares[method] = [(layer.weight == 0).float().flatten(1).mean(1)
                          for layer in (thin[0], thin[3])]
    assert shares["magnitude_l1"][0].mean() < 0.1 < 0.5 < shares["magnitude_l1"][1].mean()
    assert all(part.mean() == 0.5 for part in shares["magnitude_l1_layer"])
    assert all((part == 0.5).all() for part in shares["wanda"])


def test_single_weights_fall_in_one_order_by_l1_and_by_l2():
    one, two = (prune.prune(net(), f"magnitude_{norm}", 0.4) for norm in ("l1", "l2"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_wanda_multiplies_by_what_enters():
    layer = nn.Linear(4, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    x = torch.tensor([[9.0, 1.0, 1.0, 1.0], [9.0, 1.0, 1.0, 1.0]])       # worth 9, 2, 3, 4
    thin = prune.prune(layer, "wanda", 0.5, calibration=x)
    assert thin.weight.tolist() == [[1.0, 0.0, 0.0, 4.0]]


def test_wanda_sees_each_group_of_a_convolution():
    conv = nn.Conv2d(2, 2, 1, groups=2, bias=False)
    loud = torch.ones(4, 2, 3, 3)
    loud[:, 1] = 5
    found = prune.seen.energies(nn.Sequential(conv), loud)["0"]
    assert found.shape == (2, 1, 1, 1) and found.flatten().tolist() == [1, 25]


def test_taylor_keeps_what_the_loss_leans_on():
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 1.0, 1.0]])
    x = torch.tensor([[0.1, 1.0, 5.0]])
    thin = prune.prune(layer, "taylor", 1 / 3, losses=lambda model: [model(x).sum()])
    assert thin.weight.tolist() == [[0.0, 1.0, 1.0]]
    assert all(p.grad is None for p in thin.parameters())


def test_random_is_random_and_repeats_with_its_generator():
    one, same, other = (prune.prune(net(), "random", 0.5,
                                    generator=torch.Generator().manual_seed(seed))
                        for seed in (0, 0, 1))
    assert torch.equal(one[3].weight, same[3].weight)
    assert not torch.equal(one[3].weight == 0, other[3].weight == 0)
    assert prune.is_random("random") and not prune.is_random("taylor")


@pytest.mark.parametrize("method", RANKINGS)
def test_two_of_four_neighbours_stay(method):
    model = nn.Sequential(nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 16))
    x = torch.randn(32, 10)
    given = {"calibration": x,
             "losses": lambda m: [F.cross_entropy(m(x), torch.arange(32) % 16)]}
    thin = prune.prune(model, method, 0.5, structure="2:4", **given)
    for layer in (thin[0], thin[2]):
        whole = layer.weight.shape[1] // 4 * 4
        fours = layer.weight[:, :whole].reshape(-1, 4)
        assert ((fours != 0).sum(1) == 2).all()
        assert (layer.weight[:, whole:] != 0).all()             # what no four is made of stays


def test_what_an_earlier_pruning_took_counts_and_stays_away():
    once = prune.prune(net(), "magnitude_l1", 0.4)
    again = prune.prune(once, "random", 0.7, generator=torch.Generator().manual_seed(0))
    assert prune.sparsity(again) == pytest.approx(0.7, abs=0.01)
    for before, after in zip(stored(once), stored(again), strict=True):
        assert before.role != "weight" or (after.value[before.value == 0] == 0).all()


# masks

def masked(amount: float = 0.5) -> nn.Module:
    model = net()
    prune.mask(model, prune.kept(model, "magnitude_l1", amount))
    return model


def test_a_mask_is_what_pruning_does_and_nests():
    model = masked()
    thin = prune.prune(net(), "magnitude_l1", 0.5)
    assert torch.equal(model[3].weight, thin[3].weight)
    assert prune.sparsity(model) == prune.sparsity(thin)
    assert set(prune.masks(model)) == {"0.weight", "3.weight"}
    prune.mask(model, prune.kept(model, "magnitude_l1", 0.8))
    assert prune.sparsity(model) == pytest.approx(0.8, abs=0.01)
    assert len(model[3].parametrizations.weight) == 1           # one mask, not one on the other
    assert (model[3].weight[thin[3].weight == 0] == 0).all()
    random = {name: torch.rand(kept.shape) < 0.5 for name, kept in prune.masks(model).items()}
    before = {name: kept.clone() for name, kept in prune.masks(model).items()}
    prune.mask(model, random)
    for name, kept in prune.masks(model).items():
        assert torch.equal(kept, before[name] & random[name])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_mask_survives_a_training_whatever_the_optimizer(optimizer):
    task = blobs()
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    train.fit(model, task, epochs=1, lr=0.01, batch_size=32, optimizer=optimizer)
    prune.mask(model, prune.kept(model, "magnitude_l1", 0.6))
    zeros = {name: ~kept for name, kept in prune.masks(model).items()}
    before = {name: model.get_submodule(name[:1]).weight.detach().clone() for name in zeros}
    train.fit(model, task, epochs=2, lr=0.01, batch_size=32, optimizer=optimizer,
              weight_decay=1e-2, keep="last")
    for name, gone in zeros.items():
        after = model.get_submodule(name[:1]).weight
        assert (after[gone] == 0).all() and (after[~gone] != before[name][~gone]).any()


def test_a_mask_lies_on_every_layer_that_shares_the_weight():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    model[2].weight = model[0].weight
    prune.mask(model, prune.kept(model, "magnitude_l1", 0.5))
    assert torch.equal(model[0].weight, model[2].weight)
    assert (model[2].weight == 0).float().mean() == 0.5


def test_other_parametrizations_stay_above_a_mask():
    model = net()
    torch.nn.utils.parametrizations.weight_norm(model[3])
    prune.mask(model, {"3.weight": model[3].weight.abs() > 0.05})
    assert (model[3].weight[model[3].weight.abs() <= 0.05] == 0).all()
    assert 0.1 < prune.sparsity(model) < 1


METHODS = ["affine", "hqq", "kmeans", "mid_rise", "nearest_uniform", "nearest_normal", "gptq",
           "adaround", "stochastic_histogram", "brecq"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [2, 4])
def test_a_mask_survives_quantizing_saving_and_loading(method, bits, tmp_path):
    model = masked(0.7).eval()
    more = {"steps": 5} if method in ("brecq", "adaround") else {}
    small = quant.ptq(model, method, bits=bits, calibration=images(), **more)
    for name, kept in prune.masks(model).items():
        layer = small.get_submodule(name.split(".")[0])
        assert (layer.weight[~kept] == 0).all(), name
        assert torch.equal(layer.compressed["weight"].dequantize(), layer.weight)
        assert (layer.weight[kept] != 0).float().mean() > (0.15 if bits == 2 else 0.6)
    packing.save(small, tmp_path / "small.safetensors")
    back = packing.load(net(), tmp_path / "small.safetensors")
    assert torch.equal(back(images()), small(images()))
    twice = quant.ptq(back, "affine", bits=8)                   # and whatever comes after
    assert prune.sparsity(twice) >= prune.sparsity(model)


def test_gptq_hands_the_errors_of_what_stays_to_what_stays():
    """The masked outputs are met better than by rounding the masked weights to nearest."""
    model, x = masked(0.5).eval(), images(256)
    wanted = model(x)
    gptq, nearest = (quant.ptq(model, method, bits=3, calibration=x, clip="mse")
                     for method in ("gptq", "affine"))
    assert (gptq(x) - wanted).square().mean() < (nearest(x) - wanted).square().mean()


def test_points_that_sum_to_nothing_keep_a_mask_or_say_so():
    small = quant.ptq(masked(), "multipoint", bits=4)
    assert prune.sparsity(small) >= 0.5
    with pytest.raises(ValueError, match="multipoint has no table of levels"):
        quant.ptq(masked(), "multipoint", bits=2)


def test_what_cannot_be_masked_is_named():
    with pytest.raises(ValueError, match="there is no tensor 7.weight"):
        prune.mask(net(), {"7.weight": torch.ones(1, dtype=torch.bool)})
    with pytest.raises(ValueError, match="3.weight is quantized"):
        prune.mask(quant.ptq(net(), "affine"), {"3.weight": torch.ones(16, 128) > 0})
    lstm = nn.Sequential(nn.LSTM(4, 4))
    with pytest.raises(ValueError, match=r"0 \(LSTM\) computes with a list of its weights"):
        prune.mask(lstm, {"0.weight_ih_l0": torch.ones(16, 4) > 0})
    assert not parametrize.is_parametrized(lstm[0])


def test_a_mask_can_be_copied():
    model = masked()
    twin = copy.deepcopy(model)
    assert torch.equal(model(images()), twin(images()))
