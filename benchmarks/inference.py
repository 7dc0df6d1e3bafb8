"""Whether the statistics of `trading.inference` say what they claim, where nothing is to be found.

``python benchmarks/inference.py [--panel FILE] [--from DATE] [--draws N]``: on the bundled stocks, or on a
panel of yours, at no cost,

- how often the 95 % interval of the Sharpe ratio of a coin toss covers 0 (every session anew, long or
  short in each symbol), and how often the verdict claims an edge for it;
- the size of Hansen's SPA at 5 % and 10 % over 20 coins against another one;
- the mean PBO over 20 coins.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from quantseq.market.bars import Panel
from quantseq.market.readers import read_panel
from quantseq.pipeline.data import sample_panel
from quantseq.trading.backtest import buy_and_hold, simulate
from quantseq.trading.costs import Costs
from quantseq.trading.inference import bootstrap_interval, overfitting, spa, verdict
from quantseq.trading.metrics import METRICS

FREE = Costs(cost_bps=0, borrow_bps=0)
FEW = 20


def coin(panel: Panel, seed: int) -> np.ndarray:
    """Net returns of tossing a coin for every symbol and session."""
    tosses = np.random.default_rng(seed).choice([-1.0, 1.0], (len(panel.sessions), len(panel)))
    index = pd.DatetimeIndex(panel.sessions.astype("datetime64[s]"))
    weights = pd.DataFrame(tosses / len(panel), index, list(panel.symbols))
    return simulate(panel, weights, costs=FREE).returns_net


def measure(panel: Panel, draws: int) -> None:
    """Print what the tests say of coins."""
    coins = np.column_stack([coin(panel, seed) for seed in range(draws)])
    held = buy_and_hold(panel, costs=FREE, start=panel.sessions[1]).returns_net
    sharpe = partial(METRICS["sharpe"], periods=252)
    covered = edges = 0
    for seed, net in enumerate(coins.T):
        low, high = bootstrap_interval(sharpe, net, seed=seed, resamples=500)
        covered += low < 0 < high
        edges += verdict(net, held, seed=seed, periods=252, audit_passed=True, resamples=200).edge
    own = [sharpe(net) for net in coins.T]
    print(
        f"{len(panel)} symbols, {len(coins)} sessions {panel.sessions[0]} to {panel.sessions[-1]}; "
        f"buy-and-hold Sharpe {sharpe(held):+.2f}, coins {np.mean(own):+.2f} ± {np.std(own):.2f}"
    )
    print(
        f"interval of the Sharpe ratio covers 0 for {covered} of {draws} coins; {edges} edges claimed"
    )
    fresh = range(draws, draws + (FEW + 1) * draws)
    rows = np.array([coin(panel, seed) for seed in fresh]).reshape(draws, FEW + 1, -1)
    p = np.array([spa(few[1:].T, few[0], seed=k, resamples=500) for k, few in enumerate(rows)])
    pbo = [overfitting(few[1:].T).pbo for few in rows]
    low, high = (p < 0.05).mean(), (p < 0.1).mean()
    print(f"SPA of {draws} times {FEW} coins: p < 0.05 in {low:.1%}, p < 0.10 in {high:.1%}")
    print(f"PBO of {draws} times {FEW} coins: mean {np.mean(pbo):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--panel", type=Path)
    parser.add_argument("--from", dest="first")
    parser.add_argument("--draws", type=int, default=100)
    asked = parser.parse_args()
    prices = sample_panel() if asked.panel is None else read_panel(asked.panel)
    prices = prices.between(asked.first or "2004-08-19")
    measure(prices, max(asked.draws, FEW + 1))
