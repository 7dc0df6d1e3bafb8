"""The rivals that every strategy is shown beside: rules that need no forecast, at the same costs.

Owns the rules and how they are run over the same decision dates, symbols, costs and fills as the
strategy. Knows nothing of models. A rival looks at prices up to each decision's close and no further.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.market.bars import Floats, Panel
from quantseq.trading.backtest import Fill, backtest, buy_and_hold
from quantseq.trading.broker.account import BacktestResult
from quantseq.trading.broker.costs import Costs
from quantseq.trading.broker.orders import prices
from quantseq.trading.decisions.rules import VolTarget
from quantseq.trading.measures import METRICS
from quantseq.trading.policy import changed

DECAY = 0.94
"""RiskMetrics' decay of daily variance."""

YEAR, FAST, SLOW = 252, 50, 200
"""Sessions of the momentum window and of the two moving averages."""

DRAWS = 20
"""Random entries that are run; the one with the median Sharpe ratio is shown."""


@dataclass(frozen=True)
class Market:
    """What a rival sees: adjusted closes up to each decision, and what it must match.

    Attributes
    ----------
    close : (D, S) float64
        Adjusted closes on the panel's calendar, carried where a bar is missing; NaN before the first.
    rows : (T,) int
        Row of `close` at each decision.
    index : DatetimeIndex
        The T decision dates.
    long_only : bool
        Whether the strategy is.
    """

    close: Floats
    rows: NDArray[np.intp]
    index: pd.DatetimeIndex
    long_only: bool

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
class Rival:
    """One rival, in words.

    Attributes
    ----------
    name, label, formula, source : str
    """

    name: str
    label: str
    formula: str
    source: str


def _moves(weights: Floats) -> NDArray[np.bool_]:
    return np.asarray(changed(pd.DataFrame(weights)).to_numpy(dtype=bool))


def _equal_weight(market: Market) -> tuple[Floats, NDArray[np.bool_]]:
    weights = np.isfinite(market.close[market.rows]) * market.slices
    month = market.index.year * 12 + market.index.month
    trade = _moves(weights).copy()
    trade[1:] |= (month[1:] != month[:-1])[:, None]
    return weights, trade


def _ewma_vol_target(market: Market) -> tuple[Floats, NDArray[np.bool_]]:
    moves = pd.DataFrame(np.log(market.close)).diff()
    variance = (moves**2).ewm(alpha=1 - DECAY, min_periods=20).mean().to_numpy()[market.rows]
    known = variance > 0
    row, symbol = np.nonzero(known)
    weights = np.zeros(variance.shape)
    if len(row):
        moments = pd.DataFrame(
            {
                "symbol": symbol,
                "cutoff": market.index[row],
                "mean": 0.0,
                "std": np.sqrt(variance[known]),
                "prob_up": 0.5,
            }
        )
        decided = VolTarget(band=0.1).weights(moments)
        at = np.searchsorted(market.index, decided.index)
        weights[np.ix_(at, decided.columns.to_numpy())] = decided.to_numpy()
    return weights, _moves(weights)


def _momentum(market: Market) -> tuple[Floats, NDArray[np.bool_]]:
    past = np.full_like(market.close, np.nan)
    past[YEAR:] = market.close[:-YEAR]
    weights = market.sided((market.close / past - 1)[market.rows])
    return weights, _moves(weights)


def _moving_averages(market: Market) -> tuple[Floats, NDArray[np.bool_]]:
    close = pd.DataFrame(market.close)
    gap = close.rolling(FAST).mean() - close.rolling(SLOW).mean()
    weights = market.sided(gap.to_numpy()[market.rows])
    return weights, _moves(weights)


RIVALS: Mapping[str, Rival] = {
    rival.name: rival
    for rival in (
        Rival(
            "buy_and_hold",
            "Buy-and-hold",
            "1/n of the starting money in each symbol, then held",
            "Sharpe (1991)",
        ),
        Rival(
            "equal_weight",
            "Equal weight",
            "1/n of equity in each symbol, restored on the first decision of a month",
            "DeMiguel, Garlappi & Uppal (2009)",
        ),
        Rival(
            "ewma_vol_target",
            "Volatility target on EWMA",
            "min(1, 15 % / (s·√252)) of each slice, s² = 0.94·s² + 0.06·r², band 0.1",
            "RiskMetrics (1996); Moreira & Muir (2017)",
        ),
        Rival(
            "momentum_12m",
            "12-month momentum",
            "sign(close / close 252 sessions ago − 1) of each slice",
            "Moskowitz, Ooi & Pedersen (2012)",
        ),
        Rival(
            "moving_averages",
            "Moving-average cross",
            "sign(mean of 50 closes − mean of 200 closes) of each slice",
            "Brock, Lakonishok & LeBaron (1992)",
        ),
        Rival(
            "random_entry",
            "Random entry",
            "the strategy's own weights, moved in a circle to a random time: same exposure and "
            f"turnover; the median Sharpe ratio of {DRAWS} draws",
            "Aronson (2006)",
        ),
    )
}
"""Every rival by name, in the order of a table."""

DECIDE: Mapping[str, Callable[[Market], tuple[Floats, NDArray[np.bool_]]]] = {
    "equal_weight": _equal_weight,
    "ewma_vol_target": _ewma_vol_target,
    "momentum_12m": _momentum,
    "moving_averages": _moving_averages,
}
"""Those that look at prices: weights (T, S), and where they are traded (T, S)."""


@dataclass(frozen=True, eq=False)
class Contest:
    """A rival's rule and what it earned.

    Attributes
    ----------
    rival : Rival
    result : BacktestResult
    sharpe_range : (float, float) or None
        5 % and 95 % quantile of the Sharpe ratio over the draws of a random rival.
    """

    rival: Rival
    result: BacktestResult
    sharpe_range: tuple[float, float] | None = None


def run_rivals(
    panel: Panel,
    weights: pd.DataFrame,
    *,
    costs: Costs | None = None,
    fill: Fill = "open",
    seed: int = 0,
    trade: pd.DataFrame | None = None,
    draws: int = DRAWS,
) -> dict[str, Contest]:
    """Run every rival over the decision dates, symbols, costs and fills of a strategy.

    Parameters
    ----------
    panel : Panel
        Its bars before the first decision are the history that the rivals look back on.
    weights : DataFrame
        The strategy's, by decision date and symbol. Rivals go short only if it ever does.
    costs, fill, trade
        As in `backtest`.
    seed : int
        Of the random entries.
    draws : int
        Random entries, at least 1.

    Returns
    -------
    dict
        Name to `Contest`, over the sessions that `backtest` gives the strategy.
    """
    index = pd.DatetimeIndex(weights.index)
    names: Sequence[str] = [str(name) for name in weights.columns]
    run: dict[str, Any] = {"costs": costs, "fill": fill}
    market = see(panel, weights)

    def played(name: str) -> BacktestResult:
        decided, moved = (pd.DataFrame(x, index, weights.columns) for x in DECIDE[name](market))
        return backtest(panel, decided, trade=moved, **run)

    results = {name: played(name) for name in DECIDE}
    sessions = results["equal_weight"].sessions
    results["buy_and_hold"] = buy_and_hold(panel, names, sessions[0], sessions[-1], **run)
    tried = [
        backtest(panel, one, trade=mask, **run)
        for one, mask in random_entries(weights, trade, seed=seed, draws=draws)
    ]
    sharpes = np.array([METRICS["sharpe"](one.returns_net) for one in tried])
    order = np.argsort(sharpes, kind="stable")[: np.isfinite(sharpes).sum()]  # NaN come last
    spread: tuple[float, float] | None = None
    if len(order):
        low, high = np.quantile(sharpes[order], [0.05, 0.95])
        spread = float(low), float(high)
    results["random_entry"] = tried[int(order[(len(order) - 1) // 2]) if len(order) else 0]
    return {
        name: Contest(rival, results[name], spread if name == "random_entry" else None)
        for name, rival in RIVALS.items()
    }


def see(panel: Panel, weights: pd.DataFrame) -> Market:
    """What rivals of a strategy with these weights look at."""
    index = pd.DatetimeIndex(weights.index)
    names = [str(name) for name in weights.columns]
    close = pd.DataFrame(prices(panel, names)[1]).ffill().to_numpy()
    rows = np.searchsorted(panel.sessions, index.to_numpy().astype("datetime64[D]"))
    return Market(close, rows, index, long_only=not (weights.to_numpy() < 0).any())


def random_entries(
    weights: pd.DataFrame, trade: pd.DataFrame | None, *, seed: int, draws: int
) -> list[tuple[pd.DataFrame, pd.DataFrame | None]]:
    """The same decisions at another time: weights and their mask, moved in a circle.

    Exposure is exactly the same, and turnover but for the seam; only the timing is random.
    """
    rng = np.random.default_rng(seed)
    moved: list[tuple[pd.DataFrame, pd.DataFrame | None]] = []
    for shift in rng.integers(1, max(len(weights), 2), size=draws):
        turned = pd.DataFrame(
            np.roll(weights.to_numpy(), shift, axis=0), weights.index, weights.columns
        )
        if trade is None:
            moved.append((turned, None))
            continue
        mask = np.roll(trade.to_numpy(dtype=bool), shift, axis=0)
        mask[0] = True  # a start
        mask[shift % len(mask)] |= True  # the seam
        moved.append((turned, pd.DataFrame(mask, weights.index, weights.columns)))
    return moved
