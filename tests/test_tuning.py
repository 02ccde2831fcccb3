"""Nets that are trained on: what of them is kept, what a key holds, what a training may not do."""

import pytest
import torch
from torch import nn

from lib import compress, models, prune, recipes, train
from lib.base import Setting, paths
from lib.prune.schedules import SCHEDULES, Pruning, target
from lib.study import cache, run
from lib.study.trials import Trial, measured
from lib.train import losses
from tests.toys import blobs, line


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "weights")
    cache.fresh(False)


# schedules

@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("epochs", [6, 12, 40])
def test_a_schedule_only_ever_takes_more_and_reaches_what_was_asked(schedule, epochs):
    shares = [target(schedule, 0.8, epochs * i / 200, epochs) for i in range(201)]
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] == pytest.approx(0.8)


def test_every_amount_is_reached_to_the_digit():
    """1 − (1 − 0.1) is less than 0.1 in floats, and yet the schedule has come to its end."""
    for schedule in SCHEDULES:
        for amount in (i / 100 for i in range(100)):
            assert target(schedule, amount, 17, 17) == amount
            Pruning("magnitude_l1", amount, schedule, epochs=17, steps=10)


def test_each_schedule_goes_its_own_way():
    assert target("one-shot", 0.8, 0, 12) == 0.8
    rounds = [target("iterative", 0.8, epoch, 10) for epoch in (0, 1.6, 3.1, 4.6, 6.1)]
    assert [1 - share for share in rounds] == pytest.approx([0.2 ** (i / 5) for i in range(1, 6)])
    assert target("cubic", 0.8, 0, 12) == 0
    assert target("cubic", 0.8, 4.5, 12) == pytest.approx(0.8 * 7 / 8)
    assert target("cubic", 0.8, 9, 12) == pytest.approx(0.8)
    assert [target("every-5", 0.9, epoch, 16) for epoch in (4, 5, 9, 10, 14, 15, 16)] \
        == pytest.approx([0, 0.3, 0.3, 0.6, 0.6, 0.9, 0.9])
    assert target("every-5", 0.9, 10, 10) == pytest.approx(0.9)     # not after the last epoch


def test_a_schedule_that_cannot_be_is_said():
    with pytest.raises(ValueError, match="no schedule 'daily'; choose one of: one-shot"):
        target("daily", 0.5, 0, 9)
    with pytest.raises(ValueError, match="every-5 never comes to its end in 5 epochs"):
        Pruning("magnitude_l1", 0.5, "every-5", epochs=5, steps=10)


def test_weights_go_while_a_training_runs():
    task, seen = blobs(), []
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    pruning = Pruning("magnitude_l1", 0.8, "cubic", epochs=8, steps=len(task.train) // 32)
    pruning.begin(model)
    assert prune.sparsity(model) == 0 and len(prune.masks(model)) == 2
    train.fit(model, task, epochs=8, lr=0.01, batch_size=32, keep="last", after_step=pruning,
              after_epoch=lambda net, epoch: seen.append(prune.sparsity(net)))
    wanted = [target("cubic", 0.8, epoch, 8) for epoch in range(1, 9)]
    assert seen == pytest.approx(wanted, abs=0.02)
    assert prune.sparsity(model) == pytest.approx(0.8, abs=0.005)


def test_a_killed_pruning_goes_on_where_it_was(tmp_path):
    task = blobs()

    def trained(stop: int | None) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
        pruning = Pruning("magnitude_l1", 0.8, "cubic", epochs=6, steps=len(task.train) // 32)
        pruning.begin(model)

        def after(net, epoch):
            if epoch == stop:
                raise KeyboardInterrupt
        train.fit(model, task, epochs=6, lr=0.01, batch_size=32, keep="last", after_step=pruning,
                  after_epoch=after, checkpoint=tmp_path / f"{stop}.pt" if stop is None
                  else tmp_path / "killed.pt")
        return model

    with pytest.raises(KeyboardInterrupt):
        trained(3)
    again, whole = trained(-1), trained(None)
    assert prune.sparsity(again) == pytest.approx(prune.sparsity(whole), abs=0.02)
    assert prune.sparsity(again) >= 0.79


# teachers

def test_a_student_of_its_own_teacher_has_nothing_to_learn():
    task = blobs()
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    x, y = task.train.x[:32], task.train.y[:32]
    alone = losses.distillation(task, net, alpha=1.0)(net, x, y)
    assert float(alone.detach()) == pytest.approx(0, abs=1e-6)
    own = losses.of_task(task)(net, x, y)
    half = losses.distillation(task, net, alpha=0.5)(net, x, y)
    assert torch.allclose(half, own / 2, atol=1e-6)


def test_distillation_is_hintons():
    task = blobs()
    torch.manual_seed(0)
    student, teacher = nn.Linear(4, 3), nn.Linear(4, 3)
    x, y = task.train.x[:32], task.train.y[:32]
    value = losses.distillation(task, teacher, temperature=3.0, alpha=1.0)(student, x, y)
    p, q = ((net(x) / 3).softmax(1) for net in (teacher, student))
    assert torch.allclose(value, 9 * (p * (p / q).log()).sum(1).mean(), rtol=1e-4)
    value.backward()
    assert teacher.weight.grad is None and student.weight.grad is not None


def test_numbers_are_distilled_by_their_distance():
    task = line()
    student, teacher = nn.Linear(4, 1), nn.Linear(4, 1)
    x, y = task.train.x[:32], task.train.y[:32]
    value = losses.distillation(task, teacher, alpha=1.0)(student, x, y)
    assert torch.allclose(value, (student(x) - teacher(x)).square().mean())


def test_a_teacher_of_another_task_is_refused():
    with pytest.raises(ValueError, match=r"answers with \(8, 3\), its teacher with \(8, 5\)"):
        losses.distillation(blobs(), nn.Linear(4, 5))(
            nn.Linear(4, 3), torch.ones(8, 4), torch.zeros(8).long())
    with pytest.raises(ValueError, match="T is above 0"):
        losses.distillation(blobs(), nn.Linear(4, 3), temperature=0)


# recipes.tuned

PRUNED = {"pruner": "magnitude_l1", "amount": 0.7, "tuned": "finetune", "epochs": 2}
TUNED = [PRUNED, PRUNED | {"schedule": "cubic"}, PRUNED | {"tuned": "rewind"},
         {"tuned": "finetune", "epochs": 2},
         {"pruner": "random", "amount": 0.5, "schedule": "every-1", "epochs": 4},
         {"pruner": "taylor", "amount": 0.5, "structure": "2:4", "tuned": "finetune", "epochs": 2},
         {"pruner": "wanda", "amount": 0.5, "structure": "channel", "tuned": "finetune",
          "epochs": 2},
         {"quantizer": "lsq", "bits": 2, "a_bits": 4, "tuned": "lsq", "epochs": 2},
         {"quantizer": "gptq", "bits": 3, "tuned": "lsq+distill+kure", "epochs": 2,
          "teacher": "mlp_simple"},
         {"quantizer": "lsq", "levels": 3, "budget": "ends 8 bits", "tuned": "lsq", "epochs": 2},
         {"quantizer": "gptq", "bits": 2, "budget": "ends 8 bits", "a_bits": 4, "tuned": "lsq",
          "epochs": 2},
         {"quantizer": "edge_nearest_normal", "bits": 4, "tuned": "ste", "epochs": 2},
         PRUNED | {"tuned": "finetune+lsq", "quantizer": "gptq", "bits": 4},
         PRUNED | {"tuned": "lsq", "quantizer": "lsq", "bits": 4},
         {"quantizer": "lsq", "bits": 2, "tuned": "nested", "epochs": 2},
         {"tuned": "distill", "teacher": "mlp_complex", "epochs": 2},
         {"tuned": "finetune+distill", "teacher": "mlp_complex", "epochs": 2}]


@pytest.mark.parametrize("asked", TUNED, ids=lambda asked: str(Setting(**asked)))
def test_what_was_tuned_comes_back_from_the_cache_alike(asked):
    sizes = {"sizes": "hidden=32,24"} if asked.get("structure") == "channel" else {}
    setting = Setting(recipe="ours", **sizes, **asked)
    one = recipes.tuned("breast_cancer", "mlp_simple", fold=0, setting=setting)
    two = recipes.tuned("breast_cancer", "mlp_simple", fold=0, setting=setting)
    assert cache.used[-1]["cached"] and len(two.history) == setting.epochs and not two.training
    x = torch.randn(8, 30)
    assert torch.equal(one(x), two(x)) and two.trained_s > 0
    if asked.get("amount") and not setting.narrows:
        assert prune.sparsity(two) == pytest.approx(asked["amount"], abs=0.05)


def test_what_is_asked_of_a_tuning_is_part_of_its_key():
    changes = [{}, {"amount": 0.6}, {"schedule": "cubic"}, {"tuned": "rewind"}, {"epochs": 3},
               {"lr": 0.5}, {"tuned": "finetune+distill", "teacher": "mlp_complex"}]
    seen = set()
    for change in changes:
        setting = Setting(recipe="ours", **(PRUNED | change))
        recipes.tuned("breast_cancer", "mlp_simple", fold=0, setting=setting)
        assert not cache.used[-1]["cached"], change
        seen.add(cache.used[-1]["file"])
    quantized = Setting(recipe="ours", **PRUNED, quantizer="gptq", bits=4)
    recipes.tuned("breast_cancer", "mlp_simple", fold=0, setting=quantized)
    assert cache.used[-1]["cached"] and len(seen) == len(changes)   # what comes after is no part


def test_a_plain_net_is_not_tuned():
    with pytest.raises(ValueError, match="asks for no training of its own"):
        recipes.tuned("breast_cancer", "mlp_simple", fold=0, setting=Setting(epochs=3))


def test_tuning_starts_from_the_net_at_a_share_of_its_rate():
    setting = Setting(recipe="ours", tuned="finetune")
    whole, how = (recipes.recipe("telescope", "mlp_simple"),
                  recipes.tuning("telescope", "mlp_simple", setting))
    assert how["lr"] == pytest.approx(whole["lr"]) and how["keep"] == "last"
    images = recipes.tuning("cifar10", "resnet20", setting)         # by SGD, more gently
    assert images["lr"] == pytest.approx(0.3 * recipes.recipe("cifar10", "resnet20")["lr"])
    assert how["schedule"] == "cosine" and how["optimizer"] == whole["optimizer"]
    behind = recipes.tuning("cifar10", "resnet20", Setting(
        recipe="ours", tuned="lsq", quantizer="lsq", bits=4))
    image = recipes.tuning("cifar10", "resnet20", setting)
    assert behind["epochs"] < image["epochs"]       # where each of them takes twice the time
    rounded = recipes.tuning("cifar10", "resnet20", Setting(
        recipe="ours", tuned="lsq", quantizer="brecq", bits=4, steps=10))
    assert rounded["lr"] == pytest.approx(0.3 * behind["lr"])       # which was learned already
    again = recipes.tuning("telescope", "mlp_simple", Setting(recipe="ours", tuned="rewind"))
    assert (again["lr"], again["schedule"]) == (whole["lr"], whole["schedule"])
    scratch = recipes.tuning("telescope", "mlp_simple", Setting(
        recipe="ours", tuned="distill", teacher="mlp_complex"))
    assert scratch == whole | {"keep": "last"}


def test_nets_that_were_trained_through_a_quantizer_are_quantized():
    setting = Setting(recipe="ours", quantizer="lsq", levels=3, budget="ends 8 bits", a_bits=4,
                      tuned="lsq", epochs=2)
    row, costs = measured(Trial("breast_cancer", "mlp_complex", setting, fold=0))
    assert row.arithmetic == "simulated" and row.a_bits_mean > 4 and row.left_float == ""
    net = recipes.tuned("breast_cancer", "mlp_complex", fold=0, setting=setting)
    layers = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert [layer.compressed["weight"].base for layer in layers] == [256, 3, 3, 3, 256]
    assert [cost.quantity for cost in costs] == [
        "spent_s", "energy_j", "energy_j", "spent_macs", "spent_energy_j", "spent_energy_j"]


def test_what_a_quantizer_learned_is_learned_once_for_rows_and_trainings():
    """Rows on either part, and each training that starts from it, get the very same codes."""
    asked = {"recipe": "ours", "quantizer": "brecq", "bits": 2, "steps": 5}
    net = {"task": "breast_cancer", "model": "mlp_simple", "fold": 0}
    first = measured(Trial(**net, setting=Setting(**asked))).row
    assert [step["cached"] for step in cache.used if step["step"].startswith("round ")] == [False]
    again = measured(Trial(**net, setting=Setting(**asked))).row
    measured(Trial(**net, setting=Setting(**asked), split="val"))
    recipes.tuned("breast_cancer", "mlp_simple", fold=0,
                  setting=Setting(**asked, tuned="lsq", epochs=1))
    made = [step["cached"] for step in cache.used if step["step"].startswith("round ")]
    assert made == [False, True, True, True]
    assert (again.score, again.loss, again.size_bytes) == (first.score, first.loss,
                                                           first.size_bytes)
    measured(Trial(**net, setting=Setting(**asked), draw=1))
    measured(Trial(**net, setting=Setting(**asked | {"bits": 3})))
    made = [step["cached"] for step in cache.used if step["step"].startswith("round ")]
    assert made[4:] == [False, False]


@pytest.mark.parametrize("more", [
    {"tuned": "finetune", "epochs": 1},
    {"pruner": "magnitude_l1", "amount": 0.5},
    {"pruner": "magnitude_l1", "amount": 0.5, "schedule": "cubic", "tuned": "finetune",
     "epochs": 1},
    {"pruner": "magnitude_l1_layer", "amount": 0.5, "structure": "channel-4", "tuned": "finetune",
     "epochs": 1}])
def test_what_was_learned_comes_back_whole_whatever_was_done_before(more):
    setting = Setting(recipe="ours", quantizer="brecq", bits=3, a_bits=4, steps=3, **more)
    trial = Trial("digits", "resnet8", setting)
    (first, _), (again, _) = measured(trial), measured(trial)
    sizes = ("score", "loss", "size_bytes", "nonzero", "macs", "sparsity")
    assert [getattr(first, name) for name in sizes] == [getattr(again, name) for name in sizes]
    assert (first.scores == again.scores).all()


def test_one_training_serves_all_nested_widths():
    sizes = []
    for bits in (8, 4, 2):
        setting = Setting(recipe="ours", quantizer="lsq", bits=bits, tuned="nested", epochs=2)
        row, _ = measured(Trial("breast_cancer", "mlp_complex", setting, fold=0))
        assert row.bits == bits and row.setting == setting
        sizes.append(row.size_bytes)
    made = [step["file"] for step in cache.used
            if "mlp_complex nested" in step["step"] and not step["cached"]]
    assert len(made) == 1 and sizes == sorted(sizes, reverse=True)


def test_a_nested_net_keeps_the_input_statistics_that_it_was_trained_with():
    setting = Setting(recipe="ours", quantizer="lsq", bits=8, tuned="nested", epochs=1)
    task = blobs()
    net = recipes.trained(task, "mlp_simple", epochs=2)
    net.mean += 3.0                                 # as a net that others trained has its own
    ready = compress.prepared(net, setting, {"lr": 0.1}, 1, task.calibration, None).model
    header, arrays = compress.packed(ready, setting)
    whole = models.build("mlp_simple", task)
    back = compress.unpacked(whole, setting, header, arrays)
    assert torch.allclose(back.eval()(task.test.x), ready.eval()(task.test.x), atol=1e-4)


def test_what_is_trained_through_a_random_quantizer_is_one_training():
    trials = run.grid(["breast_cancer/mlp_simple"], draws=3, quantizer="stochastic_uniform", bits=4,
                      tuned=["", "finetune", "ste"])
    assert [trial.draw for trial in trials] == [0, 1, 2, 0, 1, 2, None]


def test_a_quantizer_counts_in_the_key_of_what_is_trained_through_it():
    files = set()
    for change in ({}, {"bits": 3}, {"a_bits": 4}, {"quantizer": "gptq"}, {"budget": "ends 8 bits"},
                   {"tuned": "lsq+kure"}):
        setting = Setting(**{"recipe": "ours", "quantizer": "lsq", "bits": 4, "tuned": "lsq",
                             "epochs": 2} | change)
        recipes.tuned("breast_cancer", "mlp_simple", fold=0, setting=setting)
        assert not cache.used[-1]["cached"], change
        files.add(cache.used[-1]["file"])
    assert len(files) == 6


def test_evenly_spread_weights_have_the_kurtosis_that_is_wanted():
    even, peaked = nn.Linear(100, 100, bias=False), nn.Linear(100, 100, bias=False)
    nn.init.uniform_(even.weight)
    nn.init.normal_(peaked.weight)
    nothing = losses.kurtosis(lambda model, x, y: torch.zeros(()))
    assert float(nothing(even, None, None).detach()) < 0.01
    assert float(nothing(peaked, None, None).detach()) == pytest.approx((3 - 1.8) ** 2, abs=0.4)


# trials

def test_a_row_says_what_was_tuned_and_what_came_after():
    setting = Setting(recipe="ours", **PRUNED, quantizer="gptq", bits=4)
    row, costs = measured(Trial("breast_cancer", "mlp_simple", setting, fold=0))
    assert row.sparsity >= 0.68 and row.arithmetic == "simulated"
    assert row.setting == setting and row.bits_per_weight < 4
    tuned, costs = measured(Trial("breast_cancer", "mlp_simple",
                                  Setting(recipe="ours", **PRUNED), fold=0))
    assert [(cost.quantity, cost.kind) for cost in costs] == [
        ("spent_s", "measured"), *[("energy_j", "modelled")] * 2, ("spent_macs", "modelled"),
        *[("spent_energy_j", "modelled")] * 2]
    assert costs[3].value == 3 * tuned.macs * 2 * 256           # two epochs of two batches of 128
    for each, spent in zip((4.6e-12, 1.69e-12), costs[4:], strict=True):
        assert spent.value > costs[3].value * each              # products alone, in floats
    assert tuned.arithmetic == "float" and tuned.sparsity == pytest.approx(0.7, abs=0.01)


def test_a_trials_key_knows_how_its_net_and_its_teacher_are_trained(monkeypatch):
    trial = Trial("breast_cancer", "mlp_simple", Setting(
        recipe="ours", tuned="finetune+distill", teacher="mlp_complex"), fold=0)
    plain = Trial("breast_cancer", "mlp_simple", Setting(recipe="ours"), fold=0)
    was, without = run.key_of(trial), run.key_of(plain)
    monkeypatch.setitem(recipes.training.RECIPES, ("breast_cancer", "mlp_complex"),
                        {"epochs": 1, "lr": 0.1, "batch_size": 8})
    assert run.key_of(trial) != was and run.key_of(plain) == without
    monkeypatch.undo()
    monkeypatch.setitem(recipes.tuning.__globals__, "TUNING_RATES", {"adamw": {"finetune": 0.5}})
    assert run.key_of(trial) != was and run.key_of(plain) == without


def test_random_masks_are_drawn_several_times_unless_a_training_follows():
    several = run.grid(["breast_cancer/mlp_simple"], draws=3, pruner=["random", "magnitude_l1"],
                       amount=0.5)
    assert [trial.draw for trial in several] == [0, 1, 2, None]
    tuned = run.grid(["breast_cancer/mlp_simple"], draws=3, pruner="random", amount=0.5,
                     tuned="finetune")
    assert [trial.draw for trial in tuned] == [None]
