"""Models that people bring: each is computed right, refused in a sentence, or left float and
named."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.utils.prune as torch_prune
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.data import DataLoader, TensorDataset

from lib import energy, measure, prune, quant
from lib.layers.walk import check_codes, left_float, stored
from lib.quant import fold, packing
from lib.quant.allocate import sensitivity
from tests.toys import blobs

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
LEARNED = {"brecq": {"steps": 5}, "gptq": {}, "adaround": {"steps": 5}}


def mlp(*middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), *middle, nn.ReLU(), nn.Linear(16, 3)).eval()


class Called(nn.Module):
    """Calls its layer as a person might; answers as a person's model might."""

    def __init__(self, keyword: bool = False, answer=lambda y: y) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.keyword, self.answer = nn.Linear(8, 8), keyword, answer

    def forward(self, x):
        return self.answer(self.fc(input=x) if self.keyword else self.fc(x))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.out = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(torch.relu(self.a(torch.relu(self.a(x)))))


# ---- calls and answers ----

@pytest.mark.parametrize("method", ["gptq", "adaround", "brecq", "multipoint"])
def test_a_keyword_call_is_a_call(method):
    more = {"steps": 5} if method in ("adaround", "brecq") else {}
    plain, keyword = (quant.ptq(Called(k).eval(), method, bits=3, calibration=X,
                                generator=torch.Generator().manual_seed(0), **more)
                      for k in (False, True))
    assert torch.equal(plain.fc.weight, keyword.fc.weight)
    assert energy.macs(keyword, X[:1]) == 64
    rounded = [quant.ptq(Called(k).eval(), "affine", bits=8, a_bits=4, calibration=X, smooth=0.5)
               for k in (False, True)]
    assert torch.equal(rounded[0](X), rounded[1](X)) and not torch.equal(rounded[0](X), plain(X))


@pytest.mark.parametrize("wrapped", [
    lambda y: {"logits": y, "hidden": y}, lambda y: (y, None), lambda y: [y]])
def test_an_answer_within_a_dict_or_a_tuple_is_found(wrapped):
    plain, other = Called().eval(), Called(answer=wrapped).eval()
    for method, more in LEARNED.items():
        a, b = (quant.ptq(net, method, bits=3, calibration=X,
                          generator=torch.Generator().manual_seed(0), **more)
                for net in (plain, other))
        assert torch.equal(a.fc.weight, b.fc.weight), method
    assert sensitivity(plain, X)["error"].tolist() == sensitivity(other, X)["error"].tolist()


def test_an_answer_that_is_not_clear_is_refused():
    with pytest.raises(ValueError, match="a tuple with 2 tensors"):
        quant.ptq(Called(answer=lambda y: (y, y)).eval(), "brecq", bits=3, calibration=X, steps=2)


@pytest.mark.parametrize("form", [
    X.numpy(), [X[:32], X[32:]], [X[:32].numpy(), X[32:].numpy()], {"x": X}, {"x": X.numpy()},
    (X,), DataLoader(X, 32), DataLoader(TensorDataset(X, torch.zeros(64)), 32),
    DataLoader([{"x": x} for x in X], 32), X.double()])
def test_calibration_comes_in_any_form(form):
    right = quant.ptq(Called().eval(), "gptq", bits=3, calibration=X)
    assert torch.equal(quant.ptq(Called().eval(), "gptq", bits=3, calibration=form).fc.weight,
                       right.fc.weight)
    for repaired in (fold.correct_bias(right, Called(), form),
                     quant.ptq(Called(), "affine", bits=8, a_bits=8, calibration=form)):
        assert (repaired(X) - Called()(X)).abs().mean() < 0.5


@pytest.mark.parametrize("form, said", [
    ("text", "holds a str"), ([], "no batch"), (X[:0], "at least one"), ([(X, X, X)], "3 tensors"),
    ((X, X[:3]), "same number"), ([X, X.numpy()[:, :3]], "do not fit together"),
    ({"x": [1, 2]}, "holds a list"), (np.array(["a"]), "holds a ndarray")])
def test_calibration_that_is_none_is_refused_in_a_sentence(form, said):
    with pytest.raises(ValueError, match=said):
        quant.ptq(Called().eval(), "gptq", bits=3, calibration=form)


# ---- dtypes, meta tensors ----

@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("method, more", [
    ("affine", {}), ("affine", {"a_bits": 8, "a_method": "dynamic"}), ("affine", {"a_bits": 16}),
    ("affine", {"smooth": 0.5}), ("gptq", {}), ("kmeans", {}), ("multipoint", {}), ("hqq", {}),
    ("stochastic_normal", {}), ("edge_nearest_uniform", {}), ("adaround", {"steps": 5})])
def test_models_of_other_floats_answer_nearly_the_same(dtype, method, more):
    # The calibration inputs are 32-bit ones, as a task's are.
    small = quant.ptq(mlp().to(dtype), method, bits=8, calibration=X, **more)
    check_codes(small)
    right = mlp()(X)
    assert small[0].weight.dtype == dtype and small(X.to(dtype)).dtype == dtype
    assert (small(X.to(dtype)).float() - right).abs().max() < 0.05 * right.abs().max()
    thin = prune.prune(small, "l1", 0.5) if method != "multipoint" else small
    check_codes(thin)
    with pytest.raises(ValueError, match="32-bit floats, and 0 holds"):
        quant.ptq(mlp().to(dtype), "brecq", calibration=X, steps=2)


@pytest.mark.parametrize("dtype, bits", [(torch.bfloat16, 16), (torch.float64, 64)])
def test_a_model_of_other_floats_is_measured(dtype, bits):
    task = blobs()
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    row = measure.measure(copy.deepcopy(net).to(dtype), task).row
    assert row.bits_per_weight == bits and row.size_bytes == (8 * 4 + 8 + 3 * 8 + 3) * bits // 8
    assert abs(row.score - measure.measure(net, task).score) < 5
    assert measure.call(net.to(dtype), task)().dtype == dtype


def test_folding_keeps_the_dtype():
    net = nn.Sequential(nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4)).eval()
    net[1].running_var.uniform_(0.5, 2), net[1].running_mean.normal_()
    x = torch.randn(2, 1, 5, 5, 5)
    assert torch.allclose(fold.fold_batch_norm(net)(x), net(x), atol=1e-5)
    half = fold.fold_batch_norm(net.bfloat16())
    assert half[0].bias.dtype == torch.bfloat16
    assert (half(x.bfloat16()) - net(x.bfloat16())).abs().max() < 0.1


@pytest.mark.parametrize("act", [
    lambda net: quant.ptq(net, "affine"), lambda net: prune.prune(net, "l1", 0.5), measure.size])
def test_tensors_without_values_are_refused_by_name(act):
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(8, 4))
    with pytest.raises(ValueError, match="0.weight is a meta tensor"):
        act(net)
    with pytest.raises(ValueError, match="0.weight gets its shape from the first input"):
        act(nn.Sequential(nn.LazyLinear(4)))


# ---- kinds of layers ----

KINDS = {
    "LSTM": (lambda: nn.LSTM(4, 6), (1, 5, 4)), "GRU": (lambda: nn.GRU(4, 6, 2), (1, 5, 4)),
    "RNN": (lambda: nn.RNN(4, 6, bidirectional=True), (1, 5, 4)),
    "LSTMCell": (lambda: nn.LSTMCell(4, 6), (1, 4)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(3, 4, 3), (1, 3, 9)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 4, 3, groups=2), (1, 4, 5, 5)),
    "Conv3d": (lambda: nn.Conv3d(2, 4, 2, groups=2), (1, 2, 4, 4, 4)),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (1, 5, 8))}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_weight_is_quantized_counted_pruned_and_filed(kind, tmp_path):
    build, shape = KINDS[kind]
    torch.manual_seed(0)
    net, x = nn.Sequential(build()).eval(), torch.randn(shape)
    small = quant.ptq(net, "affine", bits=2)
    weights = [tensor for tensor in stored(small) if tensor.role == "weight"]
    assert weights and all(tensor.quantized.bits == 2 for tensor in weights)
    assert left_float(small) == [] and energy.macs(net, x) > 0
    check_codes(small)

    def answer(model: nn.Module) -> torch.Tensor:
        y = model(x)
        return y[0] if isinstance(y, tuple) else y

    eight = quant.ptq(net, "affine", bits=8)
    assert 0 < (answer(eight) - answer(net)).abs().max() < 0.05
    thin = prune.prune(small, "l1", 0.5)
    assert prune.sparsity(thin) >= 0.5
    size = packing.save(thin, tmp_path / "x")
    assert size == measure.size(thin)["size_bytes"]
    assert torch.equal(answer(packing.load(net, tmp_path / "x")), answer(thin))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (
    "Conv3d", "TransformerEncoderLayer")])
def test_what_learned_methods_cannot_see_is_refused_or_left_float_and_named(kind):
    build, shape = KINDS[kind]
    x = torch.randn(32, *shape[1:])
    with pytest.raises(ValueError, match=f"0 \\({kind}\\)"):
        quant.ptq(nn.Sequential(build()), "gptq", bits=3, calibration=x)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(shape[-1], shape[-1]), build()).eval()
    small = quant.ptq(net, "gptq", bits=3, calibration=x)
    assert left_float(small) == [f"1 ({kind})"] and small[0].compressed["weight"].bits == 3


def test_volumes_are_unfolded_as_they_are_multiplied():
    layer = nn.Conv3d(4, 6, (2, 3, 1), stride=(1, 2, 1), padding=1, dilation=(2, 1, 1), groups=2)
    x = torch.randn(3, 4, 6, 7, 4)
    rows = quant.layers.input_rows(layer, x)                            # (groups, rows, in·k)
    y = torch.einsum("grn,gon->gro", rows, layer.weight.reshape(2, 3, -1))
    right = (layer(x) - layer.bias.view(-1, 1, 1, 1)).movedim(1, -1).reshape(-1, 2, 3)
    found, wanted = (t.flatten().sort().values for t in (y, right))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_rounded_inputs_name_those_that_are_not():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.look = nn.MultiheadAttention(8, 2, batch_first=True)
            self.fc = nn.Linear(8, 3)

        def forward(self, x):
            return self.fc(self.look(x, x, x)[0].mean(1))

    x = torch.randn(32, 5, 8)
    small = quant.ptq(Net().eval(), "affine", bits=4, a_bits=8, calibration=x)
    assert left_float(small) == [
        "inputs of look (MultiheadAttention)",
        "inputs of look.out_proj (NonDynamicallyQuantizableLinear)"]
    learned = quant.ptq(Net().eval(), "gptq", bits=4, calibration=x)
    assert left_float(learned)[0] == "look (MultiheadAttention)"


# ---- shared and recomputed weights ----

@pytest.mark.parametrize("method", ["affine", "hqq", "kmeans", "multipoint", "gptq", "adaround",
                                    "edge_nearest_uniform", "edge_mid_rise"])
def test_a_weight_of_several_layers_has_one_code(method):
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).eval()
    net[2].weight = net[0].weight
    more = {"steps": 5} if method == "adaround" else {}
    small = quant.ptq(net, method, bits=3, calibration=X, **more)
    check_codes(small)
    assert small[0].weight is small[2].weight
    assert small[0].compressed["weight"] is small[2].compressed["weight"]


def test_a_layer_called_twice_sees_the_inputs_of_both_calls():
    net, seen = Twice().eval(), []
    net.a.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(X)
    small = quant.ptq(Twice().eval(), "gptq", bits={"a": 3}, calibration=X)
    right = quant.quantize(net.a.weight, "gptq", bits=3, inputs=torch.cat(seen))
    assert torch.equal(small.a.weight, right.dequantize())
    same = fold.correct_bias(net, net, X)
    assert torch.allclose(same(X), net(X), atol=1e-6)
    fixed = fold.correct_bias(small, net, X)
    assert (fixed(X).mean(0) - net(X).mean(0)).abs().max() < (
        small(X).mean(0) - net(X).mean(0)).abs().max()


def test_a_table_of_words_that_is_also_the_last_layer():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.words, self.mix = nn.Embedding(20, 8), nn.Linear(8, 8)
            self.out = nn.Linear(8, 20, bias=False)
            self.out.weight = self.words.weight

        def forward(self, ids):
            return self.out(self.mix(self.words(ids).mean(1)))

    ids = torch.randint(20, (64, 5))
    small = quant.ptq(Words().eval(), "affine", bits=4)
    assert left_float(small) == [] and small.words.weight is small.out.weight
    check_codes(small)
    parts = [layer.compressed["weight"].size_bytes for layer in (small.mix, small.out)]
    assert measure.size(small)["size_bytes"] == sum(parts) + 4 * 8
    assert prune.sparsity(prune.prune(small, "l1", 0.5)) >= 0.5
    with pytest.raises(ValueError, match="out shares its weight"):
        quant.ptq(Words().eval(), "affine", calibration=ids, smooth=0.5)
    with pytest.raises(ValueError, match="cannot have several widths"):
        net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        net[1].weight = net[0].weight
        quant.ptq(net, "affine", bits={"0": 3, "1": 4})


@pytest.mark.parametrize("wrap", [
    nn.utils.weight_norm, nn.utils.spectral_norm, parametrizations.weight_norm,
    parametrizations.spectral_norm, parametrizations.orthogonal,
    lambda layer: torch_prune.l1_unstructured(layer, "weight", 0.25)])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_recomputed_weights_stay_quantized_and_pruned_after_a_forward(wrap):
    net = nn.Sequential(nn.Linear(8, 8)).eval()
    wrap(net[0])                                    # and no forward before: a history is there
    small = quant.ptq(net, "affine", bits=1)
    small(X)
    check_codes(small)
    assert all(row.unique().numel() <= 2 for row in small[0].weight)
    thin = prune.prune(net, "l1", 0.5)
    thin(X)
    assert prune.sparsity(thin) == 0.5


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_recurrent_weight_behind_a_norm_computes_with_its_codes():
    net = nn.LSTM(4, 4).eval()
    nn.utils.weight_norm(net, "weight_hh_l0")
    small, x = quant.ptq(net, "affine", bits=2), torch.randn(3, 2, 4)
    check_codes(small)
    plain = nn.LSTM(4, 4)
    plain.load_state_dict(small.state_dict())
    assert torch.allclose(small(x)[0], plain(x)[0])


# ---- order: folding, equalizing, smoothing, quantizing, pruning ----

def test_a_norm_over_another_axis_is_not_folded_wrongly():
    net = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(5)).eval()          # (n, 5, 8)
    net[1].running_var.uniform_(0.1, 4)
    x = torch.randn(4, 5, 8)
    assert torch.equal(fold.fold_batch_norm(net)(x), net(x))
    equal = nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5)).eval()
    equal[1].running_var.uniform_(0.1, 4)
    folded = fold.fold_batch_norm(equal)
    assert torch.allclose(folded(X), equal(X), atol=1e-5)
    with pytest.raises(ValueError, match="leave out the folding"):
        folded(x)
    fold.cross_layer_equalize(folded)                                   # still can be traced


def test_a_folded_norm_comes_back_from_its_file(tmp_path):
    net = mlp(nn.BatchNorm1d(16))
    net[1].running_var.uniform_(0.1, 4)
    small = quant.ptq(fold.fold_batch_norm(net), "affine", bits=4)
    packing.save(small, tmp_path / "x")
    back = packing.load(net, tmp_path / "x")
    assert torch.equal(back(X), small(X)) and type(back[1]) is type(small[1]) is not nn.Identity


def test_a_shared_or_twice_called_layer_is_not_folded_or_equalized():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 8)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.relu(self.norm(self.a(x))))

    net = Net().eval()
    net.norm.running_var.uniform_(0.1, 4)
    for repair in (fold.fold_batch_norm, fold.cross_layer_equalize):
        assert torch.allclose(repair(net)(X), net(X), atol=1e-5)


@pytest.mark.parametrize("net", [
    lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)),
    lambda: nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 4, 3), nn.ReLU(),
                          nn.Conv1d(4, 1, 3), nn.ReLU(), nn.Conv1d(1, 1, 1)),
    lambda: nn.Sequential(nn.Unflatten(1, (4, 2)), nn.Conv1d(4, 4, 1), nn.ReLU(),
                          nn.Conv1d(4, 4, 1, groups=4), nn.ReLU(), nn.Conv1d(4, 8, 1, groups=4))])
def test_equalizing_changes_no_output(net):
    net = net().eval()
    assert torch.allclose(fold.cross_layer_equalize(net)(X), net(X), atol=1e-5)


def test_what_comes_after_quantizing_is_refused_by_the_layers_name():
    net = mlp(nn.BatchNorm1d(16))
    with pytest.raises(ValueError, match="^0 is quantized already, and folding"):
        fold.fold_batch_norm(quant.ptq(net, "affine", bits=4))
    with pytest.raises(ValueError, match="^0 is quantized already, and equalizing"):
        fold.cross_layer_equalize(quant.ptq(mlp(), "affine", bits=4))
    with pytest.raises(ValueError, match="^0 is quantized already, and smoothing"):
        quant.ptq(quant.ptq(mlp(), "affine", bits=4), "affine", calibration=X, smooth=0.5)
    with pytest.raises(ValueError, match="0.weight cannot be pruned .*prune before quantizing"):
        prune.prune(quant.ptq(mlp(), "multipoint", bits=4))


def test_smoothing_twice_changes_no_output():
    once = quant.ptq(mlp(), "affine", bits={}, calibration=X, smooth=0.5)
    twice = quant.ptq(once, "affine", bits={}, calibration=X * 3, smooth=0.7)
    assert torch.allclose(twice(X), mlp()(X), atol=1e-5)
    with pytest.raises(ValueError, match="inputs of 0 are rounded already"):
        quant.ptq(quant.ptq(mlp(), "affine", bits={}, a_bits=8, calibration=X), "affine",
                  bits={}, calibration=X, smooth=0.5)


def test_names_with_spaces(tmp_path):
    net = nn.Sequential()
    net.add_module("first layer", nn.Linear(8, 8)), net.add_module("the norm", nn.BatchNorm1d(8))
    net.add_module("last layer", nn.Linear(8, 3))
    folded = fold.fold_batch_norm(net.eval())
    for method, more in LEARNED.items():
        small = quant.ptq(folded, method, bits={"first layer": 3}, calibration=X, **more)
        assert left_float(small) == ["last layer (Linear)"]
        packing.save(small, tmp_path / method)
        assert torch.equal(packing.load(net, tmp_path / method)(X), small(X))


def test_codes_that_do_not_mean_the_weights_are_never_measured():
    small = quant.ptq(nn.Sequential(nn.Linear(4, 3)), "affine", bits=4)
    assert measure.measure(small, blobs()).bits_per_weight > 4
    with torch.no_grad():
        small[0].weight[0, 0] += 1
    with pytest.raises(ValueError, match="^0.weight was changed after it was quantized"):
        measure.measure(small, blobs())


def test_dependent_inputs_without_damping_are_refused():
    x = torch.cat([X, X], 1)
    with pytest.raises(ValueError, match="take damping=0.01"):
        quant.quantize(torch.randn(4, 16), "gptq", bits=4, inputs=x, damping=0.0)
    q = quant.quantize(torch.randn(4, 16), "gptq", bits=4, inputs=x)
    assert q.dequantize().isfinite().all()


def test_ternary_weights_are_stored_five_to_a_byte():
    net = quant.ptq(nn.Sequential(nn.Linear(4095, 64, bias=False)), "affine", bits=2, levels=3,
                    axis=None)
    assert measure.size(net)["bits_per_weight"] == pytest.approx(1.6, abs=0.001)


def test_a_model_without_any_such_layer_is_refused():
    with pytest.raises(ValueError, match="Embedding has no layer whose weights are quantized"):
        quant.ptq(nn.Embedding(9, 4), "affine", bits=4)
