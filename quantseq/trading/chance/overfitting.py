"""Whether the best of many was chosen by luck: superior predictive ability, and backtest overfitting.

Owns the two tests that look at all trials at once. Knows nothing of how they were made, or of what may
be claimed from one of them.

- **SPA**, Hansen's test: how likely the best of all trials would look this much better than the
  benchmark if none of them were better.
- **PBO**, the probability of backtest overfitting: how often the configuration that is best on one half
  of the sessions is no better than the median on the other half.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import ConfigError
from quantseq.trading.chance.bootstrap import block_length
from quantseq.trading.measures import Floats

SPA_RESAMPLES = 1_000

BLOCKS = 16
"""Blocks of sessions that cross-validation puts together in all ways: 12,870 pairs of halves."""

SHORTEST = 10
"""Sessions that a block has at least; shorter series are cut into fewer blocks."""

STILL = 1e-12
"""A variance below this share of another counts as none."""

CHUNK = 1_000
"""Pairs of halves that are computed at once."""


def spa(
    tried: Any,
    benchmark: Any,
    *,
    seed: int,
    equal_risk: bool = True,
    resamples: int = SPA_RESAMPLES,
) -> float:
    """Hansen's test of superior predictive ability: its consistent p-value.

    The hypothesis is that no trial is better than the benchmark. The statistic is the largest
    studentised mean of d_k = r_k − b, or 0 if all are worse; the long-run variance is that of the
    stationary bootstrap (`_long_run_deviation`), and trials too bad to matter are not re-centred. A p-value below 0.05 says that
    the best of them is not explained by having tried many.

    Parameters
    ----------
    tried : (T, K) array
        Net simple returns per session of every trial. Those that never moved, and those that never
        differ from the benchmark, say nothing and are left out.
    benchmark : (T,) or (T, K) array
        Returns of the benchmark, or of each trial's own.
    seed : int
        Of the bootstrap.
    equal_risk : bool
        Bring every trial to its benchmark's volatility first, r_k·σ_b/σ_k. What is compared is then the
        Sharpe ratio, as in the verdict, and not who took more risk. Without it: plain mean returns.
    resamples : int

    Returns
    -------
    float
        NaN where no trial is left, or below 20 sessions.

    Raises
    ------
    ConfigError
        If the shapes do not match or a value is not finite.

    References
    ----------
    Hansen (2005), "A Test for Superior Predictive Ability". Politis & Romano (1994), "The Stationary
    Bootstrap".
    """
    from arch.bootstrap import SPA

    own, other = _paired_trials(tried, benchmark)
    if len(own) < 20:
        return math.nan
    deviation, scale = own.std(axis=0), other.std(axis=0)
    moved = deviation**2 > STILL * np.maximum(scale**2, STILL)
    own, other, deviation, scale = own[:, moved], other[:, moved], deviation[moved], scale[moved]
    better = (own * (scale / deviation) if equal_risk else own) - other
    better = better[:, better.std(axis=0) ** 2 > STILL * deviation**2]
    if not better.shape[1]:
        return math.nan
    if (better.mean(axis=0) <= 0).all():
        return 1.0  # the statistic is 0, and no draw falls below it; arch counts those above
    size = block_length(better)
    # arch compares plain means, whatever its `studentize` says, and knows no floor: it gets studentised
    # ones, and the benchmark itself, whose 0 is Hansen's max(·, 0)
    better = np.column_stack([better / _long_run_deviation(better, size), np.zeros(len(better))])
    test = SPA(
        np.zeros(len(better)),
        -better,
        block_size=size,
        reps=resamples,
        bootstrap="stationary",
        seed=np.random.default_rng(seed),
    )
    test.compute()
    return float(test.pvalues["consistent"])


def _paired_trials(tried: Any, benchmark: Any) -> tuple[Floats, Floats]:
    own, other = (np.asarray(one, dtype=np.float64) for one in (tried, benchmark))
    other = other[:, None] if other.ndim == 1 else other
    good = own.ndim == 2 and other.ndim == 2 and len(own) == len(other)
    good = good and other.shape[1] in (1, own.shape[1])
    if not (good and np.isfinite(own).all() and np.isfinite(other).all()):
        raise ConfigError(
            "Trials and benchmark must be finite returns over the same sessions, (T, K) and (T,) or "
            f"(T, K). Got shapes {own.shape} and {np.shape(benchmark)}."
        )
    return own, np.broadcast_to(other, own.shape)


def _long_run_deviation(values: Floats, size: int) -> Floats:
    """Standard deviation of √T times the mean under the stationary bootstrap: (K,).

    ω² = γ₀ + 2·Σ κ_i·γ_i with κ_i = (1 − i/T)(1 − p)^i + (i/T)(1 − p)^(T − i), p = 1/`size` [1]_.

    References
    ----------
    .. [1] Politis, D. and Romano, J. (1994). The stationary bootstrap. Journal of the American
       Statistical Association 89(428), lemma 1.
    """
    n = len(values)
    centred = values - values.mean(axis=0)
    spectrum = np.abs(np.fft.rfft(centred, 2 * n, axis=0)) ** 2
    covariance = np.fft.irfft(spectrum, axis=0)[:n] / n
    lag, stay = np.arange(1, n), 1 - 1 / size
    kernel = (1 - lag / n) * stay**lag + lag / n * stay ** (n - lag)
    variance = covariance[0] + 2 * kernel @ covariance[1:]
    return np.asarray(np.sqrt(np.maximum(variance, STILL * covariance[0])))


@dataclass(frozen=True)
class Overfitting:
    """What combinatorially symmetric cross-validation found.

    Attributes
    ----------
    pbo : float
        Share of the halves on which the choice is no better than the median configuration there; a tie
        with the median counts half. NaN below two configurations or too few sessions.
    loss : float
        Share of the halves on which the choice has a Sharpe ratio below 0.
    configurations : int
        Distinct configurations that were compared.
    blocks, halves : int
        Blocks of sessions, and choices that were looked at.
    """

    pbo: float
    loss: float
    configurations: int
    blocks: int
    halves: int


def overfitting(returns: Any, *, blocks: int = BLOCKS) -> Overfitting:
    """Probability of backtest overfitting, by combinatorially symmetric cross-validation.

    The sessions are cut into S blocks of (almost) equal length. For each choice of S/2 blocks the
    configuration with the best Sharpe ratio on them is ranked among all on the other blocks.

    Parameters
    ----------
    returns : (T, K) array
        Net simple returns per session of every configuration. Exact copies and columns that never move
        are left out: a copy is no configuration. In a half without any move the Sharpe ratio is 0.
    blocks : int
        S, even; fewer where a block would have less than `SHORTEST` sessions.

    Raises
    ------
    ConfigError
        If the returns are not finite or not (T, K), or `blocks` is odd or outside [2, 20].

    References
    ----------
    Bailey, Borwein, López de Prado & Zhu (2017), "The Probability of Backtest Overfitting".
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ConfigError(
            f"The configurations must be finite returns, shape (T, K). Got shape {values.shape}."
        )
    if blocks not in range(2, 21, 2):
        raise ConfigError(f"The 'blocks' parameter must be even and in [2, 20]. Got {blocks!r}.")
    values = np.unique(values[:, np.ptp(values, axis=0) > 0], axis=1)
    count = min(blocks, len(values) // SHORTEST // 2 * 2)
    if values.shape[1] < 2 or count < 2:
        return Overfitting(math.nan, math.nan, values.shape[1], count, 0)
    chosen = np.array(list(combinations(range(count), count // 2)))
    inside = np.zeros((len(chosen), count), dtype=bool)
    np.put_along_axis(inside, chosen, True, axis=1)
    sharpes = _Sums.of(values, count)
    worse, lost = 0.0, 0
    for first in range(0, len(inside), CHUNK):
        part = inside[first : first + CHUNK]
        best = np.argmax(sharpes(part), axis=1)[:, None]
        other = sharpes(~part)
        own = np.take_along_axis(other, best, axis=1)
        below, above = (other < own).sum(axis=1), (other > own).sum(axis=1)
        worse += float((below < above).sum() + 0.5 * (below == above).sum())
        lost += int((own < 0).sum())
    return Overfitting(worse / len(inside), lost / len(inside), values.shape[1], count, len(inside))


@dataclass(frozen=True)
class _Sums:
    """Sums per block, from which the Sharpe ratio over any set of blocks follows."""

    length: Floats
    first: Floats
    second: Floats
    mean: Floats

    @classmethod
    def of(cls, values: Floats, count: int) -> "_Sums":
        mean = values.mean(axis=0)
        parts = np.array_split(values - mean, count)  # centred: squares lose no digits
        return cls(
            np.array([float(len(part)) for part in parts]),
            np.array([part.sum(axis=0) for part in parts]),
            np.array([(part**2).sum(axis=0) for part in parts]),
            mean,
        )

    def __call__(self, chosen: NDArray[np.bool_]) -> Floats:
        """Sharpe ratios per session, ddof 1: (halves, K)."""
        length = (chosen @ self.length)[:, None]
        first, second = chosen @ self.first, chosen @ self.second
        variance = (second - first**2 / length) / (length - 1)
        still = variance <= STILL * self.second.sum(axis=0) / self.length.sum()
        spread = np.sqrt(np.where(still, 1.0, variance))
        return np.where(still, 0.0, (first / length + self.mean) / spread)
