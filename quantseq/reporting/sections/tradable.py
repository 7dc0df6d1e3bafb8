"""Whether the strategy is tradable: what costs and delay leave of it, and simpler rules beside it.

Owns the wording of this section. Every figure comes from the run or from the trading room.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from quantseq.reporting import words
from quantseq.reporting.drawing import profiles
from quantseq.reporting.drawing.axes import percent_text
from quantseq.reporting.drawing.curves import Line, curves
from quantseq.reporting.drawing.live import Live
from quantseq.reporting.page import (
    HALF,
    Block,
    Chart,
    Key,
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
    audit,
    days,
    ends,
    entries,
    figure,
    floats,
    month_rows,
)
from quantseq.trading.attribution import ACCOUNT
from quantseq.trading.broker.costs import MOST_BPS
from quantseq.trading.performance import METRICS, wealth
from quantseq.trading.sensitivity import at_cost

LEVELS = (0, 1, 2, 5, 10, 15, 20, 30, 40, 50)
"""Costs in basis points at which the strategy is priced again."""


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
    drawn = [part for part in (_sweep(run, net), _decay(run)) if part is not None]
    if drawn:
        blocks.append(Row("pair", drawn))
    if not any(part.key == "sweep" for part in drawn):
        blocks.append(Missing("This run stored no turnover, so it is not priced at other costs."))
    if not any(part.key == "decay" for part in drawn):
        blocks.append(Missing("This run stored no lag curve, so how fast it decays is not known."))
    return Section("costs", "Is it tradable?", "", [*blocks, *_rivals(run), *_sources(run)])


def _sweep(run: Run, net: "pd.Series[float]") -> Chart | None:
    """CAGR at other costs, and where it is gone."""
    turnover, charged = run.daily("turnover"), words.known(run.manifest.get("cost_bps"))
    if turnover is None or charged is None:
        return None
    level = words.known(run.result.get("break_even_bps"))
    most = max(20.0, 2 * charged, 0.0 if level is None else 1.25 * min(level, 200.0))
    drawn = level is not None and level <= most
    asked = np.unique([*(bps for bps in LEVELS if bps <= most), charged, most])
    cagr, sharpe = METRICS["cagr"], METRICS["sharpe"]
    priced = [at_cost(net, turnover, charged_bps=charged, cost_bps=bps) for bps in asked]
    found = np.array([cagr(one, periods=run.periods) for one in priced])
    rows = [
        [
            words.bps(bps),
            figure("cagr", value),
            figure("sharpe", sharpe(one, periods=run.periods)),
        ]
        for bps, value, one in zip(asked, found, priced, strict=True)
    ]
    told = break_even(run.result, turnover)
    reading = (
        f"Break-even at {told}, solved on re-run accounts"
        if level is not None
        else f"Break-even cost: {told}"
    )
    return chart(
        "sweep",
        "Net return a year at other trading costs",
        f"{reading}; {words.bps(charged)} were charged. The line takes the same trades at each cost, at "
        "first order.",
        profiles.profile(
            asked,
            found,
            across="cost in bps of every trade",
            show=percent_text,
            mark=profiles.Mark(level or 0.0, f"break-even {words.bps(level)}") if drawn else None,
            level=0.0,
            dots=True,
        ),
        sizes=HALF,
        table=Table(["cost", "CAGR", "Sharpe ratio"], rows, "Priced again at each cost"),
        legend=[Key("accent", "line", "CAGR, net")]
        + ([Key("loss", "dash", "break-even cost")] if drawn else []),
    )


def break_even(result: Mapping[str, Any], turnover: Any = None) -> str:
    """The cost at which the strategy earns no more than cash, or why there is none, in a few words."""
    level = words.known(result.get("break_even_bps"))
    if level is not None:
        return "more than the whole notional" if level >= MOST_BPS else words.bps(level)
    if "break_even_bps" not in result:
        return "not stored for this run"
    if turnover is not None and not np.nansum(turnover):
        return "none, it never traded"
    return "none, it earns less than cash without any"


def _decay(run: Run) -> Chart | None:
    """Sharpe ratio when every decision is carried out later."""
    points = [
        (delay, value)
        for one in entries(audit(run), "lag_curve")
        if (delay := words.known(one.get("delay"))) is not None
        and (value := words.known(one.get("sharpe"))) is not None
    ]
    if len(points) < 2:
        return None
    where, what = (np.array(column) for column in zip(*sorted(points), strict=True))
    return chart(
        "decay",
        "Sharpe ratio if every decision came later",
        f"{words.number(what[0], sign=True)} without delay, {words.number(what[-1], sign=True)} with "
        f"{words.plural(int(where[-1]), 'session')}. A cliff at the first step would mean that the "
        "result lives on timing that nobody has.",
        profiles.profile(
            where,
            what,
            across="sessions of delay",
            level=0.0,
            ticks=where.tolist(),
            dots=True,
        ),
        sizes=HALF,
        table=Table(
            ["delay", "Sharpe ratio"],
            [
                [words.plural(int(delay), "session"), words.number(value, sign=True)]
                for delay, value in zip(where, what, strict=True)
            ],
            "Net of costs",
        ),
        legend=[Key("accent", "line", "Sharpe ratio, net of costs")],
    )


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
        label = words.text(known.get("label"))
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
    total = ["all", *(words.percent(value, 2, sign=True) for value in sums)]
    headers = ["", *(kind.replace("_", " ") for kind in kinds[1:])]
    reading = "In percent of the starting equity; the parts sum to the total return."
    table = Table(headers, rows, style="dense", totals=[total])
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
    level, told = words.known(run.result.get("break_even_bps")), break_even(run.result, turnover)
    if level is None or level >= MOST_BPS:
        return f"{text}{charged} of every trade charged; break-even cost: {told}."
    return (
        f"{text}{charged} of every trade charged; above {told} the strategy would have earned less "
        "than cash."
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
        "Growth of 1.00 before and after costs",
        f"Of {words.number(before.iloc[-1])} before costs, {words.number(after.iloc[-1])} were left; "
        f"costs took {words.percent(lost, 2)} of the final value.",
        curves(lines, log=log, end=words.number),
        sizes=HALF,
        table=Table(
            ["session", "before", "after"],
            thinned(month_rows({"before": before, "after": after}, words.number), 60),
            "Value of 1.00",
        ),
        legend=[
            Key("accent", "line", "after costs"),
            Key("neutral", "dash", "before costs"),
            Key("muted", "scale", "log scale" if log else "linear scale"),
        ],
        live=Live(["after costs", "before costs"], lines, digits=3, log=log or None, fine=False),
    )
