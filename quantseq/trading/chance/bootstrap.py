"""How far a figure could be from the truth: intervals by the stationary bootstrap.

Owns the resampling that every interval of a backtest comes from. Knows nothing of trades, of trials, or
of what may be claimed.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from quantseq.errors import ConfigError
from quantseq.trading.measures import METRICS, Floats, Sample, make_sample

LEVEL = 0.95
"""Coverage of every interval, and the deflated Sharpe ratio that an edge must exceed."""

RESAMPLES = 2_000

HEADLINES = (
    "cagr",
    "sharpe",
    "volatility",
    "max_drawdown",
    "total_return",
    "sortino",
    "calmar",
    "es_95",
)
"""The figures that a report leads with; each has its interval."""

Interval = tuple[float, float]


def bootstrap_interval(
    statistic: Callable[[Floats], Any],
    returns: Any,
    *,
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Any:
    """Percentile interval of a statistic by the stationary bootstrap.

    Blocks keep the dependence between neighbouring sessions. Their mean length is the optimal one of
    Politis & White for the column where it is longest. Columns are resampled together, so that
    paired series stay paired.

    Parameters
    ----------
    statistic : callable
        From resampled returns, of the shape given, to a number or to an array of K numbers.
    returns : (T,) or (T, C) array
        Returns by session, finite.
    seed : int
        Equal seeds give equal intervals.
    level : float in (0, 1)
        Coverage.
    resamples : int
        Number of bootstrap samples.

    Returns
    -------
    (float, float) or (2, K) array
        Lower and upper end; NaN where the statistic is undefined on more than 5 % of the samples.

    References
    ----------
    Politis & Romano (1994), "The Stationary Bootstrap". Politis & White (2004), with Patton (2009),
    "Automatic Block-Length Selection for the Dependent Bootstrap".
    """
    from arch.bootstrap import StationaryBootstrap

    values = np.asarray(returns, dtype=np.float64)
    if values.ndim not in (1, 2) or len(values) < 2 or not np.isfinite(values).all():
        raise ConfigError(
            f"The bootstrap needs two or more finite returns, shape (T,) or (T, C). "
            f"Got shape {values.shape}."
        )
    if not 0 < level < 1:
        raise ConfigError(f"The 'level' parameter must be in (0, 1). Got {level!r}.")
    sampler = StationaryBootstrap(block_length(values), values, seed=np.random.default_rng(seed))
    draws = np.array([statistic(np.asarray(one[0][0])) for one in sampler.bootstrap(resamples)])
    return _percentiles(draws, level)


def _percentiles(draws: Floats, level: float) -> Any:
    columns = draws.reshape(len(draws), -1)
    ends = np.full((2, columns.shape[1]), np.nan)
    for place, column in enumerate(columns.T):
        defined = column[np.isfinite(column)]
        if len(defined) >= 0.95 * len(column):
            ends[:, place] = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return ends if draws.ndim > 1 else (float(ends[0, 0]), float(ends[1, 0]))


def block_length(returns: Any) -> int:
    """Mean block length of the stationary bootstrap: the longest optimal one over the columns.

    At least 1 session, at most a tenth of the sample, so that samples differ.
    """
    from arch.bootstrap import optimal_block_length

    values = np.asarray(returns, dtype=np.float64)
    columns = values.reshape(len(values), -1)
    moving = columns[:, np.ptp(columns, axis=0) > 0]
    if len(values) < 20 or not moving.shape[1]:
        return 1
    best = float(np.nanmax(optimal_block_length(moving)["stationary"].to_numpy()))
    return round(min(max(best, 1.0), len(values) / 10))


def metric_intervals(
    returns: Any,
    names: Sequence[str] = HEADLINES,
    *,
    seed: int,
    benchmark: Any = None,
    risk_free: float = 0.0,
    periods: int = 252,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Intervals of several figures of `METRICS`, all from the same resampled sessions.

    Parameters
    ----------
    returns, benchmark, risk_free, periods
        As in `performance.summarise`.
    names : sequence of str
        Keys of `METRICS`.
    seed, level, resamples
        As in `bootstrap_interval`.
    """
    sample = make_sample(returns, benchmark, risk_free, periods)
    if len(sample.returns) < 2:
        return dict.fromkeys(names, (math.nan, math.nan))
    paired = sample.returns if sample.benchmark is None else paired_columns(sample)

    def figures(drawn: Floats) -> Floats:
        own, other = (drawn, None) if drawn.ndim == 1 else (drawn[:, 0], drawn[:, 1])
        again = Sample(own, other, sample.free, sample.periods)
        return np.array([METRICS[name].of(again) for name in names])

    ends = bootstrap_interval(figures, paired, seed=seed, level=level, resamples=resamples)
    return {name: (float(ends[0, k]), float(ends[1, k])) for k, name in enumerate(names)}


def paired_columns(sample: Sample) -> Floats:
    """Returns and benchmark side by side, (T, 2)."""
    assert sample.benchmark is not None
    return np.column_stack([sample.returns, sample.benchmark])
