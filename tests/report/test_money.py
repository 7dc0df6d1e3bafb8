from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.report import money, words
from quantseq.report.page import Cell, Chart, Missing, Row, Sheet
from quantseq.report.run import Run
from quantseq.trading.performance import METRICS, drawdown_table, monthly_table

pytestmark = pytest.mark.usefixtures("undrawn")


def _sheet(block: Any) -> Sheet:
    assert isinstance(block, Sheet)
    return block


def test_months_carry_their_sign_in_text_and_only_repeat_it_in_colour(run: Run) -> None:
    sheet = _sheet(money.returns(run).blocks[0])
    cells = [cell for row in sheet.table.rows for cell in row if isinstance(cell, Cell)]
    assert len(cells) == 6 * 12
    for cell in cells:
        assert not cell.tone.startswith("up") or cell.text.startswith("+")
        assert not cell.tone.startswith("down") or cell.text.startswith("−")
    assert {cell.text for cell in cells if not cell.tone} >= {words.DASH}


def test_months_and_years_are_those_of_the_trading_room(run: Run) -> None:
    net, rival = run.daily("strategy_net"), run.daily("buy_and_hold")
    assert net is not None
    assert rival is not None
    sheet = _sheet(money.returns(run).blocks[0])
    row = sheet.table.rows[1]
    own, other = (monthly_table(series).loc[2009] for series in (net, rival))
    assert [str(cell) for cell in row[:2]] == ["2009", words.number(100 * own[1], 1, sign=True)]
    assert [str(cell) for cell in row[-3:]] == [
        words.number(100 * value, 1, sign=True)
        for value in (own["year"], other["year"], own["year"] - other["year"])
    ]


def test_folds_show_only_what_the_run_knows(run: Run, with_result: Callable[..., Run]) -> None:
    table = _sheet(money.folds(run).blocks[0]).table
    assert table.headers[-1] == "time, s"
    assert len(table.rows) == 5
    thin = [
        {k: v for k, v in fold.items() if k not in ("seconds", "n_train", "survived")}
        for fold in run.result["folds"]
    ]
    table = _sheet(money.folds(with_result(folds=thin)).blocks[0]).table
    assert table.headers[-1] == "buy-and-hold"
    assert "network kept" not in table.headers
    assert len(table.classes) == len(table.headers) == len(table.rows[0])


def test_a_fold_earned_what_its_sessions_earned(run: Run) -> None:
    net = run.daily("strategy_net")
    assert net is not None
    table = _sheet(money.folds(run).blocks[0]).table
    place = list(table.headers).index("net return")
    earned = METRICS["total_return"](net.loc["2009-03-02":"2010-02-28"])
    assert table.rows[1][place] == words.percent(earned, sign=True)


def test_no_folds_are_said(with_result: Callable[..., Run]) -> None:
    for folds in (None, []):
        assert isinstance(money.folds(with_result(folds=folds)).blocks[0], Missing)


def test_an_ongoing_drawdown_is_never_listed_as_recovered(run: Run) -> None:
    net = run.daily("strategy_net")
    assert net is not None
    pair = money.risk(run).blocks[0]
    assert isinstance(pair, Row)
    rows = _sheet(pair.blocks[0]).table.rows
    ongoing = drawdown_table(net)["ongoing"].to_list()
    assert [row[4] == "ongoing" for row in rows] == ongoing
    assert any(ongoing)


def test_the_histogram_counts_every_day(run: Run) -> None:
    pair = money.risk(run).blocks[0]
    assert isinstance(pair, Row)
    chart = pair.blocks[1]
    assert isinstance(chart, Chart)
    assert chart.table is not None
    for column in (1, 2):
        counts = [int(str(row[column]).replace(",", "")) for row in chart.table.rows]
        assert sum(counts) == len(run.equity)


def test_every_figure_stands_beside_the_benchmarks(run: Run) -> None:
    table = _sheet(money.risk(run).blocks[1]).table
    assert [row[0] for row in table.rows] == [metric.label for metric in METRICS.values()]
    beta = next(row for row in table.rows if row[0] == "Beta")
    assert beta[3] == words.DASH


def test_figures_outside_the_registry_are_shown_by_name(
    run: Run, with_result: Callable[..., Run]
) -> None:
    strange = with_result(intervals=None, metrics={"strategy": {"my_figure": 1.5, "sharpe": None}})
    table = _sheet(money.risk(strange).blocks[1]).table
    assert [list(row) for row in table.rows] == [
        ["Sharpe ratio", words.DASH, words.DASH, words.DASH],
        ["my_figure", "+1.50", words.DASH, words.DASH],
    ]


def test_a_run_of_one_session_is_told_whole(run: Run) -> None:
    short = replace(run, equity=run.equity.head(1))
    sheet = _sheet(money.returns(short).blocks[0])
    assert "calendar years" not in sheet.reading
    assert len(money.risk(short).blocks) == 2


def test_no_losses_at_all(run: Run) -> None:
    rising = replace(run, equity=run.equity.assign(strategy_net=1e-4))
    pair = money.risk(rising).blocks[0]
    assert isinstance(pair, Row)
    assert "no session below an earlier high" in _sheet(pair.blocks[0]).reading


def test_tones_deepen_with_the_return() -> None:
    tones = [money._tone(value) for value in (0.0, 0.004, 0.01, 0.03, 0.05, 0.2)]
    assert tones == ["", "", "up1", "up2", "up3", "up4"]
    assert [money._tone(-value) for value in (0.01, 0.2)] == ["down1", "down4"]
    assert money._tone(np.nan) == ""
    assert money._bare(pd.NA) == words.DASH
