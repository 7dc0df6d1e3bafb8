"""What may be claimed from a result: how sure it is, what was tried before it, and a written rule.

Owns the bootstrap intervals, the probabilistic and the deflated Sharpe ratio, the minimum track record
length, the two tests that look at all trials at once, and the verdict with its sentence. Knows nothing
of trades: it reads return series, and how many were tried before.

- **PSR, DSR**: how probable it is that the true Sharpe ratio exceeds 0, or the best that N trials
  without skill would show.
- **SPA**, Hansen's test: how likely the best of all trials would look this much better than the
  benchmark if none of them were better.
- **PBO**, the probability of backtest overfitting: how often the configuration that is best on one half
  of the sessions is no better than the median on the other half.

The verdict's rule
------------------
An *edge* is claimed only if the 95 % interval of the net Sharpe ratio minus the benchmark's, from a
paired stationary bootstrap, lies above 0 **and** the deflated Sharpe ratio is above 0.95 **and** the
look-ahead audit passes **and** the ledger that counted the trials is whole. What was not audited is no
edge. "No edge was found" is a verdict like any other.

Returns are simple and per session, (T,); Sharpe ratios per session unless said otherwise; equal seeds
give equal numbers; what is undefined is NaN.

References
----------
.. [1] Politis, D. and Romano, J. (1994). The stationary bootstrap. JASA 89(428).
.. [2] Politis, D. and White, H. (2004), with Patton, A. (2009). Automatic block-length selection for the
   dependent bootstrap. Econometric Reviews 23(1), 28(4).
.. [3] Bailey, D. and López de Prado, M. (2012). The Sharpe ratio efficient frontier. J. of Risk 15(2).
.. [4] Bailey, D. and López de Prado, M. (2014). The deflated Sharpe ratio. J. of Portfolio Management.
.. [5] Hansen, P. (2005). A test for superior predictive ability. J. of Business & Economic Statistics.
.. [6] Bailey, D., Borwein, J., López de Prado, M. and Zhu, Q. (2017). The probability of backtest
   overfitting. Journal of Computational Finance 20(4).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from arch.bootstrap import SPA, StationaryBootstrap
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from quantseq.errors import ConfigError
from quantseq.evaluation.significance import block_length
from quantseq.market.bars import Floats
from quantseq.trading.metrics import METRICS, Sample, checked, make_sample

LEVEL = 0.95  # coverage of every interval, and the deflated Sharpe ratio that an edge must exceed
RESAMPLES = 2_000
MIN_SESSIONS = 60  # below this many, about a quarter of a year, nothing is claimed
# the figures that a report leads with; each has its interval
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

_CURVE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)  # numbers of trials at which `dsr_curve` looks
_BLOCKS = 16  # of PBO: 12,870 pairs of halves
_SHORTEST = 10  # sessions that a block has at least
_HALVES = 1_000  # pairs of halves that are computed at once
_STILL = 1e-12  # a variance below this share of another counts as none


# ------------------------------------------------------------------------------ intervals


def bootstrap_interval(
    statistic: Callable[[Floats], Any], returns: Any, *, seed: int, resamples: int = RESAMPLES
) -> Floats:
    """95 % percentile interval of a statistic by the stationary bootstrap [1]_.

    Blocks keep the dependence between neighbouring sessions; columns of the finite `returns`, (T,) or (T, C), are
    resampled together, so that pairs stay paired. `statistic` makes a number or an array of K numbers of them. The
    ends are an array, (2,) or (2, K); NaN where it is undefined on more than 5 % of the samples.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim not in (1, 2) or len(values) < 2 or not np.isfinite(values).all():
        raise ConfigError(
            f"The bootstrap needs two or more finite returns, shape (T,) or (T, C). "
            f"Got shape {values.shape}."
        )
    sampler = StationaryBootstrap(_block_length(values), values, seed=np.random.default_rng(seed))
    draws = np.array([statistic(np.asarray(one[0][0])) for one in sampler.bootstrap(resamples)])
    ends = np.full((2, *draws.shape[1:]), np.nan)
    for place in np.ndindex(draws.shape[1:]):
        column = draws[:, *place]
        defined = column[np.isfinite(column)]
        if len(defined) >= 0.95 * len(column):
            ends[:, *place] = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return ends


def _block_length(values: Floats) -> int:
    """Mean block length: the longest optimal one [2]_ over the columns, within [1, T/10]."""
    if len(values) < 20:
        return 1
    best = max(map(block_length, values.reshape(len(values), -1).T))
    return round(min(best, len(values) / 10))


def metric_intervals(
    returns: Any,
    names: Sequence[str] = HEADLINES,
    *,
    seed: int,
    periods: int,
    resamples: int = RESAMPLES,
) -> dict[str, tuple[float, float]]:
    """Intervals of figures of `METRICS` by name, all from the same resampled sessions."""
    values = checked(returns)
    if len(values) < 2:
        return dict.fromkeys(names, (math.nan, math.nan))

    def figures(drawn: Floats) -> Floats:
        again = Sample(drawn, None, 0.0, periods)
        return np.array([METRICS[name].of(again) for name in names])

    ends = bootstrap_interval(figures, values, seed=seed, resamples=resamples).T.tolist()
    return {name: (low, high) for name, (low, high) in zip(names, ends, strict=True)}


# ------------------------------------------------------------------------------ one Sharpe ratio


def sharpe_per_session(returns: Any) -> float:
    """Mean over sample deviation, not annualised: what PSR, DSR and the ledger use."""
    return METRICS["sharpe"](returns, periods=1)


def psr(returns: Any, *, benchmark_sharpe: float = 0.0) -> float:
    """Probabilistic Sharpe ratio [3]_: the probability that the true Sharpe ratio exceeds a benchmark's.

    Φ((SR − SR*)·√(T − 1) / √(1 − γ₃·SR + (γ₄ − 1)/4·SR²)) with SR (ddof 1), the benchmark SR* and the
    population skewness γ₃ and kurtosis γ₄ (3 for the normal). NaN below three sessions, or when nothing
    moves.
    """
    values = checked(returns)
    sharpe, spread = _sharpe_and_spread(values)
    if not spread > 0:
        return math.nan
    return float(ndtr((sharpe - benchmark_sharpe) * math.sqrt(len(values) - 1) / math.sqrt(spread)))


def _sharpe_and_spread(values: Floats) -> tuple[float, float]:
    """SR and 1 − γ₃·SR + (γ₄ − 1)/4·SR², T − 1 times the variance of SR; NaN where undefined."""
    if len(values) < 3 or np.ptp(values) == 0:
        return math.nan, math.nan
    sharpe, deviations = sharpe_per_session(values), values - values.mean()
    variance = np.mean(deviations**2)
    skewness = np.mean(deviations**3) / variance**1.5
    kurtosis = np.mean(deviations**4) / variance**2
    return sharpe, float(1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2)


def min_track_record(returns: Any) -> int | None:
    """Minimum track record length [3]_: sessions from which on PSR is at least `LEVEL`.

    1 + (1 − γ₃·SR + (γ₄ − 1)/4·SR²)·(Φ⁻¹(0.95) / SR)², rounded up, with the Sharpe ratio and moments of `psr`, taken
    to stay as they are. None where PSR is undefined or SR is not above 0: no record is long enough then.
    """
    sharpe, spread = _sharpe_and_spread(checked(returns))
    if not (spread > 0 and sharpe > 0):
        return None
    needed = 1 + spread * (ndtri(LEVEL) / sharpe) ** 2
    return math.ceil(needed) if math.isfinite(needed) else None


def expected_best_sharpe(n_trials: int, spread: float) -> float:
    """Sharpe ratio to expect from the best of N trials without any skill.

    σ·((1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e))), γ the Euler-Mascheroni constant and σ the standard
    deviation (`spread`) of the trials' Sharpe ratios; 0 for N = 1.
    """
    if not n_trials >= 1:
        raise ConfigError(f"The 'n_trials' parameter must be 1 or more. Got {n_trials!r}.")
    if n_trials == 1:
        return 0.0
    gamma = np.euler_gamma
    best = (1 - gamma) * ndtri(1 - 1 / n_trials) + gamma * ndtri(1 - 1 / (n_trials * math.e))
    return float(spread * best)


def dsr(returns: Any, *, n_trials: int = 1, spread: float | None = None) -> float:
    """Deflated Sharpe ratio [4]_: PSR against the best Sharpe ratio of N trials without skill.

    `spread` is the `trial_spread` of the trials' Sharpe ratios, that of no known trial by default.
    """
    values = checked(returns)
    if len(values) < 3:
        return math.nan
    known = trial_spread((), len(values)) if spread is None else spread
    return psr(values, benchmark_sharpe=expected_best_sharpe(n_trials, known))


def trial_spread(trial_sharpes: Sequence[float], sessions: int) -> float:
    """Standard deviation of the trials' Sharpe ratios that a result of T `sessions` is deflated by.

    The sample deviation (ddof 1) of the finite ones; 1/√(T − 1), that of a Sharpe ratio of 0, where it is unknown, or
    0 because copies were counted: copies of one trial must not make a discount of nothing.
    """
    known = np.asarray(trial_sharpes, dtype=np.float64)
    known = known[np.isfinite(known)]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 and np.ptp(known) > 0 else 0.0
    return spread or 1 / math.sqrt(sessions - 1)


def dsr_curve(returns: Any, *, n_trials: int, spread: float) -> list[dict[str, float]]:
    """Deflated Sharpe ratio at numbers of trials: those of `_CURVE`, `n_trials` and ten times it."""
    values = checked(returns)
    counts = sorted({*_CURVE, n_trials, 10 * n_trials})
    return [{"n": n, "dsr": dsr(values, n_trials=n, spread=spread)} for n in counts]


# ------------------------------------------------------------------------------ all trials at once


def spa(tried: Any, benchmark: Any, *, seed: int, resamples: int = 1_000) -> float:
    """Hansen's test of superior predictive ability [5]_: its consistent p-value.

    The hypothesis is that no trial is better than the benchmark. Every trial is brought to its benchmark's
    volatility first, r_k·σ_b/σ_k, so that Sharpe ratios are compared, as in the verdict, and not who took more risk.
    The statistic is the largest studentised mean of d_k = r_k − b, or 0 if all are worse; the long-run variance is
    that of the stationary bootstrap, and trials too bad to matter are not re-centred. A p-value below 0.05 says that
    the best of them is not explained by having tried many. NaN where no trial is left, or below 20 sessions.

    `tried`, (T, K), are the net returns of every trial, `benchmark`, (T,) or (T, K), those of the benchmark or of each
    trial's own; ConfigError if they do not match or are not finite. Trials that never moved, and those that never
    differ from the benchmark, say nothing and are left out.
    """
    own, other = (np.asarray(one, dtype=np.float64) for one in (tried, benchmark))
    other = other[:, None] if other.ndim == 1 else other
    good = own.ndim == 2 and other.ndim == 2 and len(own) == len(other)
    good = good and other.shape[1] in (1, own.shape[1])
    if not (good and np.isfinite(own).all() and np.isfinite(other).all()):
        raise ConfigError(
            "Trials and benchmark must be finite returns over the same sessions, (T, K) and (T,) or "
            f"(T, K). Got shapes {own.shape} and {np.shape(benchmark)}."
        )
    other = np.broadcast_to(other, own.shape)
    if len(own) < 20:
        return math.nan
    deviation, scale = own.std(axis=0), other.std(axis=0)
    moved = deviation**2 > _STILL * np.maximum(scale**2, _STILL)
    own, other, deviation, scale = own[:, moved], other[:, moved], deviation[moved], scale[moved]
    better = own * (scale / deviation) - other
    better = better[:, better.std(axis=0) ** 2 > _STILL * deviation**2]
    if not better.shape[1]:
        return math.nan
    if (better.mean(axis=0) <= 0).all():
        return 1.0  # the statistic is 0, and no draw falls below it; arch counts those above
    size, none = _block_length(better), np.zeros(len(better))
    # arch compares plain means, whatever its `studentize` says, and knows no floor: it gets studentised
    # ones, and the benchmark itself, whose 0 is Hansen's max(·, 0)
    better = np.column_stack([better / _long_run_deviation(better, size), none])
    draws: dict[str, Any] = {"bootstrap": "stationary", "seed": np.random.default_rng(seed)}
    test = SPA(none, -better, block_size=size, reps=resamples, **draws)
    test.compute()
    return float(test.pvalues["consistent"])


def _long_run_deviation(values: Floats, size: int) -> Floats:
    """Standard deviation of √T times the mean under the stationary bootstrap: (K,).

    ω² = γ₀ + 2·Σ κ_i·γ_i with κ_i = (1 − i/T)(1 − p)^i + (i/T)(1 − p)^(T − i), p = 1/`size`: lemma 1 of [1]_.
    """
    n = len(values)
    centred = values - values.mean(axis=0)
    spectrum = np.abs(np.fft.rfft(centred, 2 * n, axis=0)) ** 2
    covariance = np.fft.irfft(spectrum, axis=0)[:n] / n
    lag, stay = np.arange(1, n), 1 - 1 / size
    kernel = (1 - lag / n) * stay**lag + lag / n * stay ** (n - lag)
    variance = covariance[0] + 2 * kernel @ covariance[1:]
    return np.asarray(np.sqrt(np.maximum(variance, _STILL * covariance[0])))


@dataclass(frozen=True)
class Overfitting:
    """What combinatorially symmetric cross-validation found; NaN below two configurations or too few sessions."""

    pbo: float  # share of the halves on which the choice is no better than the median; a tie counts half
    loss: float  # share on which its Sharpe ratio is below 0
    configurations: int  # distinct ones
    blocks: int
    halves: int  # choices that were looked at


def overfitting(returns: Any, *, blocks: int = _BLOCKS) -> Overfitting:
    """Probability of backtest overfitting [6]_, by combinatorially symmetric cross-validation.

    The sessions are cut into S `blocks` of (almost) equal length, S even and in [2, 20]; fewer where one would have
    less than `_SHORTEST` sessions. For each choice of S/2 blocks the configuration with the best Sharpe ratio on them
    is ranked among all on the other blocks. `returns`, (T, K), are the net simple returns of every configuration;
    exact copies and columns that never move are left out. In a half without any move the Sharpe ratio is 0.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ConfigError(
            f"The configurations must be finite returns, shape (T, K). Got shape {values.shape}."
        )
    if blocks not in range(2, 21, 2):
        raise ConfigError(f"The 'blocks' parameter must be even and in [2, 20]. Got {blocks!r}.")
    values = np.unique(values[:, np.ptp(values, axis=0) > 0], axis=1)
    count = min(blocks, len(values) // _SHORTEST // 2 * 2)
    if values.shape[1] < 2 or count < 2:
        return Overfitting(math.nan, math.nan, values.shape[1], count, 0)
    chosen = np.array(list(combinations(range(count), count // 2)))
    inside = np.zeros((len(chosen), count), dtype=bool)
    np.put_along_axis(inside, chosen, True, axis=1)
    sharpes = _block_sharpes(values, count)
    worse, lost = 0.0, 0
    for first in range(0, len(inside), _HALVES):
        part = inside[first : first + _HALVES]
        best = np.argmax(sharpes(part), axis=1)[:, None]
        other = sharpes(~part)
        own = np.take_along_axis(other, best, axis=1)
        below, above = (other < own).sum(axis=1), (other > own).sum(axis=1)
        worse += float((below < above).sum() + 0.5 * (below == above).sum())
        lost += int((own < 0).sum())
    return Overfitting(worse / len(inside), lost / len(inside), values.shape[1], count, len(inside))


def _block_sharpes(values: Floats, count: int) -> Callable[[NDArray[np.bool_]], Floats]:
    """From chosen blocks (halves, count) to Sharpe ratios (halves, K), ddof 1, by sums per block."""
    mean = values.mean(axis=0)
    parts = np.array_split(values - mean, count)  # centred: squares lose no digits
    lengths = np.array([float(len(part)) for part in parts])
    sums = np.array([part.sum(axis=0) for part in parts])
    squares = np.array([(part**2).sum(axis=0) for part in parts])

    def sharpes(chosen: NDArray[np.bool_]) -> Floats:
        length = (chosen @ lengths)[:, None]
        first, second = chosen @ sums, chosen @ squares
        variance = (second - first**2 / length) / (length - 1)
        still = variance <= _STILL * squares.sum(axis=0) / lengths.sum()
        spread = np.sqrt(np.where(still, 1.0, variance))
        return np.where(still, 0.0, (first / length + mean) / spread)

    return sharpes


# ------------------------------------------------------------------------------ the verdict


@dataclass(frozen=True)
class Verdict:
    """What may be claimed.

    The Sharpe ratios are annualised, their difference has the paired bootstrap's interval; all NaN where undefined.
    ``n_trials`` and ``trial_sd``, the spread of their Sharpe ratios, are what it takes to compute ``dsr`` again.
    ``min_track_record`` is None where no record is long enough, ``audit_passed`` where no audit was run.
    """

    edge: bool
    sentence: str
    sharpe: float
    benchmark_sharpe: float
    sharpe_difference: float
    interval: tuple[float, float]
    dsr: float
    n_trials: int
    trial_sd: float
    min_track_record: int | None
    audit_passed: bool | None


def verdict(
    net: Any,
    benchmark: Any,
    *,
    seed: int,
    periods: int,
    n_trials: int = 1,
    trial_sd: float | None = None,
    audit_passed: bool | None = None,
    ledger_fault: str | None = None,
    cost_bps: float | None = None,
    resamples: int = RESAMPLES,
) -> Verdict:
    """Judge net returns against a benchmark's, by the rule in the module docstring.

    `net` and `benchmark`, (T,), cover the same sessions. `n_trials` and `trial_sd` are what the ledger counts and the
    `trial_spread` of it (that of no known trial by default), `audit_passed` what the look-ahead audit found,
    `ledger_fault` what `Ledger.verify` says; `cost_bps` is for the sentence.
    """
    sample = make_sample(net, benchmark, 0.0, periods)
    assert sample.benchmark is not None
    pair, sessions = np.column_stack([sample.returns, sample.benchmark]), len(sample.returns)
    own, other = (METRICS["sharpe"](one, periods=periods) for one in pair.T)
    interval, spread = (math.nan, math.nan), trial_sd
    if spread is None:
        spread = trial_spread((), sessions) if sessions > 1 else math.nan
    deflated = dsr(sample.returns, n_trials=n_trials, spread=spread)

    def difference(drawn: Floats) -> float:
        if not np.ptp(drawn, axis=0).all():
            return math.nan
        ratio = drawn.mean(axis=0) / drawn.std(axis=0, ddof=1)
        return float(ratio[0] - ratio[1]) * math.sqrt(periods)

    if math.isfinite(own - other) and sessions >= MIN_SESSIONS:
        low, high = bootstrap_interval(difference, pair, seed=seed, resamples=resamples)
        interval = float(low), float(high)
    edge = interval[0] > 0 and deflated > LEVEL and audit_passed is True and ledger_fault is None
    after = f"after {'' if cost_bps is None else f'{cost_bps:g} bps '}costs"
    least = min_track_record(sample.returns)
    draft = Verdict(
        edge, "", own, other, own - other, interval, deflated, n_trials, spread, least, audit_passed
    )
    return replace(draft, sentence=_sentence(draft, after, sessions, ledger_fault))


def _sentence(v: Verdict, after: str, sessions: int, fault: str | None) -> str:
    if not sessions:
        return "No verdict: there is not a single session to judge."
    if math.isnan(v.sharpe):
        flat = "the strategy's returns never moved, so no position was held"
        return f"No verdict: {flat} and there is nothing to compare with buy-and-hold."
    if math.isnan(v.benchmark_sharpe):
        return "No verdict: the returns of buy-and-hold never moved, so there is no rival to beat."
    (low, high), tail = v.interval, f"buy-and-hold {after}"
    one, two, apart = (_signed(x) for x in (v.sharpe, v.benchmark_sharpe, v.sharpe_difference))
    numbers = f"Sharpe {one.lstrip('+')} against {two.lstrip('+')}, difference {apart}"
    failed = " The look-ahead audit failed." if v.audit_passed is False else ""
    if sessions < MIN_SESSIONS:
        held = f"{sessions} sessions of the {MIN_SESSIONS} needed"
        return f"Too short to judge against {tail}: {held}; {numbers}.{failed}"
    if math.isnan(low):
        held = "in many resampled histories no position is held"
        return f"Too few trades to judge against {tail}: {held}; {numbers}.{failed}"
    numbers += f" (95 % interval {_signed(low)} to {_signed(high)})"
    if high < 0:
        return f"Worse than {tail}: {numbers}.{failed}"
    if low <= 0:
        return f"No edge over buy-and-hold was found {after}: {numbers}.{failed}"
    trials = "1 trial" if v.n_trials == 1 else f"{v.n_trials} trials"
    deflated = f"the deflated Sharpe is {_percent(v.dsr)} after {trials}"
    if v.edge:
        passed = f"{deflated}; the look-ahead audit passed."
        return f"An edge over buy-and-hold was found {after}: {numbers}; {passed}"
    why = [] if v.dsr > LEVEL else [f"{deflated} and more than 95 % is needed"]
    if v.audit_passed is not True:
        ran = v.audit_passed is False
        why.append("the look-ahead audit failed" if ran else "no look-ahead audit was run")
    if fault is not None:
        why.append(f"the ledger that counts the trials is damaged ({fault})")
    return (
        f"No edge over buy-and-hold was established {after}: {numbers}, but {', and '.join(why)}."
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _percent(share: float) -> str:
    """Percent with one digit, rounded down so that a miss never reads as a hit."""
    return "undefined" if math.isnan(share) else f"{math.floor(share * 1000) / 10:.1f} %"
