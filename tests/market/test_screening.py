"""A raw file's faults are all counted, with their places, and the other rules still see the rest."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.market.bars import DATE_DTYPE, FIELDS, Bars
from quantseq.market.health import check
from quantseq.market.screening import RawBars, screen
from tests.market.conftest import LAW, any_bars, scaled, sound


def raw(bars: Bars, **changes: Any) -> RawBars:
    """Sound bars as raw columns; `changes` replace single cells: (row, value) by field."""
    sessions = bars.sessions.copy()
    values = {name: getattr(bars, name).copy() for name in FIELDS}
    for name, (row, value) in changes.items():
        (sessions if name == "sessions" else values[name])[row] = value
    places = tuple(f"line {row + 2}" for row in range(len(bars)))
    return RawBars(bars.symbol, sessions, values, places, timezone=bars.timezone)


def rules(given: RawBars) -> dict[str, tuple[str, int]]:
    return {f.rule: (f.severity, f.count) for f in screen(given) if f.rule != "calendar"}


@given(any_bars())
@LAW
def test_what_bars_accept_has_only_the_findings_of_check(bars: Bars) -> None:
    assert screen(raw(bars)) == check(bars)


@given(st.permutations(range(30)))
@LAW
def test_the_order_of_rows_changes_no_other_finding(order: list[int]) -> None:
    bars = scaled(sound(30), slice(10, 12), 100.0)
    plain = raw(bars)
    mixed = RawBars(
        bars.symbol,
        plain.sessions[order],
        {name: values[order] for name, values in plain.columns.items()},
        plain.places,
        timezone=bars.timezone,
    )
    found = rules(mixed)
    ordered = order in (sorted(order), sorted(order, reverse=True))
    assert ("order" in found) == (not ordered)
    found.pop("order", None)
    assert found == rules(plain)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sessions": (5, np.datetime64("NaT"))}, {"date": ("error", 1)}),
        ({"sessions": (5, np.datetime64("1500-01-01"))}, {"date": ("error", 1)}),
        ({"close": (5, np.nan)}, {"nan": ("error", 1)}),
        ({"volume": (5, np.inf)}, {"nan": ("error", 1), "zero_volume": ("warning", 1)}),
        ({"low": (5, 0.0)}, {"price": ("error", 1)}),
        ({"adj_close": (5, -3.0)}, {"price": ("error", 1)}),
        ({"volume": (5, -1.0)}, {"negative": ("error", 1), "zero_volume": ("warning", 1)}),
        ({"splits": (5, -1.0)}, {"negative": ("error", 1)}),
    ],
)
def test_each_fault_is_found_once(change: dict[str, Any], expected: dict[str, Any]) -> None:
    assert rules(raw(sound(), **change)) == expected


def test_duplicates_and_empty_rows() -> None:
    bars = sound()
    twice = raw(bars, sessions=(5, bars.sessions[4]))
    assert rules(twice) == {"duplicate": ("error", 1)}
    (first,) = [one for one in screen(twice) if one.rule == "duplicate"]
    assert first.sessions == (f"{bars.sessions[4]} (line 7)",)
    gap = raw(bars)
    for name in ("open", "high", "low", "close", "adj_close", "volume"):
        gap.columns[name][9] = np.nan
    assert rules(gap) == {"empty": ("warning", 1)}


def test_many_faults_at_once_are_all_there() -> None:
    bars = scaled(sound(), slice(20, 25), 100.0)
    spoiled = raw(bars, close=(3, np.nan), low=(7, -1.0), sessions=(50, bars.sessions[49]))
    found = rules(spoiled)
    assert found == {
        "nan": ("error", 1),
        "price": ("error", 1),
        "duplicate": ("error", 1),
        "digit_glitch": ("error", 5),
    }


def test_nothing_usable_is_still_an_answer() -> None:
    nothing = RawBars(
        "X",
        np.array(["NaT"], DATE_DTYPE),
        {name: np.array([np.nan]) for name in ("open", "high", "low", "close", "volume")},
        ("line 2",),
        (("line 2", "the date 'x' is not a date"),),
    )
    assert [one.rule for one in screen(nothing)] == ["unreadable", "date", "empty"]
