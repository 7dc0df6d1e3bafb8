from collections.abc import Callable
from dataclasses import replace

import pytest

from quantseq.report import doubt, words
from quantseq.report.page import Chart, Facts, Missing, Row, Sheet
from quantseq.report.run import Run
from quantseq.trading.luck import psr
from quantseq.trading.performance import METRICS

pytestmark = pytest.mark.usefixtures("undrawn")


def _facts(run: Run) -> dict[str, str]:
    facts = doubt.luck(run).blocks[-1]
    assert isinstance(facts, Facts)
    return dict(facts.items)


@pytest.mark.parametrize(
    ("ends", "words_in_it"),
    [
        ([-0.5, 0.9], "0 lies inside, so chance alone can explain"),
        ([0.1, 0.9], "lies above 0"),
        ([-0.9, -0.1], "lies below 0"),
    ],
)
def test_the_interval_is_read_out(
    run: Run, with_result: Callable[..., Run], ends: list[float], words_in_it: str
) -> None:
    verdict = {**run.result["verdict"], "interval": ends, "sharpe_difference": sum(ends) / 2}
    chart = doubt.luck(with_result(verdict=verdict)).blocks[0]
    assert isinstance(chart, Chart)
    assert words_in_it in chart.reading


@pytest.mark.parametrize("ends", [None, [None, None], [0.1], "x"])
def test_an_unknown_interval_is_said(
    run: Run, with_result: Callable[..., Run], ends: object
) -> None:
    verdict = {**run.result["verdict"], "interval": ends}
    assert isinstance(doubt.luck(with_result(verdict=verdict)).blocks[0], Missing)


def test_psr_is_the_stored_one_or_the_trading_rooms(
    run: Run, with_result: Callable[..., Run]
) -> None:
    label = "Probability that the true Sharpe is above 0 (PSR)"
    assert _facts(run)[label] == words.percent(psr(run.daily("strategy_net")))
    assert _facts(with_result(verdict={"psr": 0.5}))[label] == words.percent(0.5)
    assert _facts(with_result(verdict={"psr": None}))[label] == words.DASH


def test_trials_and_ledger_are_shown(with_result: Callable[..., Run]) -> None:
    facts = _facts(with_result(verdict={"n_trials": 1234, "ledger": "intact"}))
    assert facts["Trials counted"].startswith("1,234, ")
    assert facts["Ledger"] == "intact"


def test_costs_are_the_difference_of_gross_and_net(run: Run) -> None:
    row = doubt.tradable(run).blocks[0]
    assert isinstance(row, Row)
    sheet = row.blocks[0]
    assert isinstance(sheet, Sheet)
    gross, net = (METRICS["cagr"](run.daily(name)) for name in ("strategy_gross", "strategy_net"))
    expected = [words.percent(value, sign=True) for value in (gross, net, net - gross)]
    assert list(sheet.table.rows[0])[1:] == expected
    level = words.bps(run.result["break_even_bps"])
    assert f"above {level} the strategy would have earned less than cash" in sheet.reading


def test_an_unknown_break_even_is_said(with_result: Callable[..., Run]) -> None:
    row = doubt.tradable(with_result(break_even_bps=None)).blocks[0]
    assert isinstance(row, Row)
    assert isinstance(row.blocks[0], Sheet)
    assert "no break-even cost was stored" in row.blocks[0].reading


def test_no_gross_returns_are_said(run: Run) -> None:
    bare = replace(run, equity=run.equity.drop(columns="strategy_gross"))
    assert isinstance(doubt.tradable(bare).blocks[0], Missing)


def test_turnover_is_optional(run: Run) -> None:
    bare = replace(run, equity=run.equity.drop(columns=["turnover", "cost"]))
    row = doubt.tradable(bare).blocks[0]
    assert isinstance(row, Row)
    assert isinstance(row.blocks[0], Sheet)
    assert row.blocks[0].reading.startswith(words.bps(5.0))


def _titles(run: Run) -> list[str]:
    return [block.title for block in doubt.tradable(run).blocks if isinstance(block, Sheet)]


def test_the_rivals_stand_beside_the_strategy(with_result: Callable[..., Run]) -> None:
    figures = {"cagr": 0.1, "volatility": 0.2, "sharpe": None, "max_drawdown": -0.3}
    rivals = {
        "equal_weight": {"label": "Equal weight", "formula": "1/n", "metrics": figures},
        "random_entry": {"label": "Random", "metrics": {}, "sharpe_range": [-0.4, 0.6]},
    }
    sheet = doubt.tradable(with_result(rivals=rivals)).blocks[1]
    assert isinstance(sheet, Sheet)
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
    sheet = doubt.tradable(with_result(attribution=parts)).blocks[-1]
    assert isinstance(sheet, Sheet)
    assert list(sheet.table.headers) == ["", "long", "short", "commission", "total"]
    assert sheet.table.rows[-1][-1] == words.percent(0.3, 2, sign=True)


@pytest.mark.parametrize("broken", [None, {}, [], "x", [1], {"random_entry": 1}])
def test_old_or_broken_runs_show_no_such_tables(
    with_result: Callable[..., Run], broken: object
) -> None:
    titles = _titles(with_result(rivals=broken, attribution=broken))
    assert "Where the profit came from" not in titles
