"""Whether a difference, a direction or a rank is more than noise; errors count days, not rows.

Owns the Diebold-Mariano test on per-date averages, the model confidence set and the interval of a mean (both by
``arch.bootstrap``), hit rates, information coefficients, the Pesaran-Timmermann test, and profit by confidence.
Symbols of one day move together, so everything is averaged per day first. Knows arrays, not models.

References
----------
.. [1] Diebold, F. and Mariano, R. (1995). Comparing predictive accuracy. Journal of Business &
   Economic Statistics 13(3).
.. [2] Harvey, D., Leybourne, S. and Newbold, P. (1997). Testing the equality of prediction mean
   squared errors. International Journal of Forecasting 13(2).
.. [3] Hansen, P., Lunde, A. and Nason, J. (2011). The model confidence set. Econometrica 79(2).
.. [4] Politis, D. and Romano, J. (1994). The stationary bootstrap. JASA 89(428).
.. [5] Patton, A., Politis, D. and White, H. (2009). Correction to "Automatic block-length selection
   for the dependent bootstrap". Econometric Reviews 28(4).
.. [6] Grinold, R. and Kahn, R. (1999). Active Portfolio Management, 2nd edition. McGraw-Hill.
.. [7] Pesaran, M. and Timmermann, A. (1992). A simple nonparametric test of predictive performance.
   Journal of Business & Economic Statistics 10(4).
.. [8] Pesaran, M. and Timmermann, A. (2009). Testing dependence among serially correlated
   multicategory variables. JASA 104(485).
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from arch.bootstrap import MCS, StationaryBootstrap, optimal_block_length
from numpy.typing import NDArray
from scipy import stats

from quantseq.forecasting.calibration import standard_error
from quantseq.market.bars import Dates, Floats

_ROUNDING = 1e-9  # relative differences up to this size are floating-point noise


@dataclass(frozen=True)
class TestResult:
    """Outcome of a Diebold-Mariano test; negative t: the first model is better."""

    __test__ = False

    t: float
    p: float  # two-sided, under Student's t with n_days − 1 degrees of freedom
    mean_difference: float  # loss of the first less that of the second
    n_days: int  # dates that both were scored on


def by_date(values: Floats, dates: Dates) -> Floats:
    """Mean per date over symbols, in date order; NaN rows are left out, infinite losses are not."""
    known = ~np.isnan(values)
    _, index = np.unique(dates[known], return_inverse=True)
    return np.bincount(index, values[known]) / np.bincount(index)


def loss_difference(first: Floats, second: Floats) -> Floats:
    """Losses of the first less those of the second; what is within `_ROUNDING` of both is no difference."""
    difference = first - second
    rounding = _ROUNDING * (np.abs(first) + np.abs(second))
    alike = np.isfinite(difference) & (np.abs(difference) <= rounding)
    return np.where(alike, 0.0, difference)


def diebold_mariano(first: Floats, second: Floats, dates: Dates, *, step: int = 1) -> TestResult:
    """Test equal accuracy [1]_ with a HAC error and the small-sample correction of [2]_.

    Loss differences are averaged over symbols per date first, because symbols of one day are not
    independent observations.

    `first` and `second` are the losses of the two models on the same rows, (M,), NaN where either is unknown, `dates`
    the cutoffs of the rows. `step`, the steps ahead: overlapping forecasts are correlated over ``step - 1`` dates.
    Differences that are all zero, or mere rounding, give t = 0 and p = 1, a constant one, and an infinite loss, give
    t = ±∞ and p = 0; fewer than two dates give NaN.
    """
    series = by_date(loss_difference(first, second), dates)
    n = len(series)
    mean = float(series.mean()) if n > 1 else float("nan")
    if not np.isfinite(mean):
        return TestResult(mean, 0.0 if np.isinf(mean) else mean, mean, n)
    t = clustered_mean(series, step=step).t
    if np.isfinite(t):
        t *= float(np.sqrt(max((n + 1 - 2 * step + step * (step - 1) / n) / n, 0.0)))
    return TestResult(t, float(2 * stats.t.sf(abs(t), n - 1)), mean, n)


_REPETITIONS = 1000
_MIN_DAYS = 20  # below which nothing is resampled
MCS_SIZE = 0.1
"""The set of models whose p-value reaches this holds the best with probability 90 %."""


def block_length(series: Floats) -> float:
    """Mean block of the stationary bootstrap [5]_ for a daily series, within [1, n/4]."""
    if np.ptp(series) == 0:
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = float(optimal_block_length(series)["stationary"].iloc[0])
    return float(np.clip(np.nan_to_num(found, nan=1.0), 1.0, max(1.0, len(series) / 4)))


def mean_interval(daily: Floats, *, seed: int, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of a mean under the stationary bootstrap [4]_; `daily` is (n,), NaN days are left out.

    Fewer than `_MIN_DAYS` days, or an infinite one, give NaN.
    """
    known = daily[~np.isnan(daily)]
    if len(known) < _MIN_DAYS or np.isinf(known).any():
        return float("nan"), float("nan")
    block, random = max(1, round(block_length(known))), np.random.default_rng(seed)
    resampled = StationaryBootstrap(block, known, seed=random)
    ends = resampled.conf_int(np.mean, _REPETITIONS, method="percentile", size=level)
    return float(ends[0, 0]), float(ends[1, 0])


def confidence_set(losses: Mapping[str, Floats], *, seed: int) -> dict[str, float]:
    """p-value of each model for staying in the model confidence set [3]_.

    `losses` are daily, (n,) on the same days; days on which one is unknown (NaN) are left out. A model with an
    infinite loss is out with p = 0, and the others are compared on all days. Empty for fewer than two models or
    `_MIN_DAYS` days, and if every model is out.
    """
    out = {name: 0.0 for name, one in losses.items() if np.isinf(one).any()}
    names = [name for name in losses if name not in out]
    if len(losses) < 2 or not names:
        return {}
    table = np.column_stack([losses[name] for name in names])
    table = table[~np.isnan(table).any(axis=1)]
    if len(table) < _MIN_DAYS:
        return {}
    return {name: out.get(name, 1.0) for name in losses} | _among(names, table, seed)


def _among(names: list[str], table: Floats, seed: int) -> dict[str, float]:
    """The same for finite losses (n, M)."""
    worst = table - table.mean(axis=1, keepdims=True)
    length = max(block_length(worst[:, column]) for column in range(len(names)))
    distinct, first = np.unique(table.round(14), axis=1, return_index=True)
    if distinct.shape[1] < 2:
        return dict.fromkeys(names, 1.0)
    kept = table[:, np.sort(first)]  # twins have no variance between them; they share a p-value
    how: dict[str, Any] = {
        "reps": _REPETITIONS,
        "block_size": max(1, round(length)),
        "bootstrap": "stationary",
    }
    mcs = MCS(kept, MCS_SIZE, **how, seed=np.random.default_rng(seed))
    mcs.compute()
    values = mcs.pvalues["Pvalue"].to_dict()
    twin = [int(np.abs(kept - table[:, [i]]).max(axis=0).argmin()) for i in range(len(names))]
    return {name: float(values[twin[i]]) for i, name in enumerate(names)}


_MIN_SYMBOLS = 3  # of one day, below which a correlation across them says nothing
_EVEN = 1e-9  # a probability this close to one half calls no direction
SHOWN = 2.0
"""|t| from which a difference counts as shown."""


@dataclass(frozen=True)
class Clustered:
    """A mean over days with its error."""

    value: float  # NaN where it is not defined
    t: float  # against the value of no skill
    p: float  # two-sided, under Student's t with n_days − 1 degrees of freedom
    n_days: int  # days that count
    n_needed: float  # see `days_needed`


_UNKNOWN = Clustered(float("nan"), float("nan"), float("nan"), 0, float("nan"))


def days_needed(t: float, n_days: int) -> float:
    """Days at which the same mean and scatter would give |t| = 2; infinite without an effect."""
    return n_days * (SHOWN / abs(t)) ** 2 if t else float("inf")


def clustered_mean(daily: Floats, *, nothing: float = 0.0, step: int = 1) -> Clustered:
    """Mean of a daily series (n,) with Bartlett HAC error, against `nothing`; NaN days are left out.

    The same value every day gives t = ±∞, or 0 where it is `nothing` itself.
    """
    known = daily[np.isfinite(daily)]
    n = len(known)
    if n < 2:
        return _UNKNOWN
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
    known = _signed(prob_up, outcome)
    hits = ((prob_up > 0.5) == (outcome > 0))[known].astype(np.float64)
    return clustered_mean(by_date(hits, dates[known]), nothing=0.5, step=step)


def _signed(prob_up: Floats, outcome: Floats) -> NDArray[np.bool_]:
    """Rows in which the forecast calls a sign and the outcome shows one."""
    called = np.abs(prob_up - 0.5) > _EVEN
    return np.asarray(np.isfinite(outcome) & (outcome != 0) & called)


def pesaran_timmermann(
    prob_up: Floats, outcome: Floats, dates: Dates, *, step: int = 1
) -> Clustered:
    """Whether calls of up go with ups, beyond what calling the commoner sign would hit [7]_.

    Twice the covariance of the two signs, which is the share of hits less that expected under
    independence; its error is HAC over daily means [8]_. Without clustering t² tends to the
    statistic of [7]_.
    """
    known = _signed(prob_up, outcome)
    called = (prob_up > 0.5)[known].astype(np.float64)
    came = (outcome > 0)[known].astype(np.float64)
    if min(len(np.unique(called)), len(np.unique(came))) < 2:
        return _UNKNOWN
    product = 2 * (called - called.mean()) * (came - came.mean())
    return clustered_mean(by_date(product, dates[known]), step=step)


def information_coefficient(
    forecast: Floats, outcome: Floats, dates: Dates, *, ranks: bool = False, step: int = 1
) -> Clustered:
    """Mean over days of the correlation across symbols between forecast and outcome [6]_.

    Expected and realised returns are (M,), NaN where unknown; days with fewer than `_MIN_SYMBOLS` symbols, or without
    any spread, are left out. With `ranks` ranks are correlated (Spearman); `step`, the steps ahead, is the lag of the
    error.
    """
    known = np.isfinite(forecast) & np.isfinite(outcome)
    days, row = np.unique(dates[known], return_inverse=True)
    if not len(days):
        return _UNKNOWN
    size = np.bincount(row)
    column = pd.Series(row).groupby(row).cumcount().to_numpy()
    table = np.full((2, len(days), int(size.max())), np.nan)
    table[0, row, column], table[1, row, column] = forecast[known], outcome[known]
    if ranks:
        table = stats.rankdata(table, axis=2, nan_policy="omit")
    counts = np.maximum(size, 1)[:, None]
    centred = table - np.nansum(table, axis=2)[..., None] / counts
    spread = np.sqrt(np.nansum(centred**2, axis=2))
    level = np.sqrt(np.nansum(table**2, axis=2))
    enough = (size >= _MIN_SYMBOLS) & (spread > 1e-9 * level).all(axis=0)
    product = np.nansum(centred[0] * centred[1], axis=1)
    daily = np.where(enough, product / np.where(enough, spread[0] * spread[1], 1), np.nan)
    return clustered_mean(daily, step=step)


def profit_by_confidence(
    prob_up: Floats, outcome: Floats, dates: Dates, *, groups: int = 10
) -> list[Clustered]:
    """Mean profit of following the forecast's sign, by group of rising distance of P(up) from ½.

    Simple return per forecast before costs, least sure first, from the probability of a rise and the realised log
    return of each row, (M,), NaN where unknown; errors count days. The `groups` are of equal size, ties are kept in the
    order of rows. Empty where fewer than ten forecasts a group call a direction.
    """
    sure = np.abs(prob_up - 0.5)
    called = np.isfinite(outcome) & (sure > _EVEN)
    if called.sum() < 10 * groups:
        return []
    earned = (np.sign(prob_up - 0.5) * np.expm1(outcome))[called]
    days = dates[called]
    order = np.argsort(sure[called], kind="stable")
    return [
        clustered_mean(by_date(earned[np.sort(part)], days[np.sort(part)]))
        for part in np.array_split(order, groups)
    ]
