"""Findings come in order, name their sessions, and the bundled sample is sound."""

from dataclasses import replace

import numpy as np
import pytest

from quantseq.market.findings import SHOWN
from quantseq.market.health import check
from quantseq.market.sources import SAMPLE_SYMBOLS, SampleSource
from tests.market.conftest import findings, scaled, sound


def test_sound_bars_have_no_findings() -> None:
    assert findings(sound()) == {}
    assert check(sound().until("1999-01-01")) == ()


@pytest.mark.parametrize("symbol", SAMPLE_SYMBOLS)
def test_the_sample_is_sound(symbol: str) -> None:
    found = check(SampleSource().fetch(symbol))
    assert not [finding for finding in found if finding.severity == "error"]
    assert [f.sessions for f in found] == ([("2000-09-29",)] if symbol == "AAPL" else [])


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
