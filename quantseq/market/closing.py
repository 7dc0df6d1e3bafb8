"""When a bar is final: half an hour after its session has closed.

Owns what the exchange calendar of a listing says about closes, early ones included. Knows no source and
no store. Where no calendar is known, the close that the source itself names counts,
and without that the exchange's midnight.
"""

import functools
import warnings
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quantseq.market.bars import FIELDS, Bars, Dates
from quantseq.market.calendars import WITHOUT_CLOSE, calendar_name, listing
from quantseq.market.intervals import (
    DATE_DTYPE,
    INSTANT_DTYPE,
    LENGTHS,
    as_date,
    exchange_dates,
    is_intraday,
    midnight,
    monday,
)

CLOSE_DELAY = np.timedelta64(30 * 60, "s")
"""How long after the close a bar still counts as partial."""

_SETTLED = np.timedelta64(14, "D")
"""Whatever opened so long ago is over, whatever the calendar."""

_DAY, _WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")


def calendar_of(
    symbol: str, timezone: str, *, exchange: str = "", instrument: str = ""
) -> str | None:
    """Name of the calendar whose closes a listing follows, or None if none is known.

    As `calendars.calendar_name`, but currencies and futures have no daily close of an exchange.
    """
    name = calendar_name(symbol, timezone, exchange=exchange, instrument=instrument)
    return None if name in WITHOUT_CLOSE else name


@functools.cache
def _schedule(
    name: str,
) -> tuple[Dates, NDArray[np.datetime64], NDArray[np.datetime64]]:
    """Sessions of the last 20 years and the next one, with open and close in UTC."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exchange_calendars trips over pandas 3
        import exchange_calendars

        table: Any = exchange_calendars.get_calendar(name).schedule
    opens, closes = (
        table[side].dt.tz_localize(None).to_numpy().astype(INSTANT_DTYPE)
        for side in ("open", "close")
    )
    return table.index.to_numpy().astype(DATE_DTYPE), opens, closes


@dataclass(frozen=True)
class Clock:
    """What is final at one moment, for one listing and one interval.

    Parameters
    ----------
    interval, timezone : str
        Length of a bar and time zone of the exchange.
    now : datetime
        The moment, with a time zone.
    calendar : str or None
        See `calendar_of`.
    close : datetime64[s] or None
        UTC close of the session in progress, as the source names it; used where no calendar is.
    """

    interval: str
    timezone: str
    now: datetime
    calendar: str | None = None
    close: np.datetime64 | None = None

    @classmethod
    def of(cls, bars: Bars, now: datetime, close: np.datetime64 | None = None) -> Self:
        """The clock of these bars' listing, as their provenance describes it."""
        return cls(
            bars.interval,
            bars.timezone,
            now,
            calendar_of(bars.symbol, bars.timezone, **listing(bars)),
            close,
        )

    @property
    def edge(self) -> np.datetime64:
        """Whatever closed by now, less the delay, is final."""
        return np.datetime64(int(self.now.timestamp()), "s") - CLOSE_DELAY

    def drop_partial(self, bars: Bars) -> Bars:
        """`bars` without those at their end that may still change."""
        kept = len(bars)
        if kept and bars.sessions[-1] + _SETTLED <= self.edge:
            return bars
        while kept and self.end_of(bars.sessions[kept - 1]) > self.edge:
            kept -= 1
        if kept == len(bars):
            return bars
        fields = {name: getattr(bars, name)[:kept] for name in FIELDS}
        return replace(bars, sessions=bars.sessions[:kept], **fields)

    def end_of(self, session: np.datetime64) -> np.datetime64:
        """The UTC moment at which the bar of `session` ends."""
        if self.interval == "1wk":
            return self._close_within(session, session + _WEEK - _DAY)
        date = exchange_dates(np.array([session]), self.timezone)[0]
        close = self._close_within(date, date)
        if not is_intraday(self.interval):
            return close
        end = session.astype(INSTANT_DTYPE) + LENGTHS[self.interval]
        return min(end, close) if close > session else end

    def _close_within(self, first: np.datetime64, last: np.datetime64) -> np.datetime64:
        """Close of the last session from `first` to `last`, both dates."""
        if self.calendar is not None:
            sessions, _, closes = _schedule(self.calendar)
            at = int(np.searchsorted(sessions, last, "right")) - 1
            if at >= 0 and sessions[at] >= first:
                return np.datetime64(closes[at], "s")
        elif self.close is not None and first == last:
            date = exchange_dates(np.array([self.close], dtype=INSTANT_DTYPE), self.timezone)[0]
            if date == last:
                return self.close
        return midnight(last + _DAY, self.timezone)

    def is_up_to_date(self, last: np.datetime64, end: Any = None) -> bool:
        """Whether no later bar than `last` can be final yet; only True if that is certain.

        Parameters
        ----------
        last : datetime64
            The last session at hand.
        end : date-like, optional
            Nothing after this date is wanted.
        """
        day = exchange_dates(np.array([last]), self.timezone)[0]
        stop = None if end is None else as_date(end)
        if stop is not None and stop <= day and not is_intraday(self.interval):
            return True
        if stop is None and last + _SETTLED + _DAY <= self.edge:
            return False
        if self.calendar is None:
            today = exchange_dates(np.array([self.edge]), self.timezone)[0]
            if is_intraday(self.interval):
                return stop is not None and stop < day
            return bool(day >= (monday(today) - _WEEK if self.interval == "1wk" else today))
        sessions, opens, closes = _schedule(self.calendar)
        if closes[-1] <= self.edge or (stop is not None and stop < sessions[0]):
            return False  # the calendar does not reach that far
        if stop is not None:
            if self.interval == "1wk":
                stop = monday(stop) + _WEEK - _DAY
            known = int(np.searchsorted(sessions, stop, "right"))
            sessions, opens, closes = sessions[:known], opens[:known], closes[:known]
        if is_intraday(self.interval):
            return self._no_later_moment(last, opens, closes)
        final = sessions[closes <= self.edge]
        if self.interval == "1wk":
            final = np.unique(monday(final))
            while len(final) and self.end_of(final[-1]) > self.edge:
                final = final[:-1]
        return bool(len(final) == 0 or final[-1] <= day)

    def _no_later_moment(
        self, last: np.datetime64, opens: NDArray[np.datetime64], closes: NDArray[np.datetime64]
    ) -> bool:
        """Whether a bar that opens after `last` cannot have ended before the edge."""
        after = last.astype(INSTANT_DTYPE) + LENGTHS[self.interval]
        at = int(np.searchsorted(opens, self.edge, "right")) - 1
        if at < 0:
            return True
        if closes[at] <= self.edge:
            return bool(after >= closes[at])
        return bool(max(after, opens[at]) + LENGTHS[self.interval] > self.edge) and (
            at == 0 or bool(after >= closes[at - 1])
        )
