"""Can these bars be trusted? Counted findings with dates and a severity.

Owns the rules of plausibility beyond what `Bars` enforces, one small function each. Knows nothing of
sources or of the store. An **error** is something that no market did; a **warning** is rare but real
(AAPL did fall by 52 % on 2000-09-29), and nobody may drop a bar because of it.
"""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quantseq.market.bars import Bars, Dates, Floats
from quantseq.market.intervals import require_daily

SHOWN = 5
"""How many sessions a finding names."""

OHLC_TOLERANCE, OHLC_ERROR = 1e-6, 0.01
JUMP, JUMP_ERROR = 0.5, 8.0
STALE_RUN = 5
LONGEST_GLITCH = 60
CALENDARS = {"America/New_York": "XNYS"}
"""Exchange calendar by time zone; sessions of other zones are not checked."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Finding:
    """One rule that one symbol's bars break.

    Parameters
    ----------
    rule : str
        Name of the rule.
    severity : str
        ``error`` or ``warning``.
    count : int
        How many sessions are concerned; 0 if the rule could not be checked.
    sessions : tuple of str
        The first few of them.
    message : str
        What is wrong, in one line.
    """

    rule: str
    severity: Literal["error", "warning"]
    count: int
    sessions: tuple[str, ...]
    message: str


def check(bars: Bars) -> tuple[Finding, ...]:
    """Look for what is implausible, worst first.

    Parameters
    ----------
    bars : Bars
        Raw or adjusted; the rules on returns use the adjusted close.

    Returns
    -------
    tuple of Finding
        Empty if nothing was found.
    """
    require_daily(bars.symbol, bars.interval)
    if not len(bars):
        return ()
    rules: tuple[Callable[[Bars], Finding | None], ...] = (
        _ohlc,
        _digit_glitches,
        _unadjusted_splits,
        _jumps,
        _forward_filled,
        _stale,
        _zero_volume,
        _missing_sessions,
        _extra_sessions,
    )
    found = [finding for rule in rules if (finding := rule(bars)) is not None]
    return tuple(sorted(found, key=lambda finding: finding.severity))


def _finding(rule: str, error: bool, dates: Dates, message: str) -> Finding | None:
    if not len(dates):
        return None
    shown = tuple(str(date) for date in dates[:SHOWN])
    severity: Literal["error", "warning"] = "error" if error else "warning"
    return Finding(rule, severity, len(dates), shown, message)


def _ohlc(bars: Bars) -> Finding | None:
    """High below, or low above, another price of the same bar."""
    top = np.max([bars.open, bars.low, bars.close], axis=0)
    bottom = np.min([bars.open, bars.high, bars.close], axis=0)
    excess = np.maximum(top / bars.high, bars.low / bottom) - 1
    worst = float(excess.max())
    return _finding(
        "ohlc",
        worst > OHLC_ERROR,
        bars.sessions[excess > OHLC_TOLERANCE],
        f"open or close outside the range from low to high, at worst by {worst:.2%}",
    )


def _digit_glitches(bars: Bars) -> Finding | None:
    """Prices off by a factor of 10 or 100 that come back, or within one bar."""
    bad = np.zeros(len(bars), dtype=bool)
    close = np.log10(bars.close)
    for name in ("open", "high", "low"):
        ratio = np.log10(getattr(bars, name)) - close
        bad |= _is_power(ratio) != 0
    powers = _is_power(np.diff(close, prepend=close[0]))
    recorded = (bars.splits != 0) & (bars.splits != 1)
    powers[recorded] = 0
    jumps = np.flatnonzero(powers)
    for begin, end in pairwise(jumps):
        if powers[begin] == -powers[end] and end - begin <= LONGEST_GLITCH:
            bad[begin:end] = True
    return _finding(
        "digit_glitch",
        True,
        bars.sessions[bad],
        "prices ten or a hundred times too large or too small, which then come back",
    )


def _is_power(exponent: Floats) -> NDArray[np.int64]:
    """The power of ten (±1, ±2) that a log10 ratio is within 20 % of, else 0."""
    power = np.rint(exponent)
    near = (np.abs(exponent - power) < np.log10(1.2)) & (np.abs(power) <= 2)
    return np.where(near, power, 0).astype(np.int64)


def _steps(bars: Bars) -> Floats:
    """Adjusted close over the one before; 1 on the first session."""
    ratio = np.ones(len(bars))
    ratio[1:] = bars.adj_close[1:] / bars.adj_close[:-1]
    return ratio


def _is_unadjusted(bars: Bars) -> Mask:
    """Recorded splits across which the adjusted close still jumps by the split's ratio."""
    ratio = np.where(bars.splits > 0, bars.splits, 1.0)
    size = np.abs(np.log(ratio))
    left = np.abs(np.log(_steps(bars)) + np.log(ratio))
    result: Mask = (size > np.log(1.3)) & (left < size / 4)
    return result


def _unadjusted_splits(bars: Bars) -> Finding | None:
    return _finding(
        "unadjusted_split",
        True,
        bars.sessions[_is_unadjusted(bars)],
        "a split is recorded, but the adjusted close still jumps by its ratio",
    )


def _jumps(bars: Bars) -> Finding | None:
    """Adjusted closes that move by more than half; by more than a factor of 8, an error."""
    ratio = _steps(bars)
    jump = (np.abs(ratio - 1) > JUMP) & ~_is_unadjusted(bars)
    worst = float(np.exp(np.abs(np.log(ratio[jump])).max())) if jump.any() else 1.0
    return _finding(
        "jump",
        worst > JUMP_ERROR,
        bars.sessions[jump],
        f"the adjusted close moves by more than {JUMP:.0%} in one session, at most by a factor of "
        f"{worst:.3g}, and no split explains it",
    )


def _is_copy(bars: Bars) -> Mask:
    """Bars whose four prices equal those of the bar before."""
    same = np.zeros(len(bars), dtype=bool)
    prices = np.stack([bars.open, bars.high, bars.low, bars.close])
    same[1:] = (prices[:, 1:] == prices[:, :-1]).all(axis=0)
    return same


def _forward_filled(bars: Bars) -> Finding | None:
    """Weekends that repeat the bar before, volume included."""
    weekday = (bars.sessions.astype(np.int64) + 3) % 7
    same_volume = np.diff(bars.volume, prepend=-1.0) == 0
    return _finding(
        "forward_filled",
        True,
        bars.sessions[(weekday >= 5) & _is_copy(bars) & same_volume],
        "weekend bars that only repeat the bar before",
    )


def _stale(bars: Bars) -> Finding | None:
    """Long runs of identical bars."""
    copy = _is_copy(bars)
    edges = np.flatnonzero(np.diff(copy.astype(np.int64), prepend=0, append=0))
    stale = np.zeros(len(bars), dtype=bool)
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        stale[begin:end] = end - begin + 1 >= STALE_RUN
    return _finding(
        "stale",
        False,
        bars.sessions[stale],
        f"bars that repeat the one before, in runs of {STALE_RUN} or more",
    )


def _zero_volume(bars: Bars) -> Finding | None:
    """Sessions without volume, unless the series has none at all (indices, currencies)."""
    empty = bars.volume == 0
    dates = bars.sessions[empty] if not empty.all() else bars.sessions[:0]
    return _finding("zero_volume", False, dates, "sessions without any volume")


@functools.cache
def _calendar(name: str) -> tuple[Dates, np.datetime64]:
    """All sessions of an exchange, and the first day that it covers."""
    import exchange_calendars

    start = "1950-01-03"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exchange_calendars trips over pandas 3
        sessions: Any = exchange_calendars.get_calendar(name, start=start).sessions
    return sessions.to_numpy().astype("datetime64[D]"), np.datetime64(start, "D")


def _expected(bars: Bars) -> tuple[Dates, Dates] | None:
    """What the calendar expects and the sessions that it covers, or None if there is no calendar."""
    if bars.timezone not in CALENDARS:
        return None
    expected, start = _calendar(CALENDARS[bars.timezone])
    covered = bars.sessions[(bars.sessions >= start) & (bars.sessions <= expected[-1])]
    if not len(covered):
        return covered, covered
    return expected[(expected >= covered[0]) & (expected <= covered[-1])], covered


def _missing_sessions(bars: Bars) -> Finding | None:
    both = _expected(bars)
    if both is None:
        zone = bars.timezone or "unknown"
        message = f"sessions not compared: no exchange calendar for the time zone {zone}"
        return Finding("calendar", "warning", 0, (), message)
    dates = np.setdiff1d(*both, assume_unique=True)
    message = "days on which the exchange was open, but there is no bar"
    return _finding("missing_session", False, dates, message)


def _extra_sessions(bars: Bars) -> Finding | None:
    both = _expected(bars)
    if both is None:
        return None
    dates = np.setdiff1d(both[1], both[0], assume_unique=True)
    return _finding("extra_session", False, dates, "bars on days on which the exchange was closed")
