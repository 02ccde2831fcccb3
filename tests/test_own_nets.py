"""A reader's own net: found by its file, trained or with its weights, a pair like others."""

import json
import sys

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from lib import data, models, recipes, results
from lib.base import names, paths
from lib.base.pairs import parsed
from lib.base.setting import Setting
from lib.models import own
from lib.study import parameters, run, trials, values

NET = '''"""A net for tables."""

import torch
from torch import nn

from parts import activation


class Net(nn.Module):
    def __init__(self, task, hidden: int = 8):
        super().__init__()
        self.register_buffer("mean", task.mean.clone())
        self.register_buffer("std", task.std.clone())
        self.first = nn.Linear(task.inputs[0], hidden)
        self.last = nn.Linear(hidden, task.outputs)

    def forward(self, x):
        return self.last(activation(self.first((x - self.mean) / self.std)))


class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(30, 2)

    def forward(self, x):
        return self.layer(torch.log1p(x))


class NoNet:
    pass
'''
PARTS = "import torch\n\n\ndef activation(x):\n    return torch.relu(x)\n"
TASK = "breast_cancer"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "parts.py").write_text(PARTS)
    return tmp_path


@pytest.fixture
def name(folder):
    return f"module:{folder}/net.py:Net"


@pytest.mark.parametrize("pair, expected", [
    ("digits/module:net.py:Net", ("digits", "module:net.py:Net", {})),
    ("csv:a/b.csv#q/module:c/net.py:Net/hidden=4 epochs=2",
     ("csv:a/b.csv#q", "module:c/net.py:Net", {"sizes": "hidden=4", "epochs": 2})),
    ("digits/module:/a/net.py:Net:w.safetensors/width=4",
     ("digits", "module:/a/net.py:Net:w.safetensors", {"sizes": "width=4"})),
])
def test_a_pair_names_it_whatever_slashes_its_path_has(pair, expected):
    assert parsed(pair) == expected


def test_it_is_built_with_what_its_constructor_takes(name, folder):
    task = data.load(TASK, fold=0)
    net = models.build(name, task, seed=3, hidden=5)
    assert net.first.out_features == 5 and net.build_arguments == {"name": name, "hidden": 5}
    again = models.build(name, task, seed=3, hidden=5)
    assert torch.equal(net.first.weight, again.first.weight)
    assert models.build(f"module:{folder}/net.py:Fixed", task).layer.in_features == 30
    with pytest.raises(ValueError, match="has no option 'width'; it has: hidden"):
        models.build(name, task, width=3)
    assert models.misfit(name, task) is None
    assert "does not fit digits" in models.misfit(name, data.load("digits", fold=0))


@pytest.mark.parametrize("wrong, told", [
    ("module:{}/nets.py:Net", "there is no file"),
    ("module:{}/net.py:Nets", "has no class Nets"),
    ("module:{}/net.py:NoNet", "no class NoNet that is an nn.Module"),
    ("module:{}/net.py:Net:w.bin", "names no net"),
    ("module:{}/net.py", "names no net"),
    ("module:{}/net.py:Net:w.safetensors", "there is no file"),
])
def test_what_cannot_be_found_is_said(folder, wrong, told):
    with pytest.raises(ValueError, match=told):
        own.content(wrong.format(folder))
        own.found(wrong.format(folder))


def test_a_file_that_cannot_be_run_is_said(folder, name):
    (folder / "net.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(ValueError, match="cannot be run: ModuleNotFoundError"):
        own.found(name)
    (folder / "net.py").write_text("class Net(:\n")
    with pytest.raises(ValueError, match="cannot be read as a Python file"):
        own.content(name)


def test_its_trial_depends_on_its_file_on_those_it_imports_and_on_its_weights(folder, name):
    def key(model):
        return run.key_of(trials.Trial(TASK, model, Setting(recipe="ours"), fold=0))["recipe"]

    before = key(name)
    (folder / "parts.py").write_text(PARTS + "\nNOTHING = 0\n")
    assert key(name) != before and set(key(name)["source"]) == {"net.py", "parts.py"}
    assert run.key_of(trials.Trial(TASK, "mlp_simple", fold=0))["recipe"].get("source") is None
    save_file({"w": torch.zeros(1)}, folder / "w.safetensors")
    given = run.key_of(trials.Trial(TASK, f"{name}:w.safetensors", fold=0))["recipe"]
    assert set(given) == {"source"} and "w.safetensors" in given["source"]


def test_an_edited_file_is_run_again(folder, name):
    task, x = data.load(TASK, fold=0), torch.full((1, 30), 1.0)
    before = models.build(name, task)(x)
    (folder / "parts.py").write_text(PARTS.replace("relu", "tanh"))
    assert not torch.equal(models.build(name, task)(x), before)


def test_a_file_beside_it_takes_no_other_modules_place(folder, name):
    import random
    (folder / "random.py").write_text("from torch import relu as activation\n")
    (folder / "net.py").write_text(NET.replace("from parts import", "from random import"))
    net = models.build(name, data.load(TASK, fold=0))
    assert set(own.content(name)) == {"net.py", "random.py"}
    assert net(torch.ones(1, 30)).shape == (1, 2)
    assert sys.modules["random"] is random


def test_it_is_trained_by_the_recipe_of_its_kind_of_data_and_kept(folder, name):
    net = recipes.trained(TASK, name, fold=0, epochs=2)
    assert len(net.history) == 2 and net.trained_s > 0
    assert recipes.recipe("cifar10", name)["augment"] == ("crop", "flip")
    assert recipes.recipe(TASK, name, "plan")["epochs"] == 50
    with pytest.raises(ValueError, match="recipe of a reader's own net"):
        recipes.recipe(TASK, name, "edge")
    again = recipes.trained(TASK, name, fold=0, epochs=2)
    assert torch.equal(net.first.weight, again.first.weight)


def test_weights_that_came_with_it_are_taken_and_others_refused(folder, name):
    task = data.load(TASK, fold=0)
    net = models.build(name, task, seed=9)
    save_file(net.state_dict(), folder / "w.safetensors")
    given = f"{name}:w.safetensors"
    assert not names.trained_here(given) and names.trained_here(name)
    taken = recipes.trained(task, given)
    assert taken.trained_s is None and torch.equal(taken.first.weight, net.first.weight)
    with pytest.raises(ValueError, match="w.safetensors does not fit Net of net.py"):
        recipes.trained(task, given, setting=Setting(sizes="hidden=5"))
    (folder / "w.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match="does not fit"):
        recipes.trained(task, given)


def test_its_rows_stand_with_those_of_others(folder, name):
    """Trained, rounded, pruned and tuned, run as a file; with given weights the same."""
    task = data.load(TASK, fold=0)
    save_file(recipes.trained(task, name, epochs=20).state_dict(), folder / "w.safetensors")
    run.start("03_ptq", {"profile": "test", "workers": 1, "engine": "here"}, show=False)
    pairs = [f"{TASK}/{name}", f"{TASK}/{name}:w.safetensors"]
    plain = run.each(run.grid(pairs))
    small = run.each(run.grid(pairs, quantizer="gptq", bits=4))
    pruned = run.each(run.grid(pairs, pruner="magnitude_l1", amount=0.5, tuned="finetune",
                               epochs=2))
    files = run.each(run.grid(pairs, deploy="static"))
    rows = pd.concat([plain, small, pruned, files], ignore_index=True)
    assert list(plain.recipe) == ["ours", ""] and set(rows.model) == {
        name, f"{name}:w.safetensors"}
    assert (small.bits_per_weight < 8).all() and (pruned.sparsity > 0.4).all()
    nets = plain[["task", "model", "sizes"]].set_axis(["task", "net", "net_sizes"], axis=1)
    lost = results.candidates(rows, run.scores(), results.load_costs("03_ptq"), nets)
    assert len(lost) == 8 and (lost.groupby("net").size() == 4).all()
    assert (lost.loss[results.unmodified(lost)] == 0).all() and lost.loss.notna().all()


@pytest.mark.parametrize("pair, told", [
    ("breast_cancer/module:net.py:Net", None),
    ("breast_cancer/module:net.py:Nets", "net.py has no class Nets that is an nn.Module"),
    ("breast_cancer/module:nets.py:Net", "there is no file"),
    ("breast_cancer/module:net.py:Net:w.safetensors", "w.safetensors; correct the path"),
    ("breast_cancr/module:net.py:Net", "no task 'breast_cancr'"),
])
def test_a_parameter_file_is_checked_before_anything_runs(folder, pair, told):
    problems = values.problems("pairs", [pair], folder)
    assert (told in problems[0]) if told else not problems, problems


def test_a_study_names_it_by_the_study_and_the_file(folder, monkeypatch):
    (folder / "table.csv").write_text("a,y\n1,0\n2,1\n")
    (folder / "mine.yaml").write_text(
        'notebooks: [2]\npairs: ["csv:table.csv#y/module:net.py:Net/hidden=4"]\n')
    plan = parameters.study_plan(folder / "mine.yaml")
    assert plan.given["02_train"]["pairs"] == [
        "csv:mine/table.csv#y/module:mine/net.py:Net/hidden=4"]
    assert plan.own == {"mine/table.csv": folder / "table.csv", "mine/net.py": folder / "net.py"}
    link = paths.CACHE / "own" / "mine" / "net.py"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder / "net.py")
    try:
        content = own.content("module:mine/net.py:Net")
    finally:
        link.unlink()
    assert json.dumps(sorted(content)) == '["net.py", "parts.py"]'
