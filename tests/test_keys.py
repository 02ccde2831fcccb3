"""A trial's key: what its result depends on changes it, and nothing else does."""

import shutil

import numpy as np
import pytest
from PIL import Image

from lib import recipes
from lib.base import Setting, paths
from lib.data import catalogue
from lib.study import keys, run
from lib.study.trials import Trial

from .conftest import MADE


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A copy of lib and of the stored splits, whose files a test may change."""
    shutil.copytree(paths.ROOT / "lib", tmp_path / "lib", ignore=MADE)
    shutil.copytree(paths.SPLITS, tmp_path / "splits")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "SPLITS", tmp_path / "splits")
    forget()
    yield tmp_path / "lib"
    forget()


def forget():
    for known in (keys.code, keys._hash, keys._imported, keys._files):
        known.cache_clear()


def key(task="digits", model="resnet8", **asked):
    forget()
    return run.key_of(Trial(task, model, Setting(**asked)))


AFFINE = {"quantizer": "affine", "bits": 4}


def change(path, before, after):
    text = path.read_text()
    assert before in text, f"{path.name} no longer holds {before!r}"
    path.write_text(text.replace(before, after, 1))


@pytest.mark.parametrize("name, before, after, asked", [
    ("quant/affine.py", "base - 1", "base - 2", AFFINE),                        # a helper
    ("recipes/given.py", "trained on cifar10", "trained upon cifar10", {}),
    ("train/optimizers.py", "lambda t: 1.0", "lambda t: 0.9", {}),                # a lambda
    ("train/augment.py", "pad: int = 4", "pad: int = 3", {}),
    ("compress/steps.py", "SMOOTHING = 0.5", "SMOOTHING = 0.6", AFFINE),        # a constant
    ("models/resnet.py", "padding=1", "padding=0", {}),
    ("base/metric.py", "digits=2", "digits=3", {}),
    ("tables/rows.py", "hexdigest()[:10]", "hexdigest()[:12]", {}),             # a row's own
    ("energy/processes.py", '"float32": 3.7', '"float32": 3.8', {}),
    ("recipes/rounding.py", "manual_seed(draw or 0)", "manual_seed(draw or 1)", AFFINE),
    ("study/trials.py", "if course and", "if course or", AFFINE),
    ("deploy/int8.py", "per_channel=True", "per_channel=False", {"deploy": "static"}),
    ("deploy/session.py", "inter_op_num_threads = threads, 1", "inter_op_num_threads = threads, 2",
     {"deploy": "fp32"})])
def test_code_that_a_trial_reaches_counts(source, name, before, after, asked):
    was = key(**asked)
    change(source / name, before, after)
    assert key(**asked) != was


def test_a_changed_dict_counts(source):
    was = key(**AFFINE)
    (source / "quant/affine.py").write_text(
        (source / "quant/affine.py").read_text().replace('METHODS = {"affine": affine',
                                                         'METHODS = {"affine": hqq'))
    assert key(**AFFINE) != was


@pytest.mark.parametrize("name, text", [
    ("quant/newest.py", 'NAMES = ("newest",)\nMETHODS = {"newest": None}\n'),   # a new method
    ("models/newest.py", 'NAMES = ("newest",)\nMODELS = {}\n'),
    ("deploy/__init__.py", "SPEED = 1\n"), ("page/newest.py", "x = 1\n"),       # other rooms
    ("study/newest.py", "x = 1\n")])
def test_new_files_redo_nothing(source, name, text):
    was = key(**AFFINE)
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_text(text)
    assert key(**AFFINE) == was


@pytest.mark.parametrize("name", ["quant/multipoint.py", "models/transformer.py",
                                  "study/engines.py", "page/report.py", "base/names.py",
                                  "results/select.py", "tables/__init__.py", "deploy/int8.py"])
def test_files_that_a_trial_does_not_name_redo_nothing(source, name):
    was = key(**AFFINE)
    (source / name).write_text((source / name).read_text() + "\nNEW = 1\n")
    assert key(**AFFINE) == was


def test_what_a_trial_names_is_what_counts(source):
    was = {name: key(quantizer=name, bits=4) for name in ("affine", "multipoint")}
    (source / "quant/multipoint.py").write_text(
        (source / "quant/multipoint.py").read_text() + "\nNEW = 1\n")
    assert key(quantizer="affine", bits=4) == was["affine"]
    assert key(quantizer="multipoint", bits=4) != was["multipoint"]


def test_comments_and_docstrings_redo_nothing(source):
    was = key(**AFFINE)
    path = source / "quant/affine.py"
    path.write_text("# why\n" + path.read_text().replace('"""Affine quantization:', '"""Other:'))
    assert key(**AFFINE) == was


def test_the_content_of_data_counts(source, tmp_path):
    was = key()
    split = paths.SPLITS / "digits.txt"
    split.write_text(split.read_text().replace("0", "1", 1))
    assert key() != was


def test_an_image_in_a_folder_counts(tmp_path):
    for name in ("cats/1.png", "cats/2.png", "dogs/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    task = f"imagefolder:{tmp_path}"
    was = catalogue.content(task)
    assert catalogue.content(task) == was
    Image.fromarray(np.full((4, 4), 9, np.uint8)).save(tmp_path / "cats/2.png")
    assert catalogue.content(task) != was


def test_a_recipe_counts_for_its_own_nets_alone(monkeypatch):
    was = {model: key("breast_cancer", model) for model in ("mlp_simple", "mlp_complex")}
    monkeypatch.setitem(recipes.training.RECIPES, ("breast_cancer", "mlp_simple"), {"epochs": 1})
    assert key("breast_cancer", "mlp_simple") != was["mlp_simple"]
    assert key("breast_cancer", "mlp_complex") == was["mlp_complex"]


def test_a_trials_values_are_part_of_its_key():
    base = Trial("digits", "resnet8", Setting(**AFFINE))
    found = [run.key_of(trial) for trial in (
        base, Trial("digits", "resnet8", Setting(**AFFINE), seed=1),
        Trial("digits", "resnet8", Setting(**AFFINE), fold=1),
        Trial("digits", "resnet8", Setting(**AFFINE), draw=1),
        Trial("digits", "resnet8", Setting(**AFFINE), split="val"),
        Trial("digits", "resnet8", Setting(**AFFINE), examples=9),
        Trial("digits", "resnet8", Setting(quantizer="affine", bits=3)))]
    assert len({keys.digest(one) for one in found}) == len(found)
    assert run.key_of(base, threads=2) != found[0]


@pytest.mark.parametrize("name", ["lib.study.trials:_settings", "lib.study.trials",
                                  "lib.study.trials:none"])
def test_only_public_functions_make_rows(name):
    with pytest.raises(ValueError, match="names no public function|has no function none"):
        keys.function(name)


def test_a_notebooks_own_function_is_refused():
    with pytest.raises(ValueError, match="move it into a file of lib"):
        keys.name_of(lambda trial: None)
    assert keys.name_of(run.measured) == "lib.study.trials:measured"


def test_syntax_trees_forget_comments_and_docstrings_alone():
    one = keys.tree('def f(x):\n    """Says this."""\n    return x + 1\n')
    assert one == keys.tree("def f(x):\n    # why\n    return x + 1\n")
    assert one != keys.tree("def f(x):\n    return x + 2\n")
