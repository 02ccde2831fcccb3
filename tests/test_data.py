"""Tasks: parts that never change, scales from training rows only, facts known about each set."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from lib import data
from lib.base import names, paths
from lib.data import catalogue, images, series, splits, synthetic, tabular

real = pytest.mark.skipif(not os.environ.get("GREENBITS_MIRROR"),
                          reason="GREENBITS_MIRROR names no folder with the authors' files")

QUICK = {"digits": ((1, 8, 8), 10, 1797), "breast_cancer": ((30,), 2, 569),
         "diabetes": ((10,), 1, 442), "har_synthetic": ((3, 151), 9, 3000)}


def rows_of(split):
    return [row.tobytes() for row in split.x.flatten(1).numpy()]


def parts_of(task):
    return task.train, task.val, task.test


@pytest.mark.parametrize("name", QUICK)
def test_quick_sets_load_without_files_or_network(name, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "RAW", tmp_path / "absent")
    monkeypatch.delenv("GREENBITS_MIRROR", raising=False)
    task = data.load(name)
    inputs, outputs, rows = QUICK[name]
    assert (task.inputs, task.outputs, task.fold) == (inputs, outputs, 0)
    assert sum(map(len, parts_of(task))) == rows
    assert task.train.x.dtype == torch.float32 and task.train.x.shape[1:] == inputs
    assert task.mean.shape == task.std.shape == (inputs[0],)
    assert task.hash == data.load(name, fold=0).hash != data.load(name, fold=1).hash
    if name == "digits":
        assert 0 <= task.train.x.min() and task.train.x.max() == 1
    assert ("synthetic" in task.source) == (name == "har_synthetic")


@pytest.mark.parametrize("name", QUICK)
def test_five_folds_test_every_row_once_and_validate_on_the_next_part(name):
    folds = [data.load(name, fold=k) for k in range(5)]
    everything = sorted(sum((rows_of(part) for part in parts_of(folds[0])), []))
    assert sorted(sum((rows_of(task.test) for task in folds), [])) == everything
    for k, task in enumerate(folds):
        assert rows_of(task.val) == rows_of(folds[(k + 1) % 5].test)
        assert sorted(sum((rows_of(part) for part in parts_of(task)), [])) == everything


def test_subjects_are_never_in_two_parts_and_each_is_tested_once():
    tested = []
    for k in range(5):
        task = data.load("har_synthetic", fold=k)
        train, val, test = (set(part.group.tolist()) for part in parts_of(task))
        assert not train & val and not train & test and not val & test
        tested += test
    assert sorted(tested) == list(range(1, 31))


def test_parts_hold_each_class_alike():
    for k in range(5):
        test = data.load("digits", fold=k).test
        counts = torch.bincount(test.y, minlength=10)
        assert counts.min() >= 34 and counts.max() <= 37       # 174 to 183 of each digit, a fifth


def test_the_committed_splits_are_those_the_code_would_make():
    from sklearn import datasets
    for name, labels in (("digits", datasets.load_digits().target),
                         ("breast_cancer", datasets.load_breast_cancer().target),
                         ("diabetes", np.zeros(442))):
        assert (splits.stored(name, len(labels)) == splits.stratified(labels)).all()
    _, y, group = synthetic.windows()
    assert (splits.stored("har_synthetic", len(y), group) == splits.grouped(group)).all()


def write(name, part, group=None):
    """Store the parts of a task as the committed files have them."""
    if group is None:
        digits = "".join(map(str, part))
        lines = [digits[i:i + 100] for i in range(0, len(digits), 100)]
    else:
        lines = [" ".join(map(str, np.unique(group[part == k]))) for k in range(splits.PARTS)]
    name = name if group is None else f"{name}.subjects"
    (paths.SPLITS / f"{name}.txt").write_text("\n".join(lines) + "\n")


def test_a_split_is_read_as_it_was_written(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "SPLITS", tmp_path)
    group = np.arange(230) // 10 + 1
    for name, part, by in (("rows", splits.stratified(group), None),
                           ("subjects", splits.grouped(group), group)):
        write(name, part, by)
        assert (splits.stored(name, 230, by) == part).all()
    with pytest.raises(data.DataError, match="subjects"):
        splits.stored("subjects", 230, group + 1)         # a subject that the split does not know


@pytest.mark.parametrize("text", ["", "0123401234", "01234x" * 100, None])
def test_a_damaged_split_is_refused(text, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "SPLITS", tmp_path)
    if text is not None:
        (tmp_path / "digits.txt").write_text(text)
    with pytest.raises(data.DataError, match=r"digits\.txt.*git checkout"):
        data.load("digits")


def test_unequal_groups_are_spread_evenly():
    group = np.repeat(np.arange(14), np.random.RandomState(0).randint(50, 150, 14))
    part = splits.grouped(group)
    sizes = [len(np.unique(group[part == k])) for k in range(5)]
    assert max(sizes) - min(sizes) == 1
    assert all(len(np.unique(part[group == g])) == 1 for g in range(14))
    with pytest.raises(data.DataError, match="4 groups"):
        splits.grouped(np.arange(4).repeat(9))


def test_scales_come_from_the_training_part_alone():
    task = data.load("breast_cancer", fold=2)
    x = task.train.x.double()
    assert torch.allclose(task.mean.double(), x.mean(0), rtol=1e-5)
    assert torch.allclose(task.std.double(), x.std(0, correction=0), rtol=1e-4)
    task = data.load("digits")
    assert abs(task.mean - task.train.x.mean()) < 1e-6
    wave = data.load("har_synthetic")
    assert torch.allclose(wave.mean, wave.train.x.mean((0, 2)), atol=1e-4)


def test_regression_targets_are_standardised_and_scored_in_their_own_units():
    task = data.load("diabetes")
    assert abs(task.train.y.mean()) < 1e-6 and abs(task.train.y.std(correction=0) - 1) < 1e-6
    original = task.test.y * task.target_std + task.target_mean
    assert original.min() >= 25 - 1e-3 and original.max() <= 346 + 1e-3      # of the data set
    assert torch.allclose(original, original.round(), atol=1e-3)
    assert task.total(task.score(task.test.y[:, None], task.test)) == pytest.approx(1)
    guess = task.test.y.mean().expand(len(task.test), 1)
    assert task.total(task.score(guess, task.test)) == pytest.approx(0, abs=1e-6)


def test_bytes_and_floats_get_the_same_scales_and_a_constant_channel_stays_finite():
    x = np.random.RandomState(0).randint(0, 256, (60, 2, 4, 4)).astype(np.uint8)
    x[:, 1] = 7
    y, rows = np.arange(60) % 2, (np.arange(40), np.arange(40, 50), np.arange(50, 60))
    a = splits.divide("a", "image", x, y, rows, source="", classes=("0", "1"))
    b = splits.divide("b", "image", (x / 255).astype(np.float32), y, rows, source="",
                      classes=("0", "1"))
    assert torch.allclose(a.train.x, b.train.x) and torch.allclose(a.mean, b.mean, atol=1e-6)
    assert torch.allclose(a.std, b.std, atol=1e-5) and a.std[1] == b.std[1] == 1


def test_the_hash_follows_data_split_and_scaling_and_nothing_else():
    x, y = np.random.RandomState(0).normal(size=(50, 3)).astype(np.float32), np.arange(50.0)
    rows = splits.of_fold(splits.stratified(np.zeros(50)), 0)

    def hash_of(x=x, y=y, rows=rows, **options):
        return splits.divide("toy", "tabular", x, y, rows, source="s", **options).hash

    base = hash_of()
    assert base == hash_of(x.copy(), fold=0)
    changed = x.copy()
    changed[7, 1] += 1e-3
    other = [hash_of(changed), hash_of(y=y[::-1]), hash_of(rows=rows[::-1]),
             hash_of(group=np.arange(50)), hash_of(scaling=(np.zeros(3), np.ones(3))),
             hash_of(scaling=(np.zeros(3), np.full(3, 2.0)))]
    assert len({base, *other}) == 7


def test_synthetic_series_is_neither_trivial_nor_hopeless():
    from sklearn.neighbors import KNeighborsClassifier
    task = data.load("har_synthetic")
    x, test = (((part.x - task.mean[:, None]) / task.std[:, None]).flatten(1).numpy()
               for part in (task.train, task.test))
    score = 100 * KNeighborsClassifier(5).fit(x, task.train.y).score(test, task.test.y)
    assert 50 < score < 75            # 62 when this was written; a small convolutional net gets 89
    assert torch.equal(task.train.x * 64, (task.train.x * 64).round())   # the sensor's resolution


def test_synthetic_series_is_drawn_anew_alike():
    first = synthetic.windows()[0].copy()
    synthetic.windows.cache_clear()
    assert np.array_equal(first, synthetic.windows()[0])
    assert not np.array_equal(first, synthetic.windows(1)[0])
    synthetic.windows.cache_clear()


@pytest.mark.parametrize("arguments, says", [
    (("digit",), "digits"), (("digits@edge",), "telescope@edge"), (("digits", None, 5), "0, 1, 2"),
    (("digits", None, "1"), "0, 1, 2"), (("digits", None, True), "0, 1, 2"),
    (("cifar10", None, 0), "one split"), (("churn@edge", None, 1), "one split"),
    (("churn@edge", "green"), "leave one"), (("digits", "edge"), "telescope@edge")])
def test_a_name_or_fold_that_is_not_there_is_refused_with_those_that_are(arguments, says):
    with pytest.raises(ValueError, match=says):
        data.load(*arguments)


def test_folds_lists_those_a_task_has():
    assert data.folds("digits") == [0, 1, 2, 3, 4] and data.folds("digits", [0, 2]) == [0, 2]
    assert data.folds("cifar10") == data.folds("churn@edge", [0, 2]) == [None]


def test_every_named_variant_is_loaded_by_its_room():
    known = {f"{task}@{variant}" for variant, tasks in names.VARIANTS.items() for task in tasks}
    assert known == {f"{t}@edge" for t in (*tabular.SETS, "fashion_mnist")} | {
        "unimib_adl@green", "unimib_falls@random", "squad@dev"} | {
        f"{t}@{v}" for t in ("fashion_mnist", "cifar10") for v in ("small", "scaled")}


def test_duplicates_counts_copies_within_and_between_parts():
    x = np.arange(30, dtype=np.float32)[:, None].repeat(2, 1)
    x[[1, 21, 28]] = x[0]                     # one more in train, one in val, one in test
    x[29] = x[22]                             # test holds a copy from val, with another target
    y, group = np.zeros(30, int), np.arange(30) // 10
    y[29], group[29] = 1, 0
    rows = (np.arange(20), np.arange(20, 25), np.arange(25, 30))
    task = splits.divide("toy", "tabular", x, y, rows, source="", classes=("0", "1"), group=group)
    table = {(r["part"], r["other"]): (r["copies"], r["other_target"], r["subjects"])
             for r in data.duplicates(task)}
    assert table == {("train", "train"): (1, 0, 2), ("val", "val"): (0, 0, 1),
                     ("test", "test"): (0, 0, 2), ("val", "train"): (1, 0, 0),
                     ("test", "train"): (1, 0, 1), ("test", "val"): (2, 1, 1)}
    facts = data.describe(task)
    assert facts["majority_share"] == pytest.approx(80) and facts["subjects"] == 3


# ------------------------------------------------------------------ the real sets

@real
@pytest.mark.parametrize("name, rows, inputs, share, variance", [
    ("telescope@edge", 19020, 10, 63.99, None), ("churn@edge", 10000, 13, 79.75, None),
    ("mv@edge", 40768, 10, None, 108.6), ("california@edge", 18577, 6, None, 8692)])
def test_edge_variant_has_the_rows_and_shares_of_edge(name, rows, inputs, share, variance):
    task = data.load(name)
    assert sum(map(len, parts_of(task))) == rows and task.inputs == (inputs,)
    assert task.fold is None and task.hash == data.load(name.split("@")[0], variant="edge").hash
    sizes = [len(part) / rows for part in parts_of(task)]
    assert sizes == pytest.approx([0.6, 0.2, 0.2], abs=1e-3)
    x = (torch.cat([part.x for part in parts_of(task)]) - task.mean) / task.std
    y = torch.cat([part.y for part in parts_of(task)])
    if share:
        assert data.describe(task)["majority_share"] == pytest.approx(share, abs=0.005)
        scaled = x if name.startswith("telescope") else x[:, 5:]
        assert scaled.mean(0).abs().max() < 1e-3 and (scaled.std(0) - 1).abs().max() < 1e-3
    else:
        assert (task.target_mean, task.target_std) == (0, 1)
        assert y.var().item() == pytest.approx(variance, rel=1e-3)
        assert x.amin(0) == pytest.approx(0, abs=1e-6) and x.amax(0) == pytest.approx(1, abs=1e-6)
    if name == "churn@edge":
        assert set(x[:, :5].unique().tolist()) == {0.0, 1.0}
    if name == "california@edge":
        assert y.min() == pytest.approx(66.2) and y.max() == pytest.approx(489.8)


@real
def test_edge_variant_repeats_the_draws_from_numpys_global_state():
    from sklearn.model_selection import train_test_split
    state = np.random.get_state()
    np.random.seed(0)
    train, rest = train_test_split(range(10000), test_size=0.40)
    _, test = train_test_split(range(len(rest)), test_size=0.5)
    np.random.set_state(state)
    table, y = tabular._read("churn", "churn.csv")
    task = data.load("churn@edge")
    values = torch.from_numpy(table.to_numpy(np.float32))
    assert torch.equal(task.train.x, values[train])
    assert torch.equal(task.test.x, values[np.array(rest)[test]])
    assert task.test.y.tolist() == y[np.array(rest)[test]].tolist()


@real
@pytest.mark.parametrize("name, rows, inputs, outputs", [
    ("telescope", 19020, 10, 2), ("churn", 10000, 13, 2), ("mv", 40768, 10, 1),
    ("california", 20640, 8, 1)])
def test_tabular_sets_have_all_rows_in_five_committed_parts(name, rows, inputs, outputs):
    task = data.load(name, fold=3)
    assert sum(map(len, parts_of(task))) == rows
    assert (task.inputs, task.outputs, len(task.features)) == ((inputs,), outputs, inputs)
    _, y = tabular._read(name, catalogue.RAW_FILES[name][0])
    made = splits.stratified(y if task.classes else np.zeros(rows))
    assert (splits.stored(name, rows) == made).all()
    assert "licence" in task.source and "https://" in task.source
    if name == "churn":
        assert data.describe(task)["majority_share"] == pytest.approx(79.63, abs=0.05)
    if name == "telescope":
        assert data.describe(task)["majority_share"] == pytest.approx(64.84, abs=0.05)


@real
def test_falls_lose_their_twins_and_keep_subjects_apart():
    x, y, group = series._falls(series.digest("UniMiB-SHAR.zip"))
    kinds, which, counts = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    assert (len(x), len(kinds), int((counts[which] > 1).sum())) == (4170, 3230, 1383)
    for twin in np.flatnonzero(counts > 1):
        assert len(np.unique(group[which == twin])) == len(np.unique(y[which == twin])) == 1
    folds = [data.load("unimib_falls", fold=k) for k in range(5)]
    assert sum(len(task.test) for task in folds) == 3230 and folds[0].inputs == (3, 51)
    tested = sum((sorted(set(task.test.group.tolist())) for task in folds), [])
    assert sorted(tested) == list(range(1, 31))
    assert all(r["copies"] == 0 for r in data.duplicates(folds[0]))


@real
def test_random_folds_of_falls_leak_twins_into_the_test_set():
    from sklearn.neighbors import KNeighborsClassifier
    scores = {}
    for name in ("unimib_falls", "unimib_falls@random"):
        task = data.load(name)
        knn = KNeighborsClassifier(1).fit(task.train.x.flatten(1), task.train.y)
        scores[name] = 100 * knn.score(task.test.x.flatten(1), task.test.y)
    assert sum(map(len, parts_of(task))) == 4170
    leak = {(r["part"], r["other"]): r["copies"] for r in data.duplicates(task)}
    assert leak["test", "train"] > 200
    assert scores["unimib_falls@random"] - scores["unimib_falls"] > 20


@real
def test_usc_had_is_whole_and_in_units_of_gravity():
    folds = [data.load("usc_had", fold=k) for k in range(5)]
    assert sum(len(task.test) for task in folds) == 8832 and folds[0].inputs == (3, 151)
    assert len(folds[0].classes) == 12
    tested = sum((sorted(set(task.test.group.tolist())) for task in folds), [])
    assert sorted(tested) == list(range(1, 15))
    still = folds[0].train.x[folds[0].train.y == folds[0].classes.index("Sleeping")]
    assert (still.norm(dim=1).median() - 1).abs() < 0.1
    assert [len(folds[0].train), len(folds[0].val), len(folds[0].test)] == [5182, 1799, 1851]


@real
@pytest.mark.parametrize("name, classes, mean", [
    ("fashion_mnist", 10, (0.2860,)), ("cifar10", 10, (0.4914, 0.4822, 0.4465)),
    ("cifar100", 100, (0.5071, 0.4865, 0.4409))])
def test_image_sets_keep_the_authors_test_set_and_a_clean_validation(name, classes, mean):
    task = data.load(name)
    sizes = [len(part) for part in parts_of(task)]
    assert sizes == [(60000 if name == "fashion_mnist" else 50000) - 5000, 5000, 10000]
    assert torch.bincount(task.val.y).tolist() == [5000 // classes] * classes
    assert torch.bincount(task.test.y).tolist() == [10000 // classes] * classes
    assert len(task.classes) == classes and task.fold is None
    assert task.test.x.min() == 0 and task.test.x.max() == 1
    assert task.mean.tolist() == pytest.approx(mean, abs=2e-3)      # means known to everybody
    assert task.train.x[:64].mean((0, 2, 3)).tolist() == pytest.approx(mean, abs=0.1)


@real
@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_small_sets_train_on_fewer_images_and_are_judged_on_all(name):
    whole, small, scaled = (data.load(name + end) for end in ("", "@small", "@scaled"))
    for task in (small, scaled):
        assert torch.bincount(task.train.y).tolist() == [1000] * 10
        assert torch.equal(task.test.y, whole.test.y) and torch.equal(task.val.y, whole.val.y)
        assert torch.equal(task.test.x[:9], whole.test.x[:9])
    assert small.mean.tolist() == pytest.approx(whole.mean.tolist(), abs=0.01)
    channels = len(whole.mean)
    assert scaled.mean.tolist() == scaled.std.tolist() == [0.5] * channels
    assert len({whole.hash, small.hash, scaled.hash}) == 3


def test_the_first_rows_of_each_class_are_kept_in_order():
    y = np.array([0, 1, 1, 0, 2, 1, 0, 2, 2])
    assert images._first(y, np.arange(9)[1:], 2).tolist() == [1, 2, 3, 4, 6, 7]


def test_order_of_a_file_does_not_matter():
    rng = np.random.RandomState(0)
    x, y = rng.randint(0, 256, (90, 3, 4, 4)).astype(np.uint8), np.arange(90).astype(np.uint8) % 3
    shuffled = rng.permutation(90)
    a, b = images._in_order(x, y), images._in_order(x[shuffled], y[shuffled])
    assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
    assert not np.array_equal(a[0], x) and sorted(map(bytes, a[0])) == sorted(map(bytes, x))


def test_images_are_enlarged_as_pillow_does_it():
    x = np.random.RandomState(0).randint(0, 256, (40, 1, 28, 28)).astype(np.uint8)
    pillow = [np.asarray(Image.fromarray(i[0]).resize((32, 32), Image.Resampling.BILINEAR))
              for i in x]
    assert np.array_equal(images.enlarged(x)[:, 0], np.stack(pillow))
