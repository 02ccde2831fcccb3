"""Deployed models: ONNX files that answer as the model does, int8 and 4 bits in real kernels."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lib import data, deploy, energy, measure, models, prune, quant, recipes
from lib.base import Setting, paths
from lib.deploy import int8
from lib.deploy.nbits import FLOATS
from tests import toys

EXACT = {"rtol": 1e-4, "atol": 1e-4}


class Halves(nn.Module):
    """Two inputs by name; answers with their layers' sum."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(5, 3), nn.Linear(4, 3)

    def forward(self, left, right):
        return self.one(left) + self.other(right)


class Moody(nn.Module):
    """Answers otherwise from call to call."""

    def forward(self, x):
        return x + torch.rand_like(x)


class Branching(nn.Module):
    """Takes one of two ways by what its input holds."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.fixture(scope="module")
def task():
    return toys.blobs()


def mlp(task, seed=0):
    return models.build("mlp_complex", task, seed=seed).eval()


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                         nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(16, 4)).eval()


def images(count=64, seed=0):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def rows(count=64, width=4):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_file_answers_as_the_model_for_any_number_of_examples(tmp_path, count):
    model = convolutional()
    session = deploy.Session(deploy.exported(model, images(), tmp_path / "net.onnx"))
    with torch.no_grad():
        assert torch.allclose(session(images(count)), model(images(count)), **EXACT)
    assert session.arithmetic == "float" and session.size_bytes > 4 * 16 * 16 * 9


def test_what_is_written_is_the_weight_behind_its_mask_and_its_codes(tmp_path, task):
    model = mlp(task)
    small = quant.ptq(prune.prune(model, "magnitude_l1", 0.5), "affine", bits=4)
    session = deploy.Session(deploy.exported(small, task.calibration, tmp_path / "net.onnx"))
    with torch.no_grad():
        expected, whole = small(task.test.x), model(task.test.x)
    assert torch.allclose(session(task.test.x), expected, **EXACT)
    assert not torch.allclose(expected, whole, **EXACT)
    assert prune.sparsity(small) >= 0.5                         # and the model is as it was


def test_a_file_tells_nothing_of_the_machine_that_made_it(tmp_path, task):
    path = deploy.exported(mlp(task), task.calibration, tmp_path / "net.onnx")
    content = path.read_bytes()
    assert b".py" not in content and b"stack_trace" not in content
    assert len(content) < 1.25 * 4 * sum(p.numel() for p in mlp(task).parameters())


def test_ranges_are_the_same_however_few_inputs_are_taken_at_a_time(tmp_path, monkeypatch):
    """All tensors of a piece are held at once: 128 paragraphs of text took 20 GB."""
    floats = deploy.exported(convolutional(), images(), tmp_path / "net.onnx")
    reader = int8._Reader(onnx.load(floats), images(20))
    sizes = []
    while (batch := reader.get_next()) is not None:
        sizes.append(len(*batch.values()))
    assert sizes == [8, 8, 4]
    few = deploy.Session(int8.static(floats, images(20), tmp_path / "few.onnx"))
    monkeypatch.setattr(int8, "AT_ONCE", 20)
    many = deploy.Session(int8.static(floats, images(20), tmp_path / "many.onnx"))
    assert torch.equal(few(images(50, seed=1)), many(images(50, seed=1)))


def test_a_thinner_net_is_a_smaller_file(tmp_path):
    model = convolutional()
    thin = prune.prune(model, "magnitude_l1", 0.5, structure="channel", calibration=images())
    whole = deploy.Session(deploy.exported(model, images(), tmp_path / "net.onnx"))
    session = deploy.Session(deploy.exported(thin, images(), tmp_path / "thin.onnx"))
    assert session.size_bytes < 0.7 * whole.size_bytes


def test_a_model_in_training_is_exported_as_it_answers_and_left_in_training(tmp_path):
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8)).train()
    session = deploy.Session(deploy.exported(model, rows(), tmp_path / "net.onnx"))
    assert model.training
    with torch.no_grad():
        assert torch.allclose(session(rows(5)), model.eval()(rows(5)), **EXACT)


def test_several_inputs_go_by_their_names_or_in_their_order(tmp_path):
    model, left, right = Halves().eval(), rows(6, 5), rows(6, 4)
    for example in ((left, right), {"left": left, "right": right}):
        session = deploy.Session(deploy.exported(model, example, tmp_path / "net.onnx"))
        with torch.no_grad():
            expected = model(left, right)
        for answer in (session(left, right), session((left, right)),
                       session(right=right, left=left), session({"left": left, "right": right})):
            assert torch.allclose(answer, expected, **EXACT)


@pytest.mark.parametrize("model, said", [(Moody(), "answers otherwise than the model"),
                                         (Branching(), "Branching cannot be exported to ONNX")])
def test_what_cannot_be_exported_is_named_and_leaves_no_file(tmp_path, model, said):
    with pytest.raises(ValueError, match=said):
        deploy.exported(model.eval(), rows(), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_inputs_that_the_file_does_not_take_are_refused_in_a_sentence(tmp_path):
    session = deploy.Session(deploy.exported(Halves().eval(), (rows(3, 5), rows(3, 4)),
                                             tmp_path / "net.onnx"))
    with pytest.raises(ValueError, match="takes the inputs left, right; given were left$"):
        session(rows(3, 5))
    with pytest.raises(ValueError, match="takes 2 inputs, not 3"):
        session(rows(3, 5), rows(3, 4), rows(3, 4))
    with pytest.raises(ValueError, match="net.onnx cannot take these inputs"):
        session(rows(3, 5), rows(3, 7))
    (tmp_path / "other.onnx").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="other.onnx cannot be run by ONNX Runtime"):
        deploy.Session(tmp_path / "other.onnx")


def test_static_int8_multiplies_whole_numbers_and_is_close(tmp_path):
    model = convolutional()
    session = deploy.deployed(model, "static", images(256), tmp_path)
    with torch.no_grad():
        expected = model(images(32, 1))
    assert session.arithmetic == "integer" and session.kernels["QLinearConv"] == 2
    error = (session(images(32, 1)) - expected).square().mean() / expected.var()
    assert 0 < error < 0.02


class Masked(nn.Module):
    """Columns of very different size, normalised here; scores that a mask takes down together,
    which changes nothing in floats; and a sum of what was before, as transformers have it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.0, 1000.0] * 4))
        self.register_buffer("std", torch.tensor([0.01, 500.0] * 4))
        self.one, self.two, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = (x + -self.mean) / self.std
        inner = self.one(x)
        mixed = (inner + (x[:, :1] < 0) * -1e4).softmax(1) + 0.1 * inner
        return self.head(torch.relu(self.two(mixed)) + mixed)


def test_what_lies_between_no_two_products_stays_in_floats(tmp_path):
    """In one range of 8 bits for all, the small columns are gone, and so is what a mask leaves."""
    torch.manual_seed(0)
    model = Masked().eval()
    x = rows(256, 8) * model.std + model.mean
    session = deploy.deployed(model, "static", x, tmp_path)
    with torch.no_grad():
        expected = model(x)
    assert session.arithmetic == "integer" and session.kernels["QGemm"] == 3
    assert (session(x) - expected).square().mean() < 1e-3 * expected.var()


@pytest.mark.parametrize("pair", ["breast_cancer/mlp_simple", "telescope/mlp_complex"])
def test_int8_keeps_what_a_table_of_unequal_columns_says(tmp_path, pair):
    name, net = pair.split("/")
    if name == "telescope" and not os.environ.get("GREENBITS_MIRROR"):
        pytest.skip("GREENBITS_MIRROR is not set; set it to a folder that holds the data files")
    task = data.load(name, fold=0)
    model = recipes.trained(task, net, 0)
    floats = measure.measure(model, task)[0].score
    for way in ("static", "dynamic"):
        session = deploy.deployed(model, way, task.calibration, tmp_path / way)
        assert measure.measure(session, task)[0].score == pytest.approx(floats, abs=1)


def test_dynamic_int8_is_of_matrix_products_alone(tmp_path, task):
    model = mlp(task)
    session = deploy.deployed(model, "dynamic", task.calibration, tmp_path)
    assert session.arithmetic == "integer" and session.size_bytes < deploy.Session(
        tmp_path / "fp32.onnx").size_bytes
    with torch.no_grad():
        expected = model(task.test.x)
    assert (session(task.test.x) - expected).abs().max() < 0.1 * expected.abs().max()
    convolutions = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    with pytest.raises(ValueError, match="has no matrix product with weights"):
        deploy.deployed(convolutions, "dynamic", images(), tmp_path / "other")
    with pytest.raises(ValueError, match="has no layer that 8 bits could serve"):
        deploy.deployed(nn.Sequential(nn.ReLU()), "static", images(), tmp_path / "none")


def weights_of(path) -> list[np.ndarray]:
    return [array for one in onnx.load(path).graph.initializer
            if (array := onnx.numpy_helper.to_array(one)).dtype == np.int8 and array.ndim > 1]


def test_without_vnni_weights_keep_to_seven_bits(tmp_path, monkeypatch):
    floats = deploy.exported(convolutional(), images(), tmp_path / "fp32.onnx")
    for flags, most in (("flags: avx2 avx512_vnni", 127), ("flags: avx2", 64)):
        (tmp_path / "cpuinfo").write_text(flags)
        monkeypatch.setattr(int8, "CPUINFO", tmp_path / "cpuinfo")
        assert deploy.vnni() is (most == 127)
        found = weights_of(deploy.static(floats, images(), tmp_path / "int8.onnx"))
        assert len(found) == 3 and max(int(np.abs(w.astype(int)).max()) for w in found) == most
    monkeypatch.setattr(int8, "CPUINFO", tmp_path / "nowhere")
    assert deploy.vnni() is None


@pytest.mark.parametrize("group", [None, 16, 32])
@pytest.mark.parametrize("width", [32, 40])
def test_four_bits_are_our_own_codes(tmp_path, group, width):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, 3)).eval()
    x = rows(64, width)
    small = quant.ptq(model, "affine", bits=4, group=group)
    floats = deploy.exported(small, x, tmp_path / "fp32.onnx")
    with torch.no_grad():
        expected = small(x)
    exact = deploy.Session(deploy.nbits(floats, small, tmp_path / "a.onnx", FLOATS))
    assert torch.allclose(exact(x), expected, **EXACT)
    assert exact.arithmetic == "float" and exact.kernels["MatMulNBits of floats"] == 2
    session = deploy.Session(deploy.nbits(floats, small, tmp_path / "b.onnx"))
    assert session.arithmetic == "integer"
    assert (session(x) - expected).abs().max() < 0.1 * expected.abs().max()
    assert session.size_bytes < floats.stat().st_size


def test_codes_that_the_kernel_cannot_take_are_named(tmp_path):
    model = nn.Sequential(nn.Linear(32, 8)).eval()
    with pytest.raises(ValueError, match="no linear layer of Sequential holds codes of 4 bits"):
        deploy.deployed(model, "nbits", rows(8, 32), tmp_path)
    odd = quant.ptq(model, "affine", bits=4, group=20)
    with pytest.raises(ValueError, match="0 has groups of 20; the kernel takes a power of two"):
        deploy.deployed(odd, "nbits", rows(8, 32), tmp_path)
    with pytest.raises(ValueError, match="no way 'int2' to deploy a model; choose one of: fp32, "):
        deploy.deployed(model, "int2", rows(8, 32), tmp_path)


def test_a_bundle_runs_without_this_study(tmp_path):
    model = convolutional()
    session = deploy.deployed(model, "static", images(), tmp_path / "made")
    folder = deploy.bundle(session, images(), tmp_path / "bundle", {"score": 91.5})
    record = json.loads((folder / "record.json").read_text())
    assert record["inputs"] == {"x": {"type": "float32", "shape": ["n", 3, 8, 8]}}
    assert record["about"] == {"score": 91.5} and record["arithmetic"] == "integer"

    def run(*arguments):
        return subprocess.run([sys.executable, "-P", folder / "run.py", *arguments], text=True,
                              capture_output=True, cwd=tmp_path)
    assert run().stdout.startswith("8 examples answered, up to 0 apart")
    np.savez(tmp_path / "mine.npz", x=images(2, 5).numpy())
    told = np.loadtxt(run(tmp_path / "mine.npz").stdout.splitlines())
    assert np.allclose(told, session(images(2, 5)).numpy(), atol=1e-4)
    np.savez(tmp_path / "mine.npz", other=images(2, 5).numpy())
    assert "the inputs lack x" in run(tmp_path / "mine.npz").stderr
    (folder / "model.onnx").write_bytes(b"x")
    assert "is not what record.json describes" in run().stderr
    (folder / "own.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        deploy.bundle(session, images(), folder)


def test_a_model_is_bundled_as_it_is_stored_with_what_loads_it(tmp_path):
    task = data.load("breast_cancer", fold=0)
    model = quant.ptq(recipes.trained(task, "mlp_simple"), "gptq", bits=3,
                      calibration=task.calibration)
    about = {"task": task.name, "fold": 0, "model": "mlp_simple", "loss": float("nan")}
    folder = deploy.bundle(model, task.calibration, tmp_path / "small", about)
    assert json.loads((folder / "record.json").read_text())["about"] == {
        "task": "breast_cancer", "fold": 0, "model": "mlp_simple"}
    stored, floats = folder / "model.safetensors", folder / "model.onnx"
    assert stored.stat().st_size < floats.stat().st_size
    told = subprocess.run([sys.executable, folder / "load.py"], capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONPATH": str(paths.ROOT)}).stdout
    score = measure.measure(model, task).score
    assert told.splitlines()[-1] == f"mlp_simple on breast_cancer: {score:.4g}"
    deploy.bundle(model, task.calibration, folder, about)          # again, in its own place


def test_a_model_that_cannot_be_exported_is_bundled_without_a_file_for_others(tmp_path):
    odd = nn.Sequential(nn.Linear(3, 2), Branching()).eval()
    folder = deploy.bundle(odd, rows(8, 3), tmp_path / "odd")
    record = json.loads((folder / "record.json").read_text())
    assert "Sequential cannot be exported to ONNX" in record["no_onnx"]
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors", "load.py", "record.json"}


def test_a_file_becomes_a_row_as_a_model_does(task):
    model = mlp(task)
    session = deploy.deployed(model, "static", task.calibration)
    row, costs = measure.measure(session, task, setting=Setting(deploy="static"))
    whole, before = measure.measure(model, task)
    assert (row.model, row.params, row.macs) == ("mlp_complex", whole.params, whole.macs)
    assert (row.runtime, row.arithmetic, row.deploy) == ("onnxruntime", "integer", "static")
    assert row.size_bytes == session.path.stat().st_size != whole.size_bytes
    assert row.bits_per_weight is None and row.n == whole.n
    expected = session(task.test.x).argmax(1) == task.test.y
    assert row.score == pytest.approx(100 * float(expected.double().mean()))
    joules = {cost.source: cost.value for cost in costs if cost.quantity == "energy_j"}
    floats = {cost.source: cost.value for cost in before if cost.quantity == "energy_j"}
    assert joules.keys() == floats.keys() and all(joules[one] < floats[one] for one in joules)


def test_floats_in_a_file_cost_the_joules_of_floats(task):
    model = mlp(task)
    session = deploy.deployed(model, "fp32", task.calibration)
    of_file, of_model = measure.measure(session, task), measure.measure(model, task)
    assert of_file.arithmetic == "float"
    assert [c.value for c in of_file.costs] == [c.value for c in of_model.costs]


def test_products_of_activations_are_modelled_as_floats_and_said_to_be():
    """Static int8 serves products with weights; attention multiplies what it computed itself."""
    task = data.load("har_synthetic")
    model = models.build("transformer_small", task, seed=0).eval()
    session = deploy.deployed(model, "static", task.calibration)
    row, costs = measure.measure(session, task)
    assert row.arithmetic == "partly integer" and "products" in row.left_float
    table = energy.layers(model, task.test.batch(slice(1)))
    every = energy.modelled(table, "45nm", w_bits=8, a_bits=8)
    assert costs[0].value > every.energy_j.sum()


def test_memory_and_agreement_are_measured_and_say_how(task):
    model = mlp(task)
    session = deploy.deployed(model, "fp32", task.calibration)
    row = measure.measure(session, task).row
    costs = {cost.quantity: cost for cost in measure.of_file(row, session, task)}
    assert costs["agreement_percent"].value == 100
    memory = costs["memory_bytes"]
    assert 0 < memory.low <= memory.value <= memory.high and "fresh process" in memory.source


def test_the_folder_of_a_session_goes_with_it(task):
    session = deploy.deployed(mlp(task), "fp32", task.calibration)
    path = session.path
    assert path.exists()
    del session
    assert not path.exists()


def test_speeds_are_told_of_a_net_that_has_learned_nothing(task):
    model = models.build("mlp_complex", task, seed=0, hidden=(16, 8))
    told = measure.speeds(model, task, ["fp32", "static"], windows=2)
    assert told.deploy.tolist() == ["fp32", "static"] and (told.ms > 0).all()
    assert told.speedup[0] == 1 and (told.speedup_low <= told.speedup_high).all()
    assert set(told.model) == {"mlp_complex hidden=(16, 8)"} and "score" not in told
    assert told.parameters[0] == sum(p.numel() for p in model.parameters())
