"""Milliseconds of the engine and of all figures on 500 assets x 2,500 days: ``python benchmarks/backtest.py``.

Daily long-only weights with costs, simulated prices. Medians of 5 after one warm run, in seconds of
the clock and, for machines that others use too, of this process. Where vectorbt is installed (the
extra ``oracle``) it runs the same orders warm in the same process. Sizes are halved to show that cost
grows no faster than days and assets.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from quantseq.market.bars import Bars, Panel
from quantseq.trading.backtest import simulate
from quantseq.trading.costs import Costs
from quantseq.trading.metrics import drawdown_table, monthly_table, rolling, summarise_returns

DAYS, ASSETS, RUNS = 2_500, 500, 5
ENGINE_BUDGET, FIGURES_BUDGET, TIMES_FASTER = 0.150, 0.100, 8.0


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of the clock and of this process, after one run that is not counted."""
    work()
    clock, process = [], []
    for _ in range(RUNS):
        begun, spent = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - begun)
        process.append(time.process_time() - spent)
    return statistics.median(clock), statistics.median(process)


def market(days: int, assets: int) -> tuple[Panel, pd.DataFrame]:
    """Simulated prices and random long-only weights, decided daily."""
    rng = np.random.default_rng(0)
    close = np.exp(np.cumsum(rng.normal(0, 0.02, (days, assets)), axis=0)) * 50
    opened = close * np.exp(rng.normal(0, 0.01, (days, assets)))
    sessions = pd.bdate_range("2010-01-01", periods=days)
    day, none = sessions.to_numpy().astype("datetime64[D]"), np.zeros(days)
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    panel = Panel(
        Bars(
            f"A{k}",
            day,
            *(part[:, k] for part in (opened, high, low, close, close)),
            none + 1e6,
            none,
            none,
        )
        for k in range(assets)
    )
    weights = rng.random((days, assets))
    weights /= weights.sum(axis=1, keepdims=True)
    return panel, pd.DataFrame(weights, sessions, list(panel.symbols))


def show(name: str, seconds: tuple[float, float], budget: float | None = None) -> None:
    """One line, with whether the budget is kept."""
    verdict = "" if budget is None else f"   budget {1e3 * budget:.0f} ms"
    if budget is not None:
        verdict += ": kept" if seconds[0] <= budget else ": MISSED"
        if seconds[0] > budget >= seconds[1]:
            verdict += " by the clock of a busy machine, kept in seconds of the process"
    print(f"{name:52}{1e3 * seconds[0]:9.1f} ms{1e3 * seconds[1]:9.1f} ms{verdict}")


def main() -> None:
    """Time the engine, the figures, and vectorbt where it is."""
    print(f"{'':52}{'clock':>12}{'process':>12}")
    panel, weights = market(DAYS, ASSETS)
    costs = Costs(cost_bps=5)
    exact = timed(lambda: simulate(panel, weights, costs=costs))
    show(f"exact engine, {ASSETS} assets x {DAYS} days", exact, ENGINE_BUDGET)
    full = Costs(cost_bps=5, half_spread_bps=2, impact=1.0, min_commission=1.0, capital=1e7)
    show(
        "the same with impact and least commission",
        timed(lambda: simulate(panel, weights, costs=full)),
    )
    result = simulate(panel, weights, costs=costs)
    net = result.to_frame()["returns_net"]
    held = net.shift(1).fillna(0.0)

    def figures() -> None:
        summarise_returns(net, periods=252, benchmark=held)
        drawdown_table(net)
        monthly_table(net)
        rolling("sharpe", net, periods=252)

    show("all figures, drawdowns, months, rolling Sharpe", timed(figures), FIGURES_BUDGET)
    for days, assets in ((DAYS // 2, ASSETS), (DAYS, ASSETS // 2), (DAYS * 2, ASSETS)):
        one, book = market(days, assets)
        spent = timed(lambda one=one, book=book: simulate(one, book, costs=costs))
        share = spent[1] / exact[1]
        size = days * assets / (DAYS * ASSETS)
        show(f"{assets} assets x {days} days: {share:.2f} of the time for {size:.1f}", spent)
    if importlib.util.find_spec("vectorbt") is None:
        print("vectorbt is not installed; pip install 'quantseq[oracle]' to compare")
        return
    import vectorbt as vbt

    opened, close = (
        pd.DataFrame(panel.matrix(name), weights.index, weights.columns)
        for name in ("open", "close")
    )

    def theirs() -> object:
        return vbt.Portfolio.from_orders(
            close,
            size=weights.shift(1),
            price=opened,
            val_price=opened,
            fees=costs.one_way_bps / 1e4,
            size_type="targetpercent",
            group_by=True,
            cash_sharing=True,
            call_seq="auto",
            init_cash=1.0,
        ).value()

    other = timed(theirs)
    show("vectorbt from_orders + value(), warm", other)
    times = other[1] / exact[1]
    print(f"{times:.1f} x faster than vectorbt (at least {TIMES_FASTER:g} wanted)")


if __name__ == "__main__":
    main()
