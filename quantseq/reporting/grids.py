"""Which grid a column of a page lies on: fine enough for the figures that are computed from it again.

Owns how many digits of what each column keeps, and how returns keep their signs and sums. Does not know
what is embedded, nor how it is packed.
"""

from typing import Any

import numpy as np

from quantseq.market.bars import Floats
from quantseq.reporting.drawing.packing import on_grid, with_signs
from quantseq.reporting.run import RETURNS

HELD = "buy_and_hold"
STRAY = 8
"""Steps by which the running sum of returns may stray; see `on_daily_grid`."""

FINEST = 10**12
"""Steps in 1 of the finest grid of a daily column."""

LONG = 2_000
"""Days over which errors even out enough for the coarsest grid; see `shortness`."""

_DIGITS = {"cost": 8, "turnover": 5, "gross_exposure": 4}


def shortness(days: int) -> float:
    """How many times finer the grid of so many days is than that of many: `LONG` over them, at least 1."""
    return max(LONG / max(days, 1), 1.0)


def on_daily_grid(name: str, values: Any, held: Any) -> Floats:
    """Returns keep their signs and their running sum, so that small errors do not add up over years.

    Their grid is finer where the sum would stray, as it would on many returns in a row of less than a step.
    """
    per = coarse = daily_grid(name, values, held)
    if not _is_return(name):
        return on_grid(values, per)
    array = np.asarray(values, dtype=np.float64)
    while True:
        moved = np.maximum(with_signs(array, per), -1.0)
        with np.errstate(over="ignore", invalid="ignore"):  # of damaged numbers
            strayed = np.abs(np.nancumsum(moved - array)).max(initial=0.0)
        if not strayed * coarse > STRAY or per >= FINEST:
            return moved
        per *= 10


def daily_grid(name: str, values: Any, held: Any = None) -> int:
    """Returns to five digits of their deviation, at least 1e-7; rivals' to three, at least 1e-5.

    Rivals of short runs take more digits, see `shortness`. A rival that is close to buy-and-hold takes the digits of their difference; one that is the same, its grid.
    """
    if not _is_return(name):
        return int(10 ** _DIGITS.get(name, 6))
    known = np.asarray(values, dtype=np.float64)
    spreads = [_spread(known)]
    own = name in (*RETURNS, f"rival:{HELD}")
    if not own and held is not None:
        rest = np.asarray(held, dtype=np.float64)
        own = np.array_equal(known, rest)
        with np.errstate(invalid="ignore"):
            spreads.append(_spread(known - rest))
    least, digits = (7, 5) if own else (5, 3)
    spread = min((one for one in spreads if 0 < one < np.inf), default=0.0)
    more = digits - int(np.floor(np.log10(spread))) - 1 if spread > 0 else least
    short = 0 if own else int(np.ceil(np.log10(shortness(len(known)))))
    return min(int(10 ** (max(least, more) + short)), FINEST)


def _spread(values: Floats) -> float:
    """Standard deviation of what is finite; 0 without any."""
    known = values[np.isfinite(values)]
    with np.errstate(over="ignore", invalid="ignore"):  # of damaged numbers
        return float(np.std(known)) if len(known) else 0.0


def held_by(values: Any) -> int | None:
    """The coarsest power of ten whose grid holds the values as they are, if one does."""
    powers = (10**digits for digits in range(len(str(FINEST))))
    return next(
        (p for p in powers if np.array_equal(on_grid(values, p), values, equal_nan=True)), None
    )


def coarse_grid(spread: float, bits: int) -> int:
    """A grid of about 2 to the power of `bits` steps in a deviation, however small that is."""
    if not 0 < spread < np.inf:
        return 2**30
    return int(2 ** int(np.clip(np.ceil(bits - np.log2(spread)), 0, 80)))


def _is_return(name: str) -> bool:
    return name in RETURNS or name.startswith("rival:")
