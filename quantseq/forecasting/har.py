"""The regression of tomorrow's volatility on its own past: pooled over symbols, one per step ahead.

Owns the heterogeneous autoregression (HAR) on the features of `volatility.py`, and its robust fit: rows
of stale prices are left out and residuals are weighed as Huber did, so that one broken series cannot
set the coefficients of the others. Knows nothing of tokens, densities or networks.

References
----------
.. [1] Corsi, F. (2009). A simple approximate long-memory model of realized volatility. Journal of
   Financial Econometrics 7(2).
.. [2] Huber, P. (1964). Robust estimation of a location parameter. Annals of Mathematical
   Statistics 35(1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.volatility import (
    LONG_WINDOW,
    VARIANCE_FLOOR,
    SymbolFeatures,
    aligned_returns,
    rolling_mean,
)
from quantseq.market.bars import Floats

THIN = 0.5
"""Share of unchanged closes in `LONG_WINDOW` sessions beyond which a row is not fitted."""

HUBER = 2.0
"""Residuals beyond this many robust standard deviations count linearly, not quadratically."""

MIN_ROWS = 100
MAX_ROWS = 400_000
"""Rows of a pooled regression: fewer are refused; of more, every k-th is used."""


@dataclass(frozen=True)
class HarModel:
    """Pooled HAR [1]_ on the log of the range-based variance, one regression per step ahead.

    Parameters
    ----------
    coefficients : (F, H) float64
        Huber regression [2]_ over the symbols and sessions of the training block.
    rescale : (H,) float64
        Makes the typical symbol's standardised training return have unit variance.
    """

    coefficients: Floats
    rescale: Floats

    @property
    def horizon(self) -> int:
        """Steps ahead that the model covers."""
        return int(self.coefficients.shape[1])

    @classmethod
    def fit(cls, data: Mapping[str, SymbolFeatures], *, horizon: int) -> Self:
        """Fit on the rows whose features and targets lie inside `data`.

        Rows of stale prices are left out, unless that leaves too few.

        Parameters
        ----------
        data : mapping of SymbolFeatures
            Features of the training block only: whatever is in them is used.
        horizon : int
            Steps ahead, at least 1.

        Raises
        ------
        NotEnoughDataError
            If fewer than `MIN_ROWS` rows have both features and targets.
        """
        rows, targets, thick = [], [], []
        for one in data.values():
            usable = np.flatnonzero(np.isfinite(one.har).all(axis=1))
            usable = usable[usable + horizon < len(one.sessions)]
            unchanged = rolling_mean((one.returns == 0).astype(np.float64), LONG_WINDOW)
            thick.append(unchanged[usable] <= THIN)
            rows.append(one.har[usable])
            targets.append(one.log_variance[usable[:, None] + np.arange(1, horizon + 1)])
        x, y = np.concatenate(rows), np.concatenate(targets)
        if len(x) < MIN_ROWS:
            raise NotEnoughDataError(
                f"The volatility model found {len(x)} usable sessions; it needs {MIN_ROWS} after the first "
                f"{LONG_WINDOW} of each symbol. Give a longer history or an earlier start."
            )
        moving = np.concatenate(thick)
        if moving.sum() >= MIN_ROWS:
            x, y = x[moving], y[moving]
        every = -(-len(x) // MAX_ROWS)
        coefficients = _huber(x[::every], y[::every])
        plain = cls(coefficients, np.ones(horizon))
        energy = []
        for one in data.values():
            z = aligned_returns(one.returns, horizon) / plain.scale(one.har)
            if np.isfinite(z).any(axis=0).all():
                own = np.nanmean(np.clip(z, -8, 8) ** 2, axis=0)
                if (own > 0).all():  # a series that never moves says nothing of a unit variance
                    energy.append(own)
        return cls(coefficients, np.sqrt(np.median(energy or [plain.rescale], axis=0)))

    def scale(self, har: Floats) -> Floats:
        """Volatility of each of the next H returns.

        Parameters
        ----------
        har : (n, F) float64
            Feature rows; NaN rows give NaN.

        Returns
        -------
        (n, H) float64
            At row i, column h - 1: the scale of the return of session i + h, known at the close of
            i, never below ``sqrt(VARIANCE_FLOOR)``.
        """
        # Column by column: a matrix product may choose another kernel for another number of rows.
        log_variance = np.zeros((len(har), self.horizon))
        for feature in range(har.shape[1]):
            log_variance += har[:, feature, None] * self.coefficients[feature]
        scale = np.exp(np.clip(log_variance, -30, 5) / 2) * self.rescale
        return np.maximum(scale, np.sqrt(VARIANCE_FLOOR))

    def to_json(self) -> dict[str, Any]:
        """State as JSON values."""
        return {"coefficients": self.coefficients.tolist(), "rescale": self.rescale.tolist()}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(np.array(state["coefficients"]), np.array(state["rescale"]))


def _huber(x: Floats, y: Floats) -> Floats:
    """Regress every column of y on x by iteratively reweighted least squares: (F, H)."""
    coefficients: Floats = np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float64)
    for step in range(y.shape[1]):
        for _ in range(5):
            residual = np.abs(y[:, step] - x @ coefficients[:, step])
            spread = 1.4826 * float(np.median(residual)) + 1e-12
            weighted = x * np.minimum(1, HUBER * spread / np.maximum(residual, 1e-12))[:, None]
            coefficients[:, step] = np.linalg.lstsq(
                weighted.T @ x, weighted.T @ y[:, step], rcond=1e-10
            )[0]
    return coefficients
