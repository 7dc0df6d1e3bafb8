"""Whether forecasts know up from down: hit rate, information coefficients, Pesaran-Timmermann.

Owns measures of direction with errors that count days, not rows: symbols of one day move together.
Knows arrays of forecasts and outcomes, not models.

References
----------
.. [1] Grinold, R. and Kahn, R. (1999). Active Portfolio Management, 2nd edition. McGraw-Hill.
.. [2] Pesaran, M. and Timmermann, A. (1992). A simple nonparametric test of predictive performance.
   Journal of Business & Economic Statistics 10(4).
.. [3] Pesaran, M. and Timmermann, A. (2009). Testing dependence among serially correlated
   multicategory variables. JASA 104(485).
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from quantseq.evaluation.significance import by_date
from quantseq.forecasting.hac import standard_error
from quantseq.market.bars import Dates, Floats

MIN_SYMBOLS = 3
"""Symbols of one day below which a correlation across them says nothing."""

SHOWN = 2.0
"""|t| from which a difference counts as shown."""


@dataclass(frozen=True)
class Clustered:
    """A mean over days with its error.

    Attributes
    ----------
    value : float
        The mean; NaN where it is not defined.
    t, p : float
        Against the value of no skill; two-sided, Student's t with n_days − 1 degrees of freedom.
    n_days : int
        Days that count.
    n_needed : float
        Days that t = 2 would need, if the effect and its scatter stay as they are; infinite without
        an effect.
    """

    value: float
    t: float
    p: float
    n_days: int
    n_needed: float


UNKNOWN = Clustered(float("nan"), float("nan"), float("nan"), 0, float("nan"))


def days_needed(t: float, n_days: int) -> float:
    """Days at which the same mean and scatter would give |t| = 2."""
    return n_days * (SHOWN / abs(t)) ** 2 if t else float("inf")


def clustered_mean(daily: Floats, *, nothing: float = 0.0, step: int = 1) -> Clustered:
    """Mean of a daily series (n,) with Bartlett HAC error, against `nothing`; NaN days are left out.

    The same value every day gives t = ±∞, or 0 where it is `nothing` itself.
    """
    known = daily[np.isfinite(daily)]
    n = len(known)
    if n < 2:
        return UNKNOWN
    mean = float(known.mean())
    error = standard_error(known, step=step)
    if error <= 1e-12 * max(abs(mean), abs(nothing)):  # the same value every day
        t = float(np.sign(mean - nothing)) * float("inf") if mean != nothing else 0.0
        return Clustered(mean, t, 0.0 if t else 1.0, n, days_needed(t, n))
    t = (mean - nothing) / error
    return Clustered(mean, t, float(2 * stats.t.sf(abs(t), n - 1)), n, days_needed(t, n))


def hit_rate(prob_up: Floats, outcome: Floats, dates: Dates, *, step: int = 1) -> Clustered:
    """Share of signs that came as called, (M,) rows averaged per day, against one half.

    Where prices rise, calling up always beats one half: on real prices a claim rests on
    `pesaran_timmermann`, this t is for prices without drift.

    Returns of exactly zero, and forecasts of exactly one half, call and show no sign: left out.
    """
    known = np.isfinite(outcome) & (outcome != 0) & (np.abs(prob_up - 0.5) > 1e-9)
    if not known.any():
        return UNKNOWN
    hits = ((prob_up > 0.5) == (outcome > 0))[known].astype(np.float64)
    return clustered_mean(by_date(hits, dates[known]), nothing=0.5, step=step)


def pesaran_timmermann(
    prob_up: Floats, outcome: Floats, dates: Dates, *, step: int = 1
) -> Clustered:
    """Whether calls of up go with ups, beyond what calling the commoner sign would hit [2]_.

    Twice the covariance of the two signs, which is the share of hits less that expected under
    independence; its error is HAC over daily means [3]_. Without clustering t² tends to the
    statistic of [2]_.
    """
    known = np.isfinite(outcome) & (outcome != 0) & (np.abs(prob_up - 0.5) > 1e-9)
    if not known.any():
        return UNKNOWN
    called = (prob_up[known] > 0.5).astype(np.float64)
    came = (outcome[known] > 0).astype(np.float64)
    if called.min() == called.max() or came.min() == came.max():
        return UNKNOWN
    product = 2 * (called - called.mean()) * (came - came.mean())
    return clustered_mean(by_date(product, dates[known]), step=step)


def information_coefficient(
    forecast: Floats, outcome: Floats, dates: Dates, *, ranks: bool = False, step: int = 1
) -> Clustered:
    """Mean over days of the correlation across symbols between forecast and outcome [1]_.

    Parameters
    ----------
    forecast, outcome : (M,) float64
        Expected and realised returns; NaN where unknown.
    dates : (M,) datetime64[D]
    ranks : bool
        Correlate ranks (Spearman) instead of values.
    step : int
        Steps ahead, for the lag of the error.

    Returns
    -------
    Clustered
        Days with fewer than `MIN_SYMBOLS` symbols, or without any spread, are left out.
    """
    known = np.isfinite(forecast) & np.isfinite(outcome)
    days, row = np.unique(dates[known], return_inverse=True)
    if not len(days):
        return UNKNOWN
    order = np.argsort(row, kind="stable")
    row, x, y = row[order], forecast[known][order], outcome[known][order]
    size = np.bincount(row)
    start = np.cumsum(size) - size
    column = np.arange(len(row)) - start[row]
    table = np.full((2, len(days), int(size.max())), np.nan)
    table[0, row, column], table[1, row, column] = x, y
    if ranks:
        table = stats.rankdata(table, axis=2, nan_policy="omit")
    counts = np.maximum(size, 1)[:, None]
    centred = table - np.nansum(table, axis=2)[..., None] / counts
    spread = np.sqrt(np.nansum(centred**2, axis=2))
    level = np.sqrt(np.nansum(table**2, axis=2))
    enough = (size >= MIN_SYMBOLS) & (spread > 1e-9 * level).all(axis=0)
    product = np.nansum(centred[0] * centred[1], axis=1)
    daily = np.where(enough, product / np.where(enough, spread[0] * spread[1], 1), np.nan)
    return clustered_mean(daily, step=step)
