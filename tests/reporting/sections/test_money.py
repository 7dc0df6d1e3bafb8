from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.reporting import words
from quantseq.reporting.page import Cell, Missing, Sheet
from quantseq.reporting.run import Run
from quantseq.reporting.sections import money
from quantseq.trading.performance import monthly_table

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


def test_tones_deepen_with_the_return() -> None:
    tones = [money._tone(value) for value in (0.0, 0.004, 0.01, 0.03, 0.05, 0.2)]
    assert tones == ["", "", "up1", "up2", "up3", "up4"]
    assert [money._tone(-value) for value in (0.01, 0.2)] == ["down1", "down4"]
    assert money._tone(np.nan) == ""
    assert money._bare(pd.NA) == words.DASH


def test_the_histogram_counts_every_day(run: Run, find: Callable[..., Any]) -> None:
    chart = find(money.returns(run), "distribution")
    for column in (1, 2):
        counts = [int(str(row[column]).replace(",", "")) for row in chart.table.rows]
        assert sum(counts) == len(run.equity)


def test_years_are_those_of_the_months_table(run: Run, find: Callable[..., Any]) -> None:
    net = run.daily("strategy_net")
    assert net is not None
    chart = find(money.returns(run), "years")
    year = monthly_table(net)["year"]
    assert [str(row[1]) for row in chart.table.rows] == [
        words.percent(value, sign=True) for value in year
    ]
    assert chart.reading.startswith(f"{int((year > 0).sum())} of 6 calendar years ended higher")


def test_a_run_of_one_session_is_told_whole(run: Run) -> None:
    sheet = _sheet(money.returns(replace(run, equity=run.equity.head(1))).blocks[0])
    assert "calendar years" not in sheet.reading


def test_no_returns_are_said(run: Run) -> None:
    empty = replace(run, equity=run.equity.assign(strategy_net=np.nan))
    assert isinstance(money.returns(empty).blocks[0], Missing)
