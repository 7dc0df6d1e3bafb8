"""Which symbols are forecast at which cutoffs: the same rows for every model, known at the cutoff.

Owns how much history a forecast needs, and when a price stands still. Knows no model.
"""

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import NotEnoughDataError
from quantseq.forecast.volatility import LONG_WINDOW, rolling_mean
from quantseq.market.bars import Bars, Dates, Panel

MIN_HISTORY = 168
"""Sessions before the first cutoff that any model forecasts, so that all are scored on one set."""

CONTEXT = MIN_HISTORY - LONG_WINDOW
"""Sessions of context: what `MIN_HISTORY` leaves after the longest volatility average."""

STALE = 0.9
"""Share of unchanged closes in a context beyond which a price stands still, see `lively`."""


def lively(bars: Bars) -> NDArray[np.bool_]:
    """Whether the price moved in the `CONTEXT` sessions up to each session, by `STALE`: (n,).

    A series that stands still teaches nothing, and must not decide anything that is pooled.
    """
    return rolling_mean((bars.log_returns() == 0).astype(np.float64), CONTEXT) <= STALE


def _old_enough(bars: Bars, cutoffs: Dates) -> NDArray[np.intp]:
    """Places of the cutoffs with at least `MIN_HISTORY` sessions before."""
    index = np.flatnonzero(np.isin(bars.sessions, np.asarray(cutoffs, dtype="datetime64[D]")))
    return index[index >= MIN_HISTORY]


def rows_at_rest(panel: Panel, cutoffs: Dates) -> dict[str, Dates]:
    """Cutoffs that are not forecast, by no model, because the price stands still; see `lively`."""
    found = {}
    for symbol, bars in panel.items():
        index = _old_enough(bars, cutoffs)
        found[symbol] = bars.sessions[index[~lively(bars)[index]]]
    return {symbol: days for symbol, days in found.items() if len(days)}


def rows_to_forecast(panel: Panel, cutoffs: Dates) -> dict[str, NDArray[np.intp]]:
    """Indices into each symbol's sessions that are cutoffs which every model forecasts.

    Those with at least `MIN_HISTORY` sessions before, and a price that moves (`lively`): both are
    known at the cutoff.

    Raises
    ------
    NotEnoughDataError
        If nothing can be forecast.
    """
    rows = {}
    for symbol, bars in panel.items():
        index = _old_enough(bars, cutoffs)
        rows[symbol] = index[lively(bars)[index]]
    if not any(len(index) for index in rows.values()):
        resting = rows_at_rest(panel, cutoffs)
        if resting:
            raise NotEnoughDataError(
                f"Nothing to forecast: the price of {', '.join(resting)} stands still, with more than "
                f"{STALE:.0%} of its last {CONTEXT} closes unchanged. Give prices that move."
            )
        longest = max(len(bars) for bars in panel.values())
        raise NotEnoughDataError(
            f"Nothing to forecast: the longest of {len(panel)} symbols has {longest} sessions, and "
            f"every cutoff needs {MIN_HISTORY} before it. Give a longer history or later dates."
        )
    return rows
