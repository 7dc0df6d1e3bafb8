import doctest
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.reporting.drawing import live
from quantseq.reporting.drawing.curves import Line
from quantseq.reporting.drawing.live import ALPHABET, GAP, Live, packed

DATES = np.datetime64("2010-01-04") + np.arange(4)


def unpacked(text: str) -> list[float]:
    """A slow, obvious reader of the packing."""
    found, now, number, place = [], 0, 0, 0
    for letter in text:
        if letter == GAP:
            found.append(np.nan)
            continue
        bits = ALPHABET.index(letter)
        number += (bits % 32) << place
        place += 5
        if bits < 32:
            now += -(number >> 1) if number % 2 else number >> 1
            found.append(float(now))
            number = place = 0
    return found


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(live).failed == 0


@given(st.lists(st.one_of(st.integers(-(2**28), 2**28), st.just(None)), max_size=60))
def test_what_is_packed_is_read_back(values: list[int | None]) -> None:
    numbers = [np.nan if value is None else float(value) for value in values]
    np.testing.assert_array_equal(unpacked(packed(numbers)), numbers)


@pytest.mark.parametrize(
    ("unit", "digits", "fine", "tolerance"),
    [("number", 2, True, 5e-4), ("percent", 1, True, 5e-5), ("percent", 1, False, 5e-4)],
)
def test_values_keep_at_least_the_digits_that_are_shown(
    unit: str, digits: int, fine: bool, tolerance: float
) -> None:
    values = np.array([0.1234567, -0.0451, np.nan, 2.5])
    made = Live(["a"], [Line(DATES, values)], unit, digits, fine=fine)
    (line,) = json.loads(made.data)["lines"]
    read = np.array(unpacked(line["values"])) / line["scale"]
    np.testing.assert_allclose(read, values, atol=1.001 * tolerance)


def test_fortunes_are_packed_with_fewer_digits() -> None:
    made = Live(["a"], [Line(DATES, np.array([1.0, 1e6, 1e9, 1e12]))])
    (line,) = json.loads(made.data)["lines"]
    assert line["scale"] == 1


def test_names_cannot_end_the_script() -> None:
    made = Live(["</script><script>alert(1)"], [Line(DATES, np.zeros(4))])
    assert "<" not in made.data
    assert json.loads(made.data)["lines"][0]["name"] == "</script><script>alert(1)"


def test_dates_are_days_since_1970() -> None:
    made = Live(["a"], [Line(DATES, np.zeros(4))], marks=DATES[[1]])
    assert unpacked(made.days) == [14613.0, 14614.0, 14615.0, 14616.0]
    week = np.array(["2010-01-04", "2010-01-05", "2010-01-06", "2010-01-07", "2010-01-08"])
    dates = np.concatenate([week, ["2010-01-11"]]).astype("datetime64[D]")
    assert Live(["a"], [Line(dates, np.zeros(6))]).days.endswith("*")
    assert json.loads(made.data)["marks"] == [14614]
