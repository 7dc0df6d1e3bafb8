"""The trades: how many, how long, how good, and the best and worst of them.

Owns the wording of this section. Every trade comes from the run, which stores what the account did.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from quantseq.reporting import words
from quantseq.reporting.drawing import charts
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
)
from quantseq.reporting.run import Run

COLUMNS = ("symbol", "side", "entered", "left", "sessions", "invested", "profit", "cost")
ENDS = 5
"""Best and worst trades in the table."""

BARS = 31
"""Of the histogram: odd, so that one holds the trades near 0."""


def trades(run: Run) -> Section:
    """Round trips, from the order that opened a position to the one that closed it."""
    table = _table(run.result.get("trades"))
    if table is None:
        return Section("trades", "Trades", blocks=[Missing("This run stored no trades.")])
    if table.empty:
        return Section("trades", "Trades", blocks=[Missing("This run made no trade.")])
    pair: list[Chart | Sheet] = [_summary(table)]
    if len(table) >= ENDS:
        pair.append(_distribution(table))
    blocks: list[Block] = [Row("pair", pair), _extremes(table)]
    lead = (
        "A trade begins with the fill that opens a position and ends with the one that closes it; adding "
        "to it does not end it. Profit is after trading costs, in percent of the starting equity."
    )
    return Section("trades", "Trades", lead, blocks)


def _table(found: Any) -> pd.DataFrame | None:
    """The stored columns as a frame with the return on the largest value invested, or None."""
    if not isinstance(found, Mapping) or not all(
        isinstance(found.get(name), (list, tuple)) for name in COLUMNS
    ):
        return None
    if len({len(found[name]) for name in COLUMNS}) != 1:
        return None
    table = pd.DataFrame({name: list(found[name]) for name in COLUMNS})
    for name in ("sessions", "invested", "profit", "cost"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    table["return"] = table["profit"] / table["invested"].where(table["invested"] > 0)
    return table


def _summary(table: pd.DataFrame) -> Sheet:
    won, lost = table.loc[table["profit"] > 0], table.loc[table["profit"] < 0]
    gained, given = won["profit"].sum(), -lost["profit"].sum()
    still = table["left"].isna()
    rows = [
        ["Trades", words.count(len(table))],
        ["of which still open", words.count(still.sum())],
        ["Won", words.percent(len(won) / len(table))],
        ["Mean return of the won", words.percent(won["return"].mean(), 2, sign=True)],
        ["Mean return of the lost", words.percent(lost["return"].mean(), 2, sign=True)],
        ["Profit factor", words.number(gained / given if given > 0 else None)],
        ["Median sessions held", words.count(table["sessions"].median())],
        ["Longest, sessions", words.count(table["sessions"].max())],
        ["Trading costs of all", words.percent(-table["cost"].sum(), 2, sign=True)],
    ]
    sides = table["side"].map(words.text).value_counts()
    split = ", ".join(f"{words.count(number)} {name}" for name, number in sides.items())
    return Sheet(
        "In figures",
        f"{split}. A profit factor above 1 means that the won brought more than the lost took.",
        Table(["", "all trades"], rows, style="dense"),
    )


def _distribution(table: pd.DataFrame) -> Chart:
    values = table["return"].dropna().to_numpy(dtype=np.float64)
    reach = max(float(np.quantile(np.abs(values), 0.99)) if len(values) else 0.0, 1e-4)
    edges = np.linspace(-reach, reach, BARS + 1)
    counts = np.histogram(np.clip(values, -reach, reach), edges)[0]
    rows = [
        [
            f"{words.percent(left, 2, sign=True)} to {words.percent(right, 2, sign=True)}",
            words.count(count),
        ]
        for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    middle = float(np.median(values)) if len(values) else np.nan
    return chart(
        "trade-returns",
        "Return of each trade",
        f"The median trade returned {words.percent(middle, 2, sign=True)} of the most it had invested. "
        "The outer bars hold everything beyond.",
        charts.histogram(edges, counts, None, unit="trades"),
        sizes=HALF,
        table=Table(["return", "trades"], rows, "Trades by return"),
        legend=[
            Key("accent", "box", "won"),
            Key("loss", "box", "lost"),
            Key("neutral", "box", "around 0"),
        ],
    )


def _extremes(table: pd.DataFrame) -> Sheet:
    ranked = table.sort_values("profit", ascending=False, kind="stable")
    few = len(ranked) <= 2 * ENDS
    shown = ranked if few else pd.concat([ranked.head(ENDS), ranked.tail(ENDS)])
    rows = [
        [
            words.text(row.symbol),
            words.text(row.side),
            words.date(row.entered),
            words.date(row.left) if isinstance(row.left, str) else "open",
            words.count(row.sessions),
            words.percent(row.invested),
            words.percent(row.gain, 2, sign=True),
            words.percent(row.profit, 2, sign=True),
        ]
        for row in shown.rename(columns={"return": "gain"}).itertuples()
    ]
    top = ranked["profit"].head(ENDS).sum()
    whole = ranked["profit"].sum()
    return Sheet(
        "All trades" if few else f"The {ENDS} best and the {ENDS} worst",
        f"The {min(ENDS, len(ranked))} best trades brought {words.percent(top, sign=True)} of the "
        f"starting equity, all together {words.percent(whole, sign=True)}.",
        Table(
            ["symbol", "side", "entered", "left", "sessions", "most invested", "return", "profit"],
            rows,
            align="ttttnnnn",
            style="dense",
        ),
    )
