"""Whether recorded splits and dividends fit the prices that stand beside them.

Owns the rules that compare three records of the same event: the split or dividend itself, the raw close
that falls by it, and the adjusted close that must not. Knows nothing of calendars.

The identity behind them is the vendors' own (CRSP, Yahoo): across an ex-date the factor
``adj_close / close`` grows by ``1 / (1 - dividend / previous close)``, times the split ratio where raw
prices are not yet divided by it; on every other day it stands still.
"""

from dataclasses import dataclass

import numpy as np

from quantseq.market.bars import Bars, Floats
from quantseq.market.findings import MATERIAL, Finding, Mask, finding
from quantseq.market.plausibility import is_glitch, steps, typical_move

SMALLEST_SPLIT = 1.3
SPLIT_WINDOW = 20
"""Sessions around a recorded split in which its ratio is looked for."""

ROUNDING, SHARE = 1e-3, 0.1
"""Adjusted closes may miss a dividend by this much of the price, and by this share of its yield."""

LARGE_YIELD, SURE = 0.1, 5.0
SAME_AMOUNT, SAME_EVENT_DAYS = 0.1, 7
SCALE, CERTAIN = 100.0, np.log(100.0)
"""Pence for pounds; and the log-likelihood ratio that convicts."""


def is_unadjusted(bars: Bars) -> Mask:
    """Moves of the adjusted close that are a recorded split's ratio, at most 20 sessions from it.

    A move is one if it is six times an ordinary day and what is left of it, once the ratio (or its
    inverse: adjusted twice) is taken out, is less than a quarter. Shape (n,).
    """
    moves = steps(bars.adj_close)
    large = np.abs(moves) > max(6 * typical_move(moves), np.log(SMALLEST_SPLIT))
    found = np.zeros(len(bars), dtype=bool)
    for at in np.flatnonzero(bars.splits > 0):
        size = abs(float(np.log(bars.splits[at])))
        if size > np.log(SMALLEST_SPLIT):
            near = slice(max(at - SPLIT_WINDOW, 0), at + SPLIT_WINDOW + 1)
            left = np.abs(np.abs(moves[near]) - size)
            found[near] |= large[near] & (left < np.maximum(np.abs(moves[near]), size) / 4)
    return found


def unadjusted_splits(bars: Bars) -> Finding | None:
    """Recorded splits that part of the prices is not, or is twice, adjusted for."""
    return finding(
        "unadjusted_split",
        True,
        bars.sessions[is_unadjusted(bars)],
        "a split is recorded, but the adjusted close still jumps by its ratio, on that day or near it",
    )


@dataclass(frozen=True)
class _Payments:
    """The dividends of a series, seen from the close before each: arrays of one length."""

    at: np.ndarray
    amount: Floats
    paid: Floats
    """Dividend over the close before."""
    adjusted: Floats
    """What the adjusted close takes for that share."""
    fell: Floats
    """How far the close fell, as a share of the close before."""
    lowest: Floats
    """How far the low lies below the close before."""


def _payments(bars: Bars) -> _Payments:
    at = np.flatnonzero(bars.dividends > 0)
    at = at[at > 0]
    before = bars.close[at - 1]
    ratio = np.where(bars.splits[at] > 0, bars.splits[at], 1.0)
    factor = bars.adj_close / bars.close
    growth = factor[at - 1] / factor[at]
    paid = bars.dividends[at] / before
    raw = np.abs(growth * ratio - 1 + paid) < np.abs(
        growth - 1 + paid
    )  # not yet divided by a split
    return _Payments(
        at=at,
        amount=bars.dividends[at],
        paid=paid,
        adjusted=1 - np.where(raw, growth * ratio, growth),
        fell=1 - np.where(raw, ratio, 1.0) * bars.close[at] / before,
        lowest=1 - np.where(raw, ratio, 1.0) * bars.low[at] / before,
    )


def dividend_adjustment(bars: Bars) -> Finding | None:
    """Dividends that the adjusted close reflects by another amount than is recorded, or not at all."""
    paid = _payments(bars)
    missed = np.abs(paid.adjusted - paid.paid)
    wrong = missed > ROUNDING + SHARE * np.maximum(np.abs(paid.adjusted), paid.paid) + _noise(bars)
    worst = float(missed[wrong].max(initial=0.0))
    return finding(
        "dividend_adjustment",
        worst > MATERIAL,
        bars.sessions[paid.at[wrong]],
        f"the adjusted close takes another dividend than is recorded, at worst by {worst:.2%} of the "
        "price",
    )


def unrecorded_adjustments(bars: Bars) -> Finding | None:
    """Adjusted closes that part from the closes on a day without dividend or split.

    Only where the series records dividends or splits at all.
    """
    if not (bars.dividends.any() or bars.splits.any()):
        return None
    moved = np.abs(np.expm1(steps(bars.adj_close / bars.close)))
    quiet = (bars.dividends == 0) & (bars.splits == 0) & ~is_glitch(bars)
    quiet[1:] &= ~is_glitch(bars)[:-1]
    return finding(
        "unrecorded_adjustment",
        False,
        bars.sessions[quiet & (moved > ROUNDING + _noise(bars))],
        "the adjusted close parts from the close on days without a recorded dividend or split",
    )


def _noise(bars: Bars) -> float:
    """Rounding in the file itself: ten times the median move of the factor on days without events."""
    moved = np.abs(steps(bars.adj_close / bars.close))[1:]
    quiet = moved[(bars.dividends == 0)[1:] & (bars.splits == 0)[1:]]
    return 10 * float(np.median(quiet)) if len(quiet) else 0.0


def duplicate_dividends(bars: Bars) -> Finding | None:
    """The same dividend twice within a week, by a payer that otherwise pays less often."""
    at = np.flatnonzero(bars.dividends > 0)
    if len(at) < 2:
        return None
    days = np.diff(bars.sessions[at].astype("datetime64[D]")).astype(np.int64)
    amount = bars.dividends[at]
    alike = np.abs(np.diff(amount)) <= SAME_AMOUNT * np.maximum(amount[1:], amount[:-1])
    twice = alike & (days <= SAME_EVENT_DAYS) & ((len(at) == 2) | (days < np.median(days) / 4))
    second = at[1:][twice]
    share = float((bars.dividends[second] / bars.close[second - 1]).max(initial=0.0))
    return finding(
        "dividend_duplicate",
        share > MATERIAL,
        bars.sessions[second],
        f"nearly the same dividend twice within {SAME_EVENT_DAYS} days, worth {share:.2%} of the price",
    )


def dividend_sizes(bars: Bars) -> Finding | None:
    """Dividends that the price denies: far too large, or a hundred times too small.

    Too large: as much as the price or more; or above 10 % of it, while the price on a day on which it
    moved did not even fall by half of that at its low, and what it lacks is five ordinary days.

    Too small: invisible beside an ordinary day, where a hundred times as much (pence for pounds) would be
    an ordinary dividend of at most 10 % and explains the price better, all such dividends of the series
    taken together, by a likelihood ratio of 100 under normal moves. A dividend that is a hundredth of
    the one before or after it, to 2 %, brings that ratio along: companies repeat what they pay.
    """
    paid = _payments(bars)
    day = np.array([_day_around(bars, int(at)) for at in paid.at])
    traded = bars.high[paid.at] > bars.low[paid.at]
    denied = (paid.lowest < paid.paid / 2) & (paid.paid - paid.fell > SURE * day) & traded
    large = (paid.paid >= 1) | ((paid.paid > LARGE_YIELD) & denied)
    scaled = SCALE * paid.paid
    small = (scaled <= LARGE_YIELD) & (paid.paid < day / 4)
    gain = (paid.fell**2 - (paid.fell - scaled) ** 2) / (2 * day**2)
    proof = float((gain + CERTAIN * _is_hundredth(paid.amount))[small].sum())
    wrong = large | (small & (proof > CERTAIN))
    effect = np.where(large, paid.paid, scaled)[wrong]
    return finding(
        "dividend_size",
        bool(large.any()) or (proof > 2 * CERTAIN and float(effect.max(initial=0.0)) > MATERIAL),
        bars.sessions[paid.at[wrong]],
        "the price did not move as the recorded dividend says; it may be off by a factor of 100",
    )


def _is_hundredth(amount: Floats) -> Mask:
    """Amounts that are a hundredth of the one before or after, to 2 %."""
    ratio = np.abs(np.diff(np.log(amount)))
    step = np.abs(ratio - np.log(SCALE)) < np.log(1.02)
    found: Mask = np.zeros(len(amount), dtype=bool)
    found[1:] |= step & (np.diff(amount) < 0)
    found[:-1] |= step & (np.diff(amount) > 0)
    return found


def _day_around(bars: Bars, at: int) -> float:
    """Size of an ordinary day in the half year around a session, that session itself left out."""
    moves = steps(bars.adj_close[max(at - 63, 0) : at + 64])
    moves[min(at, 63)] = 0.0
    return typical_move(moves)
