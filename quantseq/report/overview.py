"""What is read first: the header with its verdict, the headline figures, and how money grew.

Owns the wording and choice of these three. Every figure comes from the run or from the registry of
the trading room.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from quantseq.market.bars import Dates, Floats
from quantseq.report import words
from quantseq.report.axes import percent_text
from quantseq.report.curves import Line, curves, strips
from quantseq.report.page import (
    Badge,
    Block,
    Card,
    Cards,
    Header,
    Interval,
    Key,
    Missing,
    Section,
    Table,
    chart,
    thinned,
)
from quantseq.report.run import Run
from quantseq.trading.performance import METRICS, drawdown_table, drawdowns, wealth

HEADLINES = (
    "cagr",
    "sharpe",
    "volatility",
    "max_drawdown",
    "total_return",
    "sortino",
    "calmar",
    "es_95",
)
"""The figures on the cards, twelve at most."""

STRATEGY = Key("accent", "line", "strategy, net of costs")
RIVAL = Key("neutral", "line", "buy-and-hold")
MAX_STRIPS = 8
"""Positions are drawn for at most this many symbols; the table has all."""

_UNSIGNED = ("volatility", "hit_rate", "psr", "dsr")
_DAILY = ("var_95", "es_95", "best_day", "worst_day")


def figure(name: str, value: Any) -> str:
    """A figure of the registry with its sign and unit."""
    unit = METRICS[name].unit if name in METRICS else "ratio"
    if unit == "fraction":
        return words.percent(value, 2 if name in _DAILY else 1, sign=name not in _UNSIGNED)
    if unit == "sessions":
        text = words.count(value)
        return text if text == words.DASH else f"{text}{words.SPACE}sessions"
    return words.number(value, 2, sign=name not in _UNSIGNED)


def ends(interval: Any) -> tuple[float | None, float | None]:
    """Both ends of a stored interval, or None for what is unknown."""
    if not isinstance(interval, (list, tuple)) or len(interval) != 2:
        return None, None
    return words.known(interval[0]), words.known(interval[1])


def metrics(run: Run, who: str) -> Mapping[str, Any]:
    """The stored figures of ``strategy`` or ``buy_and_hold``; empty if there are none."""
    found: Mapping[str, Any] = (run.result.get("metrics") or {}).get(who) or {}
    return found


def header(run: Run) -> Header:
    """Title, universe, span, badges, and the verdict in words."""
    manifest, verdict = run.manifest, run.result.get("verdict") or {}
    symbols = run.symbols
    universe = (
        words.listing(symbols)
        if len(symbols) <= 12
        else f"{len(symbols)} symbols, listed under Manifest"
    )
    span = (
        f"out of sample {words.date(manifest['test_start'])} to {words.date(manifest['test_end'])}, "
        f"{words.plural(len(run.equity), 'session')}"
    )
    sentence = str(verdict.get("sentence") or "")
    edge = verdict.get("edge") is True
    return Header(
        title=str(manifest["title"]),
        run_id=str(manifest["run_id"]),
        created=str(manifest.get("created") or ""),
        universe=universe,
        span=span,
        badges=_badges(run),
        edge=edge,
        answer="Edge found" if edge else "No edge found" if sentence else "No verdict",
        sentence=words.tidy(sentence) or "This run was not judged: result.json holds no verdict.",
    )


def _badges(run: Run) -> list[Badge]:
    manifest, gate = run.manifest, run.result.get("gate")
    badges = []
    if manifest.get("sample_data"):
        badges.append(Badge("bundled sample data", "warn"))
    cost = words.known(manifest.get("cost_bps"))
    if cost is None:
        badges.append(Badge("costs not recorded", "warn"))
    elif cost == 0:
        badges.append(Badge("no trading costs charged", "warn"))
    else:
        badges.append(Badge(f"{cost:g}{words.SPACE}bps of every trade charged"))
    fill = manifest.get("fill")
    if fill:
        badges.append(Badge(f"decided at the close, filled at the next {fill}"))
    if gate and gate.get("passed"):
        score, bar = (words.percent(gate.get(name)) for name in ("score", "bar"))
        badges.append(Badge(f"copy gate passed: {score} exact, {bar} needed", "good"))
    elif gate:
        badges.append(Badge("copy gate not passed", "warn"))
    return badges


def cards(run: Run) -> Section:
    """The headline figures with their intervals, beside buy-and-hold's."""
    own, rival = metrics(run, "strategy"), metrics(run, "buy_and_hold")
    intervals = run.result.get("intervals") or {}
    items = [
        _card(name, own.get(name), rival.get(name), intervals.get(name))
        for name in HEADLINES
        if name in own
    ]
    blocks: list[Block] = [Cards(items)] if items else [Missing("This run stored no figures.")]
    return Section(
        "figures",
        "Headline figures",
        "Strategy net of costs. The line under a figure is its 95 % interval, the dot the figure, "
        "the tick buy-and-hold."
        if items
        else "",
        blocks,
    )


def _card(name: str, own: Any, rival: Any, interval: Any) -> Card:
    label = METRICS[name].label if name in METRICS else name
    low, high = ends(interval)
    inside = low is not None and high is not None
    return Card(
        label,
        figure(name, own),
        f"95 %: {figure(name, low)} to {figure(name, high)}" if inside else "",
        f"buy-and-hold {figure(name, rival)}",
        _bar(low, high, words.known(own), words.known(rival)),
    )


def _bar(
    low: float | None, high: float | None, value: float | None, rival: float | None
) -> Interval | None:
    if low is None or high is None or value is None:
        return None
    marks = [low, high, value] + ([] if rival is None else [rival])
    left, width = min(marks), max(marks) - min(marks)
    if width <= 0:
        return None
    place = [round(3 + 94 * (mark - left) / width, 1) for mark in marks]
    return Interval(place[0], place[1], place[2], None if rival is None else place[3])


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


def days(index: Any) -> Dates:
    """Sessions as plain dates."""
    dates: Dates = pd.DatetimeIndex(index).to_numpy().astype("datetime64[D]")
    return dates


def floats(series: Any) -> Floats:
    """A series as plain numbers."""
    values: Floats = np.asarray(series, dtype=np.float64)
    return values


def month_rows(columns: Mapping[str, "pd.Series[float] | None"], show: Any) -> list[list[str]]:
    """Each column's last value of every month, as table rows that start with the date."""
    present = {name: column for name, column in columns.items() if column is not None}
    frame = pd.DataFrame(present)
    index = pd.DatetimeIndex(frame.index)
    last = frame.groupby([index.year, index.month]).tail(1)
    return [
        [words.date(at), *(show(value) for value in row)]
        for at, row in zip(last.index, last.to_numpy(), strict=True)
    ]


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
    marks = [mark for mark in fold_starts(run) if lines[0].dates[0] <= mark <= lines[0].dates[-1]]
    legend = [STRATEGY] + ([] if other is None else [RIVAL])
    legend += [Key("muted", "dots", "a new fold: everything refitted")] if marks else []
    columns = {"strategy": own, "buy-and-hold": other}
    return chart(
        "equity",
        f"Growth of 1.00{', log scale' if log else ''}",
        reading,
        curves(lines, log=log, end=words.number, boundaries=marks),
        table=Table(
            ["session", *(name for name, path in columns.items() if path is not None)],
            thinned(month_rows(columns, words.number)),
            "Value of 1.00 at the end of each month",
        ),
        legend=legend,
    )


def _line(path: "pd.Series[float]", role: str, *, first: float, filled: bool = False) -> Line:
    """A path with its value before the first session."""
    dates = days(path.index)
    return Line(
        np.concatenate([dates[:1] - 1, dates]),
        np.concatenate([[first], path.to_numpy()]),
        role,
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
            thinned(month_rows({"gross": exposure}, words.percent)),
            "Sum of absolute positions over equity at the end of each month",
        ),
        legend=[Key("accent", "line", "gross exposure at the close")],
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
    )
