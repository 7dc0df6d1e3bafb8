"""The walk-forward folds: who was trained on what, and what each test block came to.

Owns the wording of this table. Every figure comes from the run or from the trading room.
"""

from typing import Any

import pandas as pd

from quantseq.reporting import words
from quantseq.reporting.page import Missing, Sheet, Table
from quantseq.reporting.run import Run
from quantseq.reporting.sections.overview import figure
from quantseq.trading.performance import METRICS

SPANS = ("train", "validation", "test")
WINDOWS = {"purge": "purge, sessions", "n_train": "train windows", "n_test": "test windows"}
SHOWN = ("total_return", "sharpe")
"""Figures of each test block, the strategy's and the benchmark's."""


def fold_sheet(run: Run) -> Sheet | Missing:
    """Who was trained on what, tested where, and what came of it."""
    entries = run.result.get("folds") or []
    if not entries:
        return Missing("This run stored no folds.")
    net, rival = run.daily("strategy_net"), run.daily("buy_and_hold")
    spans = [
        [str(fold.get("fold", place)), *(_span(fold, part) for part in SPANS)]
        for place, fold in enumerate(entries)
    ]
    came = [
        [
            words.percent(fold.get("survived"), 0),
            *(_figure(name, one, fold, run) for name in SHOWN for one in (net, rival)),
        ]
        for fold in entries
    ]
    windows = [[words.count(fold.get(key)) for key in WINDOWS] for fold in entries]
    table = _known(
        [*SPANS, "network kept", "net return", "buy-and-hold", "Sharpe ratio", "buy-and-hold's"],
        [[*span, *figures] for span, figures in zip(spans, came, strict=True)],
        align="trrr",
    )
    more = _known(
        list(WINDOWS.values()),
        [[span[0], *counts] for span, counts in zip(spans, windows, strict=True)],
        caption="Purge and windows",
    )
    both = [(_sharpe(net, fold, run), _sharpe(rival, fold, run)) for fold in entries]
    pairs = [(own, other) for own, other in both if own is not None and other is not None]
    ahead = sum(own > other for own, other in pairs)
    won = f", better than buy-and-hold by Sharpe ratio in {ahead} of {len(pairs)}" if pairs else ""
    return Sheet(
        "Folds",
        f"{words.plural(len(entries), 'fold')}, tested one after the other{won}. Whatever is fitted "
        "(volatility, bins, network) has seen its training and validation span only; the purge keeps "
        "training targets out of the next span.",
        table,
        more if len(more.headers) > 1 else None,
    )


def _known(
    headers: list[str], rows: list[list[str]], *, align: str = "t", caption: str = ""
) -> Table:
    """A table by fold, without the columns of which nothing is known."""
    names = ["fold", *headers]
    kept = [
        place
        for place in range(len(names))
        if place < len(align) or any(row[place] != words.DASH for row in rows)
    ]
    return Table(
        [names[place] for place in kept],
        [[row[place] for place in kept] for row in rows],
        caption,
        align=align + "n" * (len(kept) - len(align)),
        style="dense",
    )


def _span(fold: Any, part: str) -> str:
    return f"{words.date(fold.get(f'{part}_start'))} to\n{words.date(fold.get(f'{part}_end'))}"


def _part(series: "pd.Series[float] | None", fold: Any) -> "pd.Series[float] | None":
    if series is None or not fold.get("test_start") or not fold.get("test_end"):
        return None
    return series.loc[str(fold["test_start"]) : str(fold["test_end"])]


def _figure(name: str, series: "pd.Series[float] | None", fold: Any, run: Run) -> str:
    part = _part(series, fold)
    return words.DASH if part is None else figure(name, METRICS[name](part, periods=run.periods))


def _sharpe(series: "pd.Series[float] | None", fold: Any, run: Run) -> float | None:
    part = _part(series, fold)
    return None if part is None else words.known(METRICS["sharpe"](part, periods=run.periods))
