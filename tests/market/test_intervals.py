"""Dates, instants and weeks, and the door that only daily bars pass."""

from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import ConfigError, IntervalError
from quantseq.market.bars import Bars, Panel
from quantseq.market.catalogue import INTERVALS, check_interval
from quantseq.market.health import check
from quantseq.market.intervals import (
    exchange_dates,
    is_intraday,
    midnight,
    monday,
    require_daily,
)
from tests.market.conftest import LAW, build_bars, build_intraday


def test_known_intervals() -> None:
    assert [one for one in INTERVALS if is_intraday(one)] == ["1h", "5m"]
    assert check_interval("1wk") == "1wk"
    with pytest.raises(ConfigError, match=r"one of 1d, 1wk, 1h, 5m\. Got '1mo'"):
        check_interval("1mo")


@given(st.dates(date(1700, 1, 1), date(2199, 1, 1)))
@LAW
def test_monday_is_a_monday_of_the_same_week(day: date) -> None:
    found = monday(np.datetime64(day, "D")).item()
    assert found.weekday() == 0
    assert 0 <= (day - found).days < 7


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC", "", "Africa/Cairo"])
@given(st.dates(date(1990, 1, 1), date(2030, 1, 1)))
@LAW
def test_midnight_is_the_first_moment_of_its_exchange_date(zone: str, day: date) -> None:
    at = midnight(np.datetime64(day, "D"), zone)
    moments = np.array([at, at + np.timedelta64(1, "h"), at - np.timedelta64(1, "s")])
    dates = exchange_dates(moments, zone)
    assert dates[0] == dates[1] == np.datetime64(day, "D")
    assert dates[2] <= dates[0]


@pytest.mark.parametrize(
    "door",
    [
        lambda bars: require_daily(bars.symbol, bars.interval),
        lambda bars: Panel([bars]),
        lambda bars: bars.until("2024-01-03"),
        check,
    ],
)
@pytest.mark.parametrize("interval", ["1wk", "1h", "5m"])
def test_everything_behind_the_store_refuses_other_bars(interval: str, door: Any) -> None:
    monday_bars = build_bars("AAPL", sessions=np.datetime64("2024-01-01") + 7 * np.arange(8))
    bars: Bars = (
        Bars(**{**vars(monday_bars), "interval": interval})
        if interval == "1wk"
        else build_intraday("AAPL", interval=interval)
    )
    with pytest.raises(IntervalError, match=f"AAPL: these are bars of interval '{interval}'"):
        door(bars)
