from collections.abc import Callable
from typing import Any

import pytest

from quantseq.reporting import words
from quantseq.reporting.page import Missing
from quantseq.reporting.run import Run
from quantseq.reporting.sections import trades

pytestmark = pytest.mark.usefixtures("undrawn")

TWO = {
    "symbol": ["A", "B"],
    "side": ["long", "short"],
    "entered": ["2010-01-04", "2010-01-05"],
    "left": ["2010-02-01", None],
    "sessions": [20, 5],
    "invested": [0.5, 0.0],
    "profit": [0.05, -0.02],
    "cost": [0.001, 0.002],
}


def test_the_figures_are_those_of_the_trades(
    with_result: Callable[..., Run], find: Callable[..., Any]
) -> None:
    section = trades.trades(with_result(trades=TWO))
    rows = {str(row[0]): str(row[1]) for row in find(section, "In figures").table.rows}
    assert rows["Trades"] == "2"
    assert rows["of which still open"] == "1"
    assert rows["Profit factor"] == "2.50"
    assert rows["Mean return of the won"] == words.percent(0.1, 2, sign=True)
    assert rows["Mean return of the lost"] == words.DASH
    assert rows["Trading costs of all"] == words.percent(-0.003, 2)
    table = find(section, "All trades").table
    assert [str(cell) for cell in table.rows[1][:4]] == ["B", "short", "2010-01-05", "open"]


def test_the_best_and_the_worst_are_shown(run: Run, find: Callable[..., Any]) -> None:
    sheet = find(trades.trades(run), "The 5 best and the 5 worst")
    profits = sorted(run.result["trades"]["profit"], reverse=True)
    shown = [str(row[-1]) for row in sheet.table.rows]
    assert shown == [words.percent(p, 2, sign=True) for p in profits[:5] + profits[-5:]]


def test_every_trade_is_in_the_histogram(run: Run, find: Callable[..., Any]) -> None:
    table = find(trades.trades(run), "trade-returns").table
    assert sum(int(str(row[1])) for row in table.rows) == len(run.result["trades"]["profit"])


@pytest.mark.parametrize(
    "broken",
    [None, "x", [], {}, {**TWO, "side": None}, {**TWO, "profit": [1.0]}, {k: [] for k in TWO}],
)
def test_runs_without_trades_say_so(with_result: Callable[..., Run], broken: object) -> None:
    blocks = trades.trades(with_result(trades=broken)).blocks
    assert len(blocks) == 1
    assert isinstance(blocks[0], Missing)
