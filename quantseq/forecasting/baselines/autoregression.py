"""The autoregression: tomorrow's mean from today's return, the rival in direction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.baselines.student import HISTORY, StudentForecaster
from quantseq.forecasting.reference import POOL, StepParameters, fit_student_t
from quantseq.forecasting.volatility import aligned_returns, ewma_scale
from quantseq.market.bars import Floats, Panel

MIN_ROWS = 250
"""Training sessions below which a symbol takes the pooled medians."""

CLIP = 8.0
"""Standardised returns beyond this count as this when the mean is fitted."""


@dataclass(frozen=True)
class Autoregression(StudentForecaster):
    """AR(1) on returns per symbol, with EWMA volatility and a Student-t around its mean.

    Least squares on returns over their EWMA scale, so that stormy days do not decide. The mean of
    step h follows from the recursion; every step keeps the scale and shape of the first.

    Parameters
    ----------
    fits : mapping of symbol to (4,) float64
        Intercept, slope, degrees of freedom, scale in units of the EWMA; under `POOL` the medians.
    """

    name = "ar1"
    fits: Mapping[str, Floats]

    @classmethod
    def fit(cls, panel: Panel, overnight_share: Mapping[str, float]) -> Self:
        """Fit each symbol of at least `MIN_ROWS` sessions that moves.

        Raises
        ------
        NotEnoughDataError
            If there is none.
        """
        fits = {}
        for symbol, bars in panel.items():
            returns, scale = bars.log_returns(), ewma_scale(bars)
            ahead = aligned_returns(returns, 1)[:, 0]
            rows = slice(HISTORY, len(bars) - 1)
            if len(bars) < MIN_ROWS + HISTORY or not np.any(ahead[rows]):
                continue
            x = np.column_stack(
                [1 / scale[rows], np.clip(returns[rows] / scale[rows], -CLIP, CLIP)]
            )
            y = ahead[rows] / scale[rows]
            found = np.linalg.lstsq(x, np.clip(y, -CLIP, CLIP), rcond=None)[0]
            found[1] = np.clip(found[1], -0.9, 0.9)
            fits[symbol] = np.array([*found, *fit_student_t(y - x @ found)])
        if not fits:
            raise NotEnoughDataError(
                f"No symbol among {', '.join(panel)} has {MIN_ROWS} moving sessions for ar1. "
                "Give a longer history, or leave this rival out."
            )
        fits[POOL] = np.median(list(fits.values()), axis=0)
        return cls(panel.sessions[-1], overnight_share, fits)

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        result = {}
        for symbol, bars in panel.items():
            intercept, slope, nu, relative = self.fits.get(symbol, self.fits[POOL])
            scale = ewma_scale(bars) * relative
            loc = np.empty((len(bars), horizon))
            mean = np.clip(bars.log_returns(), -CLIP * scale, CLIP * scale)
            for step in range(horizon):
                mean = intercept + slope * mean
                loc[:, step] = mean
            every = np.repeat(scale[:, None], horizon, axis=1)
            result[symbol] = StepParameters(loc, every, np.full_like(every, nu))
        return result
