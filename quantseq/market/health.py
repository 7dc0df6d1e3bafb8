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
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import BarsError, ConfigError, NoDataError
from quantseq.market.bars import (
    FIELDS,
    OHLC,
    PRICES,
    Bars,
    Dates,
    Floats,
    as_date,
    exchange_dates,
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
        found = _findings(rules, bars.sessions) + _sessions(bars, changes) + _left_out(bars)
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


def describe_left_out(bars: Bars) -> str:
    """What `clean` has left out of these bars, in a line: how many rows, the first, the last and why; "" if none."""
    told = [
        f"{len(rows)} left out, {why}: {rows[0]}" + (f" to {rows[-1]}" if len(rows) > 1 else "")
        for why, rows in bars.provenance.get("left_out", {}).items()
    ]
    if closes := bars.provenance.get("closes_only"):
        told.append(f"{len(closes)} kept with their closes only: {closes[0]} to {closes[-1]}")
    return "; ".join(told)


def _left_out(bars: Bars) -> list[Finding]:
    """What `clean` has left out of these bars, as their provenance says."""
    told = {
        "left_out": bars.provenance.get("left_out", {}),
        "closes_only": {"open, high and low are not known": bars.provenance.get("closes_only", [])},
    }
    return [
        Finding(
            rule,
            "warning",
            len(rows),
            tuple(rows[:SESSIONS_SHOWN]),
            f"left out: {why}" if rule == "left_out" else why,
        )
        for rule, reasons in told.items()
        for why, rows in reasons.items()
        if rows
    ]


@dataclass(frozen=True, eq=False)
class RawBars:
    """One symbol's columns as somebody wrote them, without any rule; n rows in the order of the source."""

    symbol: str
    sessions: Dates  # as in `Bars`, NaT where there is no date
    columns: Mapping[str, Floats]  # prices and volume, perhaps other fields; NaN where no number is
    places: tuple[str, ...]  # where each row stands, such as "line 7"
    unreadable: tuple[tuple[str, str], ...] = ()  # place and reason of what is no number or date
    timezone: str = ""  # of the exchange, "" if unknown
    interval: str = "1d"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    named: bool = False  # whether the source itself tells symbols apart

    @cached_property
    def given(self) -> Mapping[str, Floats]:
        """The columns, with the close in place of a missing adjusted close."""
        return {**self.columns, "adj_close": self.columns.get("adj_close", self.columns["close"])}

    def since(self, start: Any) -> Self:
        """Without the rows of dates before `start`; None leaves all, and undated rows stay."""
        if start is None:
            return self
        keep = ~(exchange_dates(self.sessions, self.timezone) < as_date(start))
        places = [place for place, kept in zip(self.places, keep, strict=True) if kept]
        return replace(
            self,
            sessions=self.sessions[keep],
            columns={name: values[keep] for name, values in self.columns.items()},
            places=tuple(places),
            unreadable=tuple(one for one in self.unreadable if one[0] in set(places)),
        )

    def labels(self, rows: Any) -> list[str]:
        """Date and place of some rows."""
        days = self.sessions.astype(str)
        return [
            self.places[at]
            if days[at] in (self.places[at], "NaT")
            else f"{days[at]} ({self.places[at]})"
            for at in rows
        ]


GAPS, FEW = 0.05, 3
"""The share of rows without use, and the number of them, that are left out without asking."""

_LEFT_OUT = {
    "unreadable": "cells that cannot be read",
    "date": "rows without a date between 1600 and 2200",
    "nan": "rows that lack a number",
    "price": "prices that are zero or negative",
    "negative": "volumes, dividends or splits below zero",
}
"""Why a row cannot be used: rule and message."""
_HARMLESS = {
    "empty": "rows without any price; they are left out",
    "repeated": "rows that only repeat the one of the same session; they are left out",
}
_REFUSED = {
    "order": "rows out of order",
    "duplicate": "sessions that appear more than once, with different prices",
}
"""What leaves it open which row is right; nobody guesses."""


class _Judged(NamedTuple):
    """What each row of raw bars is good for."""

    rules: dict[str, Mask]  # by rule, the rows that break it
    order: NDArray[np.int64]  # the rows with a date, oldest first
    gaps: int  # rows with a date or a price that cannot be used
    good: NDArray[np.int64]  # the rows that can be used, oldest first

    def too_many(self) -> bool:
        """Whether more rows are of no use than may be left out without asking."""
        allowed = max(FEW, GAPS * (self.gaps + len(self.good)))
        return self.gaps > allowed or self.gaps >= len(self.good)


def _judge(raw: RawBars, *, keep_closes: bool = False) -> _Judged:
    count, places = len(raw.sessions), {place: at for at, place in enumerate(raw.places)}
    rules = {rule: np.zeros(count, dtype=bool) for rule in (*_LEFT_OUT, *_HARMLESS, *_REFUSED)}
    rules["unreadable"][[places[place] for place, _ in raw.unreadable]] = True
    rules["date"] = undated = undated_rows(raw.sessions)
    nothing = np.all([np.isnan(raw.given[name]) for name in OHLC], axis=0)
    rules["empty"] = nothing & ~rules["unreadable"]
    for name, values in raw.given.items():
        if keep_closes and name in ("open", "high", "low"):
            continue
        rules["nan"] |= ~np.isfinite(values)
        rules["price" if name in PRICES else "negative"] |= (
            values <= 0 if name in PRICES else values < 0
        )
    unusable = np.zeros(count, dtype=bool)
    for rule in _LEFT_OUT:  # the first reason counts
        rules[rule] = rules[rule] & ~(unusable | rules["empty"])
        unusable |= rules[rule]
    order = np.flatnonzero(~undated)
    steps = np.diff(raw.sessions[order]).astype(np.int64)
    if (steps < 0).sum() > (steps > 0).sum():  # newest first is an order too
        order, steps = order[::-1], -steps[::-1]
    rules["order"][order[1:]] = steps < 0
    good = order[~(unusable | rules["empty"])[order]]
    good = good[np.argsort(raw.sessions[good], kind="stable")]
    cells = np.stack(list(raw.given.values()))
    again = np.flatnonzero(np.diff(raw.sessions[good]).astype(np.int64) == 0) + 1
    same = (cells[:, good[again]] == cells[:, good[again - 1]]).all(axis=0)
    rules["repeated"][good[again[same]]] = True
    rules["duplicate"][good[again[~same]]] = True
    twice = rules["repeated"] | rules["duplicate"]
    return _Judged(rules, order, int(unusable.sum()), good[~twice[good]])


def clean(raw: RawBars, *, allow_gaps: bool = False, keep_closes: bool = False) -> Bars:
    """Bars of the rows that can be used, oldest first; the provenance says which were left out, and why.

    A row is left out if one of its cells is no number, or a price is missing, zero or negative; so are rows without
    any price, and exact copies. A dividend or split on a row that is left out counts on the next one that is kept. With
    `keep_closes`, missing, zero and negative opens, highs and lows beside a good close become that close.

    BarsError if more than `GAPS` of the rows, and more than `FEW`, cannot be used, unless `allow_gaps`; if rows are
    out of order, a session appears twice with different prices, or no row is left. It names place and reason. A
    NoDataError if there are no rows at all.
    """
    if not raw.places:
        raise NoDataError(f"{raw.symbol} has no bars in the asked range. Widen the range.")
    judged, of = _judge(raw, keep_closes=keep_closes), str(raw.provenance.get("file", raw.symbol))
    for rule, message in _REFUSED.items():
        if (rows := np.flatnonzero(judged.rules[rule])).size:
            raise BarsError(
                f"{of}, {raw.labels(rows[:1])[0]}: {message} ({rows.size} in all). Sort the rows and drop duplicates."
            )
    if judged.too_many() and not (allow_gaps and len(judged.good)):
        raise BarsError(f"{of}{_too_many(raw, judged)}")
    facts, left_out = dict(raw.provenance), {}
    for rule, message in (_LEFT_OUT | _HARMLESS).items():
        if (rows := np.flatnonzero(judged.rules[rule])).size:
            left_out[message.partition(";")[0]] = raw.labels(rows)
    facts |= {"left_out": left_out} if left_out else {}
    columns = {name: np.zeros(len(raw.sessions)) for name in FIELDS}
    columns |= {name: values.copy() for name, values in raw.given.items()}
    if keep_closes:
        worthless = np.zeros(len(raw.sessions), dtype=bool)
        for name in ("open", "high", "low"):
            bad = ~(np.isfinite(columns[name]) & (columns[name] > 0))
            columns[name] = np.where(bad, columns["close"], columns[name])
            worthless |= bad
        if rows := judged.good[worthless[judged.good]].tolist():
            facts["closes_only"] = raw.labels(rows)
    _carry_actions(raw, columns, judged)
    kept: dict[str, Any] = {name: values[judged.good] for name, values in columns.items()}
    where: Any = {"timezone": raw.timezone, "interval": raw.interval, "provenance": facts}
    return Bars(raw.symbol, raw.sessions[judged.good], **kept, **where)


def _too_many(raw: RawBars, judged: _Judged) -> str:
    """What is wrong with raw bars of which too few rows can be used: the first fault, and what can be done."""
    count = len(raw.sessions)
    if not judged.gaps:
        return ": no row holds prices. Give a file with prices."
    first = min(np.flatnonzero(judged.rules[rule])[:1].tolist() or [count] for rule in _LEFT_OUT)[0]
    why = _reason(raw, judged, first)
    told = f", {raw.labels([first])[0]}: {why}; {judged.gaps} of {count} rows cannot be used"
    if not len(judged.good):
        return f"{told}, and none is left. Give a file with prices."
    bad = np.any([judged.rules[rule] for rule in _LEFT_OUT], axis=0) & ~judged.rules["date"]
    last = raw.sessions[bad].max() if bad.any() else None
    later = [] if last is None else judged.good[raw.sessions[judged.good] > last]
    remedy = "Leave them out with --allow-gaps"
    if len(_judge(raw, keep_closes=True).good) > len(judged.good):
        remedy += ", keep their closes with --keep-closes"
    if len(later) > len(judged.good) / 10:
        remedy += (
            f", or begin with the first good stretch: --start {str(raw.sessions[later[0]])[:10]}"
        )
    return f"{told}, more than {GAPS:.0%}. {remedy}."


def _reason(raw: RawBars, judged: _Judged, at: int) -> str:
    """What is wrong with a row that cannot be used."""
    if why := dict(reversed(raw.unreadable)).get(raw.places[at]):
        return why
    rule = next(rule for rule in _LEFT_OUT if judged.rules[rule][at])
    for name, values in raw.given.items():
        bad = {"nan": not np.isfinite(values[at]), "price": values[at] <= 0}.get(
            rule, values[at] < 0
        )
        if bad and rule != "date" and (rule != "price" or name in PRICES):
            must = "a price above 0" if name in PRICES else "0 or more"
            return f"{name} is {values[at]}; it must be {must}"
    return _LEFT_OUT[rule]


def _carry_actions(raw: RawBars, columns: dict[str, Any], judged: _Judged) -> None:
    """Dividends (added) and splits (multiplied) of rows that are left out on the next row that is kept, in place.

    Whoever held the share over such a day gets both, and the next price is the first that shows it. After the last
    price there is nothing to carry them to.
    """
    events = {
        name: np.maximum(np.nan_to_num(columns[name]), 0.0) for name in ("dividends", "splits")
    }
    lost = np.sum(list(events.values()), axis=0) > 0
    lost[judged.good] = False
    lost &= ~judged.rules["repeated"]
    after = np.searchsorted(raw.sessions[judged.good], raw.sessions[judged.order])
    for at, later in zip(judged.order[lost[judged.order]], after[lost[judged.order]], strict=True):
        if later < len(judged.good):
            target = judged.good[later]
            for name, column in columns.items():
                if name == "splits" and column[target] and events[name][at]:
                    column[target] *= events[name][at]
                elif name in events:
                    column[target] += events[name][at]


def screen(raw: RawBars, changes: Changes = KNOWN_CHANGES) -> tuple[Finding, ...]:
    """Every finding about raw bars, errors first: what `clean` leaves out or refuses, then what `check_bars` says.

    There is an error of the first half if and only if `clean` refuses the bars. The findings of the first half name
    date and place; unsorted rows are sorted for the second.
    """
    judged = _judge(raw)
    many = judged.too_many()
    rules = {rule: (judged.rules[rule], many, text) for rule, text in _LEFT_OUT.items()}
    if raw.unreadable:
        rules["unreadable"] = (
            *rules["unreadable"][:2],
            f"{_LEFT_OUT['unreadable']}, such as: {raw.unreadable[0][1]}",
        )
    nothing = not len(judged.good)
    rules |= {rule: (judged.rules[rule], nothing, text) for rule, text in _HARMLESS.items()}
    rules |= {rule: (judged.rules[rule], True, text) for rule, text in _REFUSED.items()}
    labels = np.array(raw.labels(range(len(raw.sessions))), dtype=object)
    found = _findings(rules, labels)
    if raw.interval == "1d":
        columns: dict[str, Any] = {name: np.zeros(len(judged.good)) for name in FIELDS}
        columns |= {name: values[judged.good] for name, values in raw.given.items()}
        bars = Bars(raw.symbol, raw.sessions[judged.good], **columns, timezone=raw.timezone)
        found += check_bars(bars, changes)
    return tuple(sorted(found, key=lambda one: one.severity))
