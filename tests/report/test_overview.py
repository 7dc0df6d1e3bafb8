from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantseq.report import overview, words
from quantseq.report.page import Cards, Chart, Missing
from quantseq.report.run import Run
from quantseq.trading.performance import METRICS, wealth

pytestmark = pytest.mark.usefixtures("undrawn")

SPACE = words.SPACE


def _manifest(run: Run, **entries: Any) -> Run:
    return replace(run, manifest={**run.manifest, **entries})


def _charts(run: Run) -> dict[str, Chart]:
    return {part.key: part for part in overview.growth(run).blocks if isinstance(part, Chart)}


def test_every_figure_has_its_sign_and_unit() -> None:
    assert overview.figure("cagr", 0.1234) == f"+12.3{SPACE}%"
    assert overview.figure("max_drawdown", -0.2) == f"−20.0{SPACE}%"
    assert overview.figure("volatility", 0.2) == f"20.0{SPACE}%"
    assert overview.figure("sharpe", 0.5) == "+0.50"
    assert overview.figure("es_95", -0.01234) == f"−1.23{SPACE}%"
    assert overview.figure("longest_drawdown", 1234.0) == f"1,234{SPACE}sessions"
    assert {overview.figure(name, float("nan")) for name in METRICS} == {words.DASH}


def test_the_header_says_what_where_and_the_verdict(run: Run) -> None:
    header = overview.header(run)
    assert header.universe == "AAPL, GOOG, IBM and MSFT"
    assert header.span == "out of sample 2008-03-03 to 2013-03-01, 1,258 sessions"
    assert header.answer == "No edge found"
    assert header.sentence == words.tidy(run.result["verdict"]["sentence"])
    texts = [badge.text for badge in header.badges]
    assert texts == [
        "bundled sample data",
        f"5{SPACE}bps of every trade charged",
        "decided at the close, filled at the next open",
        f"copy gate passed: 99.9{SPACE}% exact, 99.5{SPACE}% needed",
    ]


def test_an_edge_and_no_verdict_are_told_apart(with_result: Callable[..., Run]) -> None:
    edge = overview.header(with_result(verdict={"edge": True, "sentence": "An edge."}))
    assert (edge.edge, edge.answer) == (True, "Edge found")
    silent = overview.header(with_result(verdict=None, gate={"passed": False}))
    assert (silent.edge, silent.answer) == (False, "No verdict")
    assert "copy gate not passed" in [badge.text for badge in silent.badges]


@pytest.mark.parametrize(
    ("cost", "text"), [(None, "costs not recorded"), (0, "no trading costs charged")]
)
def test_missing_costs_are_a_warning(run: Run, cost: float | None, text: str) -> None:
    badges = overview.header(_manifest(run, cost_bps=cost)).badges
    assert [badge.tone for badge in badges if badge.text == text] == ["warn"]


def test_a_large_universe_is_counted_not_listed(run: Run) -> None:
    many = _manifest(run, symbols=[f"S{number}" for number in range(60)])
    assert overview.header(many).universe == "60 symbols, listed under Manifest"


def test_at_most_twelve_cards_with_interval_and_rival(run: Run) -> None:
    cards = overview.cards(run).blocks[0]
    assert isinstance(cards, Cards)
    assert 6 <= len(cards.items) <= 12
    sharpe = next(card for card in cards.items if card.label == "Sharpe ratio")
    assert sharpe.value == words.number(run.result["metrics"]["strategy"]["sharpe"], sign=True)
    assert sharpe.interval.startswith("95 %: ")
    assert sharpe.rival.startswith("buy-and-hold +")
    assert sharpe.bar is not None
    assert 0 <= sharpe.bar.low < sharpe.bar.value < sharpe.bar.high <= 100


def test_a_card_without_interval_has_none(with_result: Callable[..., Run]) -> None:
    for intervals in (
        None,
        {"cagr": None},
        {"cagr": [None, 1.0]},
        {"cagr": [0.1, 0.1]},
        {"cagr": 3},
    ):
        cards = overview.cards(with_result(intervals=intervals)).blocks[0]
        assert isinstance(cards, Cards)
        assert cards.items[0].bar is None or intervals == {"cagr": [0.1, 0.1]}


def test_the_readings_hold_the_numbers_of_the_trading_room(run: Run) -> None:
    net = run.daily("strategy_net")
    assert net is not None
    charts = _charts(run)
    assert f"1.00 became {wealth(net)[-1]:.2f} net of costs" in charts["equity"].reading
    depth = words.percent(METRICS["max_drawdown"](net))
    assert charts["drawdown"].reading.startswith(f"The deepest fall, {depth}, ran from 20")
    table = charts["equity"].table
    assert table is not None
    assert table.rows[-1][:2] == ["2013-03-01", words.number(wealth(net)[-1])]
    assert len(table.rows) == 61


def test_every_number_behind_the_positions_is_there(run: Run) -> None:
    table = _charts(run)["positions"].table
    assert table is not None
    assert [row[0] for row in table.rows] == ["AAPL", "GOOG", "IBM", "MSFT"]


def test_shorts_are_named_and_many_symbols_are_cut_for_the_picture_only(run: Run) -> None:
    first = run.weights.loc[run.weights["symbol"] == "AAPL"]
    parts = [
        first.assign(symbol=f"S{n:02d}", weight=first["weight"] * (-1) ** n) for n in range(12)
    ]
    many = replace(run, weights=type(first)(np.concatenate(parts), columns=first.columns))
    chart = _charts(many)["positions"]
    assert "The 8 largest of 12 are drawn." in chart.reading
    assert any("short" in key.text for key in chart.legend)
    assert chart.table is not None
    assert len(chart.table.rows) == 12


def test_what_is_missing_is_said(run: Run) -> None:
    bare = replace(run, weights=run.weights.head(0), equity=run.equity[["session", "strategy_net"]])
    blocks = overview.growth(bare).blocks
    said = [block.text for block in blocks if isinstance(block, Missing)]
    assert len(said) == 2
    assert "this run stored no benchmark" in _charts(bare)["equity"].reading


def test_ruin_is_drawn_on_a_linear_axis(run: Run) -> None:
    ruined = run.equity.copy()
    ruined.loc[100, "strategy_net"] = -1.0
    ruined.loc[101:, "strategy_net"] = 0.0
    charts = _charts(replace(run, equity=ruined))
    assert "log" not in charts["equity"].title
    assert "not yet back at the high" in charts["drawdown"].reading


def test_a_strategy_that_never_falls_has_no_deepest_point(run: Run) -> None:
    calm = replace(run, equity=run.equity.assign(strategy_net=0.0))
    assert _charts(calm)["drawdown"].reading == "The strategy was never below an earlier high."
