"""One definition of each performance figure, in a registry that tables and pages are made from.

Owns the formulas, their units, degrees of freedom and annualisation, and the tables that people read:
drawdowns, months, rolling windows, regimes. Knows nothing of how returns came about, or whether they
were luck. Sessions per year are always an argument: a run has one year, `Costs.year`.

Conventions: r are simple returns per session, A the sessions per year, W the wealth with W = 1
*before* the first session, b the benchmark's returns, f the risk-free rate per session (the yearly
rate over A). Nothing is trimmed. What is undefined, such as the Sharpe ratio of returns that never
move, is NaN and never 0; NaN *in* the returns is an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import ConfigError
from quantseq.market.bars import Floats

_ROUNDING = 1e-12  # drawdowns shallower than this are rounding


@dataclass(frozen=True)
class Sample:
    """What a figure looks at, and how each is computed; formulas and sources stand in the table below."""

    returns: Floats  # (T,)
    benchmark: Floats | None
    free: float  # rate per session
    periods: int  # sessions per year

    def _total_return(self) -> float:
        return float(np.prod(1 + self.returns)) - 1

    def _cagr(self) -> float:
        with np.errstate(over="ignore"):
            return float(np.prod(1 + self.returns) ** (self.periods / len(self.returns)) - 1)

    def _volatility(self) -> float:
        if len(self.returns) < 2:
            return np.nan
        return float(np.std(self.returns, ddof=1)) * float(np.sqrt(self.periods))

    def _sharpe(self) -> float:
        mean = float(np.mean(self.returns)) - self.free
        return mean / _std(self.returns) * float(np.sqrt(self.periods))

    def _sortino(self) -> float:
        excess = self.returns - self.free
        downside = float(np.sqrt(np.mean(np.minimum(excess, 0) ** 2) * self.periods))
        return _ratio(float(np.mean(excess)) * self.periods, downside)

    def _max_drawdown(self) -> float:
        return float(drawdowns(self.returns).min())

    def _longest_drawdown(self) -> float:
        at_high = np.flatnonzero(drawdowns(self.returns) >= 0)
        edges = np.concatenate([[-1], at_high, [len(self.returns)]])
        return float(np.max(np.diff(edges))) - 1

    def _calmar(self) -> float:
        return _ratio(self._cagr(), -self._max_drawdown())

    def _var_95(self) -> float:
        return float(np.quantile(self.returns, 0.05))

    def _es_95(self) -> float:
        count = int((len(self.returns) - 1) * 0.05) + 1
        return float(np.mean(np.partition(self.returns, count - 1)[:count]))

    def _moments(self, least: int) -> tuple[int, float, float, float]:
        """T and the central moments 2 to 4; NaN below `least` sessions or where nothing moves."""
        n, d = len(self.returns), self.returns - np.mean(self.returns)
        if n < least or np.ptp(self.returns) == 0:
            return n, np.nan, np.nan, np.nan
        return n, float(np.mean(d**2)), float(np.mean(d**3)), float(np.mean(d**4))

    def _skew(self) -> float:
        n, m2, m3, _ = self._moments(3)
        return float(np.sqrt(n * (n - 1)) / (n - 2) * m3 / m2**1.5) if n > 2 else np.nan

    def _kurtosis(self) -> float:
        n, m2, _, m4 = self._moments(4)
        return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (m4 / m2**2 - 3) + 6) if n > 3 else np.nan

    def _hit_rate(self) -> float:
        return _ratio(float((self.returns > 0).sum()), float((self.returns != 0).sum()))

    def _best_day(self) -> float:
        return float(self.returns.max())

    def _worst_day(self) -> float:
        return float(self.returns.min())

    def _beta(self) -> float:
        assert self.benchmark is not None
        if len(self.returns) < 2 or np.ptp(self.benchmark) == 0:
            return np.nan
        cov = np.cov(self.returns, self.benchmark, ddof=1)
        return float(cov[0, 1] / cov[1, 1])

    def _alpha(self) -> float:
        assert self.benchmark is not None
        both = (self.returns, self.benchmark)
        own, other = (float(np.mean(one)) - self.free for one in both)
        return (own - self._beta() * other) * self.periods

    def _information_ratio(self) -> float:
        assert self.benchmark is not None
        active = self.returns - self.benchmark
        return float(np.mean(active)) / _std(active) * float(np.sqrt(self.periods))


@dataclass(frozen=True)
class Metric:
    """One performance figure: its function of a `Sample`, and all that a reader must know to recompute it."""

    name: str
    label: str
    formula: str  # in the letters of the module docstring
    unit: str  # a fraction is shown in percent
    ddof: int | None  # None where no variance is in it
    annualisation: str  # how the figure is brought to a year, "none" if it is not
    source: str
    function: Callable[[Sample], float]
    benchmarked: bool = False  # NaN without a benchmark

    def __call__(
        self, returns: Any, *, periods: int = 0, benchmark: Any = None, risk_free: float = 0.0
    ) -> float:
        """Compute the figure; parameters as in `summarise_returns`, `periods` where it is yearly."""
        if not periods and self.annualisation != "none":
            raise ConfigError(
                f"{self.label} is a yearly figure: give 'periods', the run's sessions per year."
            )
        return self.of(make_sample(returns, benchmark, risk_free, periods or 1))

    def of(self, sample: Sample) -> float:
        """Compute the figure of a sample; NaN without sessions or without a needed benchmark."""
        if not len(sample.returns) or (self.benchmarked and sample.benchmark is None):
            return np.nan
        return float(self.function(sample))


def checked(values: Any, what: str = "returns") -> Floats:
    """Simple returns as an array; ConfigError if they are not one series, not finite, or below −1."""
    array: Floats = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ConfigError(f"The {what} must be one series, shape (T,). Got shape {array.shape}.")
    bad = ~np.isfinite(array) | (array < -1)
    if bad.any():
        where = int(np.argmax(bad))
        raise ConfigError(
            f"The {what} hold {array[where]} at position {where}. Simple returns are finite and at "
            "least −1; drop or repair such sessions."
        )
    return array


def make_sample(returns: Any, benchmark: Any, risk_free: float, periods: int) -> Sample:
    """Check returns and benchmark, and bring the yearly `risk_free` to a session."""
    if not periods >= 1:
        raise ConfigError(f"The 'periods' parameter must be 1 or more sessions. Got {periods!r}.")
    values, free = checked(returns), risk_free / periods
    if benchmark is None:
        return Sample(values, None, free, periods)
    other = checked(benchmark, "benchmark returns")
    both = isinstance(returns, pd.Series) and isinstance(benchmark, pd.Series)
    if len(other) != len(values) or (both and not returns.index.equals(benchmark.index)):
        raise ConfigError(
            f"The returns cover {len(values)} sessions and the benchmark {len(other)}, or not the same "
            "ones. Backtest both on one panel and one span."
        )
    return Sample(values, other, free, periods)


def wealth(returns: Any) -> Floats:
    """Wealth after each session, W_t = Π(1 + r), shape (T,); it is 1 before the first."""
    return np.asarray(np.cumprod(1 + checked(returns)), dtype=np.float64)


def drawdowns(returns: Any) -> Floats:
    """Distance below the highest wealth so far, W/max(1, W_1..W_t) − 1 ≤ 0, shape (T,).

    A distance below 1e-12 is rounding and counts as 0.
    """
    path = wealth(returns)
    below: Floats = path / np.maximum(np.maximum.accumulate(path), 1.0) - 1
    return np.where(below > -_ROUNDING, 0.0, below)


def _std(values: Floats) -> float:
    """Sample deviation (ddof 1), NaN where nothing moves."""
    moves = len(values) > 1 and np.ptp(values) > 0
    return float(np.std(values, ddof=1)) if moves else np.nan


def _ratio(over: float, under: float) -> float:
    return over / under if under != 0 else np.nan


_TABLE = """
total_return | Total return | W_T − 1 | fraction | — | none | GIPS 2020
cagr | CAGR | W_T^(A/T) − 1 | fraction | — | geometric, A/T | GIPS 2020
volatility | Volatility | std(r)·√A | fraction | 1 | √A | Markowitz (1952)
sharpe | Sharpe ratio | mean(r − f)/std(r)·√A | ratio | 1 | √A | Sharpe (1994)
sortino | Sortino ratio | mean(r − f)·A / √(mean(min(r − f, 0)²)·A), all T in the mean | ratio | — | A over √A | Sortino & van der Meer (1991)
max_drawdown | Max drawdown | min(W/cummax(W) − 1), W₀ = 1 included | fraction | — | none | Magdon-Ismail & Atiya (2004)
longest_drawdown | Longest drawdown | most sessions in a row below an earlier high, an ongoing one included | sessions | — | none | Magdon-Ismail & Atiya (2004)
calmar | Calmar ratio | CAGR / |max drawdown|, over the whole span | ratio | — | through CAGR | Young (1991)
var_95 | VaR 95 % | 5 % quantile of r, linear between order statistics | fraction | — | none | RiskMetrics (1996)
es_95 | Expected shortfall 95 % | mean of the ⌊0.05·(T − 1)⌋ + 1 worst r | fraction | — | none | Acerbi & Tasche (2002)
skew | Skewness | √(T(T − 1))/(T − 2)·m₃/m₂^1.5, m central moments | ratio | 0 | none | Joanes & Gill (1998), G₁
kurtosis | Excess kurtosis | (T − 1)/((T − 2)(T − 3))·((T + 1)·(m₄/m₂² − 3) + 6) | ratio | 0 | none | Joanes & Gill (1998), G₂
hit_rate | Hit rate | share of r > 0 among r ≠ 0 | fraction | — | none | of this project
best_day | Best day | max r | fraction | — | none | of this project
worst_day | Worst day | min r | fraction | — | none | of this project
beta | Beta | cov(r − f, b − f)/var(b − f) | ratio | 1 | none | Sharpe (1964)
alpha | Alpha | (mean(r − f) − beta·mean(b − f))·A | fraction | — | × A | Jensen (1968)
information_ratio | Information ratio | mean(r − b)/std(r − b)·√A | ratio | 1 | √A | Grinold & Kahn (1999)
"""  # name, label, formula, unit, ddof, annualisation, source


def _registry() -> dict[str, Metric]:
    found = {}
    for line in _TABLE.strip().splitlines():
        name, label, formula, unit, ddof, yearly, source = (x.strip() for x in line.split(" | "))
        function, freedom = getattr(Sample, f"_{name}"), None if ddof == "—" else int(ddof)
        needs = name in ("beta", "alpha", "information_ratio")
        found[name] = Metric(name, label, formula, unit, freedom, yearly, source, function, needs)
    return found


METRICS = _registry()  # every figure by name, in the order of a table

# -------------------------------------------------------------------------------- tables


def summarise_returns(
    returns: Any, *, periods: int, benchmark: Any = None, risk_free: float = 0.0
) -> dict[str, float]:
    """Every figure of `METRICS` by name; NaN where undefined.

    `returns` and `benchmark` are simple returns per session, (T,), finite and at least −1, over the same sessions,
    else ConfigError; `periods` the sessions, and `risk_free` the simple rate, per year.
    """
    sample = make_sample(returns, benchmark, risk_free, periods)
    return {name: metric.of(sample) for name, metric in METRICS.items()}


def drawdown_table(returns: Any, *, worst: int = 10) -> pd.DataFrame:
    """The deepest drawdowns, deepest first, at most `worst` of them.

    Columns: depth; start, the first session below the old high; valley, the deepest; recovery, the first session
    back at the old high, or missing; sessions below the high; ongoing. Sessions are labels of the Series, else
    positions.
    """
    depth = drawdowns(returns)
    labels: Any = returns.index if isinstance(returns, pd.Series) else range(len(depth))
    under = np.concatenate([[False], depth < 0, [False]])
    starts = np.flatnonzero(under[1:] & ~under[:-1])
    ends = np.flatnonzero(under[:-1] & ~under[1:])  # first session that is back, T if none is
    rows = []
    for start, end in zip(starts, ends, strict=True):
        valley = start + int(np.argmin(depth[start:end]))
        back = labels[end] if end < len(depth) else None
        sessions = int(end - start)
        rows.append((depth[valley], labels[start], labels[valley], back, sessions, back is None))
    names = ["depth", "start", "valley", "recovery", "sessions", "ongoing"]
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values("depth", kind="stable", ignore_index=True).head(worst)


def monthly_table(returns: pd.Series) -> pd.DataFrame:
    """Compounded returns by year (rows) and month (columns 1 to 12), with the year's in ``year``.

    NaN for months without sessions; months covered in part hold what there is.
    """
    dates = pd.DatetimeIndex(returns.index)
    frame = pd.DataFrame({"growth": 1 + checked(returns), "year": dates.year, "month": dates.month})
    table = frame.pivot_table("growth", "year", "month", aggfunc="prod") - 1
    table = table.reindex(columns=range(1, 13))
    table["year"] = frame.groupby("year")["growth"].prod() - 1
    table.columns.name = "month"
    return table


def rolling(name: str, returns: Any, *, periods: int, window: int = 126) -> Floats:
    """One figure over the last `window` sessions at each session, (T,); NaN until the window is full."""
    values = checked(returns)
    if name not in METRICS or METRICS[name].benchmarked:
        known = ", ".join(key for key, metric in METRICS.items() if not metric.benchmarked)
        raise ConfigError(f"There is no rolling figure {name!r}. Known: {known}.")
    result = np.full(len(values), np.nan)
    if 1 <= window <= len(values):
        blocks = np.lib.stride_tricks.sliding_window_view(values, window)
        of = METRICS[name].of
        result[window - 1 :] = [of(Sample(block, None, 0.0, periods)) for block in blocks]
    return result


_VOLATILITY, _TREND = 63, 200  # sessions of the benchmark's volatility, and of its mean level
_DEEP = -0.10  # drawdown of the benchmark below which a session counts as in a fall


@dataclass(frozen=True, eq=False)
class Regime:
    """Some sessions, (T,) bool: what was looked at, and what was found."""

    kind: str
    label: str
    sessions: NDArray[np.bool_]


def regimes(benchmark: "pd.Series[float]") -> list[Regime]:
    """What kind of market each session was in, by the benchmark's returns before it.

    A session is sorted by what was known at the close before it; the cuts between the thirds of volatility are known
    only at the end, so regimes describe a result and trade nothing. Sessions whose window is not full yet are in none
    of their kind, and kinds without any session in one of their regimes are left out.
    """
    values = checked(benchmark)
    frame = pd.DataFrame({"return": values, "wealth": wealth(values)})
    before = pd.DataFrame(
        {
            "volatility": frame["return"].rolling(_VOLATILITY).std(ddof=1),
            "trend": frame["wealth"] / frame["wealth"].rolling(_TREND).mean() - 1,
            "depth": drawdowns(values),
        }
    ).shift(1)
    volatility, trend, depth = (before[name].to_numpy() for name in before)
    known = volatility[np.isfinite(volatility)]
    low, high = np.quantile(known, [1 / 3, 2 / 3]) if len(known) else (np.nan, np.nan)
    kinds = {
        f"Volatility, {_VOLATILITY} sessions": {
            "lowest third": volatility <= low,
            "middle third": (volatility > low) & (volatility <= high),
            "highest third": volatility > high,
        },
        f"Against {_TREND}-session mean": {"above": trend > 0, "below": trend <= 0},
        "Below its high": {
            f"by less than {-100 * _DEEP:.0f} %": depth > _DEEP,
            f"by {-100 * _DEEP:.0f} % or more": depth <= _DEEP,
        },
    }
    return [
        Regime(kind, label, mask)
        for kind, parts in kinds.items()
        if all(mask.any() for mask in parts.values())
        for label, mask in parts.items()
    ]
