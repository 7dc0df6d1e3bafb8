"""Whether a difference between two forecasts is more than noise.

Owns the Diebold-Mariano test on per-date averages. Knows losses and dates, not models.

References
----------
.. [1] Diebold, F. and Mariano, R. (1995). Comparing predictive accuracy. Journal of Business &
   Economic Statistics 13(3).
.. [2] Harvey, D., Leybourne, S. and Newbold, P. (1997). Testing the equality of prediction mean
   squared errors. International Journal of Forecasting 13(2).
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from quantseq.forecasting.hac import standard_error
from quantseq.market.bars import Dates, Floats

ROUNDING = 1e-9
"""Relative differences up to this size are floating-point noise, not a difference."""


@dataclass(frozen=True)
class TestResult:
    """Outcome of a Diebold-Mariano test; negative t: the first model is better.

    Attributes
    ----------
    t, p : float
        Statistic and two-sided p-value under Student's t with n_days − 1 degrees of freedom.
    mean_difference : float
        Mean loss of the first less that of the second.
    n_days : int
        Dates that both were scored on.
    """

    __test__ = False

    t: float
    p: float
    mean_difference: float
    n_days: int


def by_date(values: Floats, dates: Dates) -> Floats:
    """Mean per date over symbols, in date order; NaN rows are left out, infinite losses are not."""
    known = ~np.isnan(values)
    _, index = np.unique(dates[known], return_inverse=True)
    return np.bincount(index, values[known]) / np.bincount(index)


def loss_difference(first: Floats, second: Floats) -> Floats:
    """Losses of the first less those of the second; what is within `ROUNDING` of both is no difference."""
    difference = first - second
    rounding = ROUNDING * (np.abs(first) + np.abs(second))
    alike = np.isfinite(difference) & (np.abs(difference) <= rounding)
    return np.where(alike, 0.0, difference)


def diebold_mariano(first: Floats, second: Floats, dates: Dates, *, step: int = 1) -> TestResult:
    """Test equal accuracy [1]_ with a HAC error and the small-sample correction of [2]_.

    Loss differences are averaged over symbols per date first, because symbols of one day are not
    independent observations.

    Parameters
    ----------
    first, second : (M,) float64
        Losses of the two models on the same rows; NaN where either is unknown.
    dates : (M,) datetime64[D]
        Cutoffs of the rows.
    step : int
        Steps ahead: overlapping forecasts are correlated over ``step - 1`` dates.

    Returns
    -------
    TestResult
        Differences that are all zero, or mere rounding, give t = 0 and p = 1, a constant one, and an infinite
        loss, give t = ±∞ and p = 0; fewer than two dates give NaN.
    """
    series = by_date(loss_difference(first, second), dates)
    n = len(series)
    if n < 2:
        return TestResult(float("nan"), float("nan"), float("nan"), n)
    mean = float(series.mean())
    if not np.any(series):
        return TestResult(0.0, 1.0, 0.0, n)
    if not np.isfinite(mean):
        return TestResult(mean, 0.0 if np.isinf(mean) else mean, mean, n)
    error = standard_error(series, step=step)
    if error <= 1e-12 * abs(mean):
        return TestResult(float(np.copysign(np.inf, mean)), 0.0, mean, n)
    correction = max((n + 1 - 2 * step + step * (step - 1) / n) / n, 0.0)
    t = mean / error * float(np.sqrt(correction))
    return TestResult(t, float(2 * stats.t.sf(abs(t), n - 1)), mean, n)
