"""How much of a result is luck: bootstrap intervals, deflated Sharpe ratios and the verdict.

Owns the statistics that stand between a backtest and a claim, and the sentence that states the
claim. Knows nothing of trades: it reads return series, and how many were tried before.

The verdict's rule
------------------
An *edge* is claimed only if the 95 % interval of the net Sharpe ratio minus the rival's, from a
paired stationary bootstrap, lies above 0 **and** the deflated Sharpe ratio is above 0.95. "No edge
was found" is a verdict like any other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import ConfigError
from quantseq.trading.measures import METRICS, Floats, Sample, checked, make_sample

LEVEL = 0.95
"""Coverage of every interval, and the deflated Sharpe ratio that an edge must exceed."""

MIN_SESSIONS = 60
"""Below this many sessions nothing is claimed: about a quarter of a year."""

RESAMPLES = 2_000

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
    names: Sequence[str] = ("cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar"),
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
    paired = sample.returns if sample.benchmark is None else _paired(sample)

    def figures(drawn: Floats) -> Floats:
        own, other = (drawn, None) if drawn.ndim == 1 else (drawn[:, 0], drawn[:, 1])
        again = Sample(own, other, sample.free, sample.periods)
        return np.array([METRICS[name].of(again) for name in names])

    ends = bootstrap_interval(figures, paired, seed=seed, level=level, resamples=resamples)
    return {name: (float(ends[0, k]), float(ends[1, k])) for k, name in enumerate(names)}


def _paired(sample: Sample) -> Floats:
    assert sample.benchmark is not None
    return np.column_stack([sample.returns, sample.benchmark])


def sharpe_per_session(returns: Any) -> float:
    """Mean over sample deviation, not annualised: what PSR, DSR and the ledger use."""
    return METRICS["sharpe"](returns, periods=1)


def psr(returns: Any, *, benchmark_sharpe: float = 0.0) -> float:
    """Probabilistic Sharpe ratio: the probability that the true Sharpe ratio exceeds a benchmark.

    Φ((SR − SR*)·√(T − 1) / √(1 − γ₃·SR + (γ₄ − 1)/4·SR²)) with SR per session (ddof 1) and the
    population skewness γ₃ and kurtosis γ₄ (3 for the normal).

    Parameters
    ----------
    returns : (T,) Series or array
        Simple returns per session.
    benchmark_sharpe : float
        SR*, per session.

    Returns
    -------
    float
        NaN below three sessions, or when nothing moves.

    References
    ----------
    Bailey & López de Prado (2012), "The Sharpe Ratio Efficient Frontier".
    """
    from scipy.special import ndtr

    values = checked(returns)
    if len(values) < 3 or np.ptp(values) == 0:
        return math.nan
    sharpe, deviations = sharpe_per_session(values), values - values.mean()
    variance = np.mean(deviations**2)
    skewness = np.mean(deviations**3) / variance**1.5
    kurtosis = np.mean(deviations**4) / variance**2
    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if spread <= 0:
        return math.nan
    return float(ndtr((sharpe - benchmark_sharpe) * math.sqrt(len(values) - 1) / math.sqrt(spread)))


def expected_best_sharpe(n_trials: int, spread: float) -> float:
    """Sharpe ratio to expect from the best of N trials without any skill.

    σ·((1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e))), γ the Euler-Mascheroni constant; 0 for N = 1.

    Parameters
    ----------
    n_trials : int
        N, at least 1.
    spread : float
        σ, the standard deviation of the trials' Sharpe ratios per session.
    """
    from scipy.special import ndtri

    if not n_trials >= 1:
        raise ConfigError(f"The 'n_trials' parameter must be 1 or more. Got {n_trials!r}.")
    if n_trials == 1:
        return 0.0
    gamma = np.euler_gamma
    best = (1 - gamma) * ndtri(1 - 1 / n_trials) + gamma * ndtri(1 - 1 / (n_trials * math.e))
    return float(spread * best)


def deflated_sharpe(
    returns: Any, trial_sharpes: Sequence[float] = (), *, n_trials: int | None = None
) -> float:
    """Deflated Sharpe ratio: PSR against the best Sharpe ratio that N skill-less trials would show.

    Parameters
    ----------
    returns : (T,) Series or array
        Simple returns per session of the chosen trial.
    trial_sharpes : sequence of float
        Sharpe ratios per session of all distinct trials, this one included; NaN are left out.
    n_trials : int, optional
        N; the number of finite `trial_sharpes` (at least 1) by default.

    Returns
    -------
    float
        PSR for N = 1; NaN where PSR is.

    Notes
    -----
    The spread of the trials is the sample deviation (ddof 1) of `trial_sharpes`. When N > 1 and the
    spread is unknown, or 0 because copies were counted, it is taken as 1/√(T − 1), the sampling
    deviation of a Sharpe ratio of 0: copies of one trial must not make a discount of nothing.

    References
    ----------
    Bailey & López de Prado (2014), "The Deflated Sharpe Ratio".
    """
    values = checked(returns)
    known = np.asarray(trial_sharpes, dtype=np.float64)
    known = known[np.isfinite(known)]
    count = max(len(known), 1) if n_trials is None else n_trials
    if len(values) < 3:
        return math.nan
    spread = float(np.std(known, ddof=1)) if len(known) > 1 and np.ptp(known) > 0 else 0.0
    spread = spread or 1 / math.sqrt(len(values) - 1)
    return psr(values, benchmark_sharpe=expected_best_sharpe(count, spread))


@dataclass(frozen=True)
class Verdict:
    """What may be claimed.

    Attributes
    ----------
    edge : bool
        Whether an edge may be claimed, by the rule in the module docstring.
    sentence : str
        The claim in words, with its numbers.
    sharpe, rival_sharpe : float
        Annualised Sharpe ratios.
    sharpe_difference : float
        The first minus the second; NaN where undefined.
    interval : (float, float)
        Paired bootstrap interval of the difference; NaN where nothing can be claimed.
    dsr : float
        Deflated Sharpe ratio of the net returns.
    n_trials : int
        Trials it was deflated by.
    """

    edge: bool
    sentence: str
    sharpe: float
    rival_sharpe: float
    sharpe_difference: float
    interval: Interval
    dsr: float
    n_trials: int


def verdict(
    net: Any,
    benchmark: Any,
    *,
    seed: int,
    n_trials: int = 1,
    trial_sharpes: Sequence[float] = (),
    cost_bps: float | None = None,
    rival: str = "buy-and-hold",
    risk_free: float = 0.0,
    periods: int = 252,
    resamples: int = RESAMPLES,
) -> Verdict:
    """Judge net returns against a rival's, by the rule in the module docstring.

    Parameters
    ----------
    net, benchmark : (T,) Series or array
        Net simple returns per session of the strategy and its rival over the same sessions.
    seed : int
        Of the bootstrap.
    n_trials, trial_sharpes
        As in `deflated_sharpe`: what the ledger counts.
    cost_bps : float, optional
        Trading costs, for the sentence.
    rival : str
        The rival's name, for the sentence.
    risk_free, periods
        As in `performance.summarise`.
    resamples : int
        As in `bootstrap_interval`.
    """
    sample = make_sample(net, benchmark, risk_free, periods)
    own, other = (METRICS["sharpe"].of(one) for one in (sample, _rival(sample)))
    dsr = deflated_sharpe(sample.returns, trial_sharpes, n_trials=n_trials)
    interval = (math.nan, math.nan)
    if math.isfinite(own - other) and len(sample.returns) >= MIN_SESSIONS:
        interval = bootstrap_interval(
            _sharpe_difference(sample), _paired(sample), seed=seed, resamples=resamples
        )
    edge = interval[0] > 0 and dsr > LEVEL
    after = f"after {'' if cost_bps is None else f'{cost_bps:g} bps '}costs"
    draft = Verdict(edge, "", own, other, own - other, interval, dsr, n_trials)
    return replace(draft, sentence=_sentence(draft, rival, after, len(sample.returns)))


def _sentence(v: Verdict, rival: str, after: str, sessions: int) -> str:
    if not sessions:
        return "No verdict: there is not a single session to judge."
    if math.isnan(v.sharpe):
        return (
            "No verdict: the strategy's returns never moved, so no position was held and there is "
            f"nothing to compare with {rival}."
        )
    if math.isnan(v.rival_sharpe):
        return f"No verdict: the returns of {rival} never moved, so there is no rival to beat."
    numbers = (
        f"Sharpe {_signed(v.sharpe, plus='')} against {_signed(v.rival_sharpe, plus='')}, "
        f"difference {_signed(v.sharpe_difference)}"
    )
    if sessions < MIN_SESSIONS:
        return (
            f"Too short to judge against {rival} {after}: {sessions} sessions of the "
            f"{MIN_SESSIONS} needed; {numbers}."
        )
    low, high = v.interval
    if math.isnan(low):
        return (
            f"Too few trades to judge against {rival} {after}: in many resampled histories no "
            f"position is held; {numbers}."
        )
    numbers += f" (95 % interval {_signed(low)} to {_signed(high)})"
    trials = "1 trial" if v.n_trials == 1 else f"{v.n_trials} trials"
    deflated = f"the deflated Sharpe is {_percent(v.dsr)} after {trials}"
    if v.edge:
        return f"An edge over {rival} was found {after}: {numbers}; {deflated}."
    if low > 0:
        return (
            f"No edge over {rival} was established {after}: {numbers}, but {deflated} and more than "
            "95 % is needed."
        )
    if high < 0:
        return f"Worse than {rival} {after}: {numbers}."
    return f"No edge over {rival} was found {after}: {numbers}."


def _rival(sample: Sample) -> Sample:
    assert sample.benchmark is not None
    return Sample(sample.benchmark, None, sample.free, sample.periods)


def _sharpe_difference(sample: Sample) -> Callable[[Floats], float]:
    scale = math.sqrt(sample.periods)

    def difference(drawn: NDArray[np.float64]) -> float:
        if not np.ptp(drawn, axis=0).all():
            return math.nan
        ratio = (drawn.mean(axis=0) - sample.free) / drawn.std(axis=0, ddof=1)
        return float(ratio[0] - ratio[1]) * scale

    return difference


def _signed(value: float, *, plus: str = "+") -> str:
    return f"{plus if value >= 0 else '−'}{abs(value):.2f}"


def _percent(share: float) -> str:
    """Percent with one digit, rounded down so that a miss never reads as a hit."""
    return "undefined" if math.isnan(share) else f"{math.floor(share * 1000) / 10:.1f} %"
