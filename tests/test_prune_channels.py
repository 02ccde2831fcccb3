"""Channels that are gone: what is left computes what the whole net does without them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib import energy, models, prune, quant
from lib.layers.widths import widths
from lib.quant import packing


def task(inputs=(3, 16, 16), outputs=10):
    channels = inputs[0] if len(inputs) > 1 else inputs
    return SimpleNamespace(inputs=inputs, outputs=outputs, mean=torch.zeros(channels),
                           std=torch.ones(channels), name="made here")


def built(name: str, inputs=(3, 16, 16), **sizes) -> tuple[nn.Module, torch.Tensor]:
    """A net with batch-norm statistics of its own, in evaluation, and some of its inputs."""
    torch.manual_seed(0)
    model = models.build(name, task(inputs), **sizes)
    x = torch.randn(16, *inputs)
    model.train()
    for _ in range(3):
        model(x)
    return model.eval(), x


NETS = [("resnet8", (3, 16, 16), {"width": 16}), ("resnet9", (3, 32, 32), {"width": 16}),
        ("cnn_edge", (3, 32, 32), {"width": 16}), ("resnet18", (3, 32, 32), {"width": 16}),
        ("resnet50", (3, 32, 32), {"width": 16}), ("mlp_complex", (12,), {}),
        ("transformer_small", (3, 48), {})]


@pytest.mark.parametrize(("name", "inputs", "sizes"), NETS)
def test_a_thinner_net_needs_less_and_can_be_built_from_its_file(name, inputs, sizes, tmp_path):
    model, x = built(name, inputs, **sizes)
    thin = prune.prune(model, "magnitude_l2", 0.5, "channel", calibration=x)
    assert thin(x).shape == model(x).shape
    before, after = (energy.layers(net, x[:1]).macs.sum() for net in (model, thin))
    assert after < 0.9 * before
    assert prune.sparsity(thin) == 0                                # removed, not masked
    for layer, shape in widths(thin).items():
        whole = model.get_submodule(layer)
        if isinstance(whole, nn.Conv2d | nn.Linear) and shape[0] < len(whole.weight):
            assert shape[0] % 8 == 0
    assert [p.requires_grad for p in thin.parameters()] == [True] * len(list(thin.parameters()))
    packing.save(thin, tmp_path / "thin.safetensors")
    back = packing.load(built(name, inputs, **sizes)[0], tmp_path / "thin.safetensors")
    assert torch.equal(back(x), thin(x))
    assert back(x[:3]).argmax(1).shape == (3,)
    assert energy.layers(back, x[:1]).macs.sum() == after


def test_channels_that_say_nothing_go_without_a_trace():
    """Half of each block's inner channels are silent; without them the net answers the same."""
    model, x = built("resnet8", width=16)
    for block in (model.layer1[0], model.layer2[0], model.layer3[0]):
        half = len(block.conv1.weight) // 2
        for tensor in (block.bn1.weight, block.bn1.bias, block.conv1.weight):
            tensor.data[::2][:half] = 0
    thin = prune.prune(model, "magnitude_l1_layer", 0.5, "channel", calibration=x)
    assert torch.allclose(thin(x), model(x), atol=1e-5)
    assert thin.layer1[0].conv1.weight.shape == (8, 16, 3, 3)


def test_a_padded_shortcut_keeps_the_stream_whole_and_a_convolved_one_lets_it_go():
    padded, x = built("resnet8", width=16)
    thin = prune.prune(padded, "magnitude_l1_layer", 0.5, "channel", calibration=x)
    assert thin.conv1.weight.shape[0] == 16 and thin.linear.in_features == 64
    assert [block[0].conv1.weight.shape[0] for block in (thin.layer1, thin.layer2, thin.layer3)] \
        == [8, 16, 32]
    convolved, x = built("resnet18", (3, 32, 32), width=16)
    thin = prune.prune(convolved, "magnitude_l1_layer", 0.5, "channel", calibration=x)
    assert thin.conv1.weight.shape[0] == 8 and thin.fc.in_features == 64


@pytest.mark.parametrize(("structure", "width"), [("channel", 24), ("channel-16", 16),
                                                  ("channel-1", 21)])
def test_what_stays_is_a_multiple(structure, width):
    model, x = built("resnet8", width=16)
    thin = prune.prune(model, "magnitude_l1_layer", 0.34, structure, calibration=x)
    assert thin.layer2[0].conv1.out_channels == width


def test_the_outputs_heads_and_norms_of_a_transformer_stay():
    model, x = built("transformer_small", (3, 48))
    thin = prune.prune(model, "magnitude_l1_layer", 0.5, "channel", calibration=x)
    assert set(widths(thin)) == {"blocks.0.linear1", "blocks.0.linear2", "blocks.1.linear1",
                                 "blocks.1.linear2", "hidden", "head"}
    assert thin.head.out_features == 10


@pytest.mark.parametrize("method", ["wanda", "taylor", "random", "magnitude_l2"])
def test_any_ranking_can_say_which_channels_go(method):
    model, x = built("resnet8", width=16)
    y = torch.arange(16) % 10
    thin = prune.prune(model, method, 0.5, "channel", calibration=x,
                       generator=torch.Generator().manual_seed(0),
                       losses=lambda net: [F.cross_entropy(net(x), y)])
    assert thin.layer3[0].conv1.out_channels in range(8, 64, 8)


def test_a_thin_net_can_be_masked_and_quantized_and_come_back(tmp_path):
    model, x = built("resnet8", width=16)
    thin = prune.prune(model, "magnitude_l1", 0.5, "channel", calibration=x)
    small = quant.ptq(prune.prune(thin, "magnitude_l1", 0.5), "gptq", bits=4, calibration=x)
    assert prune.sparsity(small) >= 0.5
    packing.save(small, tmp_path / "small.safetensors")
    back = packing.load(model, tmp_path / "small.safetensors")
    assert torch.equal(back(x), small(x))


def test_depthwise_convolutions_lose_their_channels_with_what_comes_before(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 32, 1), nn.BatchNorm2d(32), nn.ReLU(),
                        nn.Conv2d(32, 32, 3, groups=32), nn.ReLU(), nn.Conv2d(32, 8, 1)).eval()
    x = torch.randn(4, 3, 8, 8)
    thin = prune.prune(net, "magnitude_l1_layer", 0.5, "channel", calibration=x)
    assert (thin[0].out_channels, thin[3].groups, thin[5].in_channels) == (16, 16, 16)
    packing.save(thin, tmp_path / "thin.safetensors")
    assert torch.equal(packing.load(net, tmp_path / "thin.safetensors")(x), thin(x))


def test_what_cannot_be_narrowed_is_said():
    model, x = built("resnet8")
    with pytest.raises(ValueError, match="pass calibration="):
        prune.prune(model, "magnitude_l1", 0.5, "channel")
    with pytest.raises(ValueError, match="quantized already; remove channels before"):
        prune.prune(quant.ptq(model, "affine"), "magnitude_l1", 0.5, "channel", calibration=x)
    with pytest.raises(ValueError, match="no channels of Linear can be removed"):
        prune.prune(nn.Linear(4, 4), "magnitude_l1", 0.5, "channel", calibration=torch.ones(2, 4))


def test_a_file_cannot_ask_for_widths_that_are_none():
    from lib.layers.widths import narrow
    for shape in ([32, 3, 3, 3], [8, 3, 5, 3], [8, 3], [0, 3, 3, 3], "8333", [True, 3, 3, 3]):
        with pytest.raises(ValueError, match="cannot have a weight of shape"):
            narrow(models.build("resnet8", task()), {"conv1": shape})
