"""Parameter files: every slip is found before anything runs, named, and answered."""

import json

import pytest

from lib.base import paths
from lib.study import parameters, values

CELL = """\
profile: str = "lab"
fresh: bool = False
seeds: list = [0]                       # of training
tasks: list = ["digits"]
models: list[str] = ["mlp_simple"]
pairs: list = ["digits/resnet8"]
epochs: int | None = 10
lr: float = 0.1
bits: list[int] = [4]
extra: list = []
methods: list = []
edge_methods: list = []
pruners: list = []
structures: list = ["2:4", "channel-16"]
schedules: list = ["cubic", "every-2"]
classical: list = ["knn"]
controls: list = []
learned_levels: list = [4]
pruned: list = [0.2]
active: list = ["8/8"]
active_methods: list = ["gptq"]
mixed_learned: list = []
engine: str = "fork"
workers: int = 2
"""
METHODS = {"quant/affine": ("affine", "hqq"), "quant/rounding": ("gptq",),
           "prune/scores": ("magnitude_l1",)}


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params")
    paths.NOTEBOOKS.mkdir()
    for stem, cell in (("02_train", CELL), ("03_ptq", 'profile: str = "lab"\nbits: int = 4\n'),
                       ("10_report", 'profile: str = "lab"\n')):
        (paths.NOTEBOOKS / f"{stem}.ipynb").write_text(json.dumps({"cells": [
            {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": cell}]}))
    for file, names in METHODS.items():
        path = tmp_path / "lib" / f"{file}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"NAMES = {names}\n")
    return tmp_path


def study(toy, text):
    path = toy / "mine.yaml"
    path.write_text(text)
    return parameters.study_plan(path)


@pytest.mark.parametrize("text, named", [
    ("epohcs: 3", ["'epohcs'", "did you mean 'epochs'", "lr"]),
    ("epochs: many", ["'epochs'", "'many'", "int | None", "02_train"]),
    ("epochs: true", ["'epochs'", "True"]),
    ("epochs: 0", ["'epochs'", "at least 1"]),
    ("lr: 0", ["'lr'", "above 0"]),
    ("lr: -1e-3", ["'lr'", "-0.001"]),
    ("lr: .nan", ["'lr'", "finite"]),
    ("seeds: [-1]", ["'seeds'", "from 0 to"]),
    ("seeds: [one]", ["'seeds'", "list", "[0]"]),
    ("seeds: []", ["'seeds'", "empty"]),
    ("seeds: 3", ["'seeds'", "list"]),
    ("02_train:\n  bits: [4, 17]", ["'bits'", "17", "from 1 to 16"]),
    ("bits: [4]", ["'bits'", "03_ptq takes int"]),
    ("tasks: [digit]", ["'tasks'", "'digit'", "digits", "telescope"]),
    ("tasks: [digits@edge]", ["'digits@edge'", "california@edge"]),
    ("models: [mlp]", ["'models'", "'mlp'", "mlp_simple"]),
    ("pairs: [digits/resnet]", ["'pairs'", "'resnet'", "resnet8"]),
    ("pairs: [digits]", ["'pairs'", "task/model"]),
    ("pairs: [digits/resnet80/width=8]", ["'pairs'", "'resnet80'", "resnet8"]),
    ("pairs: [digit/resnet8/width=8]", ["'pairs'", "'digit'", "digits"]),
    ("pairs: [digits/resnet8/width=wide]", ["'pairs'", "width=wide", "width=8"]),
    ("pairs: [digits/resnet8/init=xaver!]", ["'pairs'", "init=xaver!", "init=xavier"]),
    ("pairs: [digits/resnet8/epochs=few]", ["'pairs'", "epochs=few", "epochs=3"]),
    ("pairs: [digits/resnet8/width=8 epochs=0]", ["'digits/resnet8/width=8 epochs=0'",
                                                  "'epochs'", "at least 1"]),
    ("pairs: [digits/resnet8/recipe=hers]", ["'pairs'", "'hers'", "ours, edge"]),
    ("controls: [digits/resnet/width=8]", ["'controls'", "'resnet'", "resnet8"]),
    ("methods: [affine, gtpq]", ["'methods'", "'gtpq'", "affine, hqq, gptq"]),
    ("edge_methods: [magnitude_l1]", ["'edge_methods'", "'magnitude_l1'", "affine, hqq, gptq"]),
    ("structures: [channels]", ["'structures'", "'channels'", "channel-16"]),
    ("schedules: [daily]", ["'schedules'", "'daily'", "every-5"]),
    ("pruners: [gptq]", ["'pruners'", "'gptq'", "magnitude_l1"]),
    ("classical: [mlp_simple]", ["'classical'", "'mlp_simple'", "majority, knn, svm, hgb"]),
    ("engine: dask", ["'engine'", "'dask'", "here, fork", "tcp://"]),
    ("engine: 'tcp://127.0.0.1'", ["'engine'", "tcp://127.0.0.1:8786"]),
    ("workers: 0", ["'workers'", "at least 1"]),
    ("lr: 2024-13-45", ["mine.yaml", "'2024-13-45'", "float"]),
    ("seeds: [2024-01-01]", ["'seeds'", "'2024-01-01'"]),
    ("2024-01-01: 1", ["'2024-01-01' is not a parameter"]),
    ("seeds: [9223372036854775808]", ["'seeds'", "from 0 to 4294967295"]),
    ("seeds: [4294967296]", ["'seeds'", "from 0 to 4294967295"]),
    (f"seeds: [{'9' * 5000}]", ["mine.yaml", "digits"]),
    (f"seeds: [{'9' * 4000}]", ["'seeds'"]),
    ("seeds: [0, 1, 0]", ["'seeds'", "0 2 times"]),
    ("pairs: [digits/resnet8, digits/resnet8]", ["'pairs'", "'digits/resnet8' 2 times"]),
    ("pairs: " + "[" * 5000, ["mine.yaml", "nested too deeply"]),
    ("seeds: " + "[" * 50 + "]" * 50, ["'seeds'"]),
    ("a: &a [1]\nseeds: *a", ["mine.yaml", "line 2", "*a"]),
    ("a: &a [" + "x, " * 9 + "]\n" + "\n".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [" + f"*{chr(97 + i)}, " * 9 + "]" for i in range(20)),
     ["mine.yaml", "write the value out"]),
    ("<<: {lr: 1}", ["mine.yaml", "'<<'"]),
    ("x: &x {lr: 1}\n<<: *x", ["mine.yaml", "*x"]),
    ("? [1, 2]\n: 3", ["mine.yaml", "not readable YAML"]),
    ("lr: !!python/object/apply:os.system ['touch hacked']", ["mine.yaml", "not readable YAML"]),
    ('tasks: ["csv:mine\\0.csv#label"]', ["'tasks'", "\\x00", "no name or path"]),
    ('tasks: ["csv:mine\\uD800.csv#label"]', ["'tasks'", "\\ud800", "no name or path"]),
    (f"tasks: ['csv:{'a' * 300}.csv#y']", ["'tasks'", "cannot be read"]),
    ("tasks: ['csv:~nobody-of-this-name/mine.csv#y']", ["'tasks'", "no file"]),
    ("pairs: [breast_cancer/resnet8]", ["'pairs'", "resnet8 takes images", "is a table",
                                        "mlp_simple"]),
    ("pairs: [digits/transformer_t1]", ["transformer_t1 takes series", "is images", "resnet8"]),
    ("pairs: ['csv:mine.csv#label/transformer_t1']", ["'pairs'", "takes series"]),
    ("pairs: [digits/resnet20-akamaster]", ["'pairs'", "cifar10"]),
    ("pairs: [digits/resnet8/width=999999]", ["'pairs'", "width is more than"]),
    ("learned_levels: [1]", ["'learned_levels'", "from 2"]),
    ("pruned: [1.0]", ["'pruned'", "below 1"]),
    ("active: [8-8]", ["'active'", "8-8", "as in 4/8"]),
    ("active: [0/8]", ["'active'", "0/8", "as in 4/8"]),
    ("mixed_learned: [brceq]", ["'mixed_learned'", "'brceq'", "gptq"]),
    ("pairs: []", ["'pairs'", "empty"]),
    ("7:\n  lr: 1", ["7", "not the name of a notebook", "02_train"]),
    ("tasks: ['csv:none.csv#y']", ["'none.csv'", "no file"]),
    ("tasks: ['csv:mine.csv']", ["which column", "csv:mine.csv#COLUMN"]),
    ("tasks: ['csv:mine.csv#lable']", ["'lable'", "did you mean 'label'"]),
    ("tasks: ['imagefolder:mine.csv']", ["no folder 'mine.csv'"]),
    ("02_trian:\n  lr: 1", ["'02_trian'", "did you mean '02_train'"]),
    ("notebooks: [2, 04_prune]", ["'04_prune'", "03_ptq"]),
    ("notebooks: [3]\nlr: 0.1", ["'lr'", "not a parameter of the notebooks chosen"]),
    ("profile: yours", ["'profile'", "'yours'", "'mine'"]),
    ("lr: 1\nlr: 2", ["mine.yaml", "'lr'", "twice"]),
    ("lr: [", ["mine.yaml", "not readable YAML"]),
    ("- lr", ["mine.yaml", "`name: value`"]),
])
def test_a_slip_is_named_in_one_sentence(toy, text, named):
    (toy / "mine.csv").write_text("a,b,label\n1,2,3\n")
    with pytest.raises(parameters.Mistakes) as told:
        study(toy, text)
    sentence = str(told.value)
    assert "\n" not in sentence and "mine.yaml" in sentence and len(sentence) <= 600
    for word in named:
        assert word in sentence


def test_what_can_be_said_is_taken(toy):
    pairs = ["digits/resnet8/width=8", "telescope/mlp_simple/epochs=3 batch_size=64",
             "mv@edge/mlp_complex/recipe=edge hidden=18,11 lr=0.01 examples=2000"]
    plan = study(toy, f"pairs: {pairs}\nmethods: [affine, gptq]\npruners: [magnitude_l1]\n"
                      "controls: [digits/resnet8/width=2]\nengine: 'tcp://10.0.0.7:8786'\n"
                      "2:\n  lr: 0.5\n")
    given = plan.given["02_train"]
    assert given["pairs"] == pairs and given["methods"] == ["affine", "gptq"]
    assert given["engine"] == "tcp://10.0.0.7:8786" and given["lr"] == 0.5


def test_nothing_is_asked_for_by_an_empty_list(toy):
    given = study(toy, "methods: []\nactive: []\nclassical: []\npruned: []\n").given["02_train"]
    assert given["methods"] == given["active"] == given["classical"] == given["pruned"] == []


def test_a_file_may_begin_with_a_byte_order_mark(toy):
    assert study(toy, "\ufefflr: 0.5\n").given["02_train"]["lr"] == 0.5


@pytest.mark.parametrize("content", [b"lr: \xff", b"\0" * 9, "lr: 1".encode("utf-16"),
                                     b"#" * 1_000_001])
def test_what_is_no_yaml_at_all_is_told(toy, content):
    path = toy / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(parameters.Mistakes, match="mine.yaml is not readable YAML"):
        parameters.study_plan(path)


@pytest.mark.parametrize("name", ["a" * 300 + ".yaml", "a\0.yaml"])
def test_what_cannot_be_a_path_is_no_parameter_file(toy, name):
    with pytest.raises(parameters.Mistakes) as told:
        parameters.study_plan(toy / name)
    assert "\n" not in str(told.value) and "parameter file" in str(told.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": [3]}', '{"cells": [{"metadata": '
                                     '{"tags": ["parameters"]}, "source": "a: int = f()"}]}',
                                     '{"cells": [{"metadata": {"tags": ["parameters"]}, '
                                     '"source": "a: int = = 1"}]}', '{"cells": []}'])
def test_a_broken_or_stray_notebook_is_named(toy, content):
    (paths.NOTEBOOKS / "05_stray.ipynb").write_text(content)
    with pytest.raises(parameters.Mistakes, match="notebooks/05_stray.ipynb.* elsewhere"):
        parameters.folder_plan("quick")


def test_a_table_whose_header_goes_over_lines_has_its_columns(toy):
    (toy / "mine.csv").write_text('"a\nb";label\n1;2\n')
    assert study(toy, 'tasks: ["csv:mine.csv#a\\nb"]').given["02_train"]["tasks"]


def test_all_slips_are_told_at_once(toy):
    with pytest.raises(parameters.Mistakes) as told:
        study(toy, "lr: 0\nepohcs: 1\nseeds: []\n")
    assert len(str(told.value).splitlines()) == 3


@pytest.mark.parametrize("name", ["full.yaml", "lab.yaml", "published.yaml", "my study.yaml"])
def test_a_study_cannot_take_a_name_that_means_something(toy, name):
    (toy / name).write_text("lr: 0.2")
    with pytest.raises(parameters.Mistakes, match="cannot be its name"):
        parameters.study_plan(toy / name)


def test_a_study_goes_to_the_notebooks_that_have_its_keys(toy):
    plan = study(toy, "lr: 1e-3\nseeds: [0, 1]\nextra: []\n03_ptq:\n  bits: 2\n")
    assert plan.profile == "mine"
    assert plan.given == {
        "02_train": {"lr": 0.001, "seeds": [0, 1], "extra": [], "profile": "mine"},
        "03_ptq": {"bits": 2, "profile": "mine"}, "10_report": {"profile": "mine"}}
    assert plan.resolved("02_train")["epochs"] == 10


def test_the_report_is_always_among_the_chosen(toy):
    assert list(study(toy, "notebooks: [3]\n").given) == ["03_ptq", "10_report"]
    assert list(study(toy, "notebooks: 02_train\n").given) == ["02_train", "10_report"]


def test_own_data_within_the_project_go_by_their_path(toy):
    (toy / "mine.csv").write_text("a;label\n1;2\n")
    plan = study(toy, "tasks: ['csv:mine.csv#label']\npairs: ['csv:mine.csv#label/mlp_simple']")
    assert plan.given["02_train"]["tasks"] == ["csv:mine.csv#label"]
    assert plan.given["02_train"]["pairs"] == ["csv:mine.csv#label/mlp_simple"]
    assert plan.own == {}


def test_own_data_from_elsewhere_tell_no_folder(toy, tmp_path_factory):
    other, third = tmp_path_factory.mktemp("other"), tmp_path_factory.mktemp("third")
    for folder in (other, third):
        (folder / "wine #1.csv").write_text("a,label\n1,2\n")
    (other / "mine.yaml").write_text(
        f"tasks: ['csv:wine #1.csv#label', 'csv:{third}/wine #1.csv#label']\n"
        "pairs: ['csv:wine #1.csv#label/mlp_simple/hidden=4']\n")
    plan = parameters.study_plan(other / "mine.yaml")
    names = ["mine/wine #1.csv", f"mine/{third.name}/wine #1.csv"]
    assert plan.own == {names[0]: other / "wine #1.csv", names[1]: third / "wine #1.csv"}
    assert plan.given["02_train"]["tasks"] == [f"csv:{name}#label" for name in names]
    assert plan.given["02_train"]["pairs"] == [f"csv:{names[0]}#label/mlp_simple/hidden=4"]


@pytest.mark.parametrize("kind", ["npz", "imagefolder"])
def test_own_data_of_a_net_of_another_size_is_found_as_well(toy, kind):
    place = toy / "own" / "set"
    place.mkdir(parents=True)
    if kind == "npz":
        place = place / "a=b#c.npz"
        place.touch()
    pair = f"{kind}:{place.relative_to(toy)}/resnet8/width=4"
    assert study(toy, f"pairs: ['{pair}']").given["02_train"]["pairs"] == [pair]


def folder(toy, **files):
    for name, text in files.items():
        path = toy / "params" / "full" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return parameters.folder_plan("full")


def test_a_notebooks_own_file_overrides_the_common_one(toy):
    plan = folder(toy, common="profile: full\nseeds: [0, 1]\n", **{"02_train": "seeds: [7]\n"})
    assert plan.given["02_train"] == {"profile": "full", "seeds": [7]}
    assert plan.given["03_ptq"] == {"profile": "full"}


@pytest.mark.parametrize("first, stems", [
    ("3", ["03_ptq", "10_report"]), ("03", ["03_ptq", "10_report"]),
    ("02_train", ["02_train", "03_ptq", "10_report"]), ("10", ["10_report"])])
def test_a_study_begins_where_it_is_told(toy, first, stems):
    assert list(parameters.folder_plan("full", first).given) == stems


@pytest.mark.parametrize("first", ["-", "1", "77", "02", "²", "train", ""])
def test_a_beginning_that_is_no_notebook_is_refused(toy, first):
    (paths.NOTEBOOKS / "02_train.ipynb").rename(paths.NOTEBOOKS / "05_qat.ipynb")
    with pytest.raises(parameters.Mistakes, match=f"no notebook '{first}'.* 03_ptq"):
        parameters.folder_plan("full", first)


@pytest.mark.parametrize("files, named", [
    ({"common": "sedes: [0]"}, ["params/full/common.yaml", "'sedes'", "'seeds'"]),
    ({"03_ptq": "lr: 0.1"}, ["params/full/03_ptq.yaml", "'lr'", "bits"]),
    ({"04_prune": "amount: 0.5"}, ["04_prune", "no notebook", "03_ptq"]),
    ({"common": "profile: quick"}, ["'profile'", "'quick'", "'full'"]),
])
def test_a_slip_in_a_folder_is_named(toy, files, named):
    with pytest.raises(parameters.Mistakes) as told:
        folder(toy, **files)
    for word in named:
        assert word in str(told.value)


def test_a_wrong_default_in_a_notebook_is_named(toy):
    path = paths.NOTEBOOKS / "02_train.ipynb"
    path.write_text(path.read_text().replace("resnet8", "resnet80"))
    with pytest.raises(parameters.Mistakes, match="notebooks/02_train.ipynb: 'pairs': .*resnet80"):
        parameters.folder_plan("quick")


@pytest.mark.parametrize("count, wrong", [(0, 1), (-1, 1), (1, 0), (64, 0)])
def test_at_least_one_trial_runs_at_a_time(count, wrong):
    assert len(values.problems("workers", count)) == wrong
