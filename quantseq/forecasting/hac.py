"""How sure the mean of a dependent series is: the variance of Newey and West.

Owns the lag, the long-run variance and the standard error, for whoever averages days. Knows no model.

References
----------
.. [1] Newey, W. and West, K. (1987). A simple, positive semi-definite, heteroskedasticity and
   autocorrelation consistent covariance matrix. Econometrica 55(3).
"""

import numpy as np

from quantseq.market.bars import Floats


def hac_lag(n: int, horizon: int) -> int:
    """Bartlett lag: the larger of h − 1 and ⌊4(n/100)^(2/9)⌋ [1]_."""
    return max(horizon - 1, int(4 * (n / 100) ** (2 / 9)))


def long_run_variance(series: Floats, lag: int) -> float:
    """Newey-West variance [1]_ of the mean's numerator with Bartlett weights."""
    centred = series - series.mean()
    n = len(series)
    total = float(centred @ centred) / n
    for k in range(1, min(lag, n - 1) + 1):
        total += 2 * (1 - k / (lag + 1)) * float(centred[k:] @ centred[:-k]) / n
    return total


def standard_error(series: Floats, *, step: int = 1) -> float:
    """Error of the mean of a series (n,) whose values overlap by `step` − 1 neighbours."""
    n = len(series)
    return float(np.sqrt(max(long_run_variance(series, hac_lag(n, step)), 0.0) / n))
