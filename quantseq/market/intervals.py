"""How long a bar is, and how its session is written down.

Owns the arithmetic of dates and instants around the intervals that `catalogue` names. Knows no prices. ::

    1d        datetime64[D]   the exchange date
    1wk       datetime64[D]   the Monday of the week
    1h, 5m    datetime64[s]   the moment at which the bar opens, in UTC

Everything behind the store works on days (`require_daily`).
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import BarsError, IntervalError

LENGTHS = {"1h": np.timedelta64(3600, "s"), "5m": np.timedelta64(300, "s")}
"""Length of the intervals that are shorter than a day."""

DATE_DTYPE, INSTANT_DTYPE = "datetime64[D]", "datetime64[s]"


def is_intraday(interval: str) -> bool:
    """Whether bars of this interval are shorter than a day."""
    return interval in LENGTHS


def require_daily(symbol: str, interval: str) -> None:
    """Refuse bars that are not daily, at every door behind the store.

    Raises
    ------
    IntervalError
        If they are not.
    """
    if interval != "1d":
        raise IntervalError(
            f"{symbol}: these are bars of interval {interval!r}, and this works on daily bars only. "
            f"Use the daily ones: quantseq fetch {symbol} --interval 1d"
        )


def as_date(value: Any) -> np.datetime64:
    """Turn a date, timestamp or ISO text into an exchange date (``datetime64[D]``).

    Raises
    ------
    BarsError
        If `value` is no date; a bare number is none.
    """
    try:
        if isinstance(value, (int, float, np.number)):
            raise TypeError
        return np.datetime64(pd.Timestamp(value).tz_localize(None).date(), "D")
    except (ValueError, TypeError, OverflowError) as error:
        raise BarsError(f"{value!r} is not a date. Write it as YYYY-MM-DD.") from error


def date_range(start: Any, end: Any) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """Both ends as exchange dates; None leaves a side open.

    Raises
    ------
    BarsError
        If one is no date, or `start` lies after `end`.
    """
    first = None if start is None else as_date(start)
    last = None if end is None else as_date(end)
    if first is not None and last is not None and first > last:
        raise BarsError(f"The range {first} to {last} is reversed. Give the earlier date first.")
    return first, last


def monday(dates: Any) -> Any:
    """The Monday of the week of a date, or of each of an array of dates."""
    days = np.asarray(dates, dtype=DATE_DTYPE)
    return days - (days.astype(np.int64) + 3) % 7


def exchange_dates(sessions: NDArray[np.datetime64], timezone: str) -> NDArray[np.datetime64]:
    """The exchange date of every session, shape (n,); an unknown time zone counts as UTC."""
    if sessions.dtype == DATE_DTYPE:
        return sessions
    clock = pd.DatetimeIndex(sessions, tz="UTC").tz_convert(timezone or "UTC")
    return clock.tz_localize(None).to_numpy().astype(DATE_DTYPE)


def midnight(date: Any, timezone: str) -> np.datetime64:
    """When `date` begins at the exchange, in UTC (``datetime64[s]``)."""
    clock = pd.Timestamp(str(date)).tz_localize(
        timezone or "UTC", ambiguous=True, nonexistent="shift_forward"
    )
    return np.datetime64(int(clock.timestamp()), "s")
