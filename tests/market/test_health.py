"""Each rule finds its fault where it was planted, and the bundled sample is sound."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantseq.market.bars import Bars
from quantseq.market.health import SHOWN, check
from quantseq.market.sources import SAMPLE_SYMBOLS, SampleSource
from tests.market.conftest import build_bars


def sound(n: int = 60, **changes: Any) -> Bars:
    """Weekday bars of 2020 that wander, on the calendar of New York."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, n)))
    fields = {"open": close * 0.999, "high": close * 1.01, "low": close * 0.98, "close": close}
    fields |= {"adj_close": close, "volume": np.arange(1.0, n + 1)}
    return build_bars(n=n, **(fields | {"timezone": "Etc/Test"} | changes))


def scaled(bars: Bars, where: slice | int, factor: float) -> Bars:
    """Bars with all prices of some sessions multiplied."""
    fields = {}
    for name in ("open", "high", "low", "close", "adj_close"):
        fields[name] = getattr(bars, name).copy()
        fields[name][where] *= factor
    return replace(bars, **fields)


def findings(bars: Bars) -> dict[str, tuple[str, int]]:
    return {f.rule: (f.severity, f.count) for f in check(bars) if f.rule != "calendar"}


def test_sound_bars_have_no_findings() -> None:
    assert findings(sound()) == {}
    assert check(sound().until("1999-01-01")) == ()


@pytest.mark.parametrize("symbol", SAMPLE_SYMBOLS)
def test_the_sample_is_sound(symbol: str) -> None:
    found = check(SampleSource().fetch(symbol))
    assert not [finding for finding in found if finding.severity == "error"]
    assert [f.sessions for f in found] == ([("2000-09-29",)] if symbol == "AAPL" else [])


@pytest.mark.parametrize(("excess", "expected"), [(1e-8, None), (1e-4, "warning"), (0.05, "error")])
def test_ohlc(excess: float, expected: str | None) -> None:
    bars = sound()
    high = bars.high.copy()
    high[7] = bars.close[7] * (1 - excess)
    low = bars.low.copy()
    low[9] = bars.open[9] * (1 + excess)
    found = findings(replace(bars, high=high, low=low))
    assert found == ({} if expected is None else {"ohlc": (expected, 2)})


@pytest.mark.parametrize("factor", [10.0, 0.1, 100.0, 0.01])
@pytest.mark.parametrize("length", [1, 12])
def test_digit_glitches_that_revert(factor: float, length: int) -> None:
    found = findings(scaled(sound(), slice(20, 20 + length), factor))
    assert found["digit_glitch"] == ("error", length)


def test_digit_glitch_within_a_bar() -> None:
    bars = sound()
    high = bars.high.copy()
    high[7] *= 10
    assert findings(replace(bars, high=high)) == {"digit_glitch": ("error", 1)}


def test_a_change_of_scale_that_stays_is_a_jump_not_a_glitch() -> None:
    assert findings(scaled(sound(), slice(20, None), 100.0)) == {"jump": ("error", 1)}


@pytest.mark.parametrize(
    ("factor", "found"), [(0.48, True), (1.6, True), (0.6, False), (1.4, False)]
)
def test_jumps(factor: float, found: bool) -> None:
    expected = {"jump": ("warning", 1)} if found else {}
    assert findings(scaled(sound(), slice(30, None), factor)) == expected


def test_splits() -> None:
    splits = np.zeros(60)
    splits[30] = 2.0
    raw = scaled(sound(), slice(30, None), 0.5)
    recorded = replace(raw, splits=splits)
    assert findings(recorded) == {"unadjusted_split": ("error", 1)}
    assert findings(raw) in ({"jump": ("warning", 1)}, {})  # half, give or take the day's own move
    assert findings(replace(sound(), splits=splits)) == {}
    adjusted = replace(recorded, adj_close=sound().close)
    assert findings(adjusted) == {}


def test_a_ten_for_one_split_and_back_is_no_glitch() -> None:
    splits = np.zeros(60)
    splits[[20, 40]] = 10.0, 0.1
    bars = scaled(sound(), slice(20, 40), 0.1)
    assert findings(replace(bars, splits=splits, adj_close=sound().close)) == {}


def test_stale_runs_and_zero_volume() -> None:
    bars = sound()
    fields = {
        name: getattr(bars, name).copy() for name in ("open", "high", "low", "close", "adj_close")
    }
    for values in fields.values():
        values[10:13] = values[9]  # four equal bars are not yet a run
        values[30:36] = values[29]
    volume = bars.volume.copy()
    volume[[3, 31]] = 0
    found = findings(replace(bars, **fields, volume=volume))
    assert found == {"stale": ("warning", 6), "zero_volume": ("warning", 2)}


def test_a_series_without_any_volume_is_no_finding() -> None:
    assert findings(replace(sound(), volume=np.zeros(60))) == {}


def test_forward_filled_weekends() -> None:
    weekdays = sound(30)
    days = np.arange(weekdays.sessions[0], weekdays.sessions[-1] + 1)
    rows = np.searchsorted(weekdays.sessions, days, side="right") - 1
    names = ("open", "high", "low", "close", "adj_close", "volume", "dividends", "splits")
    filled = replace(
        weekdays, sessions=days, **{name: getattr(weekdays, name)[rows] for name in names}
    )
    assert findings(filled) == {"forward_filled": ("error", 12)}


def test_calendar_of_new_york() -> None:
    bars = SampleSource().fetch("IBM", start="2012-01-01", end="2012-12-31")
    rows = np.flatnonzero(bars.sessions != np.datetime64("2012-03-14"))
    names = ("open", "high", "low", "close", "adj_close", "volume", "dividends", "splits")
    sessions = bars.sessions[rows].copy()
    holiday = int(np.searchsorted(sessions, np.datetime64("2012-07-05")))
    sessions[holiday] = np.datetime64("2012-07-04")
    moved = replace(bars, sessions=sessions, **{name: getattr(bars, name)[rows] for name in names})
    by_rule = {finding.rule: finding for finding in check(moved)}
    assert by_rule["missing_session"].sessions == ("2012-03-14", "2012-07-05")
    assert by_rule["extra_session"].sessions == ("2012-07-04",)


def test_bars_outside_the_calendar_do_not_crash() -> None:
    for start in ("1925-01-05", "2150-01-05", "1949-12-01"):
        assert findings(sound(start=start, timezone="America/New_York")).keys() <= {
            "missing_session",
            "extra_session",
        }


def test_without_a_calendar_the_check_says_so() -> None:
    (note,) = check(sound(timezone=""))
    assert (note.rule, note.severity, note.count) == ("calendar", "warning", 0)
    assert "time zone unknown" in note.message


def test_errors_come_first_and_only_a_few_sessions_are_named() -> None:
    bars = replace(sound(), volume=np.where(np.arange(60) % 2, 0.0, 1.0))
    found = check(scaled(bars, slice(20, 40), 100.0))
    assert [f.severity for f in found] == sorted(f.severity for f in found)
    assert found[0].severity == "error"
    assert all(len(f.sessions) <= SHOWN for f in found)
    assert {f.rule: f.count for f in found}["zero_volume"] == 30
