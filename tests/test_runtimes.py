"""Other runtimes than ONNX Runtime: OpenVINO on the same files, LiteRT on its own."""

import sys

import pytest
import torch

from lib import data, deploy, measure, models, recipes
from lib.base import Setting
from lib.study import run

WAYS = ("openvino", "openvino-static", "litert", "litert-static")
needs_litert = pytest.mark.skipif(not deploy.installed("litert"), reason="needs litert-torch")


@pytest.fixture(scope="module")
def task():
    return data.load("digits", fold=0)


@pytest.fixture(scope="module")
def net(task):
    return models.build("resnet8", task, seed=0, width=8).eval()


@pytest.mark.parametrize("way, plain", [("openvino", "fp32"), ("openvino-static", "static")])
def test_openvino_runs_the_same_file(task, net, way, plain):
    other = deploy.deployed(net, way, task.calibration)
    own = deploy.deployed(net, plain, task.calibration)
    assert other.path.name == own.path.name and other.size_bytes == own.size_bytes
    x = task.test.batch(slice(64))
    found, expected = other(x), own(x)
    exact = plain == "fp32"             # whole numbers: each runtime rounds between its own layers
    apart = (found - expected).abs().max() / expected.abs().max()
    assert apart < (1e-5 if exact else 0.1)
    assert (found.argmax(1) == expected.argmax(1)).float().mean() >= (1.0 if exact else 0.9)
    assert torch.allclose(other(x[:1]), found[:1], atol=1e-4)
    row, _ = measure.measure(other, task, setting=Setting(deploy=way))
    assert (row.runtime, row.arithmetic) == ("openvino", "float" if exact else "integer")
    assert row.macs == measure.measure(net, task).macs


def test_an_answer_is_kept_when_the_next_is_given(task, net):
    other = deploy.deployed(net, "openvino", task.calibration)
    x = task.test.batch(slice(2))
    first = other(x[:1])
    before = first.clone()
    other(x[1:])
    assert torch.equal(first, before)


@pytest.mark.parametrize("way, package", [("openvino", "openvino"), ("litert", "litert-torch")])
def test_a_runtime_that_is_not_installed_is_named(task, net, monkeypatch, way, package):
    for module in ("openvino", "litert_torch", "ai_edge_litert"):
        monkeypatch.setitem(sys.modules, module, None)
    assert not deploy.installed(way) and deploy.installed("static")
    with pytest.raises((ValueError, ModuleNotFoundError), match=f"pip install {package}, or leave"):
        deploy.deployed(net, way, task.calibration)


def test_a_file_of_codes_is_not_rounded_again():
    for way in ("openvino-static", "litert-static", "static", "dynamic"):
        with pytest.raises(ValueError, match=f"gptq before {way} int8"):
            Setting(quantizer="gptq", bits=4, deploy=way)
    for way in ("openvino", "litert"):
        assert str(Setting(quantizer="gptq", bits=4, deploy=way)).endswith(f", {way}")


def test_several_runtimes_stand_in_one_table():
    run.start("08_deploy", {"profile": "test", "workers": 1}, show=False)
    trials = run.grid(["breast_cancer/mlp_simple"],
                      deploy=["fp32", "static", "openvino", "openvino-static"])
    rows = run.each(trials)
    assert rows.runtime.tolist() == ["onnxruntime"] * 2 + ["openvino"] * 2
    assert rows.size_bytes.tolist()[:2] == rows.size_bytes.tolist()[2:]
    assert rows.score[0] == rows.score[2]


@pytest.mark.drill
@needs_litert
@pytest.mark.parametrize("way", ["litert", "litert-static"])
def test_litert_answers_as_the_model(task, way):
    net = recipes.trained("digits", "resnet8", 0, 0)
    session = deploy.deployed(net, way, task.calibration)
    row, _ = measure.measure(session, task, setting=Setting(deploy=way))
    whole = measure.measure(net, task)
    assert (row.runtime, row.arithmetic) == ("litert", "float" if way == "litert" else "integer")
    assert abs(row.score - whole.score) <= (0.0 if way == "litert" else 1.0)
    with pytest.raises(ValueError, match="litert.* is no ONNX file"):
        deploy.bundle(session, task.calibration, session.path.parent / "bundle")


@pytest.mark.drill
@needs_litert
def test_in_litert_attention_stays_in_floats_and_the_layers_do_not():
    """Its scores hold what a mask takes away, and one range of 8 bits for both is none."""
    task = data.load("har_synthetic", fold=0)
    net = recipes.trained(task, "transformer_small", 0)
    session = deploy.deployed(net, "litert-static", task.calibration)
    whole, products = session.products
    assert 0 < products - whole == session.kernels["BATCH_MATMUL of float32"]
    row, _ = measure.measure(session, task)
    assert abs(row.score - measure.measure(net, task)[0].score) <= 1.5
