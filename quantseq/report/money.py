"""What the strategy earned, taken apart: months, folds, risk.

Owns the wording of these sections. Every figure comes from the run or from the trading room.
"""

from typing import Any

import numpy as np
import pandas as pd

from quantseq.report import charts, words
from quantseq.report.overview import (
    RIVAL,
    STRATEGY,
    ends,
    figure,
    floats,
    metrics,
)
from quantseq.report.page import (
    HALF,
    Block,
    Cell,
    Chart,
    Key,
    Missing,
    Row,
    Section,
    Sheet,
    Table,
    chart,
)
from quantseq.report.run import Run
from quantseq.trading.performance import METRICS, drawdown_table, monthly_table

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HEAT = (0.005, 0.02, 0.04, 0.08)
"""Absolute monthly returns at which the tint of a cell deepens."""


FLAT = 0.0005
"""Months that are printed as 0.0."""

BARS = 31
"""Of the histogram of daily returns: odd, so that one holds the days near 0."""


def returns(run: Run) -> Section:
    """Months and years."""
    net, rival = run.daily("strategy_net"), run.daily("buy_and_hold")
    if net is None:
        return Section(
            "returns", "Returns", blocks=[Missing("The strategy's returns are all empty.")]
        )
    return Section("returns", "Returns", "", [_months(net, rival)])


def _tone(value: float) -> str:
    level = int(np.searchsorted(HEAT, abs(value), "right")) if np.isfinite(value) else 0
    return f"{'up' if value > 0 else 'down'}{level}" if level else ""


def _months(net: "pd.Series[float]", rival: "pd.Series[float] | None") -> Block:
    table = monthly_table(net)
    years, months = [str(year) for year in table.index], floats(table[list(range(1, 13))])
    whole = floats(table["year"])
    other = None if rival is None else floats(monthly_table(rival)["year"])
    rows: list[list[str | Cell]] = []
    for place, year in enumerate(years):
        row: list[str | Cell] = [year, *(Cell(_bare(v), _tone(v)) for v in months[place])]
        row.append(_bare(whole[place]))
        if other is not None:
            row += [_bare(other[place]), _bare(whole[place] - other[place])]
        rows.append(row)
    won, known = int((months >= FLAT).sum()), int(np.isfinite(months).sum())
    flat = int((np.abs(months) < FLAT).sum())
    reading = f"{won} of {words.plural(known, 'month')} ended higher"
    reading += f", {flat} flat." if flat else "."
    if len(years) > 1:
        best, worst = int(np.argmax(whole)), int(np.argmin(whole))
        reading += (
            f" Of {len(years)} calendar years the best was {years[best]} with "
            f"{words.percent(whole[best], sign=True)}, the worst {years[worst]} with "
            f"{words.percent(whole[worst], sign=True)}."
        )
        if other is not None:
            reading += f" It beat buy-and-hold in {int((whole > other).sum())} of them."
    headers = ["", *MONTHS, "total"] + ([] if other is None else ["buy-and-hold", "difference"])
    return Sheet(
        "Months and years, net of costs, in percent",
        reading,
        Table(headers, rows, style="heat"),
    )


def _bare(value: Any) -> str:
    finite = words.known(value)
    return words.DASH if finite is None else words.number(100 * finite, 1, sign=True)


def _distribution(net: "pd.Series[float]", rival: "pd.Series[float] | None") -> Chart:
    both = net.to_numpy() if rival is None else np.concatenate([net, rival])
    reach = max(float(np.quantile(np.abs(both), 0.995)), 1e-4)
    edges = np.linspace(-reach, reach, BARS + 1)
    counts = np.histogram(np.clip(net, -reach, reach), edges)[0]
    other = None if rival is None else np.histogram(np.clip(rival, -reach, reach), edges)[0]
    rows = [
        [
            f"{words.percent(left, 2, sign=True)} to {words.percent(right, 2, sign=True)}",
            words.count(own),
        ]
        + ([] if other is None else [words.count(other[place])])
        for place, (left, right, own) in enumerate(zip(edges[:-1], edges[1:], counts, strict=True))
    ]
    up, down = int((net > 0).sum()), int((net < 0).sum())
    return chart(
        "distribution",
        "Daily returns",
        f"{words.count(up)} days up, {words.count(down)} down, {words.count(len(net) - up - down)} flat; "
        f"best {figure('best_day', METRICS['best_day'](net))}, worst "
        f"{figure('worst_day', METRICS['worst_day'](net))}. The outer bars hold everything beyond.",
        charts.histogram(edges, counts, other),
        sizes=HALF,
        table=Table(
            ["return", "strategy"] + ([] if rival is None else ["buy-and-hold"]),
            rows,
            "Days by return",
        ),
        legend=[Key("accent", "box", "strategy, gains"), Key("loss", "box", "strategy, losses")]
        + ([] if rival is None else [RIVAL]),
    )


def folds(run: Run) -> Section:
    """Who was trained on what, and tested where."""
    entries = run.result.get("folds") or []
    if not entries:
        return Section("folds", "Folds", blocks=[Missing("This run stored no folds.")])
    net, rival = run.daily("strategy_net"), run.daily("buy_and_hold")
    rows = []
    for place, fold in enumerate(entries):
        rows.append(
            [
                str(fold.get("fold", place)),
                *(_span(fold, part) for part in ("train", "validation", "test")),
                words.count(fold.get("purge")),
                words.count(fold.get("n_train")),
                words.count(fold.get("n_test")),
                words.percent(fold.get("survived"), 0),
                *(_earned(series, fold) for series in (net, rival)),
                words.number(fold.get("seconds"), 0),
            ]
        )
    headers = ["fold", "train", "validation", "test", "purge, sessions", "train windows"]
    headers += ["test windows", "network kept", "net return", "buy-and-hold", "time, s"]
    known = [any(row[place] != words.DASH for row in rows) for place in range(len(headers))]
    table = Table(
        [head for head, some in zip(headers, known, strict=True) if some],
        [[cell for cell, some in zip(row, known, strict=True) if some] for row in rows],
        align="trrr" + "n" * sum(known[4:]),
        style="dense",
    )
    return Section(
        "folds",
        "Folds",
        "Whatever is fitted (volatility, bins, network) has seen its training and validation span "
        "only. The purge is the gap that keeps training targets out of the next span.",
        [
            Sheet(
                "Walk-forward",
                f"{words.plural(len(entries), 'fold')}, tested one after the other.",
                table,
            )
        ],
    )


def _span(fold: Any, part: str) -> str:
    return f"{words.date(fold.get(f'{part}_start'))} to\n{words.date(fold.get(f'{part}_end'))}"


def _earned(series: "pd.Series[float] | None", fold: Any) -> str:
    if series is None or not fold.get("test_start") or not fold.get("test_end"):
        return words.DASH
    part = series.loc[str(fold["test_start"]) : str(fold["test_end"])]
    return figure("total_return", METRICS["total_return"](part))


def risk(run: Run) -> Section:
    """The deepest falls, the distribution of days, and every figure beside the benchmark's."""
    net = run.daily("strategy_net")
    own, rival = metrics(run, "strategy"), metrics(run, "buy_and_hold")
    blocks: list[Block] = []
    if net is not None:
        pair: list[Chart | Sheet] = [_falls(net), _distribution(net, run.daily("buy_and_hold"))]
        blocks.append(Row("pair", pair))
    if own:
        names = [name for name in METRICS if name in own] + [
            name for name in own if name not in METRICS
        ]
        intervals = run.result.get("intervals") or {}
        rows = [
            [
                METRICS[name].label if name in METRICS else name,
                figure(name, own[name]),
                _interval(name, intervals.get(name)),
                figure(name, rival.get(name)),
            ]
            for name in names
        ]
        blocks.append(
            Sheet(
                "Every figure",
                f"{STRATEGY.text[0].upper()}{STRATEGY.text[1:]}, with its 95 % interval where one was computed.",
                Table(["", "strategy", "95 % interval", "buy-and-hold"], rows),
            )
        )
    if not blocks:
        return Section(
            "risk", "Risk", blocks=[Missing("This run stored neither returns nor figures.")]
        )
    return Section("risk", "Risk", "", blocks)


def _interval(name: str, interval: Any) -> str:
    low, high = ends(interval)
    if low is None or high is None:
        return words.DASH
    return f"{figure(name, low)} to {figure(name, high)}"


def _falls(net: "pd.Series[float]") -> Sheet:
    table = drawdown_table(net, worst=10)
    rows = [
        [
            str(rank),
            words.percent(fall.depth),
            words.date(fall.start),
            words.date(fall.valley),
            "ongoing" if fall.ongoing else words.date(fall.recovery),
            words.count(fall.sessions),
        ]
        for rank, fall in enumerate(table.itertuples(), start=1)
    ]
    ongoing = int(table["ongoing"].sum())
    reading = (
        "There was no session below an earlier high."
        if table.empty
        else "The last value is an all-time high."
        if not ongoing
        else "One of them is still ongoing: the old high has not been reached again."
    )
    return Sheet(
        "Worst drawdowns",
        reading,
        Table(
            ["", "depth", "from", "lowest", "recovered", "sessions"],
            rows,
            align="tntttn",
            style="dense",
        ),
    )
