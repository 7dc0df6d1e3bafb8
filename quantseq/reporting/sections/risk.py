"""Risk: figures over a moving window, the deepest falls, the worst days, and every figure there is.

Owns the wording of this section. Every figure comes from the run or from the trading room.
"""

from collections.abc import Callable
from typing import Any

import pandas as pd

from quantseq.reporting import words
from quantseq.reporting.drawing.axes import percent_text, plain_text
from quantseq.reporting.drawing.curves import Line, curves
from quantseq.reporting.drawing.live import Live
from quantseq.reporting.page import (
    Block,
    Chart,
    Missing,
    Row,
    Section,
    Sheet,
    Table,
    chart,
    thinned,
)
from quantseq.reporting.run import Run
from quantseq.reporting.sections.overview import (
    RIVAL,
    STRATEGY,
    days,
    ends,
    figure,
    floats,
    metrics,
    month_rows,
)
from quantseq.trading.performance import METRICS, drawdown_table, rolling

WINDOW = 126
"""Sessions of the rolling figures: half a year."""

TAIL = ("var_95", "es_95", "worst_day", "best_day", "skew", "kurtosis")


def risk(run: Run) -> Section:
    """Rolling measures, the deepest falls, the tail, and every figure beside the benchmark's."""
    net, other = run.daily("strategy_net"), run.daily("buy_and_hold")
    own, rival = metrics(run, "strategy"), metrics(run, "buy_and_hold")
    blocks: list[Block] = []
    if net is not None:
        blocks += _rolling(run, net, other)
        blocks.append(Row("pair", [_falls(net), _tail(net, other)]))
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


def _rolling(
    run: Run, net: "pd.Series[float]", other: "pd.Series[float] | None"
) -> list[Chart | Missing]:
    """Figures over a moving window, blank until it is full."""
    if len(net) <= WINDOW:
        return [
            Missing(
                f"Rolling figures need more than {WINDOW} sessions; this run has {len(net)}, so none "
                "is drawn."
            )
        ]
    shown: dict[str, tuple[str, Callable[[float], str], Callable[[Any], str]]] = {
        "sharpe": ("number", plain_text, words.number),
        "volatility": ("percent", percent_text, words.percent),
    }
    return [_rolled(name, run, net, other, *spelled) for name, spelled in shown.items()]


def _rolled(
    name: str,
    run: Run,
    net: "pd.Series[float]",
    other: "pd.Series[float] | None",
    unit: Any,
    axis: Callable[[float], str],
    end: Callable[[Any], str],
) -> Chart:
    whole = {"strategy": net} | ({} if other is None else {"buy-and-hold": other})
    rolled = {
        who: pd.Series(rolling(name, one, window=WINDOW, periods=run.periods), one.index)
        for who, one in whole.items()
    }
    lines = [
        Line(days(one.index), floats(one), "neutral" if rank else "accent")
        for rank, one in enumerate(rolled.values())
    ]
    own = rolled["strategy"].dropna()
    label = METRICS[name].label
    reading = (
        "The strategy never moved long enough for one."
        if own.empty
        else f"Between {figure(name, own.min())} ({words.date(own.idxmin())}) and "
        f"{figure(name, own.max())} ({words.date(own.idxmax())}); blank until the window is full."
    )
    return chart(
        f"rolling-{name}",
        f"{label} over the last {WINDOW} sessions",
        reading,
        curves(lines, axis=axis, end=end, level=0.0 if name == "sharpe" else None),
        sizes=((900, 200), (340, 190)),
        table=Table(
            ["session", *rolled],
            thinned(month_rows(rolled, end), 60),
            f"{label} at ends of months",
        ),
        legend=[STRATEGY] + ([] if other is None else [RIVAL]),
        live=Live(list(rolled), lines, unit, 2 if unit == "number" else 1, fine=False),
    )


def _tail(net: "pd.Series[float]", other: "pd.Series[float] | None") -> Sheet:
    """What the worst days cost."""
    rows = [
        [
            METRICS[name].label,
            figure(name, METRICS[name](net)),
            *([] if other is None else [figure(name, METRICS[name](other))]),
        ]
        for name in TAIL
    ]
    beyond = figure("es_95", METRICS["es_95"](net))
    return Sheet(
        "The worst days",
        f"On the worst 5 % of days the strategy returned {beyond} on average. Historical, no "
        "distribution assumed; losses are negative.",
        Table(
            ["a session"] + ["strategy"] + ([] if other is None else ["buy-and-hold"]),
            rows,
            style="dense",
        ),
    )


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
