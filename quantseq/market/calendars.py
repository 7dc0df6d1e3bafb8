"""When exchanges are open: the calendar of a symbol, by its suffix, its kind or its time zone.

Owns the map from what Yahoo calls an exchange to the calendars of `exchange_calendars`. Knows nothing of
prices. A symbol whose exchange cannot be told has no calendar; nobody guesses.
"""

import functools
import re
import warnings
from typing import Any

import numpy as np

from quantseq.errors import ConfigError
from quantseq.market.bars import Bars, Dates
from quantseq.market.intervals import DATE_DTYPE

YEAR = 252
"""Sessions per year of one exchange, by convention."""

FEW = 4
"""Holidays move the sessions per year of most single exchanges by no more than this."""

ALWAYS, WEEKDAYS, FUTURES = "24/7", "24/5", "CMES"
"""Crypto trades every day, currencies from Monday to Friday, futures on Chicago's days."""

WITHOUT_CLOSE = (WEEKDAYS, FUTURES)
"""Calendars that say on which days there is trade, but not when a day's bar is complete."""

KINDS = {"CRYPTOCURRENCY": ALWAYS, "CURRENCY": WEEKDAYS, "FUTURE": FUTURES, "OPTION": None}
"""Calendar by Yahoo's word for what an instrument is, whatever its exchange."""

_NEW_YORK = (
    *("ASE", "BTS", "DJI", "NAS", "NCM", "NGM", "NIM", "NMS"),
    *("NYQ", "NYS", "OEM", "OQB", "OQX", "PCX", "PNK", "SNP"),
)
_GERMANY = {"GER": "XETR", "FRA": "XFRA", "STU": "XSTU", "DUS": "XDUS", "HAM": "XHAM"}
EXCHANGES = dict.fromkeys(_NEW_YORK, "XNYS") | _GERMANY
"""Calendar by Yahoo's name of the exchange, in zones whose exchanges keep different hours."""

MIXED = ("America/New_York", "Europe/Berlin")
"""Those zones: an exchange there that is not in `EXCHANGES` has no calendar."""

SUFFIXES = {
    "AS": "XAMS", "AT": "ASEX", "AX": "XASX", "BA": "XBUE", "BD": "XBUD", "BK": "XBKK",
    "BO": "XBOM", "BR": "XBRU", "CO": "XCSE", "DE": "XETR", "F": "XFRA", "HA": "XHAM",
    "HE": "XHEL", "HK": "XHKG", "IC": "XICE", "IL": "XLON", "IR": "XDUB", "IS": "XIST",
    "JK": "XIDX", "JO": "XJSE", "KL": "XKLS", "KQ": "XKRX", "KS": "XKRX", "L": "XLON",
    "LS": "XLIS", "MC": "XMAD", "ME": "XMOS", "MI": "XMIL", "MX": "XMEX", "NE": "XTSE",
    "NS": "XBOM", "NZ": "XNZE", "OL": "XOSL", "PA": "XPAR", "PR": "XPRA", "RO": "XBSE",
    "SA": "BVMF", "SG": "XSTU", "SI": "XSES", "SN": "XSGO", "SR": "XSAU", "SS": "XSHG",
    "ST": "XSTO", "SW": "XSWX", "SZ": "XSHG", "T": "XTKS", "TA": "XTAE", "TL": "XTAL",
    "TO": "XTSE", "TW": "XTAI", "TWO": "XTAI", "V": "XTSE", "VI": "XWBO", "WA": "XWAR",
}  # fmt: skip
"""Exchange calendar by Yahoo's suffix. India's two exchanges, and China's two, share holidays."""

ZONES = {
    "America/Argentina/Buenos_Aires": "XBUE", "America/Buenos_Aires": "XBUE",
    "America/Mexico_City": "XMEX", "America/New_York": "XNYS", "America/Santiago": "XSGO",
    "America/Sao_Paulo": "BVMF", "America/Toronto": "XTSE", "Africa/Johannesburg": "XJSE",
    "Asia/Bangkok": "XBKK", "Asia/Calcutta": "XBOM", "Asia/Hong_Kong": "XHKG",
    "Asia/Jakarta": "XIDX", "Asia/Jerusalem": "XTAE", "Asia/Kolkata": "XBOM",
    "Asia/Kuala_Lumpur": "XKLS", "Asia/Manila": "XPHS", "Asia/Riyadh": "XSAU", "Asia/Seoul": "XKRX",
    "Asia/Shanghai": "XSHG", "Asia/Singapore": "XSES", "Asia/Taipei": "XTAI",
    "Asia/Tel_Aviv": "XTAE", "Asia/Tokyo": "XTKS", "Australia/Sydney": "XASX", "Europe/Amsterdam": "XAMS",
    "Europe/Athens": "ASEX", "Europe/Berlin": "XETR", "Europe/Brussels": "XBRU",
    "Europe/Budapest": "XBUD", "Europe/Copenhagen": "XCSE", "Europe/Dublin": "XDUB",
    "Europe/Helsinki": "XHEL", "Europe/Istanbul": "XIST", "Europe/Lisbon": "XLIS",
    "Europe/London": "XLON", "Europe/Madrid": "XMAD", "Europe/Milan": "XMIL",
    "Europe/Oslo": "XOSL", "Europe/Paris": "XPAR", "Europe/Prague": "XPRA",
    "Europe/Rome": "XMIL", "Europe/Stockholm": "XSTO", "Europe/Vienna": "XWBO",
    "Europe/Warsaw": "XWAR", "Europe/Zurich": "XSWX", "Pacific/Auckland": "XNZE",
}  # fmt: skip
"""Exchange calendar by time zone, for symbols without a suffix, such as indices."""

_CRYPTO = re.compile(r"[A-Z0-9]{2,12}-(USD|USDT|USDC|EUR|GBP|JPY|CAD|AUD|KRW|INR|BTC|ETH)")
_EARLIEST = 1950
_ISRAELI_ELECTIONS = (
    "2003-01-28", "2006-03-28", "2009-02-10", "2013-01-22", "2015-03-17", "2018-10-30",
    "2019-04-09", "2019-09-17", "2020-03-02", "2021-03-23", "2022-11-01", "2024-02-27",
)  # fmt: skip


def sessions_per_year(sessions: Dates) -> int:
    """By how many sessions yearly figures are annualised: `YEAR`, or what the dates really have.

    Counted from the first to the last session, rounded; `YEAR` where that lies within `FEW` of it, or
    where the dates span less than a year. Known before any test: a calendar is no price.

    Parameters
    ----------
    sessions : (D,) datetime64[D]
        Sorted; the union over all symbols.

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
    return YEAR if abs(found - YEAR) <= FEW else max(found, 1)


def calendar_name(
    symbol: str, timezone: str = "", *, exchange: str = "", instrument: str = ""
) -> str | None:
    """Name of the calendar that `symbol` keeps, or None if its exchange cannot be told.

    Parameters
    ----------
    symbol : str
        As Yahoo writes it: its suffix or kind decides where `exchange` and `instrument` do not.
    timezone : str
        Exchange time zone; what is left to tell by for shares and indices without a suffix.
    exchange, instrument : str
        Yahoo's words for where it is listed and what it is, "" if unknown.

    Examples
    --------
    >>> calendar_name("BARC.L"), calendar_name("BTC-USD"), calendar_name("EURUSD=X")
    ('XLON', '24/7', '24/5')
    >>> calendar_name("AAPL", "America/New_York"), calendar_name("AAPL") is None
    ('XNYS', True)
    """
    name, kind = symbol.strip().upper(), instrument.upper()
    if kind in KINDS:
        return KINDS[kind]
    if exchange.upper() in EXCHANGES:
        return EXCHANGES[exchange.upper()]
    if name.endswith("=X"):
        return WEEKDAYS
    if _CRYPTO.fullmatch(name):
        return ALWAYS
    if name.endswith("=F"):
        return FUTURES
    suffix = SUFFIXES.get(name.rpartition(".")[2]) if "." in name else None
    unsure = bool(exchange) and timezone in MIXED
    return suffix or (None if unsure else ZONES.get(timezone))


def listing(bars: Bars) -> dict[str, str]:
    """Yahoo's words for the ``exchange`` of `bars` and what ``instrument`` they are, "" if unknown."""
    return {name: str(bars.provenance.get(name) or "") for name in ("exchange", "instrument")}


def market_of(bars: Bars) -> str:
    """Name of what closes when `bars` do: their calendar, or their time zone if it has none.

    Symbols of one answer may be told of each other's day at its close. "" where neither suffix, kind
    nor time zone says anything: such symbols count as one market.
    """
    return calendar_name(bars.symbol, bars.timezone, **listing(bars)) or bars.timezone


def expected_sessions(name: str, days: Dates) -> tuple[Dates, Dates]:
    """Which of `days`, and which sessions, a calendar can speak about.

    Parameters
    ----------
    name : str
        A calendar, see `calendar_name`.
    days : (n,) datetime64[D]
        Days with a bar, increasing.

    Returns
    -------
    expected : (m,) datetime64[D]
        The calendar's sessions from the first to the last of the covered days.
    covered : (k,) datetime64[D]
        The part of `days` that lies in the span of the calendar.

    Raises
    ------
    ConfigError
        If the installed packages cannot build this calendar.
    """
    if not len(days):
        return days, days
    if name in (ALWAYS, WEEKDAYS):
        every = np.arange(days[0], days[-1] + 1)
        return (every if name == ALWAYS else every[np.is_busday(every)]), days
    sessions, start = _calendar(name, max(int(str(days[0])[:4]) // 10 * 10, _EARLIEST))
    covered = days[(days >= start) & (days <= sessions[-1])]
    if not len(covered):
        return covered, covered
    return sessions[(sessions >= covered[0]) & (sessions <= covered[-1])], covered


@functools.cache
def _calendar(name: str, year: int) -> tuple[Dates, np.datetime64]:
    """All sessions of an exchange from the year on, and the first day that is covered."""
    import exchange_calendars

    start = f"{year}-01-01"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # exchange_calendars trips over pandas 3
            if name == "XTAE":
                return _tel_aviv(start), np.datetime64(start, "D")
            try:
                sessions: Any = exchange_calendars.get_calendar(name, start=start).sessions
            except ValueError:  # it begins later
                start = str(exchange_calendars.get_calendar(name).bound_min().date())
                sessions = exchange_calendars.get_calendar(name, start=start).sessions
    except Exception as error:
        raise ConfigError(
            f"The calendar {name} cannot be built by the installed exchange_calendars and pandas: "
            f"{type(error).__name__}. Its sessions cannot be compared; try other versions of the two."
        ) from error
    return sessions.to_numpy().astype(DATE_DTYPE), np.datetime64(start, "D")


def _tel_aviv(start: str) -> Dates:
    """Sessions of Tel Aviv: Sunday to Thursday until the end of 2025, Monday to Friday since.

    Written out, because exchange_calendars 4.13 gives all years the week of 2026 and its Hebrew dates
    fail on pandas 3. Source: the exchange's trading vacation schedule.
    """
    from pyluach.dates import HebrewDate

    first, last = np.datetime64(start, "D"), np.datetime64("today", "D") + 366
    closed = list(_ISRAELI_ELECTIONS)
    for year in range(int(start[:4]) + 3759, int(str(last)[:4]) + 3762):
        adar = 13 if (7 * year + 1) % 19 < 7 else 12
        days = [
            (adar, 14), (1, 14), (1, 15), (1, 20), (1, 21), (3, 5), (3, 6), (6, 29),
            (7, 1), (7, 2), (7, 9), (7, 10), (7, 14), (7, 15), (7, 21), (7, 22),
        ]  # fmt: skip
        closed += [str(HebrewDate(year, month, day).to_pydate()) for month, day in days]
        fast = HebrewDate(year, 5, 9).to_pydate()
        closed.append(str(np.datetime64(fast) + (fast.weekday() == 5)))
        independence = HebrewDate(year, 2, 5).to_pydate()
        moved = np.datetime64(independence) + {4: -1, 5: -2, 0: 1}.get(independence.weekday(), 0)
        closed += [str(moved), str(moved - 1)]
    days_of_year = np.arange(first, last)
    turn = np.datetime64("2026-01-05")
    week = np.where(
        days_of_year < turn, np.is_busday(days_of_year, "1111001"), np.is_busday(days_of_year)
    )
    return days_of_year[week & ~np.isin(days_of_year, np.array(closed, DATE_DTYPE))]
