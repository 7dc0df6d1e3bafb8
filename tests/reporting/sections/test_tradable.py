from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from quantseq.reporting import words
from quantseq.reporting.page import Missing, Row, Sheet
from quantseq.reporting.run import Run
from quantseq.reporting.sections import tradable
from quantseq.trading.performance import METRICS

pytestmark = pytest.mark.usefixtures("undrawn")


def test_costs_are_the_difference_of_gross_and_net(run: Run) -> None:
    row = tradable.tradable(run).blocks[0]
    assert isinstance(row, Row)
    sheet = row.blocks[0]
    assert isinstance(sheet, Sheet)
    gross, net = (METRICS["cagr"](run.daily(name)) for name in ("strategy_gross", "strategy_net"))
    expected = [words.percent(value, sign=True) for value in (gross, net, net - gross)]
    assert list(sheet.table.rows[0])[1:] == expected
    level = words.bps(run.result["break_even_bps"])
    assert f"above {level} the strategy would have earned less than cash" in sheet.reading


@pytest.mark.parametrize(
    ("level", "turnover", "told"),
    [
        (None, 1.0, "none, it earns less than cash without any"),
        (None, 0.0, "none, it never traded"),
        (10_000.0, 1.0, "more than the whole notional"),
        ("missing", 1.0, "not stored for this run"),
    ],
)
def test_why_there_is_no_break_even_is_said(
    run: Run, find: Callable[..., Any], level: Any, turnover: float, told: str
) -> None:
    result = {**run.result, "break_even_bps": level}
    if level == "missing":
        del result["break_even_bps"]
    changed = run.equity.assign(turnover=turnover * run.equity["turnover"])
    section = tradable.tradable(replace(run, result=result, equity=changed))
    assert find(section, "Before and after costs").reading.endswith(f"break-even cost: {told}.")
    assert f"{told}" in find(section, "sweep").reading.split(";")[0]


def test_no_gross_returns_are_said(run: Run) -> None:
    bare = replace(run, equity=run.equity.drop(columns="strategy_gross"))
    assert isinstance(tradable.tradable(bare).blocks[0], Missing)


def test_turnover_is_optional(run: Run) -> None:
    bare = replace(run, equity=run.equity.drop(columns=["turnover", "cost"]))
    row = tradable.tradable(bare).blocks[0]
    assert isinstance(row, Row)
    assert isinstance(row.blocks[0], Sheet)
    assert row.blocks[0].reading.startswith(words.bps(5.0))


def _titles(run: Run) -> list[str]:
    return [block.title for block in tradable.tradable(run).blocks if isinstance(block, Sheet)]


def test_the_rivals_stand_beside_the_strategy(
    with_result: Callable[..., Run], find: Callable[..., Any]
) -> None:
    figures = {"cagr": 0.1, "volatility": 0.2, "sharpe": None, "max_drawdown": -0.3}
    rivals = {
        "equal_weight": {"label": "Equal weight", "formula": "1/n", "metrics": figures},
        "random_entry": {"label": "Random", "metrics": {}, "sharpe_range": [-0.4, 0.6]},
    }
    sheet = find(tradable.tradable(with_result(rivals=rivals)), "Against simple rules")
    assert [str(row[0]) for row in sheet.table.rows] == ["Strategy", "Equal weight", "Random"]
    assert sheet.table.rows[1][3] == words.DASH
    assert "between −0.40 and +0.60" in sheet.reading
    assert sheet.more is not None
    assert sheet.more.rows[0][1] == "1/n"


def test_the_parts_of_the_profit_are_summed(with_result: Callable[..., Run]) -> None:
    parts = [
        {"symbol": "A", "long": 0.3, "short": 0.0, "impact": 0.0, "commission": -0.1, "total": 0.2},
        {"symbol": "B", "long": 0.1, "short": 0.0, "impact": 0.0, "commission": 0.0, "total": 0.1},
    ]
    sheet = tradable.tradable(with_result(attribution=parts)).blocks[-1]
    assert isinstance(sheet, Sheet)
    assert list(sheet.table.headers) == ["", "long", "short", "commission", "total"]
    assert sheet.table.totals[0][-1] == words.percent(0.3, 2, sign=True)


@pytest.mark.parametrize("broken", [None, {}, [], "x", [1], {"random_entry": 1}])
def test_old_or_broken_runs_show_no_such_tables(
    with_result: Callable[..., Run], broken: object
) -> None:
    titles = _titles(with_result(rivals=broken, attribution=broken))
    assert "Where the profit came from" not in titles


def test_the_cost_sweep_goes_through_what_was_charged_and_marks_break_even(
    run: Run, find: Callable[..., Any]
) -> None:
    chart = find(tradable.tradable(run), "sweep")
    rows = {str(row[0]): str(row[1]) for row in chart.table.rows}
    net = run.daily("strategy_net")
    assert rows[words.bps(5.0)] == words.percent(METRICS["cagr"](net), sign=True)
    level = run.result["break_even_bps"]
    assert chart.reading.startswith(f"Break-even at {words.bps(level)}, solved on re-run accounts")
    found = [float(text.split(words.SPACE)[0].replace("−", "-")) for text in rows.values()]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0 > found[-1]


@pytest.mark.parametrize("column", ["turnover", "cost_bps"])
def test_without_turnover_or_costs_nothing_is_priced_again(run: Run, column: str) -> None:
    bare = (
        replace(run, equity=run.equity.drop(columns="turnover"))
        if column == "turnover"
        else replace(run, manifest={k: v for k, v in run.manifest.items() if k != "cost_bps"})
    )
    said = [block.text for block in tradable.tradable(bare).blocks if isinstance(block, Missing)]
    assert said == ["This run stored no turnover, so it is not priced at other costs."]


def test_the_lag_curve_is_read_out(run: Run, find: Callable[..., Any]) -> None:
    chart = find(tradable.tradable(run), "decay")
    assert chart.reading.startswith("+0.91 without delay, +0.62 with 5 sessions.")
    assert [str(row[0]) for row in chart.table.rows][:2] == ["0 sessions", "1 session"]


@pytest.mark.parametrize("curve", [None, "x", [], [{"delay": 0, "sharpe": None}] * 3])
def test_without_a_lag_curve_that_is_said(with_result: Callable[..., Run], curve: object) -> None:
    blocks = tradable.tradable(with_result(audit={"lag_curve": curve})).blocks
    said = [block.text for block in blocks if isinstance(block, Missing)]
    assert said == ["This run stored no lag curve, so how fast it decays is not known."]
