"""The HAR of one stock: yesterday's, last week's and last month's range, and bad news; Student-t.

Owns `HarRangeStudent`, which knows one symbol at a time: no pooling, no market terms. What it adds
to the pooled reference's rivals is the range: a day's high and low say more than its return.

References
----------
.. [1] Corsi, F. (2009). A simple approximate long-memory model of realized volatility. Journal of
   Financial Econometrics 7(2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.baselines.student import StudentForecaster
from quantseq.forecasting.reference import POOL, StepParameters, fit_student_t
from quantseq.forecasting.volatility import (
    VARIANCE_FLOOR,
    aligned_returns,
    daily_variance,
    rolling_mean,
)
from quantseq.market.bars import Bars, Floats, Panel

LAGS = (1, 5, 22)
MIN_ROWS = 250
"""Training sessions below which a symbol takes the pooled regression."""

CLIP = 8.0
"""Standardised returns beyond this count as this, so that no glitch sets a scale."""


def _rows(bars: Bars) -> tuple[Floats, Floats, Floats]:
    """Features (n, 5), log variances (n,) and log returns (n,) of adjusted bars."""
    log_variance = np.log(daily_variance(bars))
    means = [rolling_mean(log_variance, lag) for lag in LAGS]
    returns = bars.log_returns()
    negative = np.minimum(np.clip(returns / np.exp(means[-1] / 2), -CLIP, CLIP), 0)
    return np.column_stack([np.ones(len(bars)), *means, negative]), log_variance, returns


def _scale(rows: Floats, coefficients: Floats) -> Floats:
    """Volatility (n, H) of features (n, 5); added column by column, so that rows stay alone."""
    log_variance = np.zeros((len(rows), coefficients.shape[1]))
    for feature in range(rows.shape[1]):
        log_variance += rows[:, feature, None] * coefficients[feature]
    return np.maximum(np.exp(np.clip(log_variance, -30, 5) / 2), np.sqrt(VARIANCE_FLOOR))


@dataclass(frozen=True)
class HarRangeStudent(StudentForecaster):
    """HAR [1]_ on log daily range-based variance per symbol and step, times a Student-t.

    Parameters
    ----------
    coefficients : mapping of symbol to (5, H) float64
        Intercept, lags 1, 5 and 22, lagged negative standardised return; under `POOL` the medians.
    shapes : mapping of symbol to (H, 2) float64
        Degrees of freedom and scale in units of σ; under `POOL` the medians.
    """

    name = "har-range-t"
    coefficients: Mapping[str, Floats]
    shapes: Mapping[str, Floats]

    @classmethod
    def fit(cls, panel: Panel, overnight_share: Mapping[str, float], *, horizon: int) -> Self:
        """Least squares per symbol and step, then a t on the standardised returns.

        A symbol with fewer than `MIN_ROWS` usable sessions, or that never moves, takes the pooled
        medians.

        Raises
        ------
        NotEnoughDataError
            If no symbol is long enough.
        """
        coefficients: dict[str, Floats] = {}
        shapes: dict[str, Floats] = {}
        for symbol, bars in panel.adjusted().items():
            x, log_variance, returns = _rows(bars)
            y, ahead = (aligned_returns(part, horizon) for part in (log_variance, returns))
            usable = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
            if usable.sum() < MIN_ROWS or not np.any(ahead[usable]):
                continue
            found = np.asarray(np.linalg.lstsq(x[usable], y[usable], rcond=None)[0], np.float64)
            z = np.clip(ahead[usable] / _scale(x[usable], found), -CLIP, CLIP)
            coefficients[symbol] = found
            shapes[symbol] = np.array([fit_student_t(z[:, h]) for h in range(horizon)])
        if not shapes:
            raise NotEnoughDataError(
                f"No symbol among {', '.join(panel)} has {MIN_ROWS} sessions for har-range-t. "
                "Give a longer history, or leave this rival out."
            )
        for fitted in (coefficients, shapes):
            fitted[POOL] = np.median(list(fitted.values()), axis=0)
        return cls(panel.sessions[-1], overnight_share, coefficients, shapes)

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        result = {}
        for symbol, bars in panel.adjusted().items():
            own = symbol if symbol in self.shapes else POOL
            nu, relative = self.shapes[own][:horizon].T
            scale = _scale(_rows(bars)[0], self.coefficients[own][:, :horizon]) * relative
            result[symbol] = StepParameters(
                np.zeros_like(scale), scale, np.broadcast_to(nu, scale.shape)
            )
        return result

    def describe(self) -> dict[str, Any]:
        """How many symbols have a regression of their own."""
        return {"own_fits": len(self.shapes) - 1}
