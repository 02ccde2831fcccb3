"""Setting: one spelling for each thing that can be asked, and a sentence for what cannot."""

import dataclasses

import pytest

from lib.base import Setting
from lib.base.setting import FIELDS, TEXT_FIELDS


def test_nothing_asked_is_the_net_as_trained():
    assert str(Setting()) == "as trained" and Setting().asked == {}
    assert str(Setting(recipe="ours")) == "as trained"


@pytest.mark.parametrize("asked, said", [
    ({"quantizer": "gptq", "bits": 3, "repairs": "folded"}, "gptq, 3 bits, folded"),
    ({"quantizer": "brecq", "levels": 3, "steps": 50}, "brecq, 3 levels, 50 steps"),
    ({"quantizer": "affine", "bits": 4, "a_bits": 8}, "affine, 4 bits, activations in 8 bits"),
    ({"quantizer": "affine", "bits": 4, "granularity": "tensor"},
     "affine, 4 bits, one range a tensor"),
    ({"quantizer": "edge_mid_rise", "bits": 8, "recipe": "edge", "sizes": "width=16"},
     "Edge's recipe, width=16, edge_mid_rise, 8 bits"),
    ({"quantizer": "gptq", "budget": "mean 2 bits, exact"}, "gptq, mean 2 bits, exact"),
    ({"pruner": "magnitude_l1", "amount": 0.5}, "magnitude_l1 50 %"),
    ({"pruner": "edge", "amount": 0.2, "quantizer": "affine", "bits": 8,
      "order": "quantize prune"}, "affine, 8 bits, edge 20 %, quantize prune"),
    ({"epochs": 3, "batch_size": 64, "lr": 0.01}, "3 epochs, rate 0.01, batches of 64"),
    ({"pruner": "wanda", "amount": 0.9, "schedule": "cubic", "tuned": "finetune", "epochs": 12},
     "wanda 90 %, cubic, finetune, 12 epochs"),
    ({"pruner": "magnitude_l1", "amount": 0.5, "structure": "channel-16", "tuned": "rewind",
      "quantizer": "gptq", "bits": 4}, "magnitude_l1 50 %, channel-16, rewind, gptq, 4 bits"),
    ({"tuned": "finetune+distill", "teacher": "resnet56"},
     "finetune+distill, taught by resnet56"),
    ({"pruner": "magnitude_l1", "amount": 0.5, "structure": "channel-16", "deploy": "static"},
     "magnitude_l1 50 %, channel-16, a file of static int8")])
def test_a_setting_reads_as_a_person_would_say_it(asked, said):
    assert str(Setting(**asked)) == said


def test_one_thing_has_one_spelling():
    assert Setting(quantizer="affine", levels=8) == Setting(quantizer="affine", bits=3)
    assert Setting(quantizer="affine", bits=3).granularity == "channel"
    assert Setting(quantizer="edge_mid_rise", bits=3).granularity == "tensor"
    assert Setting(pruner="edge", amount=0.0).amount == 0.0        # asked for, and not nothing
    assert Setting(**Setting(quantizer="gptq", bits=3).asked) == Setting(quantizer="gptq", bits=3)


@pytest.mark.parametrize("asked, sentence", [
    ({"quantizer": "affine"}, "without bits, levels or budget"),
    ({"bits": 4}, "without a quantizer"),
    ({"quantizer": "affine", "bits": 4, "levels": 3}, "more than one of bits, levels and budget"),
    ({"quantizer": "affine", "budget": "two bits"}, "mean 2 bits, exact"),
    ({"repairs": "corrected folded"}, "in this order"),
    ({"quantizer": "affine", "bits": 4, "granularity": "row"}, "tensor, channel or group-64"),
    ({"pruner": "edge"}, "a pruner needs an amount"),
    ({"pruner": "edge", "amount": 1.0}, "from 0 to below 1"),
    ({"quantizer": "affine", "bits": 4, "order": "prune quantize"}, "needs a pruner"),
    ({"a_bits": 8}, "without a quantizer of the weights"),
    ({"repairs": "smooth"}, "smooth without a quantizer"),
    ({"recipe": "mine"}, "ours, edge, plan"),
    ({"deploy": "tflite"}, "fp32, dynamic, static, nbits"),
    ({"deploy": "static", "quantizer": "gptq", "bits": 8}, "rounds the weights itself"),
    ({"deploy": "nbits"}, "without weights of 4 bits"),
    ({"deploy": "nbits", "quantizer": "gptq", "bits": 8}, "without weights of 4 bits"),
    ({"tuned": "longer"}, "choose one of finetune, rewind, ste, lsq, nested, or of"),
    ({"tuned": "distill+finetune", "teacher": "resnet56"}, "in this order, as in 'finetune\\+lsq"),
    ({"tuned": "finetune+rewind"}, "choose one of finetune, rewind"),
    ({"tuned": "ste+lsq", "quantizer": "affine", "bits": 4}, "choose one of finetune"),
    ({"tuned": "lsq"}, "without a quantizer to train through"),
    ({"tuned": "lsq", "quantizer": "lsq", "bits": 4, "pruner": "wanda", "amount": 0.5,
      "schedule": "cubic"}, "prune before that, as in 'finetune\\+lsq'"),
    ({"tuned": "nested", "quantizer": "lsq", "bits": 3}, "at 8, 4 or 2 bits"),
    ({"tuned": "nested", "quantizer": "gptq", "bits": 4}, "a row of quantizer 'lsq'"),
    ({"tuned": "nested", "quantizer": "lsq", "bits": 4, "pruner": "wanda", "amount": 0.5},
     "of a whole net's weights"),
    ({"budget": "ends 8 bits"}, "without a quantizer"),
    ({"quantizer": "affine", "budget": "ends 8 bits"}, "without bits, levels or budget"),
    ({"tuned": "distill"}, "needs a teacher"),
    ({"tuned": "finetune", "teacher": "resnet56"}, "needs a teacher"),
    ({"pruner": "wanda", "amount": 0.5, "structure": "channel", "schedule": "cubic"},
     "take one-shot"),
    ({"pruner": "wanda", "amount": 0.5, "quantizer": "affine", "bits": 4, "tuned": "finetune",
      "order": "quantize prune"}, "take order 'prune quantize'"),
    ({"sizes": "wide"}, "width=8")])
def test_what_cannot_be_is_said(asked, sentence):
    with pytest.raises(ValueError, match=sentence):
        Setting(**asked)


def test_sizes_are_arguments_of_build():
    asked = Setting(sizes="hidden=18 width=8")
    assert asked.build_arguments == {"hidden": (18,), "width": 8}
    assert Setting(sizes="hidden=18,11").build_arguments == {"hidden": (18, 11)}


def test_what_is_asked_of_the_net_stands_apart():
    asked = Setting(recipe="edge", epochs=3, quantizer="gptq", bits=3, repairs="folded")
    assert asked.net == Setting(recipe="edge", epochs=3)
    assert Setting(quantizer="gptq", budget="mean 2 bits, greedy").allocation == (2, "greedy")
    assert Setting(quantizer="gptq", bits=3, granularity="group-64").group == 64


def test_what_a_training_does_stands_apart_from_what_comes_after_it():
    asked = Setting(recipe="edge", sizes="width=16", pruner="wanda", amount=0.5, schedule="cubic",
                    tuned="finetune+distill", teacher="resnet56", epochs=12, lr=0.1,
                    quantizer="gptq", bits=3, repairs="folded")
    assert asked.trains and asked.stage == "finetune"
    assert asked.net == Setting(recipe="edge", sizes="width=16")    # its epochs are the tuning's
    assert asked.training == Setting(
        recipe="edge", sizes="width=16", pruner="wanda", amount=0.5, schedule="cubic",
        tuned="finetune+distill", teacher="resnet56", epochs=12, lr=0.1)
    assert asked.afterwards == Setting(quantizer="gptq", bits=3, repairs="folded")
    plain = Setting(pruner="wanda", amount=0.5)
    assert not plain.trains and plain.training == plain.afterwards == plain
    during = Setting(pruner="wanda", amount=0.5, schedule="every-5")
    assert during.trains and not during.stage


def test_one_training_may_follow_another():
    asked = Setting(recipe="ours", pruner="wanda", amount=0.5, schedule="cubic", epochs=3, lr=0.1,
                    tuned="finetune+lsq+distill", teacher="resnet56", quantizer="brecq", levels=3,
                    budget="ends 8 bits", a_bits=4)
    assert asked.stages == ("finetune", "lsq") and asked.stage == "lsq" and asked.ends == 8
    assert asked.before == Setting(recipe="ours", pruner="wanda", amount=0.5, schedule="cubic",
                                   tuned="finetune")
    assert asked.training == asked and asked.afterwards == Setting()
    alone = Setting(recipe="ours", tuned="lsq", quantizer="lsq", bits=2)
    assert alone.before == Setting(recipe="ours") and str(alone) == "lsq, lsq, 2 bits"


def test_fields_are_plain_values():
    for f in dataclasses.fields(Setting):
        assert f.default in ("", None) and (f.default == "") == (f.name in TEXT_FIELDS)
    assert len(FIELDS) == len(set(FIELDS)) == 24


def test_a_size_may_be_a_word():
    setting = Setting(sizes="width=8 init=xavier hidden=18,11")
    assert setting.build_arguments == {"width": 8, "init": "xavier", "hidden": (18, 11)}
    for wrong in ("init=", "width=wide", "init=Xavier!", "init=a,b", "init=a1"):
        with pytest.raises(ValueError, match="write them as in"):
            Setting(sizes=wrong)
