"""Cells are read as they are meant, or refused with their row."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.market.cells import dates, numbers, with_decimal_points
from tests.market.conftest import LAW


def never(where: object, reason: str) -> None:
    raise AssertionError(f"{where}: {reason}")


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=9))
@LAW
def test_numbers_come_back_in_every_notation(values: list[float]) -> None:
    exact = np.round(values, 4)
    for form in ("{:.4f}", "{:,.4f}", " {:.4f} "):
        column = pd.Series([form.format(value) for value in exact])
        np.testing.assert_array_equal(numbers(column, never), exact)
    swapped = [f"{value:,.4f}".translate(str.maketrans(",.", ".,")) for value in exact]
    cells = with_decimal_points(pd.DataFrame({"a": swapped}), never)
    np.testing.assert_array_equal(numbers(cells["a"], never), exact)


def test_refusals_are_collected_and_count_as_missing() -> None:
    seen: list[tuple[object, str]] = []
    column = pd.Series(["1", "x", "", "null", "2,50"], index=[7, 8, 9, 10, 11], name="close")
    found = numbers(column, lambda where, reason: seen.append((where, reason)))
    assert np.isnan(found).tolist() == [False, True, True, True, True]
    assert [where for where, _ in seen] == [8, 11]
    assert seen[0][1] == "close is 'x', which is not a number"


def test_dates_are_refused_row_by_row() -> None:
    seen: list[object] = []
    column = pd.Series(["2024-01-02", "11:34", "11:34", ""], index=[2, 3, 4, 5])
    found = dates(column, lambda where, reason: seen.append(where))
    assert seen == [3, 4, 5]
    assert np.isnat(found).tolist() == [False, True, True, True]


@pytest.mark.parametrize("cells", [["1,234"], ["12,5", "1.5"], ["1,234,567", "3,25"]])
def test_commas_that_may_mean_either_are_refused(cells: list[str]) -> None:
    seen: list[object] = []
    frame = pd.DataFrame({"a": cells})
    with_decimal_points(frame, lambda where, reason: seen.append(where))
    assert len(seen) == 1


@pytest.mark.parametrize("cells", [["1,234", "1.5"], ["1,234,567", "1,234"], ["1.5", "x, y"]])
def test_thousands_are_left_alone(cells: list[str]) -> None:
    frame = pd.DataFrame({"a": cells})
    assert with_decimal_points(frame, never).equals(frame)
