"""What every strategy is shown beside: rules that need no forecast, at the same costs.

Owns the rules and how they are run over the same decision dates, symbols, costs and fills as the
strategy, and the placebos, which are its own decisions at a random time. Knows nothing of models. A rule
looks at prices up to each decision's close and no further; a year is that of the run (`Costs.year`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.market.bars import Floats, Panel
from quantseq.trading.account import BacktestResult
from quantseq.trading.backtest import buy_and_hold, prices, simulate
from quantseq.trading.costs import Costs, FillPrice
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import VolTarget, changed

DRAWS = 20  # random entries that are run; the one with the median Sharpe ratio is shown
_DECAY = 0.94  # RiskMetrics' decay of daily variance
_FAST, _SLOW = 50, 200  # sessions of the two moving averages


@dataclass(frozen=True)
class _Market:
    """What a rule sees: adjusted closes up to each decision, and what it must match."""

    close: Floats  # (D, S) on the panel's calendar, carried where a bar is missing, NaN before the first
    rows: NDArray[np.intp]  # of each decision
    index: pd.DatetimeIndex  # dates of the T decisions
    long_only: bool
    year: int  # sessions per year

    @property
    def slices(self) -> Floats:
        """1/n of capital by decision, n the symbols listed so far: (T, 1)."""
        listed = np.isfinite(self.close[self.rows]).sum(axis=1, keepdims=True)
        return np.where(listed > 0, 1.0 / np.maximum(listed, 1), 0.0)

    def sided(self, signal: Floats) -> Floats:
        """Signs in slices; NaN, for want of history, is no position."""
        side: Floats = np.nan_to_num(np.sign(signal))
        return np.asarray((np.maximum(side, 0.0) if self.long_only else side) * self.slices)


@dataclass(frozen=True)
class Benchmark:
    """One rule, in words."""

    name: str
    label: str
    formula: str
    source: str


_TABLE = f"""
buy_and_hold | Buy-and-hold | 1/n of the starting money in each symbol, then held | Sharpe (1991)
equal_weight | Equal weight | 1/n of equity in each symbol, restored on the first decision of a month | DeMiguel, Garlappi & Uppal (2009)
ewma_vol_target | Volatility target on EWMA | min(1, 15 % / (s·√A)) of each slice, s² = 0.94·s² + 0.06·r², A sessions a year, band 0.1 | RiskMetrics (1996); Moreira & Muir (2017)
momentum_12m | 12-month momentum | sign(close / close a year of sessions ago − 1) of each slice | Moskowitz, Ooi & Pedersen (2012)
moving_averages | Moving-average cross | sign(mean of 50 closes − mean of 200 closes) of each slice | Brock, Lakonishok & LeBaron (1992)
random_entry | Random entry | the strategy's own weights, moved in a circle to a random time: same exposure and turnover; the median Sharpe ratio of {DRAWS} draws | Aronson (2006)
"""  # name, label, formula, source

# every rule by name, in the order of a table
BENCHMARKS = {
    line.split(" | ")[0]: Benchmark(*line.split(" | ")) for line in _TABLE.strip().splitlines()
}


def _equal_weight(market: _Market) -> Floats:
    return np.asarray(np.isfinite(market.close[market.rows]) * market.slices)


def _ewma_vol_target(market: _Market) -> Floats:
    moves = pd.DataFrame(np.log(market.close)).diff()
    variance = (moves**2).ewm(alpha=1 - _DECAY, min_periods=20).mean().to_numpy()[market.rows]
    row, symbol = np.nonzero(variance > 0)
    weights = np.zeros(variance.shape)
    if len(row):
        moments = pd.DataFrame({"symbol": symbol, "cutoff": market.index[row], "mean": 0.0})
        moments = moments.assign(std=np.sqrt(variance[row, symbol]), prob_up=0.5)
        decided = VolTarget(periods=market.year, band=0.1).weights(moments)
        at = np.searchsorted(market.index, decided.index)
        weights[np.ix_(at, decided.columns.to_numpy())] = decided.to_numpy()
    return weights


def _momentum(market: _Market) -> Floats:
    past = np.full_like(market.close, np.nan)
    past[market.year :] = market.close[: -market.year]
    return market.sided((market.close / past - 1)[market.rows])


def _moving_averages(market: _Market) -> Floats:
    close = pd.DataFrame(market.close)
    gap = close.rolling(_FAST).mean() - close.rolling(_SLOW).mean()
    return market.sided(gap.to_numpy()[market.rows])


# how those decide that look at prices: weights (T, S)
_DECIDE: dict[str, Callable[[_Market], Floats]] = {
    "equal_weight": _equal_weight,
    "ewma_vol_target": _ewma_vol_target,
    "momentum_12m": _momentum,
    "moving_averages": _moving_averages,
}


@dataclass(frozen=True, eq=False)
class BenchmarkResult:
    """A rule and what it earned; of random entries also what all draws did."""

    rule: Benchmark
    result: BacktestResult
    draws: tuple[Floats, ...] = ()  # their net returns
    sharpe_range: tuple[float, float] | None = None  # 5 % and 95 % quantile of their Sharpe ratios


def run_benchmarks(
    panel: Panel,
    weights: pd.DataFrame,
    *,
    costs: Costs = Costs(),
    fill: FillPrice = "open",
    seed: int = 0,
    trade: pd.DataFrame | None = None,
    draws: int = DRAWS,
) -> dict[str, BenchmarkResult]:
    """Run every rule over the decision dates, symbols, costs and fills of a strategy.

    `weights` are the strategy's, by decision date and symbol: rules go short only if it ever does. Bars before the
    first decision are the history that they look back on. `costs`, `fill` and `trade` are as in `simulate`, `seed`
    and `draws` those of the random entries. By name, over the sessions that `simulate` gives the strategy.
    """
    run: dict[str, Any] = {"costs": costs, "fill": fill}
    market = _look(panel, weights, costs.year)
    found: dict[str, BenchmarkResult] = {}
    for name, decide in _DECIDE.items():
        decided = pd.DataFrame(decide(market), market.index, weights.columns)
        moved = changed(decided)
        if name == "equal_weight":  # restored at the first decision of a month
            month = market.index.year * 12 + market.index.month
            moved.iloc[1:] |= (month[1:] != month[:-1])[:, None]
        result = simulate(panel, decided, trade=moved, **run)
        found[name] = BenchmarkResult(BENCHMARKS[name], result)
    sessions = found["equal_weight"].result.sessions
    symbols = [str(name) for name in weights.columns]
    held = buy_and_hold(panel, symbols, sessions[0], sessions[-1], **run)
    found["buy_and_hold"] = BenchmarkResult(BENCHMARKS["buy_and_hold"], held)
    entries = [
        simulate(panel, moved, trade=mask, **run)
        for moved, mask in random_entries(weights, trade, seed=seed, draws=draws)
    ]
    found["random_entry"] = _median(entries, market.year)
    return {name: found[name] for name in BENCHMARKS}


def _look(panel: Panel, weights: pd.DataFrame, year: int) -> _Market:
    """What rules beside a strategy with these weights look at."""
    index = pd.DatetimeIndex(weights.index)
    close = prices(panel, [str(name) for name in weights.columns])[1]
    return _Market(
        pd.DataFrame(close).ffill().to_numpy(),
        np.searchsorted(panel.sessions, index.to_numpy().astype("datetime64[D]")),
        index,
        long_only=not (weights.to_numpy() < 0).any(),
        year=year,
    )


def _median(entries: list[BacktestResult], periods: int) -> BenchmarkResult:
    """The entry with the median Sharpe ratio, and the range of all."""
    nets = tuple(one.returns_net for one in entries)
    sharpes = np.array([METRICS["sharpe"](net, periods=periods) for net in nets])
    order = np.argsort(sharpes, kind="stable")[: np.isfinite(sharpes).sum()]  # NaN come last
    if not len(order):
        return BenchmarkResult(BENCHMARKS["random_entry"], entries[0], nets)
    low, high = np.quantile(sharpes[order], [0.05, 0.95]).tolist()
    shown = entries[order[(len(order) - 1) // 2]]
    return BenchmarkResult(BENCHMARKS["random_entry"], shown, nets, (low, high))


def random_entries(
    weights: pd.DataFrame, trade: pd.DataFrame | None, *, seed: int, draws: int
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """The same decisions at another time: weights and their mask, moved in a circle.

    Exposure is exactly the same, and turnover but for the seam; only the timing is random.
    """
    rng, labels = np.random.default_rng(seed), (weights.index, weights.columns)
    ordered = np.ones(weights.shape, bool) if trade is None else trade.to_numpy(bool)
    moved = []
    for shift in rng.integers(1, max(len(weights), 2), size=draws):
        turned, mask = (np.roll(part, shift, axis=0) for part in (weights.to_numpy(), ordered))
        mask[[0, shift % len(mask)]] = True  # a start, and the seam
        moved.append((pd.DataFrame(turned, *labels), pd.DataFrame(mask, *labels)))
    return moved
