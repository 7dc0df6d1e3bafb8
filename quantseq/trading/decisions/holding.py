"""What a position will really hold: the fill-to-fill forecast, and what of it the gap takes away.

Owns the moments that policies read and the account of the overnight gap: a forecast runs from close
to close, an order decided at the close of t is filled at the open of t + 1, and what happens in
between is lost to it. Knows nothing of policies or costs.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantseq.forecasting.density import SIMPLE_BOUND, TokenDensity
from quantseq.forecasting.forecasts import Forecasts, with_tokens
from quantseq.market.bars import Floats, Panel
from quantseq.trading.broker.orders import prices

TAIL = 0.05
"""Share of the outcomes that the expected shortfall averages over."""

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(8)
CHUNK = 20_000
"""Rows whose tails are integrated at once."""


def held_moments(forecasts: Forecasts, fill: str = "open") -> pd.DataFrame:
    """Moments and tails of the return that a position decided at the cutoff really holds.

    Parameters
    ----------
    forecasts : Forecasts
    fill : {"open", "close"}
        Where orders are filled on session t + 1.

    Returns
    -------
    DataFrame
        The columns of `Forecasts.fill_moments`, and es_long, es_short: minus the mean simple return
        of a long (short) position over its worst 5 %, never below 0; known at the close of cutoff.

    Notes
    -----
    The tails are those of step 1 (close: step 2) after the change of location and scale that P(up)
    takes too. ES = −(1/α)·∫₀^α (e^Q(u) − 1) du, by 8 Gauss nodes after u = α·x³, which tames the
    infinite quantile at 0 [1]_; where bins of unlike probability meet inside the tail it is good to
    about 1 %. A log return counts as at most `density.SIMPLE_BOUND`: without a bound the loss of a short
    position is infinite under any Student-t.

    References
    ----------
    .. [1] Acerbi, C. and Tasche, D. (2002). On the coherence of expected shortfall. Journal of
       Banking & Finance 26(7).
    """
    table = forecasts.fill_moments(fill)
    base = 0 if fill == "open" else min(1, forecasts.horizon - 1)
    stretch = table["std"].to_numpy() / forecasts.std[:, base]
    shift = table["mean"].to_numpy() - stretch * forecasts.mean[:, base]
    x = (_NODES + 1) / 2
    below, weights = TAIL * x**3, _NODE_WEIGHTS / 2 * 3 * x**2
    levels = np.concatenate([below, 1 - below])
    density, losses = with_tokens(forecasts.density), np.empty((2, len(forecasts)))
    for first in range(0, len(forecasts), CHUNK):
        rows, step = slice(first, first + CHUNK), slice(base, base + 1)
        part = TokenDensity(
            density.loc[rows, step],
            density.scale[rows, step],
            density.nu[rows, step],
            density.probs[rows, step],
        )
        moves = shift[rows, None] + stretch[rows, None] * part.quantile(levels)[:, 0]
        simple = np.expm1(np.minimum(moves, SIMPLE_BOUND))
        losses[0, rows] = -(simple[:, : len(x)] * weights).sum(axis=1)  # row by row: no bit moves
        losses[1, rows] = (simple[:, len(x) :] * weights).sum(axis=1)
    table["es_long"], table["es_short"] = np.maximum(losses, 0.0)
    return table


@dataclass(frozen=True)
class GapLoss:
    """How much of the first step was over before the position was filled.

    Attributes
    ----------
    of_forecast : float
        Share of the expected absolute move of step 1 that lies before the fill, by the model's
        overnight share of variance; 1 with close fills, which miss all of step 1.
    move : float
        What the weights would have made over step 1 if filled at the deciding close, which nobody
        can: Σ w·(return of step 1), summed over decisions, before costs.
    before_fill : float
        The part of `move` before the fill.
    of_move : float
        ``before_fill / move``; NaN where nothing moved. Negative or above 1 where the parts differ in
        sign.
    """

    of_forecast: float
    move: float
    before_fill: float
    of_move: float


def gap_loss(
    panel: Panel, weights: pd.DataFrame, forecasts: Forecasts, *, fill: str = "open"
) -> GapLoss:
    """Account for what the forecast of step 1 loses before its position is filled.

    Parameters
    ----------
    panel : Panel
    weights : DataFrame
        By decision date and symbol, as a policy gives them.
    forecasts : Forecasts
        What the weights were decided by.
    fill : {"open", "close"}
    """
    expected = np.abs(forecasts.mean[:, 0])
    late = forecasts.overnight_share if fill == "open" else np.ones(len(forecasts))
    of_forecast = _share(float(late @ expected), float(expected.sum()))
    opened, close = prices(panel, [str(name) for name in weights.columns])
    decided = pd.DatetimeIndex(weights.index).to_numpy().astype("datetime64[D]")
    at = np.searchsorted(panel.sessions, decided)
    later = at + 1 < len(panel.sessions)
    at, held = at[later], weights.to_numpy()[later]
    whole = close[at + 1] / close[at] - 1
    before = opened[at + 1] / close[at] - 1 if fill == "open" else whole
    move, gap = _earned(held, whole), _earned(held, before)
    return GapLoss(of_forecast, move, gap, _share(gap, move))


def _earned(held: Floats, moves: Floats) -> float:
    return float((held * np.nan_to_num(moves)).sum())  # NaN without a bar: nothing moved


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
