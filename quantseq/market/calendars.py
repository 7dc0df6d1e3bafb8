"""When exchanges are open, and when a bar is final: half an hour after its session has closed.

Owns the map from what Yahoo calls an exchange to the calendars of `exchange_calendars`, by suffix, kind or time
zone, what such a calendar says about closes, early ones included, and which sessions it has too many or lacks.
Knows nothing of prices, sources or the store. A symbol whose exchange cannot be told has no calendar; nobody guesses: then the close that the source
itself names counts, and without that the exchange's midnight.
"""

import functools
import re
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from quantseq.errors import BarsError, ConfigError, did_you_mean
from quantseq.files import parse_toml
from quantseq.market.bars import (
    DATE_DTYPE,
    INSTANT_DTYPE,
    LENGTHS,
    Bars,
    Dates,
    as_date,
    exchange_dates,
    is_intraday,
    midnight,
    monday,
)

YEAR = 252
"""Sessions per year of one exchange, by convention."""

_FEW = 4  # holidays move the sessions per year of most single exchanges by no more than this

# Crypto trades every day, currencies from Monday to Friday, futures on Chicago's days; the last two say
# on which days there is trade, but not when a day's bar is complete.
_ALWAYS, _WEEKDAYS, _FUTURES = "24/7", "24/5", "CMES"

_KINDS: Mapping[str, str | None] = {
    "CRYPTOCURRENCY": _ALWAYS,
    "CURRENCY": _WEEKDAYS,
    "FUTURE": _FUTURES,
    "OPTION": None,
}
"""Calendar by Yahoo's word for what an instrument is, whatever its exchange."""

_TEXT = files("quantseq.market").joinpath("exchanges.toml").read_text(encoding="utf-8")
_TABLES: dict[str, dict[str, str]] = tomllib.loads(_TEXT)
_CHANGED: Any = _TABLES.pop("sessions")
EXCHANGES, SUFFIXES, ZONES = (_TABLES[name] for name in ("exchanges", "suffixes", "zones"))
"""Calendar by Yahoo's name of the exchange, by Yahoo's suffix, and by time zone."""

Changes = Mapping[str, Mapping[str, Dates]]
"""By calendar the sessions that it has too many (``cancelled``) and those that it lacks (``extra``)."""

KNOWN_CHANGES: Changes = {
    name: {kind: np.array(days, dtype=DATE_DTYPE) for kind, days in several.items()}
    for name, several in _CHANGED.items()
}

_MIXED = ("America/New_York", "Europe/Berlin")
"""Zones whose exchanges keep different hours: one there that is not in `EXCHANGES` has no calendar."""

_CRYPTO = re.compile(r"[A-Z0-9]{2,12}-(USD|USDT|USDC|EUR|GBP|JPY|CAD|AUD|KRW|INR|BTC|ETH)")
_STARTS = 1950, 2020  # years from which schedules are asked for; none reaches far beyond today


def sessions_per_year(sessions: Dates) -> int:
    """By how many sessions yearly figures are annualised: `YEAR`, or what the dates (D,) really have.

    `YEAR` where these, rounded, lie within a few of it, or where the dates, sorted and the union over all
    symbols, span less than a year. Known before any test: a calendar is no price.

    Examples
    --------
    >>> every_day = np.arange("2021-01-01", "2023-01-01", dtype="datetime64[D]")
    >>> sessions_per_year(every_day), sessions_per_year(every_day[:300])
    (365, 252)
    """
    span = int((sessions[-1] - sessions[0]).astype(int)) if len(sessions) else 0
    if span < 364:
        return YEAR
    found = min(round((len(sessions) - 1) / span * 365.25), 366)
    return YEAR if abs(found - YEAR) <= _FEW else max(found, 1)


def calendar_name(
    symbol: str, timezone: str = "", *, exchange: str = "", instrument: str = ""
) -> str | None:
    """Name of the calendar that `symbol` keeps, or None if its exchange cannot be told.

    Yahoo's words for the `exchange` and for what it is decide, then the symbol's suffix or kind as Yahoo
    writes it, then the time zone; "" is unknown.

    Examples
    --------
    >>> calendar_name("BARC.L"), calendar_name("BTC-USD"), calendar_name("EURUSD=X")
    ('XLON', '24/7', '24/5')
    >>> calendar_name("AAPL", "America/New_York"), calendar_name("AAPL") is None
    ('XNYS', True)
    """
    name, kind = symbol.strip().upper(), instrument.upper()
    if kind in _KINDS:
        return _KINDS[kind]
    if exchange.upper() in EXCHANGES:
        return EXCHANGES[exchange.upper()]
    if name.endswith("=X"):
        return _WEEKDAYS
    if _CRYPTO.fullmatch(name):
        return _ALWAYS
    if name.endswith("=F"):
        return _FUTURES
    zone = None if exchange and timezone in _MIXED else ZONES.get(timezone)
    return SUFFIXES.get(name.rpartition(".")[2], zone) if "." in name else zone


def calendar_of(bars: Bars) -> str | None:
    """As `calendar_name`, with Yahoo's words for exchange and instrument from the provenance of `bars`."""
    words = {name: str(bars.provenance.get(name) or "") for name in ("exchange", "instrument")}
    return calendar_name(bars.symbol, bars.timezone, **words)


def market_of(bars: Bars) -> str:
    """Name of what closes when `bars` do: their calendar, or their time zone if it has none.

    Symbols of one answer may be told of each other's day at its close. "" where neither suffix, kind
    nor time zone says anything: such symbols count as one market.
    """
    return calendar_of(bars) or bars.timezone


def session_changes(folder: Path) -> Changes:
    """`KNOWN_CHANGES`, and what a file ``sessions.toml`` in `folder` adds to them.

    It has a table per calendar of `exchange_calendars`, each with dates that are ``cancelled`` or ``extra``::

        [XHKG]
        cancelled = ["2023-09-01"]

    A ConfigError names what is no table, calendar or date there, and what the calendar says already.
    """
    path = folder / "sessions.toml"
    try:
        said = parse_toml(path.read_text(encoding="utf-8-sig")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Cannot read {str(path)!r} as TOML: {error}. It holds tables such as [XHKG] with "
            'cancelled = ["2023-09-01"] and extra = ["2024-06-15"]; mend or remove it.'
        ) from error
    changes: dict[str, dict[str, Dates]] = {name: {**KNOWN_CHANGES[name]} for name in KNOWN_CHANGES}
    calendars = {*EXCHANGES.values(), *SUFFIXES.values(), *ZONES.values(), *_KINDS.values()} - {
        None
    }
    for name, table in said.items():
        if name not in calendars:
            hint = did_you_mean(name, sorted(map(str, calendars)))
            raise ConfigError(f"{str(path)!r}: there is no exchange calendar {name!r}. {hint}")
        for kind, days in table.items() if isinstance(table, dict) else ((name, table),):
            if kind not in ("cancelled", "extra") or not isinstance(days, list):
                raise ConfigError(
                    f"{str(path)!r}: [{name}] takes lists of dates called cancelled and extra, such as "
                    f'cancelled = ["2023-09-01"]. Got {kind} = {str(days)[:80]!r}.'
                )
            given = _changed_days(f"{str(path)!r}: {name}.{kind}", name, kind, days)
            mine = changes.setdefault(name, {})
            mine[kind] = np.union1d(mine.get(kind, given), given)
    return changes


def _changed_days(where: str, name: str, kind: str, days: list[Any]) -> Dates:
    """Dates of one list of the file, each of which changes what the calendar itself says."""
    try:
        given = np.unique(np.array([as_date(day) for day in days], dtype=DATE_DTYPE))
    except BarsError as error:
        raise ConfigError(f"{where}: {error}") from error
    for day in given:
        sessions, covered = expected_sessions(name, np.array([day]), {})
        if not len(covered):
            raise ConfigError(f"{where}: the calendar does not reach {day}. Leave that date out.")
        if len(sessions) == (kind == "extra"):
            rule = "a session already" if kind == "extra" else "no session anyway"
            raise ConfigError(f"{where}: {day} is {rule}. Check the date, or leave it out.")
    return given


def expected_sessions(
    name: str, days: Dates, changes: Changes = KNOWN_CHANGES
) -> tuple[Dates, Dates]:
    """The sessions that a calendar with its `changes` expects, and those of `days` that it can speak about.

    The sessions run from the first to the last of the covered days. A ConfigError if the installed packages
    cannot build this calendar. `days`, on which there is a bar, increase.
    """
    if not len(days):
        return days, days
    if name in (_ALWAYS, _WEEKDAYS):
        every = np.arange(days[0], days[-1] + 1)
        sessions, covered = (every if name == _ALWAYS else every[np.is_busday(every)]), days
    else:
        sessions, _, _ = _schedule(name, int(np.clip(int(str(days[0])[:4]) // 10 * 10, *_STARTS)))
        covered = days[(days >= sessions[0]) & (days <= sessions[-1])]
    if not len(covered):
        return covered, covered
    none: Dates = np.array([], dtype=DATE_DTYPE)
    cancelled, extra = (changes.get(name, {}).get(kind, none) for kind in ("cancelled", "extra"))
    sessions = np.union1d(np.setdiff1d(sessions, cancelled), extra)
    return sessions[(sessions >= covered[0]) & (sessions <= covered[-1])], covered


def planned_sessions(name: str, days: Dates) -> Dates:
    """The sessions that a calendar had planned around `days`, as they were known before: see `expected_sessions`.

    New York's closures that nobody could plan for (attacks, storms, days of mourning), and sessions that were cancelled,
    count as planned: to know of them the week before would be hindsight.
    """
    extra = {
        one: {"extra": kinds["extra"]} for one, kinds in KNOWN_CHANGES.items() if "extra" in kinds
    }
    sessions, covered = expected_sessions(name, days, extra)
    if name == "XNYS" and len(covered):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            closed = _package().get_calendar(name).adhoc_holidays
        surprises = np.array([str(one)[:10] for one in closed], dtype=DATE_DTYPE)
        inside = (surprises > covered[0]) & (surprises < covered[-1]) & np.is_busday(surprises)
        sessions = np.union1d(sessions, surprises[inside])
    return sessions


class _Days(pd.offsets.CustomBusinessDay):
    """A step to the next session, by the name that pandas had for it before 3.1."""

    def _apply(self, other: Any) -> Any:
        return self + other


def _one_by_one(self: Any, dates: Any) -> Any:
    raise NotImplementedError  # which makes pandas move one date after the other


@functools.cache
def _package() -> Any:
    """exchange_calendars, whose offsets pandas 3.1 would pass over: it asks for them by other names.

    Unmended, Athens, Bucharest and Tel Aviv cannot be built, and Seoul, Mumbai and Moscow silently lack their
    Saturday sessions. Every calendar then agrees with that under pandas 3.0, session by session.
    """
    import exchange_calendars
    from exchange_calendars import tase_holidays
    from exchange_calendars.pandas_extensions import offsets

    if not hasattr(pd.offsets.BaseOffset, "_apply"):
        offsets.CustomBusinessDay = _Days
        for one in (*vars(offsets).values(), *vars(tase_holidays).values()):
            if isinstance(one, type) and "_apply" in vars(one) and one is not _Days:
                own: Any = one
                own._add_datetime, own._add_datetime_ndarray = own._apply, _one_by_one
                own._supports_daily_offset_mask = False
    return exchange_calendars


@functools.cache
def _schedule(name: str, year: int | None = None) -> tuple[Dates, Dates, Dates]:
    """Sessions from `year` on, by default of 20 years, to the next one; with open and close in UTC."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # exchange_calendars trips over pandas 3
            get = _package().get_calendar
            try:
                calendar = get(name, start=None if year is None else f"{year}-01-01")
            except ValueError:  # it begins later
                calendar = get(name, start=str(get(name).bound_min().date()))
            table: Any = calendar.schedule
    except Exception as error:
        raise ConfigError(
            f"The calendar {name} cannot be built by the installed exchange_calendars and pandas: "
            f"{type(error).__name__}. Its sessions cannot be compared; try other versions of the two."
        ) from error
    opens, closes = (
        table[side].dt.tz_localize(None).to_numpy().astype(INSTANT_DTYPE)
        for side in ("open", "close")
    )
    return table.index.to_numpy().astype(DATE_DTYPE), opens, closes


_CLOSE_DELAY = np.timedelta64(30 * 60, "s")  # so long after the close a bar still counts as partial
_SETTLED = np.timedelta64(14, "D")  # whatever opened so long ago is over, whatever the calendar
_DAY, _WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")


@dataclass(frozen=True)
class Clock:
    """What is final at one moment, for one listing and one interval."""

    interval: str
    timezone: str  # of the exchange
    now: datetime  # with a time zone
    calendar: str | None = None  # None for currencies and futures too: they have no daily close
    # UTC close of the session in progress, as the source names it; used where no calendar is
    close: np.datetime64 | None = None

    @classmethod
    def of(cls, bars: Bars, now: datetime, close: np.datetime64 | None = None) -> Self:
        """The clock of these bars' listing, as their provenance describes it."""
        calendar = calendar_of(bars)
        calendar = None if calendar in (_WEEKDAYS, _FUTURES) else calendar
        return cls(bars.interval, bars.timezone, now, calendar, close)

    @property
    def edge(self) -> np.datetime64:
        """Whatever closed by now, less the delay, is final."""
        return np.datetime64(int(self.now.timestamp()), "s") - _CLOSE_DELAY

    def drop_partial(self, bars: Bars) -> Bars:
        """`bars` without those at their end that may still change."""
        kept = len(bars)
        if kept and bars.sessions[-1] + _SETTLED > self.edge:
            while kept and self.end_of(bars.sessions[kept - 1]) > self.edge:
                kept -= 1
        return bars if kept == len(bars) else bars.rows(slice(kept))

    def end_of(self, session: np.datetime64) -> np.datetime64:
        """The UTC moment at which the bar of `session` ends."""
        if self.interval == "1wk":
            return self._close_within(session, session + _WEEK - _DAY)
        date = self._date(session)
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
        elif self.close is not None and first == last == self._date(self.close):
            return self.close
        return midnight(last + _DAY, self.timezone)

    def is_up_to_date(self, last: np.datetime64, end: Any = None) -> bool:
        """Whether no bar later than `last`, up to the date `end`, can be final; True only if certain."""
        day = self._date(last)
        stop = None if end is None else as_date(end)
        intraday, weekly = is_intraday(self.interval), self.interval == "1wk"
        if stop is not None and (stop < day or (stop == day and not intraday)):
            return True
        if stop is None and last + _SETTLED + _DAY <= self.edge:
            return False
        if self.calendar is None:  # nobody knows when a later bar is over
            today = self._date(self.edge)
            return not intraday and bool(day >= (monday(today) - _WEEK if weekly else today))
        following = self._after(last)
        if following is None:
            return False
        beyond = stop is not None and self._date(following) > stop
        return bool(beyond or self.end_of(following) > self.edge)

    def _date(self, session: np.datetime64) -> np.datetime64:
        return np.datetime64(exchange_dates(np.array([session]), self.timezone)[0], "D")

    def _after(self, last: np.datetime64) -> np.datetime64 | None:
        """The calendar's next bar after `last`; None where it does not reach."""
        assert self.calendar is not None
        sessions, opens, closes = _schedule(self.calendar)
        intraday = is_intraday(self.interval)
        begins = opens if intraday else sessions
        if self.interval == "1wk":
            begins = np.unique(monday(sessions))
        at = int(np.searchsorted(begins, last, "right")) - 1
        after: np.datetime64 = last + LENGTHS.get(self.interval, _DAY)
        if intraday and at >= 0 and after < closes[at]:
            return after
        following: np.datetime64 | None = begins[at + 1] if 0 <= at < len(begins) - 1 else None
        return following
