from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantseq.reporting import words
from quantseq.reporting.page import Missing, Sheet
from quantseq.reporting.run import Run
from quantseq.reporting.sections import risk
from quantseq.trading.performance import METRICS, drawdown_table, rolling

pytestmark = pytest.mark.usefixtures("undrawn")


def test_an_ongoing_drawdown_is_never_listed_as_recovered(
    run: Run, find: Callable[..., Any]
) -> None:
    net = run.daily("strategy_net")
    assert net is not None
    rows = find(risk.risk(run), "Worst drawdowns").table.rows
    ongoing = drawdown_table(net)["ongoing"].to_list()
    assert [row[4] == "ongoing" for row in rows] == ongoing
    assert any(ongoing)


def test_every_figure_stands_beside_the_benchmarks(run: Run, find: Callable[..., Any]) -> None:
    table = find(risk.risk(run), "Every figure").table
    assert [row[0] for row in table.rows] == [metric.label for metric in METRICS.values()]
    beta = next(row for row in table.rows if row[0] == "Beta")
    assert beta[3] == words.DASH


def test_figures_outside_the_registry_are_shown_by_name(
    with_result: Callable[..., Run], find: Callable[..., Any]
) -> None:
    strange = with_result(intervals=None, metrics={"strategy": {"my_figure": 1.5, "sharpe": None}})
    table = find(risk.risk(strange), "Every figure").table
    assert [list(row) for row in table.rows] == [
        ["Sharpe ratio", words.DASH, words.DASH, words.DASH],
        ["my_figure", "+1.50", words.DASH, words.DASH],
    ]


def test_no_losses_at_all(run: Run, find: Callable[..., Any]) -> None:
    rising = replace(run, equity=run.equity.assign(strategy_net=1e-4))
    sheet = find(risk.risk(rising), "Worst drawdowns")
    assert isinstance(sheet, Sheet)
    assert "no session below an earlier high" in sheet.reading


@pytest.mark.parametrize("name", ["sharpe", "volatility"])
def test_rolling_figures_are_blank_until_the_window_is_full(
    run: Run, find: Callable[..., Any], name: str
) -> None:
    net = run.daily("strategy_net")
    live = find(risk.risk(run), f"rolling-{name}").live
    values = live.lines[0].values
    assert np.isnan(values[: risk.WINDOW - 1]).all()
    assert np.isfinite(values[risk.WINDOW - 1])
    np.testing.assert_array_equal(values, rolling(name, net, window=risk.WINDOW))


def test_too_short_a_run_has_no_rolling_figures(run: Run) -> None:
    blocks = risk.risk(replace(run, equity=run.equity.head(100))).blocks
    assert isinstance(blocks[0], Missing)
    assert "this run has 100" in blocks[0].text


def test_the_worst_days_are_the_registrys(run: Run, find: Callable[..., Any]) -> None:
    table = find(risk.risk(run), "The worst days").table
    net, rival = run.daily("strategy_net"), run.daily("buy_and_hold")
    assert list(table.rows[1]) == [
        METRICS["es_95"].label,
        *(words.percent(METRICS["es_95"](one), 2, sign=True) for one in (net, rival)),
    ]
