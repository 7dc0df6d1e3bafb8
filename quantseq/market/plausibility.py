"""What prices and volumes alone can and cannot do: rules that need no record of splits or dividends.

Owns the rules on the shape of bars and on their moves, one small function each. Knows nothing of
calendars or of corporate actions beyond the splits that a bar itself records.
"""

from itertools import pairwise

import numpy as np

from quantseq.market.bars import Bars, Floats
from quantseq.market.findings import MATERIAL, Finding, Mask, finding

OHLC_TOLERANCE = 1e-6
JUMP, JUMP_ERROR = 0.5, 8.0
STALE_RUN = 5
LONGEST_GLITCH = 60
"""Sessions within which a leap must come back to count as a glitch."""

SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0)
"""What companies split by; from 2 on also what they merge by."""
_ROUND = 0.02
_TYPICAL = 8.0


def steps(prices: Floats) -> Floats:
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


def ohlc(bars: Bars) -> Finding | None:
    """High below, or low above, another price of the same bar."""
    top = np.max([bars.open, bars.low, bars.close], axis=0)
    bottom = np.min([bars.open, bars.high, bars.close], axis=0)
    excess = np.maximum(top / bars.high, bars.low / bottom) - 1
    worst = float(excess.max())
    return finding(
        "ohlc",
        worst > MATERIAL,
        bars.sessions[excess > OHLC_TOLERANCE],
        f"open or close outside the range from low to high, at worst by {worst:.2%}",
    )


def digit_glitches(bars: Bars) -> Finding | None:
    """Digits or units that slip and come back."""
    return finding(
        "digit_glitch",
        True,
        bars.sessions[is_glitch(bars)],
        "prices off by a power of ten within the bar, or by a factor of "
        f"{JUMP_ERROR:g} or more that comes back",
    )


def is_glitch(bars: Bars) -> Mask:
    """Bars whose digits slipped, shape (n,).

    Within a bar: open, high or low are within 20 % of 10, 100, 1,000 or 10,000 times the close, or its
    inverse. Between bars: two opposite moves by `JUMP_ERROR` or more, at most `LONGEST_GLITCH` sessions
    apart, of which less than a quarter is left when both are done. Recorded splits are taken out of the
    raw closes first.
    """
    bad = np.zeros(len(bars), dtype=bool)
    close = np.log10(bars.close)
    for name in ("open", "high", "low"):
        exponent = np.log10(getattr(bars, name)) - close
        power = np.rint(exponent)
        bad |= (np.abs(exponent - power) < np.log10(1.2)) & (power != 0) & (np.abs(power) <= 4)
    raw = steps(bars.close)
    ratio = np.log(np.where(bars.splits > 0, bars.splits, 1.0))
    raw = np.where(np.abs(raw + ratio) < np.abs(raw), raw + ratio, raw)
    for moves in (raw, steps(bars.adj_close)):
        for begin, end in pairwise(np.flatnonzero(np.abs(moves) > np.log(JUMP_ERROR))):
            there, back = moves[begin], moves[end]
            returned = abs(there + back) < max(abs(there), abs(back)) / 4
            if there * back < 0 and returned and end - begin <= LONGEST_GLITCH:
                bad[begin:end] = True
    return bad


def suspected_splits(bars: Bars, known: Mask) -> Finding | None:
    """Overnight gaps by the ratio of a split, with none on record.

    The gap from the adjusted close to the next open, and the close as far as an ordinary day allows, lie
    within 2 % of a ratio in `SPLIT_RATIOS` and the gap is eight times an ordinary day. Rises count from a
    ratio of 2 on: nobody merges three shares into two.
    """
    moves = steps(bars.adj_close)
    day = typical_move(moves)
    opened = moves - np.log(bars.close / bars.open)
    ratios = np.log(SPLIT_RATIOS)
    gap, move = np.abs(opened)[:, None], np.abs(moves)[:, None]
    near = (np.abs(gap - ratios) < _ROUND) & (np.abs(move - ratios) < _ROUND + 3 * day)
    near &= (opened < 0)[:, None] | (np.array(SPLIT_RATIOS) >= 2)
    suspect = near.any(axis=1) & (np.abs(opened) > _TYPICAL * day) & (moves * opened > 0) & ~known
    return finding(
        "suspected_split",
        False,
        bars.sessions[suspect],
        "an overnight gap by the round ratio of a split, but none is recorded",
    )


def jumps(bars: Bars, known: Mask) -> Finding | None:
    """Adjusted closes that move by more than half; by more than a factor of 8, an error.

    Parameters
    ----------
    known : (n,) bool
        Moves that another rule has found already.
    """
    moves = steps(bars.adj_close)
    jump = (np.abs(np.expm1(moves)) > JUMP) & ~known
    worst = float(np.exp(np.abs(moves[jump]).max())) if jump.any() else 1.0
    return finding(
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


def forward_filled(bars: Bars) -> Finding | None:
    """Weekends that repeat the bar before, volume included."""
    weekday = (bars.sessions.astype("datetime64[D]").astype(np.int64) + 3) % 7
    same_volume = np.diff(bars.volume, prepend=-1.0) == 0
    return finding(
        "forward_filled",
        True,
        bars.sessions[(weekday >= 5) & _is_copy(bars) & same_volume],
        "weekend bars that only repeat the bar before",
    )


def stale(bars: Bars) -> Finding | None:
    """Long runs of identical bars."""
    copy = _is_copy(bars)
    edges = np.flatnonzero(np.diff(copy.astype(np.int64), prepend=0, append=0))
    bad = np.zeros(len(bars), dtype=bool)
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        bad[begin:end] = end - begin + 1 >= STALE_RUN
    return finding(
        "stale",
        False,
        bars.sessions[bad],
        f"bars that repeat the one before, in runs of {STALE_RUN} or more",
    )


def zero_volume(bars: Bars) -> Finding | None:
    """Sessions without volume, unless the series has none at all (indices, currencies)."""
    empty = bars.volume == 0
    dates = bars.sessions[empty] if not empty.all() else bars.sessions[:0]
    return finding("zero_volume", False, dates, "sessions without any volume")
