import doctest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.reporting import words


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(words).failed == 0


@pytest.mark.parametrize("nothing", [None, float("nan"), np.nan, float("inf"), -np.inf, "12", True])
def test_what_is_no_finite_number_is_a_dash_in_every_spelling(nothing: object) -> None:
    for spell in (words.number, words.percent, words.count, words.bps, words.p_value):
        assert spell(nothing) == words.DASH
    assert words.known(nothing) is None


@given(st.floats(-1e9, 1e9))
def test_a_printed_sign_is_the_sign_of_the_printed_number(value: float) -> None:
    text = words.number(value, 2, sign=True)
    digits = text.lstrip("+−")
    if float(digits.replace(",", "")) == 0:
        assert text == digits
    else:
        assert text[0] == ("+" if value > 0 else "−")


@pytest.mark.parametrize("none", [None, pd.NaT, np.datetime64("NaT")])
def test_no_date_is_a_dash(none: object) -> None:
    assert words.date(none) == words.DASH


def test_dates_are_iso() -> None:
    assert words.date(np.datetime64("2013-03-01")) == "2013-03-01"
    assert words.date(pd.Timestamp("2013-03-01 16:00")) == "2013-03-01"
    assert words.date("2013-03-01T00:00:00") == "2013-03-01"


def test_units_never_break_off_their_number() -> None:
    assert " " not in words.percent(0.5) + words.bps(3)
    assert words.tidy("95 % of") == f"95{words.SPACE}% of"


def test_listing_of_one() -> None:
    assert words.listing(["a"]) == "a"
