"""Can these bars be trusted? Counted findings with dates and a severity; all rules in one file.

Owns the shape of a finding, every rule (on prices alone, on recorded splits and dividends, on the exchange's
calendar, and, for raw files, those that `Bars` enforces) and the list of them. Knows nothing of sources, of files
or of the store. An **error** is something that no market did, or that moves a return by more than 1 %; a
**warning** is rare but may be real (AAPL did fall by 52 % on 2000-09-29), and nobody may drop a bar because of it.
``docs/data_health.md`` defines each rule, with hits and false alarms on real faults.

The identity behind the rules on corporate actions is the vendors' own (CRSP, Yahoo): across an ex-date the factor
``adj_close / close`` grows by ``1 / (1 - dividend / previous close)``, times the split ratio where raw prices are
not yet divided by it; on every other day it stands still.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import ConfigError
from quantseq.market.bars import (
    FIELDS,
    OHLC,
    PRICES,
    Bars,
    Dates,
    Floats,
    monday,
    require_daily,
    undated_rows,
)
from quantseq.market.calendars import KNOWN_CHANGES, Changes, calendar_of, expected_sessions

SESSIONS_SHOWN = 5
"""How many sessions a finding names."""

MATERIAL = 0.01
"""A fault that moves a return by more than this is an error, otherwise a warning."""

Severity = Literal["error", "warning"]
Mask = NDArray[np.bool_]
_Verdict = tuple[Any, bool, str]
"""What a rule says: sessions concerned, as mask or positions; whether that is an error; what is wrong."""


@dataclass(frozen=True)
class Finding:
    """One rule that one symbol's bars break; ``docs/data_health.md`` defines each rule."""

    rule: str
    severity: Severity
    count: int  # sessions concerned; 0 if the rule could not be checked
    sessions: tuple[str, ...]  # the first few of them, as dates; of a raw file also the line
    message: str  # what is wrong, in one line


def _findings(verdicts: Mapping[str, _Verdict], labels: NDArray[Any]) -> list[Finding]:
    """One finding for each rule that is broken; `labels` (n,) say where each row stands."""
    return [
        Finding(
            rule,
            "error" if error else "warning",
            len(where),
            tuple(map(str, where[:SESSIONS_SHOWN])),
            message,
        )
        for rule, (rows, error, message) in verdicts.items()
        if len(where := labels[rows])
    ]


_OHLC_TOLERANCE = 1e-6
_JUMP, _JUMP_ERROR = 0.5, 8.0
_STALE_RUN = 5
_LONGEST_GLITCH = 60  # sessions within which a leap must come back to count as a glitch

SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0)
"""What companies split by; from 2 on also what they merge by."""
_ROUND = 0.02
_TYPICAL = 8.0


def _steps(prices: Floats) -> Floats:
    """Log moves from session to session, shape (n,); 0 on the first."""
    moves = np.zeros(len(prices))
    moves[1:] = np.diff(np.log(prices))
    return moves


def typical_move(moves: Floats) -> float:
    """Size of an ordinary day: median absolute log move of the days that moved, over 0.6745.

    The scaled median absolute deviation estimates a normal σ and ignores what is to be found (Hampel
    1974). Days without any move are left out, for they say that nobody traded, not that σ is small. At
    least 0.1 %; 2 % where fewer than five days moved.
    """
    size = np.abs(moves[moves != 0])
    return max(float(np.median(size)) / 0.6745, 1e-3) if len(size) >= 5 else 0.02


def _ohlc(bars: Bars) -> _Verdict:
    """High below, or low above, another price of the same bar."""
    top = np.max([bars.open, bars.low, bars.close], axis=0)
    bottom = np.min([bars.open, bars.high, bars.close], axis=0)
    excess = np.maximum(top / bars.high, bars.low / bottom) - 1
    worst = float(excess.max())
    message = f"open or close outside the range from low to high, at worst by {worst:.2%}"
    return excess > _OHLC_TOLERANCE, worst > MATERIAL, message


def _is_glitch(bars: Bars) -> Mask:
    """Bars whose digits slipped: within the bar, or between two opposite moves; shape (n,)."""
    bad = np.zeros(len(bars), dtype=bool)
    close = np.log10(bars.close)
    for name in ("open", "high", "low"):
        exponent = np.log10(getattr(bars, name)) - close
        power = np.rint(exponent)
        bad |= (np.abs(exponent - power) < np.log10(1.2)) & (power != 0) & (np.abs(power) <= 4)
    raw = _steps(bars.close)
    ratio = np.log(np.where(bars.splits > 0, bars.splits, 1.0))
    raw = np.where(np.abs(raw + ratio) < np.abs(raw), raw + ratio, raw)
    for moves in (raw, _steps(bars.adj_close)):
        for begin, end in pairwise(np.flatnonzero(np.abs(moves) > np.log(_JUMP_ERROR))):
            there, back = moves[begin], moves[end]
            returned = abs(there + back) < max(abs(there), abs(back)) / 4
            if there * back < 0 and returned and end - begin <= _LONGEST_GLITCH:
                bad[begin:end] = True
    return bad


def _suspected_splits(bars: Bars, known: Mask) -> _Verdict:
    """Overnight gaps by the ratio of a split, with none on record."""
    moves = _steps(bars.adj_close)
    day = typical_move(moves)
    opened = moves - np.log(bars.close / bars.open)
    ratios = np.log(SPLIT_RATIOS)
    gap, move = np.abs(opened)[:, None], np.abs(moves)[:, None]
    near = (np.abs(gap - ratios) < _ROUND) & (np.abs(move - ratios) < _ROUND + 3 * day)
    near &= (opened < 0)[:, None] | (np.array(SPLIT_RATIOS) >= 2)  # nobody merges three into two
    suspect = near.any(axis=1) & (np.abs(opened) > _TYPICAL * day) & (moves * opened > 0) & ~known
    message = "an overnight gap by the round ratio of a split, but none is recorded"
    return suspect, False, message


def _jumps(bars: Bars, known: Mask) -> _Verdict:
    """Adjusted closes that move by more than half (by a factor of 8: an error) and are not `known` yet."""
    moves = _steps(bars.adj_close)
    jump = (np.abs(np.expm1(moves)) > _JUMP) & ~known
    worst = float(np.exp(np.abs(moves[jump]).max())) if jump.any() else 1.0
    message = (
        f"the adjusted close moves by more than {_JUMP:.0%} in one session, at most by a factor of "
        f"{worst:.3g}, and no split explains it"
    )
    return jump, worst > _JUMP_ERROR, message


def _is_copy(bars: Bars) -> Mask:
    """Bars whose four prices equal those of the bar before."""
    same = np.zeros(len(bars), dtype=bool)
    prices = np.stack([bars.open, bars.high, bars.low, bars.close])
    same[1:] = (prices[:, 1:] == prices[:, :-1]).all(axis=0)
    return same


def _forward_filled(bars: Bars) -> _Verdict:
    """Weekends that repeat the bar before, volume included."""
    weekend = (bars.sessions - monday(bars.sessions)).astype(np.int64) >= 5
    same_volume = np.diff(bars.volume, prepend=-1.0) == 0
    repeats = weekend & _is_copy(bars) & same_volume
    return repeats, True, "weekend bars that only repeat the bar before"


def _stale(bars: Bars) -> _Verdict:
    """Long runs of identical bars."""
    copy = _is_copy(bars)
    edges = np.flatnonzero(np.diff(copy.astype(np.int64), prepend=0, append=0))
    bad = np.zeros(len(bars), dtype=bool)
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        bad[begin:end] = end - begin + 1 >= _STALE_RUN
    message = f"bars that repeat the one before, in runs of {_STALE_RUN} or more"
    return bad, False, message


_SMALLEST_SPLIT = 1.3
_SPLIT_WINDOW = 20  # sessions around a recorded split in which its ratio is looked for
# Adjusted closes may miss a dividend by this much of the price, and by this share of its yield.
_ROUNDING, _SHARE = 1e-3, 0.1
_LARGE_YIELD, _SURE = 0.1, 5.0
_SAME_AMOUNT, _SAME_EVENT_DAYS = 0.1, 7
_SCALE, _CERTAIN = 100.0, np.log(100.0)  # pence for pounds; the log-likelihood ratio that convicts


def _is_unadjusted(bars: Bars) -> Mask:
    """Moves of the adjusted close by the ratio of a recorded split near it, or its inverse; shape (n,)."""
    moves = _steps(bars.adj_close)
    large = np.abs(moves) > max(6 * typical_move(moves), np.log(_SMALLEST_SPLIT))
    found = np.zeros(len(bars), dtype=bool)
    for at in np.flatnonzero(bars.splits > 0):
        size = abs(float(np.log(bars.splits[at])))
        if size > np.log(_SMALLEST_SPLIT):
            near = slice(max(at - _SPLIT_WINDOW, 0), at + _SPLIT_WINDOW + 1)
            left = np.abs(np.abs(moves[near]) - size)
            found[near] |= large[near] & (left < np.maximum(np.abs(moves[near]), size) / 4)
    return found


class _Payments(NamedTuple):
    """The dividends of a series, seen from the close before each: arrays of one length."""

    at: NDArray[np.int64]
    paid: Floats  # dividend over the close before
    adjusted: Floats  # what the adjusted close takes for that share
    fell: Floats  # how far the close fell, as a share of the close before
    lowest: Floats  # how far the low lies below the close before


def _payments(bars: Bars) -> _Payments:
    at = np.flatnonzero(bars.dividends > 0)
    at = at[at > 0]
    before = bars.close[at - 1]
    ratio = np.where(bars.splits[at] > 0, bars.splits[at], 1.0)
    factor = bars.adj_close / bars.close
    growth = factor[at - 1] / factor[at]
    paid = bars.dividends[at] / before
    # Raw prices are not yet divided by a split; the dividend tells which these are.
    raw = np.abs(growth * ratio - 1 + paid) < np.abs(growth - 1 + paid)
    split = np.where(raw, ratio, 1.0)
    fell, lowest = (1 - split * prices[at] / before for prices in (bars.close, bars.low))
    return _Payments(at, paid, 1 - growth * split, fell, lowest)


def _dividend_adjustment(bars: Bars) -> _Verdict:
    """Dividends that the adjusted close reflects by another amount than is recorded, or not at all."""
    at, paid, adjusted, _, _ = _payments(bars)
    missed = np.abs(adjusted - paid)
    wrong = missed > _ROUNDING + _SHARE * np.maximum(np.abs(adjusted), paid) + _noise(bars)
    worst = float(missed[wrong].max(initial=0.0))
    message = f"the adjusted close takes another dividend than is recorded, at worst by {worst:.2%} of the price"
    return at[wrong], worst > MATERIAL, message


def _unrecorded_adjustments(bars: Bars, glitch: Mask) -> _Verdict:
    """Adjusted closes that part from the closes on a day without the dividends or splits that others have."""
    recorded = bool(bars.dividends.any() or bars.splits.any())
    moved = np.abs(np.expm1(_steps(bars.adj_close / bars.close)))
    quiet = recorded & (bars.dividends == 0) & (bars.splits == 0) & ~glitch
    quiet[1:] &= ~glitch[:-1]
    message = "the adjusted close parts from the close on days without a recorded dividend or split"
    return quiet & (moved > _ROUNDING + _noise(bars)), False, message


def _noise(bars: Bars) -> float:
    """Rounding in the file itself: ten times the median move of the factor on days without events."""
    moved = np.abs(_steps(bars.adj_close / bars.close))[1:]
    quiet = moved[(bars.dividends == 0)[1:] & (bars.splits == 0)[1:]]
    return 10 * float(np.median(quiet)) if len(quiet) else 0.0


def _duplicate_dividends(bars: Bars) -> _Verdict:
    """The same dividend twice within a week, by a payer that otherwise pays less often."""
    at = np.flatnonzero(bars.dividends > 0)
    days = np.diff(bars.sessions[at].astype("datetime64[D]")).astype(np.int64)
    amount = bars.dividends[at]
    alike = np.abs(np.diff(amount)) <= _SAME_AMOUNT * np.maximum(amount[1:], amount[:-1])
    often = float(np.median(days)) / 4 if len(at) > 2 else np.inf
    twice = alike & (days <= _SAME_EVENT_DAYS) & (days < often)
    second = at[1:][twice]
    share = float((bars.dividends[second] / bars.close[second - 1]).max(initial=0.0))
    message = f"nearly the same dividend twice within {_SAME_EVENT_DAYS} days, worth {share:.2%} of the price"
    return second, share > MATERIAL, message


def _dividend_sizes(bars: Bars) -> _Verdict:
    """Dividends that the price denies: far too large, or a hundred times too small.

    Too small ones, pence for pounds, are convicted together, by their likelihood under normal moves. One
    that is a hundredth of its neighbour is proof enough: companies repeat what they pay.
    """
    at, paid, _, fell, lowest = _payments(bars)
    day = np.array([_day_around(bars, int(one)) for one in at])
    denied = (lowest < paid / 2) & (paid - fell > _SURE * day) & (bars.high[at] > bars.low[at])
    large = (paid >= 1) | ((paid > _LARGE_YIELD) & denied)
    scaled = _SCALE * paid
    small = (scaled <= _LARGE_YIELD) & (paid < day / 4)
    gain = (fell**2 - (fell - scaled) ** 2) / (2 * day**2)
    proof = float((gain + _CERTAIN * _is_hundredth(bars.dividends[at]))[small].sum())
    wrong = large | (small & (proof > _CERTAIN))
    effect = float(np.where(large, paid, scaled)[wrong].max(initial=0.0))
    error = bool(large.any()) or (proof > 2 * _CERTAIN and effect > MATERIAL)
    message = (
        "the price did not move as the recorded dividend says; it may be off by a factor of 100"
    )
    return at[wrong], error, message


def _is_hundredth(amount: Floats) -> Mask:
    """Amounts that are a hundredth of the one before or after, to 2 %."""
    ratio = np.abs(np.diff(np.log(amount)))
    step = np.abs(ratio - np.log(_SCALE)) < np.log(1.02)
    found: Mask = np.zeros(len(amount), dtype=bool)
    found[1:] |= step & (np.diff(amount) < 0)
    found[:-1] |= step & (np.diff(amount) > 0)
    return found


def _day_around(bars: Bars, at: int) -> float:
    """Size of an ordinary day in the half year around a session, that session itself left out."""
    moves = _steps(bars.adj_close[max(at - 63, 0) : at + 64])
    moves[min(at, 63)] = 0.0
    return typical_move(moves)


_NOT_DAILY = 0.5
"""Where more than this share of the sessions is missing, the bars are not daily bars of the exchange."""


def check_bars(bars: Bars, changes: Changes = KNOWN_CHANGES) -> tuple[Finding, ...]:
    """Look for what is implausible in daily bars, raw or adjusted: findings, errors first.

    The rules on returns use the adjusted close; sessions are compared with the exchange's calendar and its `changes`.
    """
    require_daily(bars.symbol, bars.interval)
    if not len(bars):
        return ()
    with np.errstate(all="ignore"):  # the ratio of two prices that `Bars` allows may overflow
        glitch, unadjusted = _is_glitch(bars), _is_unadjusted(bars)
        explained = glitch | unadjusted  # moves into, or out of, a bar that is found already
        explained[1:] |= glitch[:-1]
        silent = bars.volume == 0
        rules: dict[str, _Verdict] = {
            "ohlc": _ohlc(bars),
            "digit_glitch": (
                glitch,
                True,
                "prices off by a power of ten within the bar, or by a factor of "
                f"{_JUMP_ERROR:g} or more that comes back",
            ),
            "unadjusted_split": (
                unadjusted,
                True,
                "a split is recorded, but the adjusted close still jumps by its ratio, on that day or "
                "near it",
            ),
            "jump": _jumps(bars, explained),
            "suspected_split": _suspected_splits(bars, explained | (bars.splits > 0)),
            "dividend_adjustment": _dividend_adjustment(bars),
            "dividend_size": _dividend_sizes(bars),
            "dividend_duplicate": _duplicate_dividends(bars),
            "unrecorded_adjustment": _unrecorded_adjustments(bars, glitch),
            "forward_filled": _forward_filled(bars),
            "stale": _stale(bars),
            # indices and currencies have no volume at all
            "zero_volume": (silent & ~silent.all(), False, "sessions without any volume"),
        }
        found = _findings(rules, bars.sessions) + _sessions(bars, changes)
        return tuple(sorted(found, key=lambda one: one.severity))


def _sessions(bars: Bars, changes: Changes) -> list[Finding]:
    """Sessions that are missing or too many, or why they could not be compared."""
    try:
        if (name := calendar_of(bars)) is None:
            raise ConfigError(
                f"no exchange calendar for the time zone {bars.timezone or 'unknown'}"
            )
        expected, days = expected_sessions(name, bars.sessions, changes)
    except ConfigError as error:
        return [Finding("calendar", "warning", 0, (), f"sessions not compared: {error}")]
    every = np.union1d(expected, days)
    missing, extra = ~np.isin(every, days), ~np.isin(every, expected)
    sparse = int(missing.sum()) > _NOT_DAILY * len(expected)
    why = ", more than half of them: these are not daily bars" if sparse else ""
    message = f"days on which the exchange was open, but there is no bar{why}"
    rules = {
        "missing_session": (missing, sparse, message),
        "extra_session": (extra, False, "bars on days on which the exchange was closed"),
    }
    return _findings(rules, every)


@dataclass(frozen=True, eq=False)
class RawBars:
    """One symbol's columns as somebody wrote them, without any rule; n rows in the order of the file."""

    symbol: str
    sessions: Dates  # datetime64[D], NaT where there is no date
    columns: Mapping[str, Floats]  # prices and volume, perhaps other fields; NaN where no number is
    places: tuple[str, ...]  # where each row stands, such as "line 7"
    unreadable: tuple[tuple[str, str], ...] = ()  # place and reason of what is no number or date
    timezone: str = ""  # of the exchange, "" if unknown


def screen(raw: RawBars, changes: Changes = KNOWN_CHANGES) -> tuple[Finding, ...]:
    """Every finding about raw bars, errors first: what `Bars` would refuse, then what `check_bars` says.

    Rows that `Bars` would refuse are left out of the second half, and unsorted rows are sorted for it.
    The findings of the first half name date and place.
    """
    given = {"adj_close": raw.columns["close"], **raw.columns}
    empty = np.all([np.isnan(given[name]) for name in OHLC], axis=0)
    undated = undated_rows(raw.sessions)
    moves = np.diff(raw.sessions[~undated]).astype(np.int64)
    steps = -moves if (moves < 0).sum() > (moves > 0).sum() else moves
    missing, worthless, negative = (np.zeros(len(raw.sessions), dtype=bool) for _ in range(3))
    for name, column in given.items():
        missing |= ~np.isfinite(column) & ~empty
        if name in PRICES:
            worthless |= column <= 0
        else:
            negative |= column < 0
    _, first = np.unique(raw.sessions, return_index=True)
    again = ~undated
    again[first] = False
    unordered = np.flatnonzero(~undated)[1:][steps < 0]
    rules: dict[str, _Verdict] = {
        "date": (undated, True, "rows without a date between 1600 and 2200"),
        "order": (unordered, True, "rows out of order"),
        "duplicate": (again, True, "sessions that appear more than once"),
        "empty": (empty, False, "rows without any price; they are left out"),
        "nan": (missing, True, "rows that lack a number"),
        "price": (worthless, True, "prices that are zero or negative"),
        "negative": (negative, True, "volumes, dividends or splits below zero"),
    }
    places, reasons = np.array(raw.unreadable, dtype=object).reshape(-1, 2).T
    told = f"cells that cannot be read, such as: {reasons[0]}" if len(reasons) else ""
    labels = [
        f"{day} ({place})" for day, place in zip(raw.sessions.astype(str), raw.places, strict=True)
    ]
    found = _findings({"unreadable": (slice(None), True, told)}, places)
    found += _findings(rules, np.array(labels, dtype=object))
    keep = ~(undated | empty | worthless | again)
    for name in PRICES:
        keep &= np.isfinite(given.get(name, given["close"]))
    rows = np.flatnonzero(keep)[np.argsort(raw.sessions[keep], kind="stable")]
    columns: dict[str, Any] = {name: np.zeros(len(rows)) for name in FIELDS}
    for name, column in given.items():
        clean = column[rows]
        columns[name] = np.where(np.isfinite(clean) & (clean >= 0), clean, 0.0)
    bars = Bars(raw.symbol, raw.sessions[rows], **columns, timezone=raw.timezone)
    return tuple(sorted([*found, *check_bars(bars, changes)], key=lambda one: one.severity))
