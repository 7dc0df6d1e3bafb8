"""How money grew: equity, drawdown, capital at work and positions, over one axis of time.

Owns the wording and choice of these charts. Every figure comes from the run or from the trading room.
"""

import numpy as np
import pandas as pd

from quantseq.market.bars import Dates
from quantseq.reporting import words
from quantseq.reporting.drawing.axes import percent_text
from quantseq.reporting.drawing.curves import Line, Ribbon, curves, strips
from quantseq.reporting.drawing.live import Live
from quantseq.reporting.page import Block, Key, Missing, Section, Table, chart, thinned
from quantseq.reporting.run import Run
from quantseq.reporting.sections.overview import (
    RIVAL,
    STRATEGY,
    audit,
    days,
    ends,
    entries,
    figure,
    floats,
    month_rows,
)
from quantseq.trading.performance import METRICS, drawdown_table, drawdowns, wealth
from quantseq.trading.sensitivity import drift

MAX_STRIPS = 8
"""Positions are drawn for at most this many symbols; the table has all."""

SCALE = "scale"
"""Shape of the legend's entry that names the height's scale."""


def growth(run: Run) -> Section:
    """Equity, drawdown, exposure and positions over time."""
    net, rival = run.daily("strategy_net"), run.daily("buy_and_hold")
    if net is None:
        return Section(
            "growth", "Growth", blocks=[Missing("The strategy's returns are all empty.")]
        )
    blocks: list[Block] = [_equity(run, net, rival), _drawdown(net, rival)]
    exposure = run.daily("gross_exposure")
    blocks.append(
        Missing("This run stored no gross exposure.") if exposure is None else _exposure(exposure)
    )
    blocks.append(_positions(run))
    return Section("growth", "Growth", "", blocks)


def fold_starts(run: Run) -> Dates:
    """First test session of every fold but the first, as far as known."""
    starts = [fold.get("test_start") for fold in run.result.get("folds") or []]
    return np.array([str(start)[:10] for start in starts if start][1:], dtype="datetime64[D]")


def _equity(run: Run, net: "pd.Series[float]", rival: "pd.Series[float] | None") -> Block:
    own = pd.Series(wealth(net), net.index)
    other = None if rival is None else pd.Series(wealth(rival), rival.index)
    cagr = figure("cagr", METRICS["cagr"](net, periods=run.periods))
    reading = f"1.00 became {words.number(own.iloc[-1])} net of costs, {cagr} a year"
    if other is None or rival is None:
        reading += "; this run stored no benchmark."
    else:
        reading += (
            f"; buy-and-hold became {words.number(other.iloc[-1])}, "
            f"{figure('cagr', METRICS['cagr'](rival, periods=run.periods))} a year."
        )
    both = [own] if other is None else [own, other]
    log = all((path > 0).all() for path in both)
    lines = [
        _line(path, "neutral" if rank else "accent", first=1.0) for rank, path in enumerate(both)
    ]
    names = ["strategy", "buy-and-hold"][: len(both)]
    ribbon, said = _ribbon(run, net)
    marks = [mark for mark in fold_starts(run) if lines[0].dates[0] <= mark <= lines[0].dates[-1]]
    legend = [STRATEGY] + ([] if other is None else [RIVAL])
    legend += [] if ribbon is None else [Key("neutral", "box", said)]
    legend += [Key("muted", "dots", "a new fold: everything refitted")] if marks else []
    legend.append(Key("muted", SCALE, "log scale" if log else "linear scale"))
    edges = [] if ribbon is None else [ribbon.high, ribbon.low]
    columns = {"strategy": own, "buy-and-hold": other}
    return chart(
        "equity",
        "Growth of 1.00",
        reading,
        curves(lines, log=log, end=words.number, boundaries=marks, ribbon=ribbon),
        table=Table(
            ["session", *(name for name, path in columns.items() if path is not None)],
            thinned(month_rows(columns, words.number)),
            "Value of 1.00 at the end of each month",
        ),
        legend=legend,
        live=Live(
            [*names, *("placebo, upper end", "placebo, lower end")[: len(edges)]],
            [*lines, *edges],
            digits=3,
            log=log or None,
            marks=marks,
        ),
    )


def _ribbon(run: Run, net: "pd.Series[float]") -> tuple[Ribbon | None, str]:
    """Where placebos of the strategy's volatility would have drifted, and what that is."""
    placebo = next(
        (one for one in entries(audit(run), "placebos") if "random" in str(one.get("name"))), None
    )
    rivals = run.result.get("rivals")
    rival = rivals.get("random_entry") if isinstance(rivals, dict) else None
    if placebo is not None:
        low, high = words.known(placebo.get("low")), words.known(placebo.get("high"))
    else:
        low, high = ends(rival.get("sharpe_range") if isinstance(rival, dict) else None)
    spread = METRICS["volatility"](net, periods=run.periods)
    if low is None or high is None or not spread > 0:
        return None, ""
    edges = [
        _line(
            pd.Series(drift(sharpe, spread, len(net), periods=run.periods), net.index),
            "neutral",
            first=1.0,
            dashed=True,
        )
        for sharpe in (high, low)
    ]
    said = (
        f"random entries at the strategy's volatility, steady drift at Sharpe "
        f"{words.number(low, sign=True)} to {words.number(high, sign=True)}"
    )
    return Ribbon(edges[1], edges[0]), said


def _line(
    path: "pd.Series[float]",
    role: str,
    *,
    first: float,
    filled: bool = False,
    dashed: bool = False,
) -> Line:
    """A path with its value before the first session."""
    dates = days(path.index)
    return Line(
        np.concatenate([dates[:1] - 1, dates]),
        np.concatenate([[first], path.to_numpy()]),
        role,
        dashed=dashed,
        filled=filled,
    )


def _drawdown(net: "pd.Series[float]", rival: "pd.Series[float] | None") -> Block:
    own = pd.Series(drawdowns(net), net.index)
    other = None if rival is None else pd.Series(drawdowns(rival), rival.index)
    worst = drawdown_table(net, worst=1)
    dot = None
    if worst.empty:
        reading = "The strategy was never below an earlier high."
    else:
        fall = worst.iloc[0]
        dot = (days([fall["valley"]])[0], float(fall["depth"]))
        end = (
            "not yet back at the high"
            if fall["ongoing"]
            else f"back on {words.date(fall['recovery'])}"
        )
        reading = (
            f"The deepest fall, {words.percent(fall['depth'])}, ran from {words.date(fall['start'])} to "
            f"{words.date(fall['valley'])}; {end}, {words.plural(int(fall['sessions']), 'session')} "
            "below the old high."
        )
    lines = [_line(own, "accent", first=0.0, filled=True)]
    legend = [STRATEGY]
    if other is not None:
        lines.append(_line(other, "neutral", first=0.0))
        legend.append(RIVAL)
    columns = {"strategy": own, "buy-and-hold": other}
    return chart(
        "drawdown",
        "Drawdown from the highest value so far",
        reading,
        curves(lines, axis=percent_text, end=words.percent, dot=dot, top=0.0),
        sizes=((900, 210), (340, 190)),
        table=Table(
            ["session", *(name for name, path in columns.items() if path is not None)],
            thinned(month_rows(columns, words.percent)),
            "Drawdown at the end of each month",
        ),
        legend=legend + ([Key("loss", "dot", "deepest point")] if dot else []),
        live=Live(
            ["strategy", "buy-and-hold"][: len(lines)], lines, "percent", 1, top=0.0, fine=False
        ),
    )


def _exposure(exposure: "pd.Series[float]") -> Block:
    line = Line(days(exposure.index), floats(exposure), filled=True)
    mean, most = exposure.mean(), exposure.max()
    return chart(
        "exposure",
        "Capital at work",
        f"On average {words.percent(mean, 0)} of equity was in positions, at most "
        f"{words.percent(most, 0)}; the rest was cash.",
        curves([line], axis=percent_text, end=lambda value: words.percent(value, 0)),
        sizes=((900, 170), (340, 170)),
        table=Table(
            ["session", "gross exposure"],
            thinned(month_rows({"gross": exposure}, words.percent), 60),
            "Sum of absolute positions over equity at ends of months",
        ),
        legend=[Key("accent", "line", "gross exposure at the close")],
        live=Live(["gross exposure"], [line], "percent", 1, fine=False),
    )


def _positions(run: Run) -> Block:
    if run.weights.empty:
        return Missing("This run decided no weights, so there are no positions to show.")
    table = run.weights.pivot_table("weight", "decision", "symbol", aggfunc="last").fillna(0.0)
    found = [str(symbol) for symbol in table]
    order = [s for s in run.symbols if s in found] + [s for s in found if s not in run.symbols]
    size = table[order].abs().mean()
    shown = [s for s in order if s in set(size.sort_values(kind="stable").index[-MAX_STRIPS:])]
    lines = [Line(days(table.index), floats(table[symbol])) for symbol in shown]
    held = (table[order] != 0).mean()
    rows = [
        [
            symbol,
            words.percent(table[symbol].mean(), sign=True),
            words.percent(table[symbol].min(), sign=True),
            words.percent(table[symbol].max(), sign=True),
            words.percent(held[symbol], 0),
        ]
        for symbol in order
    ]
    biggest = str(size.idxmax())
    rest = (
        f" The {len(shown)} largest of {len(order)} are drawn." if len(order) > len(shown) else ""
    )
    short = bool((table < 0).any().any())
    legend = [Key("accent", "box", "long")] + (
        [Key("loss", "box", "short, below the line")] if short else []
    )
    return chart(
        "positions",
        "Positions, as decided at each close",
        f"{biggest} was the largest on average, {words.percent(size[biggest])} of equity; "
        f"the average symbol was held after {words.percent(held.mean(), 0)} of the decisions.{rest}",
        strips(shown, lines),
        sizes=((900, 34 + 44 * len(shown)), (340, 34 + 40 * len(shown))),
        table=Table(
            ["symbol", "mean weight", "smallest", "largest", "held after decisions"],
            rows,
            "Target weights by symbol",
        ),
        legend=legend,
        live=Live(shown, lines, "percent", 0, panels=True, fine=False),
    )
