"""What a sceptic asks of the strategy: whether it is luck, and whether it is tradable.

Owns the wording of these two sections. Every figure comes from the run or from the trading room.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from quantseq.report import charts, words
from quantseq.report.curves import Line, curves
from quantseq.report.overview import days, ends, figure, floats, month_rows
from quantseq.report.page import (
    HALF,
    Block,
    Chart,
    Facts,
    Key,
    Missing,
    Row,
    Section,
    Sheet,
    Table,
    chart,
    thinned,
)
from quantseq.report.run import Run
from quantseq.trading.attribution import ACCOUNT
from quantseq.trading.luck import psr
from quantseq.trading.performance import METRICS, wealth


def luck(run: Run) -> Section:
    """Whether the result could be chance."""
    verdict = run.result.get("verdict") or {}
    low, high = ends(verdict.get("interval"))
    middle = words.known(verdict.get("sharpe_difference"))
    blocks: list[Block] = []
    if low is None or high is None or middle is None:
        blocks.append(Missing("This run stored no interval of the Sharpe difference."))
    else:
        blocks.append(_difference(low, middle, high))
    net = run.daily("strategy_net")
    trials = verdict.get("n_trials")
    items = [
        (
            "Probability that the true Sharpe is above 0 (PSR)",
            words.percent(verdict.get("psr", None if net is None else psr(net))),
        ),
        (
            "The same, discounted for all trials (DSR)",
            f"{words.percent(verdict.get('dsr'))}; an edge needs more than 95{words.SPACE}%",
        ),
        (
            "Trials counted",
            f"{words.count(trials)}, from the ledger of every backtest in this folder",
        ),
        ("Ledger", str(verdict.get("ledger") or words.DASH)),
        (
            "Rule",
            "an edge is claimed only if the whole interval lies above 0 and the DSR exceeds 95 %",
        ),
    ]
    blocks.append(Facts(items))
    return Section("luck", "Is it luck?", "", blocks)


def _difference(low: float, middle: float, high: float) -> Block:
    if low > 0:
        reading = "the whole interval lies above 0: chance alone rarely does that."
    elif high < 0:
        reading = "the whole interval lies below 0: worse than doing nothing."
    else:
        reading = "0 lies inside, so chance alone can explain the difference."
    shown = [words.number(value, sign=True) for value in (low, middle, high)]
    return chart(
        "difference",
        "Sharpe ratio against buy-and-hold's, with its 95 % interval",
        f"Difference {shown[1]}, interval {shown[0]} to {shown[2]}: {reading}",
        charts.whisker(low, middle, high, unit="Sharpe ratio of the strategy minus buy-and-hold's"),
        sizes=((900, 110), (340, 110)),
        table=Table(
            ["", "low", "estimate", "high"],
            [["strategy − buy-and-hold", *shown]],
            "Stationary bootstrap",
        ),
    )


def tradable(run: Run) -> Section:
    """What costs left of it."""
    net, gross = run.daily("strategy_net"), run.daily("strategy_gross")
    if net is None or gross is None:
        return Section(
            "costs",
            "Is it tradable?",
            blocks=[Missing("This run stored no returns before costs.")],
        )
    names = ("cagr", "volatility", "sharpe", "total_return")
    before, after = (
        [METRICS[name](series, periods=run.periods) for name in names] for series in (gross, net)
    )
    rows = [
        [METRICS[name].label, figure(name, b), figure(name, a), figure(name, a - b)]
        for name, b, a in zip(names, before, after, strict=True)
    ]
    rows[1][3] = words.percent(after[1] - before[1], sign=True)
    figures = Sheet(
        "Before and after costs",
        _cost_reading(run),
        Table(["", "before", "after", "change"], rows, style="dense"),
    )
    blocks: list[Block] = [Row("pair", [figures, _gross_and_net(gross, net)])]
    return Section("costs", "Is it tradable?", "", [*blocks, *_rivals(run), *_sources(run)])


def _rivals(run: Run) -> list[Block]:
    """Rules that need no forecast, over the same sessions at the same costs."""
    rivals = run.result.get("rivals")
    if not isinstance(rivals, Mapping) or not rivals:
        return []
    names = ("cagr", "volatility", "sharpe", "max_drawdown")
    own = {"label": "Strategy", "metrics": (run.result.get("metrics") or {}).get("strategy")}
    rows, rules = [], []
    for one in (own, *rivals.values()):
        known = _mapping(one)
        figures = _mapping(known.get("metrics"))
        turnover = words.number(known.get("turnover"), 1)
        label = str(known.get("label") or words.DASH)
        rows.append([label, *(figure(name, figures.get(name)) for name in names), turnover])
        rules.append([label, str(known.get("formula") or ""), str(known.get("source") or "")])
    turned = run.daily("turnover")
    rows[0][-1] = words.number(None if turned is None else turned.mean() * run.periods, 1)
    low, high = ends(_mapping(rivals.get("random_entry")).get("sharpe_range"))
    reading = "The same sessions, symbols, costs and fills, without any forecast."
    if low is not None and high is not None:
        reading += (
            f" Nine in ten random entries had a Sharpe ratio between {words.number(low, sign=True)} "
            f"and {words.number(high, sign=True)}."
        )
    headers = ["", *(METRICS[name].label for name in names), "turnover a year"]
    table = Table(headers, rows, style="dense", strong=frozenset({0}))
    more = Table(
        ["rule", "formula", "source"], rules[1:], "The rules and where they come from", "tww"
    )
    return [Sheet("Against simple rules", reading, table, more)]


def _amounts(part: Mapping[str, Any]) -> list[float]:
    return [words.known(value) or 0.0 for value in part.values()]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sources(run: Run) -> list[Block]:
    """Profit by symbol, side and cost."""
    parts = run.result.get("attribution")
    if (
        not isinstance(parts, list)
        or not parts
        or not all(isinstance(one, Mapping) for one in parts)
    ):
        return []
    parts = [one for one in parts if one.get("symbol") != ACCOUNT or any(_amounts(one))]
    kinds = [
        name
        for name in parts[0]
        if name in ("symbol", "long", "short", "total") or any(one.get(name) for one in parts)
    ]
    rows = [
        [str(one.get("symbol")), *(words.percent(one.get(k), 2, sign=True) for k in kinds[1:])]
        for one in parts
    ]
    sums = [sum(words.known(one.get(kind)) or 0.0 for one in parts) for kind in kinds[1:]]
    rows.append(["all", *(words.percent(value, 2, sign=True) for value in sums)])
    headers = ["", *(kind.replace("_", " ") for kind in kinds[1:])]
    reading = "In percent of the starting equity; the parts sum to the total return."
    table = Table(headers, rows, style="dense", strong=frozenset({len(rows) - 1}))
    return [Sheet("Where the profit came from", reading, table)]


def _cost_reading(run: Run) -> str:
    parts = []
    turnover, cost = run.daily("turnover"), run.daily("cost")
    if turnover is not None:
        yearly = turnover.mean() * run.periods
        parts.append(f"Buys and sales came to {words.number(yearly, 1)} × equity a year")
    if cost is not None:
        yearly = cost.mean() * run.periods
        parts.append(f"costs took {words.percent(yearly, 2)} of equity a year")
    text = ", ".join(parts) + ". " if parts else ""
    charged = words.bps(run.manifest.get("cost_bps"))
    level = words.known(run.result.get("break_even_bps"))
    if level is None:
        return (
            f"{text}{charged} of every trade charged; no break-even cost was stored for this run."
        )
    return (
        f"{text}{charged} of every trade charged; above {words.bps(level)} the strategy would have "
        "earned less than cash."
    )


def _gross_and_net(gross: "pd.Series[float]", net: "pd.Series[float]") -> Chart:
    before, after = (pd.Series(wealth(series), series.index) for series in (gross, net))
    lost = 1 - after.iloc[-1] / before.iloc[-1] if before.iloc[-1] else np.nan
    log = bool((before > 0).all() and (after > 0).all())
    lines = [
        Line(days(after.index), floats(after)),
        Line(days(before.index), floats(before), "neutral", dashed=True),
    ]
    return chart(
        "netting",
        f"Growth of 1.00 before and after costs{', log scale' if log else ''}",
        f"Of {words.number(before.iloc[-1])} before costs, {words.number(after.iloc[-1])} were left; "
        f"costs took {words.percent(lost, 2)} of the final value.",
        curves(lines, log=log, end=words.number),
        sizes=HALF,
        table=Table(
            ["session", "before", "after"],
            thinned(month_rows({"before": before, "after": after}, words.number), 60),
            "Value of 1.00",
        ),
        legend=[Key("accent", "line", "after costs"), Key("neutral", "dash", "before costs")],
    )
