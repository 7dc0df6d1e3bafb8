"""The walk-forward folds: who was trained on what, and what each test block came to.

Owns the wording of this table. Every figure comes from the run or from the trading room.
"""

from typing import Any

import pandas as pd

from quantseq.report import words
from quantseq.report.overview import figure
from quantseq.report.page import Missing, Sheet, Table
from quantseq.report.run import Run
from quantseq.trading.performance import METRICS

SHOWN = ("total_return", "sharpe")
"""Figures of each test block, the strategy's and the benchmark's."""


def fold_sheet(run: Run) -> Sheet | Missing:
    """Who was trained on what, tested where, and what came of it."""
    entries = run.result.get("folds") or []
    if not entries:
        return Missing("This run stored no folds.")
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
                *(_figure(name, one, fold, run) for name in SHOWN for one in (net, rival)),
            ]
        )
    headers = ["fold", "train", "validation", "test", "purge, sessions", "train windows"]
    headers += ["test windows", "network kept", "net return", "buy-and-hold"]
    headers += ["Sharpe ratio", "buy-and-hold's"]
    known = [any(row[place] != words.DASH for row in rows) for place in range(len(headers))]
    table = Table(
        [head for head, some in zip(headers, known, strict=True) if some],
        [[cell for cell, some in zip(row, known, strict=True) if some] for row in rows],
        align="trrr" + "n" * sum(known[4:]),
        style="dense",
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
