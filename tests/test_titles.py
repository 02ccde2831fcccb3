"""Titles: every setting of the published rows has one, in one order, and no two share it."""

import re

import pandas as pd
import pytest

from lib import results
from lib.base import names, paths, titles
from lib.base.setting import FIELDS, Setting

CHAPTERS = sorted(path.stem for path in paths.RESULTS.glob("[0-9][0-9]_*.json")
                  if path.with_suffix(".npz").exists())
OF_TITLE = [name for name in FIELDS if name not in ("recipe", "sizes", "policy", "trace")]
# Which word of a title tells what, in the order in which they stand.
ORDER = (r"\bpruning\b", r"fine-tuned|distill|kurtosis", r"\d-bit|W\dA\d|ternary|levels\b",
         r", \d+ epochs|learning rate", r"ONNX|INT8|kernels|OpenVINO|LiteRT")


@pytest.fixture(scope="module")
def settings():
    """The published rows, one of each setting, with their titles."""
    before = paths.profile()
    paths.profile("published")
    rows = pd.concat([results.load(chapter) for chapter in CHAPTERS])
    paths.profile(before)
    rows = rows.drop_duplicates(["task", "model", *FIELDS])
    return rows.assign(title=[titles.technique(line) for line in rows.itertuples()])


def test_no_title_of_the_published_rows_holds_an_identifier(settings):
    assert len(settings) > 1000
    told = {*settings.title, *map(titles.task, settings.task.unique()),
            *(titles.model(*line) for line in settings[["model", "sizes"]].itertuples(index=False)),
            *map(titles.policy, settings.policy.unique())}
    assert not [title for title in told if re.search(r"[_=]|\bnan\b|None|  |, ,|^,|,$", title)]
    assert all(titles.task(name.partition("@")[0]) != name.partition("@")[0]
               for name in settings.task.unique())
    assert all(titles.model(name) != name for name in settings.model.unique())


def test_the_parts_of_a_title_have_one_order(settings):
    for title in settings.title.unique():
        found = [match.start() for word in ORDER if (match := re.search(word, title))]
        assert found == sorted(found), title


def test_two_settings_never_share_a_title(settings):
    """A network's own training is part of no technique, its epochs neither."""
    own = settings.tuned == ""
    lines = settings.assign(**{name: settings[name].where(~own) for name in ("epochs", "lr")})
    lines = lines.drop_duplicates([name for name in OF_TITLE if name != "batch_size"])
    shared = lines[lines.duplicated("title", keep=False)]
    assert shared.empty, shared[["title", *OF_TITLE]].to_string()


def test_a_setting_and_a_line_of_a_table_have_the_same_title(settings):
    for _, line in settings.drop_duplicates("title").iterrows():
        assert titles.technique(results.setting_of(line)) == line.title


def test_the_order_of_what_was_asked_does_not_matter():
    asked = {"tuned": "lsq", "quantizer": "gptq", "bits": 2, "pruner": "magnitude_l1",
             "amount": 0.5, "deploy": "fp32"}
    told = {titles.technique(Setting(**{name: asked[name] for name in order}))
            for order in (list(asked), list(asked)[::-1])}
    assert told == {"50 % magnitude pruning, LSQ QAT 2-bit (from GPTQ), FP32 ONNX"}


@pytest.mark.parametrize("asked, said", [
    ({}, titles.BASELINE),
    ({"quantizer": "gptq", "bits": 4}, "GPTQ 4-bit"),
    ({"quantizer": "brecq", "bits": 4, "a_bits": 8}, "BRECQ W4A8"),
    ({"quantizer": "lsq", "levels": 3, "tuned": "lsq"}, "LSQ QAT ternary"),
    ({"quantizer": "hqq", "levels": 6}, "HQQ 6-level"),
    ({"quantizer": "gptq", "bits": 2, "granularity": "group-64"}, "GPTQ 2-bit, groups of 64"),
    ({"quantizer": "affine", "bits": 8, "granularity": "tensor"}, "affine 8-bit, per tensor"),
    ({"quantizer": "edge_zero_mid_rise", "bits": 4}, "mid-rise (Edge's code, zero a level) 4-bit"),
    ({"quantizer": "edge_mid_rise_iqr", "bits": 4},
     "mid-rise (Edge's code, range by quartiles) 4-bit"),
    ({"pruner": "wanda", "amount": 0.9, "schedule": "every-2", "tuned": "finetune"},
     "90 % Wanda pruning every 2 epochs, fine-tuned"),
    ({"tuned": "distill", "teacher": "resnet20"}, "distilled from ResNet-20"),
    ({"deploy": "static"}, "INT8 (static)")])
def test_techniques_are_written_in_words(asked, said):
    assert titles.technique(Setting(**asked)) == said


def test_a_width_is_that_of_weights_and_of_activations():
    widths = [{"bits": 4}, {"bits": 4, "a_bits": 4}, {"levels": 3}, {"levels": 3, "a_bits": 8}]
    assert [titles.width(Setting(quantizer="gptq", **asked)) for asked in widths] == [
        "4-bit", "W4A4", "ternary", "ternary weights, 8-bit activations"]
    assert titles.width(Setting()) == ""


def test_every_name_of_the_study_has_a_title():
    for name in (*names.TASKS, *names.MODELS, *names.methods("quant")):
        title = {name in names.TASKS: titles.task, name in names.MODELS: titles.model}.get(
            True, titles.quantizer)(name)
        assert "_" not in title and title, name


def test_a_readers_own_files_and_networks_go_by_their_names():
    assert titles.task("csv:data/wine.csv#quality") == "wine.csv · quality"
    assert titles.task("imagefolder:pictures/") == "pictures"
    assert titles.model("module:mine/net.py:Residual", "hidden=24") == "Residual, hidden 24"
    assert titles.network("cifar10", "resnet20", "width=8") == "CIFAR-10 · ResNet-20, width 8"


def test_policies_name_the_single_model_that_they_stay_with():
    assert titles.policy("fixed a file of static int8") == "always INT8 (static)"
    assert titles.policy("fixed resnet14 width=8, a file of floats") == (
        "always ResNet-14, width 8, FP32")
    assert titles.policy("fixed layers=3, a file of dynamic int8") == (
        "always 3 layers, INT8 (dynamic)")
    assert titles.policy("slack") == "slack"
