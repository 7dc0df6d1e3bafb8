"""What the strategy earned, taken apart: months, years and days.

Owns the wording of this section. Every figure comes from the run or from the trading room.
"""

from typing import Any

import numpy as np
import pandas as pd

from quantseq.reporting import words
from quantseq.reporting.drawing import charts, profiles
from quantseq.reporting.drawing.axes import percent_text
from quantseq.reporting.page import (
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
from quantseq.reporting.run import Run
from quantseq.reporting.sections.overview import RIVAL, figure, floats
from quantseq.trading.performance import METRICS, monthly_table

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HEAT = (0.005, 0.02, 0.04, 0.08)
"""Absolute monthly returns at which the tint of a cell deepens."""


FLAT = 0.0005
"""Months that are printed as 0.0."""

BARS = 31
"""Of the histogram of daily returns: odd, so that one holds the days near 0."""


def returns(run: Run) -> Section:
    """Months, years and days."""
    net, rival = run.daily("strategy_net"), run.daily("buy_and_hold")
    if net is None:
        return Section(
            "returns", "Returns", blocks=[Missing("The strategy's returns are all empty.")]
        )
    pair = Row("pair", [_years(net, rival), _distribution(net, rival)])
    return Section("returns", "Returns", "", [_months(net, rival), pair])


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


def _years(net: "pd.Series[float]", rival: "pd.Series[float] | None") -> Chart:
    table = monthly_table(net)
    years, whole = [str(year) for year in table.index], floats(table["year"])
    other = None if rival is None else floats(monthly_table(rival)["year"])
    up = int((whole > 0).sum())
    rows = [
        [
            year,
            words.percent(whole[place], sign=True),
            *([] if other is None else [words.percent(other[place], sign=True)]),
        ]
        for place, year in enumerate(years)
    ]
    return chart(
        "years",
        "Years",
        f"{up} of {words.plural(len(years), 'calendar year')} ended higher; the first and the last may "
        "be in part.",
        profiles.bars(years, whole, show=percent_text, rival=other),
        sizes=HALF,
        table=Table(
            ["year", "strategy"] + ([] if other is None else ["buy-and-hold"]),
            rows,
            "Return by calendar year, net of costs",
        ),
        legend=[Key("accent", "box", "strategy, gains"), Key("loss", "box", "strategy, losses")]
        + ([] if other is None else [RIVAL]),
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
        legend=[
            Key("accent", "box", "gains"),
            Key("loss", "box", "losses"),
            Key("neutral", "box", "around 0"),
        ]
        + ([] if rival is None else [RIVAL]),
    )
