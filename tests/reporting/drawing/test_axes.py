import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantseq.reporting.drawing import axes


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(axes).failed == 0


@given(arrays(np.float64, st.integers(1, 400), elements=st.floats(-1e6, 1e6)), st.integers(4, 80))
def test_thinning_keeps_ends_and_extremes_within_the_limit(values: np.ndarray, limit: int) -> None:
    keep = axes.thin(values, limit)
    assert len(keep) <= max(limit, 4)
    assert (np.diff(keep) > 0).all()
    assert {0, len(values) - 1} <= set(keep.tolist())
    assert values[keep].min() == values.min()
    assert values[keep].max() == values.max()


def test_thinning_skips_gaps() -> None:
    values = np.full(1000, np.nan)
    values[300] = 5.0
    assert 300 in axes.thin(values, 50)


@pytest.mark.parametrize(
    ("first", "last", "most", "texts"),
    [
        ("2000-03-01", "2013-03-01", 10, ["2002", "2004", "2006", "2008", "2010", "2012"]),
        ("1950-01-02", "2013-03-01", 4, ["1975", "2000"]),
        ("2012-01-03", "2013-03-01", 10, ["2012-04", "2012-07", "2012-10", "2013-01"]),
        ("2013-03-04", "2013-03-15", 10, ["2013-03-04", "2013-03-09"]),
        ("2013-03-01", "2013-03-01", 10, ["2013-03-01"]),
    ],
)
def test_date_ticks_are_round_few_and_iso(
    first: str, last: str, most: int, texts: list[str]
) -> None:
    ticks, shown = axes.date_ticks(np.datetime64(first), np.datetime64(last), most)
    assert shown == texts
    assert len(ticks) == len(texts)
    assert all(np.datetime64(first) <= tick <= np.datetime64(last) for tick in ticks)


@given(st.floats(1e-4, 1e4), st.floats(1.02, 1e5))
def test_log_ticks_lie_inside_and_are_few(low: float, ratio: float) -> None:
    ticks = axes.log_ticks(low, low * ratio)
    assert all(low <= tick <= low * ratio for tick in ticks)
    assert len(ticks) <= 8
    assert ticks == sorted(ticks)


def test_axis_texts_have_true_minus_signs_and_units() -> None:
    assert axes.percent_text(-0.125) == "−12.5\u00a0%"
    assert axes.plain_text(-1234.5) == "−1,234.5"
