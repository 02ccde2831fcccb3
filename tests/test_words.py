"""Numbers as a reader gets them: digits that the interval supports, verdicts of its ends."""

import math

import numpy as np
import pytest

from lib.page import words

NAN = math.nan


@pytest.mark.parametrize("half, decimals", [
    (50, 0), (5, 0), (4.9, 1), (0.5, 1), (0.46, 2), (0.05, 2), (0.049, 3), (1e-9, 4), (0, 2),
    (NAN, 2), (math.inf, 2)])
def test_decimals_follow_the_length_of_the_interval(half, decimals):
    assert words.decimals(10 - half, 10 + half) == decimals


def test_no_digit_is_written_that_the_interval_does_not_support():
    """A step of the last digit is never less than a fiftieth of the interval, nor above a fifth,
    as far as there are decimals."""
    for half in np.geomspace(0.005, 4.9, 200):
        step = 10.0 ** -words.decimals(-half, half)
        assert 1 / 51 <= step / half <= 1 / 4.9


@pytest.mark.parametrize("value, low, high, said", [
    (0.1187, -0.301, 0.628, "0.12 pp (95 % CI −0.30 to 0.63)"),
    (91.5134, 91.0, 92.0, "91.5 pp (95 % CI 91.0 to 92.0)"),
    (-0.0004, -0.4, 0.4, "0.00 pp (95 % CI −0.40 to 0.40)"),
    (1.234, NAN, NAN, "1.23 pp")])
def test_an_interval_in_a_sentence(value, low, high, said):
    assert words.ci(value, low, high) == said


def test_an_interval_in_a_table():
    assert words.cell(0.1187, -0.301, 0.628) == "0.12 [−0.30, 0.63]"
    assert words.cell(14900.4, 14000.0, 16000.0) == "14,900 [14,000, 16,000]"
    assert words.cell(1.0, NAN, NAN) == "1.00" and words.cell(NAN, NAN, NAN) == "–"


@pytest.mark.parametrize("ratio, said", [
    (7.24, "7.2×"), (9.96, "10×"), (258.3, "258×"), (0.554, "0.55×"), (0.999, "1.0×"),
    (NAN, "–")])
def test_a_ratio(ratio, said):
    assert words.times(ratio) == said


def test_counts_and_lists():
    assert [words.count(n, "network") for n in (0, 1, 1234)] == [
        "0 networks", "1 network", "1,234 networks"]
    assert words.count(2, "policy", "policies") == "2 policies"
    assert [words.listed(names) for names in ([], "a", "ab", "abc")] == [
        "", "a", "a and b", "a, b and c"]
