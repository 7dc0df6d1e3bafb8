from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantseq.reporting import words
from quantseq.reporting.page import Missing
from quantseq.reporting.run import Run
from quantseq.reporting.sections import conditions
from quantseq.trading.performance import METRICS
from quantseq.trading.regimes import regimes

TITLE = "In which markets it worked"


def test_each_regime_has_the_figures_of_its_sessions(run: Run, find: Callable[..., Any]) -> None:
    net, rival = run.daily("strategy_net"), run.daily("buy_and_hold")
    assert net is not None
    assert rival is not None
    found = regimes(rival)
    table = find(conditions.conditions(run), TITLE).table
    assert [str(row[1]) for row in table.rows] == [one.label for one in found]
    first = found[0]
    expected = [METRICS["sharpe"](one[first.sessions]) for one in (net, rival)]
    assert [str(cell) for cell in table.rows[0][5:7]] == [
        words.number(value, sign=True) for value in expected
    ]
    assert table.rows[0][2] == words.count(first.sessions.sum())


def test_the_band_is_that_of_the_forecasts_for_those_sessions(
    run: Run, find: Callable[..., Any]
) -> None:
    all_inside = replace(run, forecasts=run.forecasts.assign(pit=0.5))
    for row in find(conditions.conditions(all_inside), TITLE).table.rows:
        assert row[-1] == words.percent(1.0)
    blind = replace(run, forecasts=run.forecasts.drop(columns="pit"))
    assert {row[-1] for row in find(conditions.conditions(blind), TITLE).table.rows} == {words.DASH}


@pytest.mark.parametrize("what", ["none", "short", "still"])
def test_what_cannot_be_told_apart_is_said(run: Run, what: str) -> None:
    equity = {
        "none": run.equity.drop(columns="buy_and_hold"),
        "short": run.equity.head(20),
        "still": run.equity.assign(buy_and_hold=np.zeros(len(run.equity))),
    }[what]
    blocks = conditions.conditions(replace(run, equity=equity)).blocks
    assert len(blocks) == 1
    assert isinstance(blocks[0], Missing)
