"""One definition of each performance figure, in a registry that tables and pages are made from.

Owns the formulas, their units, degrees of freedom and annualisation. Knows nothing of how returns
came about, or whether they were luck.

Conventions: r are simple returns per session, A the sessions per year, W the wealth with W = 1
*before* the first session, b the benchmark's returns, f the risk-free rate per session (the yearly
rate over A). Nothing is trimmed. What is undefined, such as the Sharpe ratio of returns that never
move, is NaN and never 0; NaN *in* the returns is an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import ConfigError

Floats = NDArray[np.float64]
Unit = Literal["fraction", "ratio", "sessions"]

ROUNDING = 1e-12
"""Drawdowns shallower than this are rounding."""


@dataclass(frozen=True)
class Sample:
    """What a measure looks at.

    Attributes
    ----------
    returns : (T,) float64
        Simple returns per session.
    benchmark : (T,) float64 or None
        The benchmark's returns over the same sessions.
    free : float
        Risk-free rate per session.
    periods : int
        Sessions per year.
    """

    returns: Floats
    benchmark: Floats | None
    free: float
    periods: int


@dataclass(frozen=True)
class Metric:
    """One performance figure: its function and everything a reader must know to recompute it.

    Attributes
    ----------
    name : str
        Key in `METRICS` and in every file.
    label : str
        Name for people.
    formula : str
        The definition, in the letters of the module docstring.
    unit : 'fraction', 'ratio' or 'sessions'
        A fraction is shown in percent.
    ddof : int or None
        Degrees of freedom taken off in variances; None where there are none.
    annualisation : str
        How the figure is brought to a year, "none" if it is not.
    source : str
        Where the definition comes from.
    function : callable
        From a `Sample` of at least one session to the figure.
    benchmarked : bool
        Whether it needs a benchmark; NaN without one.
    """

    name: str
    label: str
    formula: str
    unit: Unit
    ddof: int | None
    annualisation: str
    source: str
    function: Callable[[Sample], float]
    benchmarked: bool = False

    def __call__(
        self, returns: Any, *, benchmark: Any = None, risk_free: float = 0.0, periods: int = 252
    ) -> float:
        """Compute the figure; parameters as in `performance.summarise`."""
        return self.of(make_sample(returns, benchmark, risk_free, periods))

    def of(self, sample: Sample) -> float:
        """Compute the figure of a sample; NaN without sessions or without a needed benchmark."""
        if not len(sample.returns) or (self.benchmarked and sample.benchmark is None):
            return np.nan
        return float(self.function(sample))


METRICS: dict[str, Metric] = {}
"""Every figure by name, in the order of a table."""


def _metric(
    label: str,
    formula: str,
    source: str,
    *,
    unit: Unit = "fraction",
    ddof: int | None = None,
    annualisation: str = "none",
    benchmarked: bool = False,
) -> Callable[[Callable[[Sample], float]], Callable[[Sample], float]]:
    def register(function: Callable[[Sample], float]) -> Callable[[Sample], float]:
        name = function.__name__.lstrip("_")
        METRICS[name] = Metric(
            name, label, formula, unit, ddof, annualisation, source, function, benchmarked
        )
        return function

    return register


def checked(values: Any, what: str = "returns") -> Floats:
    """Simple returns as an array.

    Raises
    ------
    ConfigError
        If they are not one series, not finite, or below −1.
    """
    array: Floats = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ConfigError(f"The {what} must be one series, shape (T,). Got shape {array.shape}.")
    bad = ~np.isfinite(array) | (array < -1)
    if bad.any():
        where = int(np.argmax(bad))
        raise ConfigError(
            f"The {what} hold {array[where]} at position {where}, and {int(bad.sum()) - 1} more such "
            "values. Simple returns are finite and at least −1; drop or repair those sessions."
        )
    return array


def make_sample(returns: Any, benchmark: Any, risk_free: float, periods: int) -> Sample:
    """Check returns and benchmark, and bring the yearly `risk_free` to a session.

    Raises
    ------
    ConfigError
        If a series breaks a rule, or the two do not cover the same sessions.
    """
    values = checked(returns, "returns")
    if not periods >= 1:
        raise ConfigError(f"The 'periods' parameter must be 1 or more sessions. Got {periods!r}.")
    if benchmark is None:
        return Sample(values, None, risk_free / periods, periods)
    other = checked(benchmark, "benchmark returns")
    both = isinstance(returns, pd.Series) and isinstance(benchmark, pd.Series)
    if len(other) != len(values) or (both and not returns.index.equals(benchmark.index)):
        raise ConfigError(
            f"The returns cover {len(values)} sessions and the benchmark {len(other)}, or not the same "
            "ones. Backtest both on one panel and one span, or bring them together with performance.align."
        )
    return Sample(values, other, risk_free / periods, periods)


def wealth(returns: Any) -> Floats:
    """Wealth after each session, W_t = Π(1 + r), shape (T,); it is 1 before the first."""
    return np.asarray(np.cumprod(1 + checked(returns)), dtype=np.float64)


def drawdowns(returns: Any) -> Floats:
    """Distance below the highest wealth so far, W/max(1, W_1..W_t) − 1 ≤ 0, shape (T,).

    A distance below 1e-12 is rounding and counts as 0.
    """
    path = wealth(returns)
    below: Floats = path / np.maximum(np.maximum.accumulate(path), 1.0) - 1
    return np.where(below > -ROUNDING, 0.0, below)


def _std(values: Floats) -> float:
    """Sample deviation (ddof 1), NaN where nothing moves."""
    if len(values) < 2 or np.ptp(values) == 0:
        return np.nan
    return float(np.std(values, ddof=1))


def _ratio(over: float, under: float) -> float:
    return over / under if under != 0 else np.nan


@_metric("Total return", "W_T − 1", "GIPS 2020")
def _total_return(s: Sample) -> float:
    return float(np.prod(1 + s.returns)) - 1


@_metric("CAGR", "W_T^(A/T) − 1", "GIPS 2020", annualisation="geometric, A/T")
def _cagr(s: Sample) -> float:
    with np.errstate(over="ignore"):
        return float(np.prod(1 + s.returns) ** (s.periods / len(s.returns)) - 1)


@_metric("Volatility", "std(r)·√A", "Markowitz (1952)", ddof=1, annualisation="√A")
def _volatility(s: Sample) -> float:
    if len(s.returns) < 2:
        return np.nan
    return float(np.std(s.returns, ddof=1)) * float(np.sqrt(s.periods))


@_metric(
    "Sharpe ratio",
    "mean(r − f)/std(r)·√A",
    "Sharpe (1994)",
    unit="ratio",
    ddof=1,
    annualisation="√A",
)
def _sharpe(s: Sample) -> float:
    mean = float(np.mean(s.returns)) - s.free
    return mean / _std(s.returns) * float(np.sqrt(s.periods))


@_metric(
    "Sortino ratio",
    "mean(r − f)·A / √(mean(min(r − f, 0)²)·A), all T in the mean",
    "Sortino & van der Meer (1991)",
    unit="ratio",
    annualisation="A over √A",
)
def _sortino(s: Sample) -> float:
    excess = s.returns - s.free
    downside = float(np.sqrt(np.mean(np.minimum(excess, 0) ** 2) * s.periods))
    return _ratio(float(np.mean(excess)) * s.periods, downside)


@_metric("Max drawdown", "min(W/cummax(W) − 1), W₀ = 1 included", "Magdon-Ismail & Atiya (2004)")
def _max_drawdown(s: Sample) -> float:
    return float(drawdowns(s.returns).min())


@_metric(
    "Longest drawdown",
    "most sessions in a row below an earlier high, an ongoing one included",
    "Magdon-Ismail & Atiya (2004)",
    unit="sessions",
)
def _longest_drawdown(s: Sample) -> float:
    at_high = np.flatnonzero(drawdowns(s.returns) >= 0)
    edges = np.concatenate([[-1], at_high, [len(s.returns)]])
    return float(np.max(np.diff(edges))) - 1


@_metric(
    "Calmar ratio",
    "CAGR / |max drawdown|, over the whole span",
    "Young (1991)",
    unit="ratio",
    annualisation="through CAGR",
)
def _calmar(s: Sample) -> float:
    return _ratio(_cagr(s), -_max_drawdown(s))


@_metric("VaR 95 %", "5 % quantile of r, linear between order statistics", "RiskMetrics (1996)")
def _var_95(s: Sample) -> float:
    return float(np.quantile(s.returns, 0.05))


@_metric(
    "Expected shortfall 95 %",
    "mean of the ⌊0.05·(T − 1)⌋ + 1 worst r",
    "Acerbi & Tasche (2002)",
)
def _es_95(s: Sample) -> float:
    count = int((len(s.returns) - 1) * 0.05) + 1
    return float(np.mean(np.partition(s.returns, count - 1)[:count]))


@_metric(
    "Skewness",
    "√(T(T − 1))/(T − 2)·m₃/m₂^1.5, m central moments",
    "Joanes & Gill (1998), G₁",
    unit="ratio",
    ddof=0,
)
def _skew(s: Sample) -> float:
    n, d = len(s.returns), s.returns - np.mean(s.returns)
    if n < 3 or np.ptp(s.returns) == 0:
        return np.nan
    return float(np.sqrt(n * (n - 1)) / (n - 2) * np.mean(d**3) / np.mean(d**2) ** 1.5)


@_metric(
    "Excess kurtosis",
    "(T − 1)/((T − 2)(T − 3))·((T + 1)·(m₄/m₂² − 3) + 6)",
    "Joanes & Gill (1998), G₂",
    unit="ratio",
    ddof=0,
)
def _kurtosis(s: Sample) -> float:
    n, d = len(s.returns), s.returns - np.mean(s.returns)
    if n < 4 or np.ptp(s.returns) == 0:
        return np.nan
    excess = np.mean(d**4) / np.mean(d**2) ** 2 - 3
    return float((n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * excess + 6))


@_metric("Hit rate", "share of r > 0 among r ≠ 0", "of this project")
def _hit_rate(s: Sample) -> float:
    return _ratio(float((s.returns > 0).sum()), float((s.returns != 0).sum()))


@_metric("Best day", "max r", "of this project")
def _best_day(s: Sample) -> float:
    return float(s.returns.max())


@_metric("Worst day", "min r", "of this project")
def _worst_day(s: Sample) -> float:
    return float(s.returns.min())


@_metric(
    "Beta",
    "cov(r − f, b − f)/var(b − f)",
    "Sharpe (1964)",
    unit="ratio",
    ddof=1,
    benchmarked=True,
)
def _beta(s: Sample) -> float:
    assert s.benchmark is not None
    if len(s.returns) < 2 or np.ptp(s.benchmark) == 0:
        return np.nan
    cov = np.cov(s.returns, s.benchmark, ddof=1)
    return float(cov[0, 1] / cov[1, 1])


@_metric(
    "Alpha",
    "(mean(r − f) − beta·mean(b − f))·A",
    "Jensen (1968)",
    annualisation="× A",
    benchmarked=True,
)
def _alpha(s: Sample) -> float:
    assert s.benchmark is not None
    own, other = float(np.mean(s.returns)) - s.free, float(np.mean(s.benchmark)) - s.free
    return (own - _beta(s) * other) * s.periods


@_metric(
    "Information ratio",
    "mean(r − b)/std(r − b)·√A",
    "Grinold & Kahn (1999)",
    unit="ratio",
    ddof=1,
    annualisation="√A",
    benchmarked=True,
)
def _information_ratio(s: Sample) -> float:
    assert s.benchmark is not None
    active = s.returns - s.benchmark
    return float(np.mean(active)) / _std(active) * float(np.sqrt(s.periods))
