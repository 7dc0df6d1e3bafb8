from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantseq.reporting import words
from quantseq.reporting.index import Listed, render_index
from quantseq.reporting.page import Cards
from quantseq.reporting.printed import printed
from quantseq.reporting.run import Run
from quantseq.reporting.sections import overview
from quantseq.trading.performance import METRICS

pytestmark = pytest.mark.usefixtures("undrawn")

SPACE = words.SPACE


def _manifest(run: Run, **entries: Any) -> Run:
    return replace(run, manifest={**run.manifest, **entries})


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
        "look-ahead audit passed: 2 checks",
    ]


def test_an_edge_and_no_verdict_are_told_apart(with_result: Callable[..., Run]) -> None:
    edge = overview.header(with_result(verdict={"edge": True, "sentence": "An edge."}))
    assert (edge.edge, edge.answer) == (True, "Edge found")
    silent = overview.header(with_result(verdict=None, gate={"passed": False}))
    assert (silent.edge, silent.answer) == (False, "No verdict")
    assert "copy gate not passed" in [badge.text for badge in silent.badges]


@pytest.mark.parametrize(
    ("audit", "said"),
    [({"passed": False, "checks": []}, "failed"), ({}, "is missing"), (None, "is missing")],
)
def test_no_edge_is_shown_beside_an_audit_that_did_not_pass(
    with_result: Callable[..., Run], audit: dict[str, Any] | None, said: str
) -> None:
    """A full audit may fail after the backtest had claimed an edge."""
    verdict = {"edge": True, "sentence": "An edge over buy-and-hold was found: Sharpe 2.00."}
    run = with_result(verdict=verdict, audit=audit)
    header = overview.header(run)
    assert (header.edge, header.answer) == (False, "No edge found")
    assert header.sentence.startswith(
        f"No edge is claimed, for the look-ahead audit {said}. Before:"
    )
    assert "Sharpe 2.00." in header.sentence
    assert "No edge is claimed" in run.card()
    row = str(run.manifest["run_id"])
    texts = printed(render_index([Listed(Path(row), run)]))
    assert texts["runs / text"].endswith("an edge was found in 0.")
    assert texts[f"runs / Every run in this folder / {row}, no page / verdict"] == "No edge"


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
    assert all(card.interval and card.bar for card in cards.items)
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


@pytest.mark.parametrize(
    ("audit", "text", "tone"),
    [
        (None, "not audited for look-ahead", "warn"),
        ("broken", "not audited for look-ahead", "warn"),
        (
            {"passed": True, "checks": [{"name": "a", "passed": True}]},
            "audit passed: 1 check",
            "good",
        ),
        (
            {"passed": False, "checks": [{"name": "a", "passed": True}, {"name": "b"}]},
            "look-ahead audit failed: b",
            "warn",
        ),
        ({"passed": False}, f"look-ahead audit failed: {words.DASH}", "warn"),
    ],
)
def test_the_audit_has_its_badge(
    with_result: Callable[..., Run], audit: object, text: str, tone: str
) -> None:
    badge = overview.header(with_result(audit=audit)).badges[-1]
    assert text in badge.text
    assert badge.tone == tone
