"""Counting: formulas against torch's own counter, bytes against what is stored."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from lib import energy, models, prune
from tests.test_models import DIGITS, IMAGES, WINDOWS, like
from tests.toys import blobs

NETS = [("mlp_simple", like((13,), 2), 150), ("mlp_complex", like((10,), 1), 20_550),
        ("cnn_edge", IMAGES, 135e6), ("resnet9", IMAGES, 379e6), ("resnet20", IMAGES, 41e6),
        ("resnet18", IMAGES, 37e6), ("transformer_base", WINDOWS, None),
        ("transformer_t1", WINDOWS, None), ("transformer_t2", WINDOWS, None)]


def one(task) -> torch.Tensor:
    return torch.rand(1, *task.inputs)


@pytest.mark.parametrize("name, task, about", NETS, ids=[n for n, _, _ in NETS])
def test_multiply_accumulates_are_those_torch_counts(name, task, about):
    model = models.build(name, task).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(one(task))
    counted = energy.macs(model, one(task))
    assert 2 * counted == counter.get_total_flops()
    if about:
        assert counted == pytest.approx(about, rel=0.02)


def test_closed_form_of_a_transformer():
    tokens, d, ff, depth = 39, 32, 256, 8                 # T1 on 151 samples, patches of 4
    layer = tokens * (4 * d * d + 2 * d * ff) + 2 * tokens * tokens * d
    last = 2 * tokens * d * d + (2 * d * d + 2 * d * ff) + 2 * tokens * d     # one token asks
    outside = 38 * 4 * 4 * d + d * ff + ff * 9            # patches of 4 channels, head
    assert energy.macs(models.build("transformer_t1", WINDOWS), one(WINDOWS)) == \
        (depth - 1) * layer + last + outside


def test_groups_divide_the_count():
    for groups in (1, 4):
        net = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1, groups=groups),
                            nn.Flatten(), nn.Linear(12 * 25, 3))
        table = energy.layers(net, torch.rand(1, 8, 5, 5))
        assert table.macs.tolist() == [25 * 12 * 8 // groups * 9, 12 * 25 * 3]
        assert table.activation_bytes.tolist() == [4 * 25 * (8 + 12), 4 * (12 * 25 + 3)]
        assert table.type.tolist() == ["Conv2d", "Linear"]


def test_other_convolutions_are_counted_and_what_is_not_known_is_missing():
    kinds = [(nn.Conv3d(2, 3, 3), (2, 5, 5, 5)), (nn.ConvTranspose1d(4, 6, 3, groups=2), (4, 9)),
             (nn.ConvTranspose2d(2, 3, 3, stride=2), (2, 5, 5))]
    for layer, shape in kinds:
        counter, x = FlopCounterMode(display=False), torch.rand(1, *shape)
        with counter, torch.no_grad():
            layer(x)
        assert 2 * energy.macs(layer, x) == counter.get_total_flops() > 0
    words = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))
    assert energy.macs(words, torch.zeros(1, 3, dtype=torch.long)) == 3 * 4 * 2
    net = nn.ModuleDict({"first": nn.Linear(4, 4), "second": nn.Bilinear(4, 4, 2)})
    net.forward = lambda x: net["second"](net["first"](x), x)
    table = energy.layers(net, torch.rand(1, 2, 4)).set_index("layer")
    assert table.macs["first"] == 32 and table.macs.isna()["second"]
    assert table.macs_nonzero.isna()["second"]
    assert energy.macs(net, torch.rand(1, 2, 4)) is None


def attended(look: nn.MultiheadAttention, asking: torch.Tensor, keys: torch.Tensor) -> int:
    """By hand: projections, q kᵀ, the mean of values, the last projection; of all askers."""
    d, askers, tokens = look.embed_dim, asking.numel() // asking.shape[-1], keys.numel() // \
        keys.shape[-1]
    met = tokens + (look.bias_k is not None) + look.add_zero_attn
    return askers * d * d + tokens * (look.kdim + look.vdim) * d + 2 * askers * met * d + \
        askers * d * d


@pytest.mark.parametrize("options, askers, tokens", [
    ({}, 5, 5), ({"bias": False}, 5, 7), ({"kdim": 6, "vdim": 6}, 3, 4),
    ({"add_bias_kv": True, "add_zero_attn": True}, 4, 2)])
def test_attention_multiplies_by_four_weights_and_twice_by_activations(options, askers, tokens):
    look = nn.MultiheadAttention(8, 2, batch_first=True, **options)
    asking, keys = torch.rand(1, askers, 8), torch.rand(1, tokens, look.kdim)
    net = nn.ModuleDict({"look": look})
    net.forward = lambda x: net["look"](query=x, key=keys, value=keys)[0]
    table = energy.layers(net, asking).set_index("layer")
    assert table.macs.sum() == attended(look, asking, keys)
    assert table.macs["look.out_proj"] == askers * 8 * 8
    thin = prune.prune(net, amount=0.5)
    thin.forward = lambda x: thin["look"](x, keys, keys)[0]
    saved = energy.layers(thin, asking)
    dense = 2 * askers * (tokens + 2 * ("add_bias_kv" in options)) * 8
    assert saved.macs_nonzero.sum() == pytest.approx(
        dense + (table.macs.sum() - dense) / 2, rel=0.3)
    assert saved.macs_nonzero.sum() >= dense


def test_torchs_own_encoder_is_counted_layer_by_layer():
    net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    table = energy.layers(net, torch.rand(1, 5, 8)).set_index("layer")
    assert table.macs["linear1"] == table.macs["linear2"] == 5 * 8 * 16
    assert table.macs.sum() == 5 * (2 * 8 * 16 + 4 * 8 * 8 + 2 * 5 * 8)


@pytest.mark.parametrize("layer, shape, macs", [
    (nn.LSTM(4, 6), (1, 2, 4), 2 * 4 * 6 * (4 + 6)),
    (nn.LSTM(4, 6, 2, bidirectional=True, batch_first=True), (1, 5, 4),
     5 * 2 * 4 * 6 * (4 + 6 + 12 + 6)),
    (nn.LSTM(4, 6, proj_size=3), (1, 1, 4), 4 * 6 * (4 + 3) + 6 * 3),
    (nn.GRU(4, 6), (1, 3, 4), 3 * 3 * 6 * (4 + 6)), (nn.RNN(4, 6), (1, 3, 4), 3 * 6 * (4 + 6)),
    (nn.GRUCell(4, 6), (1, 4), 3 * 6 * (4 + 6)), (nn.LSTMCell(4, 6), (1, 4), 4 * 6 * (4 + 6))])
def test_recurrent_weights_serve_once_a_step(layer, shape, macs):
    assert energy.macs(nn.Sequential(layer), torch.rand(*shape)) == macs


def test_products_with_zero_weights_are_told_apart():
    model = models.build("resnet8", DIGITS, width=4)
    thin = prune.prune(model, amount=0.7)
    table = energy.layers(thin, one(DIGITS)).set_index("layer")
    assert table.macs.equals(energy.layers(model, one(DIGITS)).set_index("layer").macs)
    conv = thin.layer2[0].conv1
    assert table.macs_nonzero["layer2.0.conv1"] == 16 * int(conv.weight.count_nonzero())
    assert 0 < table.macs_nonzero.sum() < 0.7 * table.macs.sum()


def test_bytes_are_all_that_is_stored():
    for name, task in (("resnet8", DIGITS), ("cnn_edge", IMAGES), ("transformer_base", WINDOWS)):
        model = models.build(name, task)
        remade = {"positions"}
        stored = sum(v.numel() * 4 for key, v in (*model.named_parameters(), *model.named_buffers())
                     if v.is_floating_point() and key not in remade)
        table = energy.layers(model, one(task))
        assert table.weight_bytes.sum() == stored
        assert table.layer.is_unique


def test_a_layer_used_twice_multiplies_twice_and_is_stored_once():
    layer = nn.Linear(4, 4)
    net = nn.Sequential(layer, layer)
    table = energy.layers(net, torch.rand(1, 4))
    assert table[["macs", "weight_bytes"]].to_numpy().tolist() == [[32, 80]]


def test_compressed_layers_tell_their_own_bits_and_bytes():
    model = models.build("mlp_simple", like((5,), 2))
    first = model.layers[0]
    first.compressed = {"weight": SimpleNamespace(
        bits=4, size_bytes=33, dense_bytes=33, nonzero=20, codes=torch.zeros(10, 5))}
    first.a_bits = 8
    table = energy.layers(model, torch.rand(1, 5)).set_index("layer")
    small, usual = table.loc["layers.0"], table.loc["layers.2"]
    assert (small.w_bits, small.a_bits, small.weight_bytes) == (4, 8, 33 + 4 * 10)
    assert small.sparsity == pytest.approx(1 - 20 / 50) and small.activation_bytes == 5 + 10
    assert (usual.w_bits, usual.a_bits, usual.sparsity) == (32, 32, 0)


def test_zeros_behind_a_parametrization_count_as_zeros():
    class Mask(nn.Module):
        def forward(self, weight):
            return weight * (torch.arange(weight.numel()).reshape(weight.shape) % 4 == 0)

    model = models.build("mlp_simple", like((8,), 2))
    before = energy.layers(model, torch.rand(1, 8))
    parametrize.register_parametrization(model.layers[0], "weight", Mask())
    after = energy.layers(model, torch.rand(1, 8))
    masked = ["sparsity", "macs_nonzero", "weight_bytes"]
    # Without hardware that skips zeros they are read and multiplied like others.
    assert after.drop(columns=masked).equals(before.drop(columns=masked))
    after, statistics = after.iloc[1:], 2 * 4 * 8
    assert before.weight_bytes[0] == statistics         # the net's own line
    assert after.sparsity.tolist() == [0.75, 0.0]
    assert after.macs.tolist() == [80, 20] and after.macs_nonzero.tolist() == [20, 20]
    assert after.weight_bytes.tolist() == [80 // 8 + 4 * 20 + 4 * 10, before.weight_bytes[2]]


def test_counting_leaves_the_model_as_it_was():
    model = models.build("resnet18", IMAGES, width=4, frozen=True).train()
    modes = [m.training for m in model.modules()]
    assert True in modes and False in modes               # the frozen part rests
    kept = copy.deepcopy(model.state_dict())
    energy.layers(model, one(IMAGES))
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(kept[k], v) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())
    with pytest.raises(RuntimeError):
        energy.layers(model, torch.rand(1, 5, 32, 32))    # five channels: fails half-way
    assert modes == [m.training for m in model.modules()]
    assert not any(m._forward_hooks for m in model.modules())


def test_batches_are_refused():
    with pytest.raises(ValueError, match=r"x\[:1\]"):
        energy.layers(models.build("resnet8", DIGITS), torch.rand(2, 1, 8, 8))


def test_models_without_layers_have_no_count():
    task = blobs()
    assert energy.macs(models.build("majority", task).fit(task), task.test.x[:1]) is None


def test_ptflops_is_near_and_leaves_the_model_alone():
    model = models.build("resnet20", IMAGES)
    before = set(dir(model))
    ratio = energy.ptflops_macs(model, IMAGES.inputs) / energy.macs(model, one(IMAGES))
    assert 1 < ratio < 1.03                               # it counts norms and activations too
    assert set(dir(model)) == before
