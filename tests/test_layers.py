"""The one walk, the forms in which tensors are stored, and the file that has the stated size."""

import json
import struct
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils import prune as torch_prune
from torch.nn.utils import spectral_norm as hooked_spectral_norm

from lib import energy, measure, models, prune, quant
from lib.layers import files, masks
from lib.layers.discovery import Found
from lib.layers.recomputed import bare_copy
from lib.layers.walk import left_float, stored
from lib.quant import fold, packing

IMAGES = SimpleNamespace(inputs=(1, 8, 8), outputs=10, kind="image", mean=torch.zeros(1),
                         std=torch.ones(1))
SERIES = SimpleNamespace(inputs=(3, 64), outputs=5, kind="series", mean=torch.zeros(3),
                         std=torch.ones(3))


def net() -> nn.Module:
    """A ResNet-8 whose batch-norms are not what they were built with."""
    model = models.build("resnet8", IMAGES, width=4)
    draw = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if "bn" in name and tensor.is_floating_point():
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
    return model.eval()


def inputs(n: int = 32) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def masked() -> nn.Module:
    model = net()
    for layer in (model.conv1, model.layer2[0].conv1, model.linear):
        torch_prune.l1_unstructured(layer, "weight", 0.9)
    return model


def folded(**options) -> nn.Module:
    return quant.ptq(fold.fold_batch_norm(net()), "affine", bits=4, **options)


KINDS = {
    "float": net,
    "half": lambda: net().half(),
    "masked": masked,
    "pruned": lambda: prune.prune(net(), amount=0.9),
    "pruned a little": lambda: prune.prune(net(), amount=0.02),
    "pruned by edge": lambda: prune.prune(net(), "edge", amount=0.5),
    "quantized": lambda: quant.ptq(net(), "affine", bits=3),
    "half quantized": lambda: quant.ptq(net().half(), "affine", bits=3),
    "quantized by edge": lambda: quant.ptq(net(), "edge_nearest_normal", bits=4, axis=None),
    "codebooks, then pruned": lambda: prune.prune(quant.ptq(net(), "kmeans", bits=6), amount=0.9),
    "normal, then pruned": lambda: prune.prune(quant.ptq(net(), "nearest_normal", 6), amount=0.5),
    "groups, then pruned": lambda: prune.prune(quant.ptq(net(), "affine", 8, group=5), amount=0.95),
    "pruned, then quantized": lambda: quant.ptq(prune.prune(net(), amount=0.9), "affine", bits=4),
    "pruned, then points": lambda: quant.ptq(prune.prune(net(), amount=0.9), "multipoint", bits=4),
    "masked, then quantized": lambda: quant.ptq(masked(), "affine", bits=8),
    "folded": folded,
    "folded, W4A8": lambda: folded(a_bits=8, calibration=inputs()),
    "dynamic, smooth": lambda: quant.ptq(net(), "affine", 4, a_bits=4, a_method="dynamic",
                                         calibration=inputs(), smooth=0.5),
    "bias corrected": lambda: fold.correct_bias(
        quant.ptq(net(), "edge_nearest_uniform", 6, axis=None), net(), inputs()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_the_measured_size_and_gives_the_model_back(kind, tmp_path):
    model, path = KINDS[kind](), tmp_path / "model.safetensors"
    size = measure.size(model)
    payload = packing.save(model, path)
    header = 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert payload == size["size_bytes"] == path.stat().st_size - header
    assert payload == energy.layers(model, inputs(1).to(model.linear.bias.dtype)).weight_bytes.sum()
    back = packing.load(net(), path)
    assert measure.size(back) == size
    x = inputs().to(model.linear.bias.dtype)
    with torch.no_grad():
        assert torch.equal(model(x), back.to(x.dtype)(x))
    assert prune.sparsity(back) == size["sparsity"]


@pytest.mark.parametrize("before", ["float", "quantized"])
def test_a_net_pruned_by_nine_tenths_takes_a_fraction(before, tmp_path):
    dense = KINDS[before]()
    thin = prune.prune(dense, amount=0.9)
    sizes = [packing.save(model, tmp_path / "x") for model in (dense, thin)]
    weights = [sum(t.size_bytes for t in stored(m) if t.role == "weight") for m in (dense, thin)]
    assert sizes[0] - sizes[1] == weights[0] - weights[1]
    count = sum(t.elements for t in stored(thin) if t.role == "weight")
    if before == "float":
        assert weights[1] <= count / 8 + 4 * (0.1 * count + 20)     # no more than bitmasks take
    assert weights[1] < 0.7 * weights[0]


def test_zeros_from_rounding_need_no_codes_either(tmp_path):
    model = quant.ptq(net(), "affine", bits=2)
    weights = [t for t in stored(model) if t.role == "weight"]
    assert min(t.nonzero / t.elements for t in weights) < 0.5       # a mask is smaller
    assert any(t.form != "dense" for t in weights) and not any(t.pruned for t in weights)
    assert all(t.size_bytes == t.quantized.size_bytes for t in weights)
    assert all(t.size_bytes <= t.quantized.dense_bytes for t in weights)
    packing.save(model, tmp_path / "x")
    assert not any(t.pruned for t in stored(packing.load(net(), tmp_path / "x")))


@pytest.mark.parametrize("method", ["affine", "kmeans", "nearest_normal", "gptq"])
@pytest.mark.parametrize("bits", [2, 4])
def test_the_word_pruned_earns_no_bytes(method, bits):
    """Pruned by nothing and rounded: the same codes as rounded alone, and the same bytes."""
    plain = quant.ptq(net(), method, bits=bits, calibration=inputs())
    named = quant.ptq(prune.prune(net(), amount=0.0), method, bits=bits, calibration=inputs())
    assert any(t.pruned for t in stored(named)) and not any(t.pruned for t in stored(plain))
    assert measure.size(named) == measure.size(plain)


def test_zeros_that_nobody_chose_need_no_values():
    layer = nn.Linear(64, 64)
    with torch.no_grad():
        layer.weight[1:] = 0
        layer.bias.zero_()
    weight, bias = stored(layer)
    assert (weight.form, bias.form) == ("indices", "dense")
    assert weight.size_bytes == 64 * 4 + 64 * 12 // 8 and bias.size_bytes == 256


def test_where_rounding_made_more_zeros_the_mask_serves_them_too():
    model = quant.ptq(prune.prune(net(), amount=0.9), "affine", bits=8)
    tensor = next(t for t in stored(model) if t.name == "layer3.0.conv2.weight")
    q, n = tensor.quantized, tensor.elements
    assert tensor.form in ("bitmask", "indices") and q.dense_bytes == n + q.table_bytes
    assert tensor.size_bytes == q.size_bytes == q.table_bytes + q.nonzero \
        + masks.place_bytes(tensor.form, n, q.nonzero)


# ---- forms ----

@given(count=st.integers(1, 300), share=st.floats(0, 1), seed=st.integers(0, 99),
       form=st.sampled_from(["bitmask", "indices"]))
def test_places_come_back_from_their_bytes(count, share, seed, form):
    kept = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < share
    packed, number = masks.pack_places(form, kept), int(kept.sum())
    assert packed.numel() == masks.place_bytes(form, count, number)
    assert torch.equal(masks.unpack_places(form, packed, count, number), kept)


@pytest.mark.parametrize(("kept", "form", "size"), [
    (1024, "dense", 4096), (1000, "dense", 4096), (512, "bitmask", 128 + 2048),
    (102, "bitmask", 128 + 408), (101, "indices", 127 + 404), (10, "indices", 13 + 40),
    (0, "indices", 0)])
def test_the_smallest_form_is_taken(kept, form, size):
    assert masks.smallest(1024, kept, lambda k: 4 * k) == form
    values = masks.place_bytes(form, 1024, kept) + 4 * (1024 if form == "dense" else kept)
    assert values == size


def test_places_that_do_not_fit_are_refused():
    packed = masks.pack_places("bitmask", torch.tensor([True, False, True]))
    with pytest.raises(ValueError, match="2 places are marked for 1"):
        masks.unpack_places("bitmask", packed, 3, 1)
    with pytest.raises(ValueError, match="beyond the 9 values"):
        masks.unpack_places("indices", torch.tensor([15], dtype=torch.uint8), 9, 1)


# ---- the walk ----

def test_roles_and_names_of_a_net():
    roles = {t.name: (t.kind, t.role) for t in stored(net())}
    assert roles["conv1.weight"] == ("Conv2d", "weight")
    assert roles["bn1.weight"] == ("BatchNorm2d", "vector")
    assert roles["bn1.running_var"] == ("BatchNorm2d", "buffer")
    assert roles["linear.bias"] == ("Linear", "bias")
    assert roles["mean"] == roles["std"] == ("CifarResNet", "buffer")
    assert not any("num_batches" in name for name in roles)
    tokens = {t.name: t.role for t in stored(models.build("transformer_small", SERIES))}
    assert tokens["class_token"] == "vector" and "positions" not in tokens
    table = SimpleNamespace(inputs=(4,), outputs=1, mean=torch.zeros(4), std=torch.ones(4))
    waves = models.build("mlp_simple", table, periodic=(0, 1))
    assert next(t.role for t in stored(waves) if t.name == "frequencies") == "vector"


def test_input_statistics_are_stored_and_positions_are_not(tmp_path):
    model = models.build("transformer_small", SERIES)
    assert {"mean", "std", "typical", "spread"} <= {t.name for t in stored(model)}
    assert "positions" not in {t.name for t in stored(model)}
    table = SimpleNamespace(inputs=(4,), outputs=1, mean=torch.zeros(4), std=torch.ones(4))
    moved = models.build("mlp_simple", SimpleNamespace(**vars(table) | {"mean": torch.rand(4)}))
    packing.save(moved, tmp_path / "x")
    back = packing.load(models.build("mlp_simple", table), tmp_path / "x")
    assert torch.equal(back.mean, moved.mean) and not torch.equal(back.mean, table.mean)


def test_a_shared_weight_and_a_module_of_two_names_are_stored_once(tmp_path):
    def tied() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        model[2].weight = model[0].weight
        model.add_module("3", model[0])
        return model

    size = measure.size(tied())
    assert (size["params"], size["size_bytes"]) == (64 + 16, 320)
    assert [t.places for t in stored(tied())][0] == (("0", "weight"), ("2", "weight"))
    small = prune.prune(quant.ptq(tied(), "affine", bits=4), amount=0.5)
    assert small[0].weight is small[2].weight
    packing.save(small, tmp_path / "tied")
    back = packing.load(tied(), tmp_path / "tied")
    for model in (small, back):
        for layer in (model[0], model[2]):
            assert torch.equal(layer.weight, layer.compressed["weight"].dequantize())
        assert measure.size(model)["size_bytes"] == (tmp_path / "tied").stat().st_size - 8 - \
            struct.unpack("<Q", (tmp_path / "tied").read_bytes()[:8])[0]
    assert energy.layers(small, torch.rand(1, 8)).macs_nonzero.sum() == 3 * small[0].weight.\
        count_nonzero()


@pytest.mark.parametrize("wrap", [
    parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal,
    hooked_spectral_norm, nn.utils.weight_norm,
    lambda layer: torch_prune.l1_unstructured(layer, "weight", 0.25)])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_what_a_layer_recomputes_is_stored_as_it_computes(wrap):
    torch.manual_seed(0)
    layer = nn.Linear(8, 8)
    wrap(layer)
    layer.train()
    kept = {name: t.clone() for name, t in layer.state_dict().items()}
    weight = next(t for t in stored(layer) if t.name == "weight")
    assert [t.name for t in stored(layer)].count("weight") == 1 and len(stored(layer)) == 2
    assert (weight.kind, weight.role) == ("Linear", "weight")
    thin = prune.prune(layer, amount=0.5)
    assert all(torch.equal(t, kept[name]) for name, t in layer.state_dict().items())
    assert thin.training and list(thin.state_dict()) == ["bias", "weight"]
    layer.eval(), thin.eval()
    x = torch.eye(8)
    with torch.no_grad():
        assert torch.allclose(layer(x) - layer.bias, weight.value.T, atol=1e-6)
        assert ((thin(x) - thin.bias).T == 0).float().mean() == prune.sparsity(thin) == 0.5
        assert torch.equal(bare_copy(layer)(x), layer(x))


def test_a_mask_counts_everywhere_alike():
    class Mask(nn.Module):
        def forward(self, w):
            return w * (torch.arange(w.numel()).view_as(w) % 4 == 0)

    model = nn.Sequential(nn.Linear(8, 16, bias=False))
    parametrize.register_parametrization(model[0], "weight", Mask())
    size = measure.size(model)
    assert size["sparsity"] == prune.sparsity(model) == 0.75
    assert size["sparsity"] == energy.layers(model, torch.rand(1, 8)).sparsity[0]
    assert size["params"] == 128 and size["nonzero"] == 32
    assert size["size_bytes"] == 128 // 8 + 4 * 32 and size["bits_per_weight"] == 9


def test_bits_a_weight_are_those_that_are_stored():
    model = quant.ptq(nn.Sequential(*(nn.Linear(64, 64) for _ in range(3))), "edge_multipoint",
                      bits=8, axis=None)
    points = sum(m.compressed["weight"].size_bytes for m in (model[1], model[2]))
    assert measure.size(model)["bits_per_weight"] == 8 * (4 * 64**2 + points) / (3 * 64**2)
    assert measure.size(model)["bits_per_weight"] == pytest.approx((32 + 2 * 72) / 3, abs=0.1)
    assert measure.size(nn.Linear(8, 8).bfloat16())["bits_per_weight"] == 16


def test_layers_that_no_method_covers_are_named():
    model = nn.ModuleDict({"reader": nn.LSTM(4, 4), "words": nn.Embedding(9, 4),
                           "up": nn.ConvTranspose1d(4, 4, 3), "answer": nn.Linear(4, 2),
                           "norm": nn.LayerNorm((4, 4)), "look": nn.MultiheadAttention(4, 2)})
    told = ["reader (LSTM)", "words (Embedding)", "up (ConvTranspose1d)",
            "look (MultiheadAttention)"]
    small = quant.ptq(model, "affine", bits=4)
    assert left_float(model) == left_float(net()) == []             # nothing was quantized
    assert left_float(small) == measure.size(small)["left_float"] == ["words (Embedding)"]
    assert left_float(quant.ptq(model, "affine", bits={"answer": 4})) == [
        *told, "look.out_proj (NonDynamicallyQuantizableLinear)"]


def test_a_weight_that_an_unknown_hook_makes_is_refused():
    layer = nn.Linear(4, 4)
    made = layer.weight.detach()
    del layer._parameters["weight"]
    layer.raw = nn.Parameter(made)
    layer.register_forward_pre_hook(lambda m, args: setattr(m, "weight", 2 * m.raw))
    with pytest.raises(ValueError, match="weight of the model is no parameter"):
        measure.size(layer)


# ---- files ----

def test_a_file_says_how_its_model_was_built(tmp_path):
    table = SimpleNamespace(inputs=(4,), outputs=1, mean=torch.zeros(4), std=torch.ones(4))
    model = models.build("mlp_simple", table, hidden=(18, 11))
    packing.save(quant.ptq(model, "affine", bits=4), tmp_path / "x")
    arguments = packing.build_arguments(tmp_path / "x")
    assert arguments == {"name": "mlp_simple", "hidden": (18, 11)}
    back = packing.load(models.build(task=table, **arguments), tmp_path / "x")
    assert back.layers[0].compressed["weight"].bits == 4
    packing.save(nn.Linear(2, 2), tmp_path / "y")
    assert packing.build_arguments(tmp_path / "y") is None


def test_loading_replaces_what_the_given_model_had(tmp_path):
    packing.save(net(), tmp_path / "x")
    back = packing.load(prune.prune(quant.ptq(net(), "affine", bits=2)), tmp_path / "x")
    assert measure.size(back) == measure.size(net())


def test_weights_changed_after_quantizing_are_not_written(tmp_path):
    small = quant.ptq(net(), "affine", bits=4)
    with torch.no_grad():
        small.conv1.weight.add_(1)
    with pytest.raises(ValueError, match="conv1.weight was changed after it was quantized"):
        packing.save(small, tmp_path / "x")


def damaged(path, change) -> None:
    """Rewrite the file with its header and payload changed."""
    raw = path.read_bytes()
    end = 8 + struct.unpack("<Q", raw[:8])[0]
    about = json.loads(raw[8:end])["__metadata__"]
    payload = torch.frombuffer(bytearray(raw[end:]), dtype=torch.uint8)
    header = json.loads(about["model"])
    payload = change(header, payload) if change else payload
    save_file({"payload": payload}, path, about | {"model": json.dumps(header)})


def first(header) -> list:
    """The line of the first quantized tensor."""
    return next(line for line in header["tensors"] if line[5])


def field(index: int, value, code: bool = False):
    def change(header, payload):
        (first(header)[5] if code else first(header))[index] = value
        return payload
    return change


@pytest.mark.parametrize("change", [
    lambda header, payload: payload[:-1],
    lambda header, payload: payload.float(),
    lambda header, payload: payload if header.pop("tensors") else None,
    lambda header, payload: header["tensors"].append(first(header)) or payload,
    lambda header, payload: header["tensors"].append(7) or payload,
    lambda header, payload: header["identities"].append("conv1") or payload,
    lambda header, payload: header["identities"].append("nowhere") or payload,
    lambda header, payload: header["added"].append(["conv1.activation", "Other", {}]) or payload,
    lambda header, payload: header["added"].append(["conv1.activation", "Activation", {"x": 1}])
    or payload,
    field(0, "nowhere.weight"), field(0, 3), field(1, "complex64"), field(1, "nn"),
    field(2, [4, 1, 3, 2**39]), field(2, [4, -1, 3, 3]), field(2, "4"), field(3, "pickle"),
    field(4, 2**60), field(4, True), field(5, []),
    field(0, "Module", code=True), field(3, 1, code=True), field(3, 2**50, code=True),
    field(4, 1, code=True), field(5, "x", code=True), field(6, [2**30], code=True),
    field(7, [["scale", "float32", [2**35, 1]]], code=True), field(7, [["x"]], code=True),
    field(0, "Normal", code=True), field(0, "Codebook", code=True),
    field(7, [["scale", "float32", [1, 4]], ["zero", "uint8", [4, 1]]], code=True),
    lambda header, payload: header["added"].append(["conv1", "Folded", {}]) or payload,
    lambda header, payload: header["added"].append(["bn1", "Activation", {}]) or payload])
def test_damaged_files_are_refused_in_a_sentence(change, tmp_path):
    path = tmp_path / "model.safetensors"
    packing.save(quant.ptq(prune.prune(net(), amount=0.5), "affine", bits=8), path)
    damaged(path, None)
    packing.load(net(), path)                                # whole as it is
    damaged(path, change)
    with pytest.raises(ValueError, match="model.safetensors (is damaged|was saved from another)"):
        packing.load(net(), path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ValueError, match="damaged or no safetensors"):
        packing.load(net(), path)
    save_file({"payload": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="no file of a compressed model"):
        packing.load(net(), path)
    packing.save(nn.Sequential(nn.Linear(2, 2)), path)
    with pytest.raises(ValueError, match="saved from another model"):
        packing.load(net(), path)
    packing.save(folded(a_bits=8, calibration=inputs()), path)
    with pytest.raises(ValueError, match="rebuild the Activation 'conv1.activation'"):
        files.load(net(), path)


# ---- methods by name ----

def test_a_new_file_adds_a_method_and_only_the_file_asked_for_is_imported(tmp_path, monkeypatch):
    package = tmp_path / "toy_methods"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text('NAMES = ("a", "b")\nMETHODS = {"a": 1, "b": 2}\n')
    (package / "broken.py").write_text('NAMES = ("c",)\nraise RuntimeError\n')
    (package / "other.py").write_text("METHODS = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = Found("toy_methods", package)
    assert list(found) == ["c", "a", "b"] and found["b"] == 2 and "c" in found and len(found) == 3
    assert found.file_of("c") == package / "broken.py"
    with pytest.raises(RuntimeError):
        found["c"]
    with pytest.raises(ValueError, match="choose one of: c, a, b"):
        found.file_of("d")
    (package / "twice.py").write_text('NAMES = ("a",)\n')
    with pytest.raises(ValueError, match="'a' is in NAMES of"):
        list(Found("toy_methods", package))


@pytest.mark.parametrize("found", [quant.METHODS, prune.METHODS, models.MODELS],
                         ids=["quant", "prune", "models"])
def test_files_list_what_they_define(found):
    for name in found:
        module = found.module_of(name)
        assert module.NAMES == tuple(getattr(module, found.table)), module.__name__
        assert set(getattr(module, "RANDOM", ())) <= set(module.NAMES)


def test_methods_that_draw_at_random_say_so():
    draw = {name for name in quant.METHODS if quant.is_random(name)}
    assert draw == {n for n in quant.METHODS if "stochastic" in n} | {"brecq", "edge_multipoint"}
    w = 100 * torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    for name in set(quant.METHODS) - {"brecq", "gptq", "adaround"}:
        made = [quant.quantize(w, name, bits=3, generator=torch.Generator().manual_seed(seed))
                for seed in (0, 1)]
        same = torch.equal(made[0].dequantize(), made[1].dequantize())
        assert same != quant.is_random(name), name
    with pytest.raises(ValueError, match="no quantizer 'x'; choose one of"):
        quant.is_random("x")
    assert quant.file_of("gptq").name == "rounding.py" and prune.file_of("edge").name == "edge.py"
