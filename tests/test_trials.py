"""Trials are data: the grid that makes them, and the rows that come of them."""

import pytest
import torch

from lib import results
from lib.base import Setting, paths
from lib.base.pairs import parsed
from lib.study import cache, progress, run
from lib.study.trials import Trial


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "_profile", "lab")
    run.start("03_ptq", {"profile": "toy", "engine": "here", "seeds": [0]})


PAIR = "breast_cancer/mlp_simple"


@pytest.mark.parametrize("pair, task, model, said", [
    ("cifar10/resnet8", "cifar10", "resnet8", {}),
    ("cifar10/resnet8/width=4", "cifar10", "resnet8", {"sizes": "width=4"}),
    ("csv:a/b.csv#y/mlp_complex/hidden=18,11", "csv:a/b.csv#y", "mlp_complex",
     {"sizes": "hidden=18,11"}),
    ("mv/mlp_simple/recipe=edge epochs=3 lr=0.1 examples=9", "mv", "mlp_simple",
     {"recipe": "edge", "epochs": 3, "lr": 0.1, "examples": 9})])
def test_a_pair_says_which_net(pair, task, model, said):
    assert parsed(pair) == (task, model, said)


def test_a_grid_is_every_combination_in_each_repeat():
    trials = run.grid([PAIR], seeds=[0, 1], folds=[0, 2], quantizer=["affine", "gptq"],
                      bits=[2, 3])
    assert len(trials) == 8                     # folds take the first seed
    assert {(t.seed, t.fold) for t in trials} == {(0, 0), (0, 2)}
    assert {t.setting.recipe for t in trials} == {"ours"}
    assert len(run.grid([PAIR], [0, 1], [0, 2], fold_seeds=[0, 1])) == 4
    split = run.grid(["fashion_mnist/resnet20"], seeds=[0, 1], folds=[0, 2])
    assert [(t.seed, t.fold) for t in split] == [(0, None), (1, None)]


def test_methods_that_draw_are_drawn_several_times_and_no_others():
    trials = run.grid([PAIR], draws=3, quantizer=["affine", "stochastic_uniform"], bits=4)
    assert [t.draw for t in trials] == [None, 0, 1, 2]


def test_a_net_of_others_has_no_recipe_and_a_pair_counts_once():
    assert run.grid(["cifar10/resnet20-akamaster"])[0].setting == Setting()
    assert run.grid(["digits/knn"])[0].setting == Setting()
    assert len(run.grid([PAIR, PAIR])) == 1


def test_a_trial_goes_through_plain_values():
    trial = Trial("digits", "resnet8", Setting(quantizer="gptq", bits=3, amount=None), seed=2)
    assert Trial.of(cache.plain(trial.values)) == trial


def test_rows_come_back_from_the_cache_alike(capsys):
    trials = run.grid([PAIR], quantizer="affine", bits=[4, 8])
    first, again = run.each(trials), run.each(trials)
    assert first.equals(again) and list(first.bits) == [4, 8]
    out = capsys.readouterr().out
    assert f"1/2 {progress.named(trials[0])} " in out and out.count("cached") == 2
    assert max(len(line) for line in out.splitlines()) <= 100


def test_no_name_is_cut_and_the_time_left_is_told(capsys):
    trials = run.grid(["breast_cancer/mlp_complex"], draws=3, bits=8, granularity="tensor",
                      quantizer=["stochastic_histogram", "edge_stochastic_histogram"])
    run.each(trials)
    out = capsys.readouterr().out
    assert all(progress.named(trial) in out for trial in trials)
    assert max(len(line) for line in out.splitlines()) <= 100
    assert " s\n" in out.split("1/6")[1] and "6/6" in out


def test_one_failure_stops_nothing_but_is_told_at_the_end(capsys):
    trials = run.grid([PAIR], quantizer="affine", bits=4)
    broken = Trial("breast_cancer", "transformer_small", Setting(recipe="ours"))
    table = run.each([broken, *trials])
    assert len(table) == 1
    assert "FAILED" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="1 of this notebook's trials failed.*transformer"):
        run.save()
    assert list(results.load("03_ptq").bits) == [4]              # finished work is not lost


def test_what_was_spent_stands_in_the_costs():
    rows = run.each(run.grid([PAIR], quantizer="affine", bits=4))
    run.save()
    costs = results.load_costs("03_ptq")
    assert set(costs.id) == set(rows.id) and set(costs.quantity) == {"spent_s", "energy_j"}
    costs = costs[costs.quantity == "spent_s"].reset_index(drop=True)
    assert costs.source[0].startswith("clock") and "1 thread" in costs.source[0]
    assert costs.kind[0] == "measured" and costs.value[0] > 0


@pytest.mark.parametrize("model, asked, epochs, arguments", [
    ("mobilenetv2", {"recipe": "ours"}, 6, "width=25 stem=cifar"),       # quarter width
    ("resnet50", {"recipe": "ours", "quantizer": "gptq", "bits": 4}, 6, "width=16 stem=cifar"),
    ("resnet14", {"recipe": "ours", "sizes": "width=8"}, 60, "width=8"),
    ("resnet14", {"recipe": "ours", "sizes": "width=8", "epochs": 3}, 3, "width=8"),
    ("resnet20", {"recipe": "ours", "tuned": "finetune"}, 12, ""),       # the last training's
    ("resnet20", {"recipe": "ours", "tuned": "finetune", "epochs": 2}, 2, ""),
    ("resnet20-akamaster", {}, None, ""), ("knn", {}, None, ""),
    ("resnet20", {"policy": "slack", "trace": "burst"}, None, "")])
def test_what_was_effective_is_the_recipe_under_what_was_asked(model, asked, epochs, arguments):
    row = results.Row(task="cifar10", model=model, **asked)
    assert run.effective(row) == (epochs, arguments)


def test_arguments_of_a_network_are_spelled_as_sizes():
    row = results.Row(task="telescope", model="mlp_complex", recipe="ours")
    assert run.effective(row) == (80, "hidden=72,44 dropout=0 logs=1")
    again = results.Row(task="telescope", model="mlp_complex", recipe="ours", sizes="hidden=18,11")
    assert run.effective(again)[1] == "hidden=18,11 dropout=0 logs=1"
    spelled = run.effective(row)[1]
    assert run.spelled(Setting(sizes=spelled).build_arguments) == spelled
    assert Setting(sizes=spelled).build_arguments == {"hidden": (72, 44), "dropout": 0, "logs": 1}


def test_rows_are_saved_with_the_epochs_their_training_ran():
    trials = run.grid([PAIR], epochs=[2, 3])
    run.each(trials)
    run.save()
    table = results.load("03_ptq").set_index("epochs")
    for trial in trials:
        ran = len(run.made(trial)[1].history)
        assert table.epochs_run[trial.setting.epochs] == ran == trial.setting.epochs


def test_nets_timed_side_by_side_become_costs():
    trials = run.grid([PAIR, "breast_cancer/mlp_complex"])
    table = run.timed(trials, windows=3)
    run.save()
    costs = results.load_costs("03_ptq")
    latency = costs[costs.quantity == "latency_s"].set_index("id")
    assert list(table.id) and set(table.id) == set(latency.index)
    assert latency.source.str.contains("3 windows of one example").all()
    assert (latency.low <= latency.value).all() and (latency.value <= latency.high).all()


def test_a_deployed_net_is_the_very_net_as_a_file_and_told_by_a_row_of_its_own():
    asked = {"pruner": "magnitude_l1", "amount": 0.5, "tuned": "finetune", "epochs": 1}
    trials = run.grid([PAIR], **asked) + run.grid([PAIR], deploy=["fp32", "static"], **asked)
    rows = run.each(trials)
    assert list(rows.runtime) == ["torch", "onnxruntime", "onnxruntime"]
    assert list(rows.arithmetic) == ["float", "float", "integer"] and rows["id"].is_unique
    assert rows.score[1] == rows.score[0] and (rows.sparsity == rows.sparsity[0]).all()
    told = run.costs().groupby(["id", "quantity"]).value.min()
    assert all(told[name, "spent_s"] > 0 and told[name, "spent_macs"] > 0 for name in rows["id"])
    assert told[rows["id"][1], "agreement_percent"] == 100
    times = run.timed(trials, windows=1)
    assert list(times["id"]) == list(rows["id"])


def test_what_may_fail_is_left_out_of_rows_and_times_and_told_in_a_line(capsys):
    trials = run.grid([PAIR], deploy=["fp32", "static"])
    broken = Trial("breast_cancer", "transformer_small", Setting(recipe="ours"))
    table = run.each([trials[0], broken, trials[1]], optional=True)
    assert len(table) == 2 and "FAILED" in capsys.readouterr().out
    [line] = run.left_out()
    assert line.startswith(progress.named(broken)) and "Error: " in line
    times = run.timed([trials[0], broken, trials[1]], windows=1)
    assert list(times["id"]) == list(table["id"])
    assert len(run.save()) == 2 and results.provenance("03_ptq")["failures"] == []
    with pytest.raises(RuntimeError, match="could not time"):
        run.timed([broken, *trials], windows=1)


def test_provenance_lies_beside_the_rows():
    run.each(run.grid([PAIR]))
    run.save()
    told = results.provenance("03_ptq")
    assert told["parameters"] == {"profile": "toy", "engine": "here", "seeds": [0]}
    assert told["trials"] == 1 and told["failures"] == []
    assert [step["step"] for step in told["steps"]] == [
        "train breast_cancer mlp_simple seed 0 fold 0"]


def test_fresh_redoes_trials(capsys):
    trials = run.grid([PAIR], quantizer="affine", bits=4)
    run.each(trials)
    run.start("03_ptq", {"profile": "toy", "engine": "here", "fresh": True})
    capsys.readouterr()
    run.each(trials)
    assert "cached" not in capsys.readouterr().out
    cache.fresh(False)


def test_a_net_that_a_notebook_trains_itself_is_as_one_of_a_trial():
    """Sums of several threads differ in their last digits, and so do the nets that come of them."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        run.start("04_prune", {"profile": "test", "threads": 1}, show=False)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
