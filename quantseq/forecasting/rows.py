"""Which symbols are forecast at which cutoffs: the same rows for every model, known at the cutoff.

Owns how much history a forecast needs, and when a price stands still. Knows no model.
"""

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.volatility import LONG_WINDOW, rolling_mean
from quantseq.market.bars import Bars, Dates, Floats, Panel

MIN_HISTORY = 168
"""Sessions before the first cutoff that any model forecasts, so that all are scored on one set."""

CONTEXT = MIN_HISTORY - LONG_WINDOW
"""Sessions of context: what `MIN_HISTORY` leaves after the longest volatility average."""

STALE = 0.9
"""Share of unchanged closes in a context beyond which a price stands still."""

LONGEST_RUN = 20
"""Unchanged closes in a row beyond which it stands still too."""

RECOVERY = LONG_WINDOW // 2
"""Sessions after a rest, at most, that a price must move again before it is forecast."""

AT_REST = (
    f"more than {LONGEST_RUN} closes in a row or {STALE:.0%} of {CONTEXT} unchanged, or hardly begun to "
    "move again"
)
"""The rule in words."""


def lively(returns: Floats) -> NDArray[np.bool_]:
    """Whether the price moves, as seen at each session: (n,).

    A price stands still after more than `LONGEST_RUN` unchanged closes in a row, or more than `STALE` of
    a context. It moves again, for this purpose, after as many sessions as it stood still, at most
    `RECOVERY`: until then a scale remembers the rest, and is far too small. A series that stands still
    teaches nothing, and must not decide anything that is pooled.

    Parameters
    ----------
    returns : (n,) float64
        Log returns; the first, unknown one counts as a move.
    """
    unchanged, place = returns == 0, np.arange(len(returns))
    run = place - np.maximum.accumulate(np.where(unchanged, -1, place))
    resting = run > LONGEST_RUN
    resting |= rolling_mean(unchanged.astype(np.float64), CONTEXT) > STALE
    edges = np.flatnonzero(np.diff(np.concatenate([[False], resting, [False]]).astype(np.int8)))
    moves = np.ones(len(returns), dtype=bool)
    for begin, end in edges.reshape(-1, 2):
        moves[begin : end + min(end - begin + LONGEST_RUN, RECOVERY)] = False
    return moves


def _old_enough(bars: Bars, cutoffs: Dates) -> NDArray[np.intp]:
    """Places of the cutoffs with at least `MIN_HISTORY` sessions before."""
    index = np.flatnonzero(np.isin(bars.sessions, np.asarray(cutoffs, dtype="datetime64[D]")))
    return index[index >= MIN_HISTORY]


def rows_at_rest(panel: Panel, cutoffs: Dates) -> dict[str, Dates]:
    """Cutoffs that are not forecast, by no model, because the price stands still; see `lively`."""
    found = {}
    for symbol, bars in panel.items():
        index = _old_enough(bars, cutoffs)
        found[symbol] = bars.sessions[index[~lively(bars.log_returns())[index]]]
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
        rows[symbol] = index[lively(bars.log_returns())[index]]
    if not any(len(index) for index in rows.values()):
        resting = rows_at_rest(panel, cutoffs)
        if resting:
            raise NotEnoughDataError(
                f"Nothing to forecast: the price of {', '.join(resting)} stands still, with "
                f"{AT_REST}. Give prices that move."
            )
        longest = max(len(bars) for bars in panel.values())
        raise NotEnoughDataError(
            f"Nothing to forecast: the longest of {len(panel)} symbols has {longest} sessions, and "
            f"every cutoff needs {MIN_HISTORY} before it. Give a longer history or later dates."
        )
    return rows
