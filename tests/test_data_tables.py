"""Tables that people bring: the one right reading, said in the source, or one sentence that names
line and column."""

import os

import numpy as np
import pytest
import torch

from lib import data
from lib.base import paths
from lib.data import separated
from lib.study import values

ROWS = 60


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path


def load(folder, header: str, line, target="y", rows=ROWS, encoding="utf-8", **options):
    """The task of a table whose rows `line(i)` writes."""
    text = "\n".join([header, *(line(i) for i in range(rows))]) + "\n"
    (folder / "own.csv").write_bytes(text.encode(encoding))
    return data.load(f"csv:own.csv#{target}", **options)


def refused(folder, header, line, says, **options):
    with pytest.raises((data.DataError, ValueError), match=says) as caught:
        load(folder, header, line, **options)
    assert "\n" not in str(caught.value) and "own.csv" in str(caught.value)


def whole(task) -> torch.Tensor:
    return torch.cat([task.train.x, task.val.x, task.test.x])


def test_semicolons_tabs_and_decimal_commas_are_found_and_said(elsewhere):
    plain = load(elsewhere, "a,b,y", lambda i: f"{i}.5,{i * i},{'pq'[i % 2]}")
    assert plain.source == "own file own.csv"
    for mark, comma, said in ((";", ".", "separated by semicolons"),
                              ("\t", ".", "separated by tabs"),
                              (";", ",", "separated by semicolons; decimal commas")):
        task = load(elsewhere, mark.join("aby"), lambda i, mark=mark, comma=comma: mark.join(
            (f"{i}{comma}5", str(i * i), "pq"[i % 2])))
        assert task.source == f"own file own.csv; {said}"
        assert task.features == ("a", "b") and torch.equal(whole(task), whole(plain))


def test_a_comma_in_the_header_of_a_table_of_semicolons_is_no_separator(elsewhere):
    task = load(elsewhere, "price, EUR;size;y", lambda i: f"{i},25;{i % 7};{'pq'[i % 2]}")
    assert task.features == ("price, EUR", "size") and whole(task)[:, 0].max() == 59.25


def test_a_mark_of_byte_order_is_no_part_of_a_name(elsewhere):
    task = load(elsewhere, "y,a", lambda i: f"{'pq'[i % 2]},{i}", encoding="utf-8-sig")
    assert task.features == ("a",)
    assert separated.header(elsewhere / "own.csv") == ["y", "a"]
    for encoding in ("latin-1", "utf-16"):
        refused(elsewhere, "y,ä", lambda i: f"{'pq'[i % 2]},{i}", "is not UTF-8", encoding=encoding)


def test_spaces_around_fields_mean_nothing(elsewhere):
    task = load(elsewhere, "a, y", lambda i: f" {i} , {'pq'[i % 2]} ")
    assert task.features == ("a",) and task.classes == ("p", "q")


@pytest.mark.parametrize("header, line, says", [
    ("temp,load,y", "{i}.5,{i},{k},note", "line 2 has 4 fields, but its header names 3 columns"),
    ("temp,y", "{i},{k}\n1", "line 3 has 1 fields"),
    ("a,y,y", "{i},{k},{k}", "two columns named 'y', the 2. and the 3."),
    ("a,b,a,y", "{i},2,3,{k}", "two columns named 'a', the 1. and the 3."),
    ("a,b,y", "{i},{k},{k}", "repeats the target 'y' in column 'b'"),
    ("a,,y", "{i},w{k},{k}", "2. column, which has no name"),
    ("a,y", '"{i}"x,{k}', "not a readable table .line 2"),
])
def test_a_crooked_table_is_refused(elsewhere, header, line, says):
    refused(elsewhere, header, lambda i: line.format(i=i, k=i % 2), says)


def test_separators_at_the_ends_of_rows_are_no_columns(elsewhere):
    for header in ("a,y", "a,y,"):
        task = load(elsewhere, header, lambda i: f"{i},{i % 2},")
        assert task.features == ("a",) and whole(task).max() == 59


@pytest.mark.parametrize("line, says", [
    (lambda i: f"{'?' if i == 7 else i},{i % 2}", r"line 9, column 'a': '\?' stands among numbers"),
    (lambda i: f"{'?' if i == 7 else i % 9},{i % 2}", r"line 9, column 'a': '\?' stands among"),
    (lambda i: f"{'abc' if i == 3 else i},{i % 2}", "line 5, column 'a': 'abc' stands among"),
    (lambda i: f"{i},{'one' if i == 3 else i % 2}", "line 5, column 'y': 'one' stands among"),
    (lambda i: f'"{i},{i}00",{i % 2}', "column 'a': '0,000' can be two numbers"),
    (lambda i: f"2024-01-{1 + i % 28:02},{i % 2}", "line 2, column 'a': '2024-01-01' is a date"),
    (lambda i: f"{1 + i % 28}.1.2024 10:30,{i % 2}", "column 'a': '1.1.2024 10:30' is a date"),
    (lambda i: f"person {i},{i % 2}", "60 different texts in column 'a'"),
    (lambda i: f"{'inf' if i == 3 else i},{i % 2}", "column 'a' has inf, a number too large"),
    (lambda i: f"{i % 2}e-30,{i % 2}", "column 'a' has numbers that differ by 1e-30 at most"),
    (lambda i: f"{i},{9007199254740993 + i % 2}.0", "column 'y' has whole numbers beyond 2..53"),
    (lambda i: f"{i},{i}e200", "column 'y' has 5.9e.201, a number too large"),
    (lambda i: f"7,{i % 2}", "no input column beside 'y' that differs"),
])
def test_a_field_that_cannot_be_meant_is_named_with_its_line(elsewhere, line, says):
    refused(elsewhere, "a,y", line, says)


def test_a_line_is_counted_as_an_editor_does(elsewhere):
    refused(elsewhere, '"a\nb",y', lambda i: f"{'x' if i == 3 else i},{i % 2}", "line 6, column")


def test_commas_and_points_are_not_both_decimal(elsewhere):
    refused(elsewhere, "a;b;y", lambda i: f"{i},5;{i}.25;{i % 2}",
            "decimal commas in column 'a' and points in 'b'")


def test_quoted_numbers_are_numbers_and_quoted_texts_texts(elsewhere):
    task = load(elsewhere, "a,y", lambda i: f'"{i}",{i % 2}' if i % 3 else f"{i},{i % 2}")
    assert task.features == ("a",) and whole(task).max() == 59
    kinds = ["0", "1", "2", "3+"]                                   # as R writes a factor
    task = load(elsewhere, '"a","b","y"', lambda i: f'"{kinds[i % 4]}",{i},{i % 2}')
    assert task.features == ("b", "a_0", "a_1", "a_2", "a_3+")


def test_a_word_for_missing_is_a_class_in_quotes_and_named_where_it_is_not(elsewhere):
    words = ["None", "Insomnia", "NA"]
    task = load(elsewhere, "a,y", lambda i: f'{i},"{words[i % 3]}"')
    assert task.classes == ("Insomnia", "NA", "None")
    refused(elsewhere, "a,y", lambda i: f"{i},{words[i % 3]}",
            "lacks 'y' in 40 rows .first in line 2; 'None' in line 2 was read as missing: "
            'write "None", in quotes, if it is a class; \'NA\' in line 4')
    task = load(elsewhere, "a,t,y", lambda i: f'{i if i else "NA"},"{words[i % 3]}",{i % 2}')
    assert task.features == ("a", "t_Insomnia", "t_NA", "t_None")
    assert "read as missing: 'NA' in column 'a'; 1 missing numbers" in task.source
    task = load(elsewhere, "a,t,y", lambda i: f"{i},{words[i % 3]},{i % 2}")
    assert task.features == ("a", "t_Insomnia")
    assert "read as missing: 'None' in column 't', 'NA' in column 't'" in task.source


@pytest.mark.parametrize("start, step", [(1600000000, 10), (1600000000123456789, 50)])
def test_numbers_far_from_0_keep_their_resolution(elsewhere, start, step):
    task = load(elsewhere, "time,y", lambda i: f"{start + step * i},{i % 2}")
    assert task.train.x.dtype == torch.float32
    seen = ((task.train.x - task.mean) / task.std)[:, 0]
    assert len(seen.unique()) == 36 and abs(float(seen.std(correction=0)) - 1) < 1e-3
    assert f"'time' counted from {start + step * 31}" in task.source
    assert sorted(whole(task)[:, 0].tolist()) == [step * (i - 31) for i in range(ROWS)]
    near = load(elsewhere, "year,y", lambda i: f"{1950 + i},{i % 2}")
    assert near.source == "own file own.csv" and whole(near).min() == 1950


def test_whole_numbers_beyond_floats_are_classes_of_their_own(elsewhere):
    task = load(elsewhere, "a,y", lambda i: f"{i},{9007199254740992 + i % 2}")
    assert task.classes == ("9007199254740992", "9007199254740993")


def test_constant_columns_and_numbers_of_rows_are_left_out_and_said(elsewhere):
    task = load(elsewhere, ",customer_id,hours,a,y", lambda i: f"{i},{100 - i},80,{i},{i % 2}")
    assert task.features == ("a",)
    assert ("left out: '' (a number of the row), 'customer_id' (a number of the row), "
            "'hours' (the same in every row)") in task.source
    acid = load(elsewhere, "acid,a,y", lambda i: f"{i},{i % 7},{i % 2}")
    assert acid.features == ("acid", "a")


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_parameter_file_is_checked_against_the_header_as_it_will_be_read(elsewhere, separator):
    (elsewhere / "own.csv").write_text(f'\ufeff"Fixed\nacidity"{separator} quality\n1,2\n')
    assert values.problems("tasks", "csv:own.csv#quality", elsewhere) == []
    (said,) = values.problems("tasks", "csv:own.csv#qualty", elsewhere)
    assert "did you mean 'quality'" in said


def test_a_pipe_is_no_file(elsewhere):
    os.mkfifo(elsewhere / "own.csv")
    with pytest.raises(data.DataError, match="there is no file"):
        data.load("csv:own.csv#y")


def test_a_table_that_does_not_fit_in_memory_is_refused_unread(elsewhere):
    with open(elsewhere / "own.csv", "wb") as file:
        file.truncate(10**9)
    with pytest.raises(data.DataError, match="has 1000000000 bytes"):
        data.load("csv:own.csv#y")


def test_folds_of_a_table_far_from_0_are_read_alike(elsewhere):
    tasks = [load(elsewhere, "time,y", lambda i: f"{1600000000 + i},{i % 2}", fold=k)
             for k in range(5)]
    assert all(np.isfinite(task.train.x.numpy()).all() for task in tasks)
    assert sum(len(task.test) for task in tasks) == ROWS
