"""What the sections say at their edges; their words on a whole run stand in ``goldens/page.txt``."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.evaluation.significance import diebold_mariano
from quantseq.reporting import sections
from quantseq.reporting.page import Figure, Sheet
from quantseq.reporting.render import figures
from quantseq.reporting.run import Run
from quantseq.reporting.sections import backtest_page
from quantseq.trading.metrics import METRICS, drawdowns, rolling, wealth


@pytest.fixture(scope="module")
def shown(run: Run) -> dict[str, Figure]:
    return figures(run)


def sheets(run: Run) -> dict[str, Sheet]:
    found = {}
    for one in backtest_page(run).sections:
        for block in one.blocks:
            for part in getattr(block, "blocks", [block]):
                if isinstance(part, Sheet):
                    found[part.title] = part
    return found


def test_the_numbers_behind_the_figures_are_those_of_the_run(
    run: Run, shown: dict[str, Figure]
) -> None:
    net, held = run.daily("strategy_net"), run.daily("buy_and_hold")
    assert net is not None
    assert (shown["equity"].frame["strategy"].to_numpy() == [1.0, *wealth(net)]).all()
    assert (shown["drawdown"].frame["buy-and-hold"].to_numpy()[1:] == drawdowns(held)).all()
    rolled = shown["rolling-sharpe"].frame["strategy"].to_numpy()
    np.testing.assert_array_equal(rolled, rolling("sharpe", net, window=126, periods=run.periods))
    years = shown["years"].frame
    assert np.prod(1 + years["strategy"]) == pytest.approx(wealth(net)[-1])
    assert shown["distribution"].frame["strategy"].sum() == len(net)
    first = run.scores[(run.scores["step"] == 1) & run.scores["pit"].notna()]
    assert shown["pit"].frame["outcomes"].sum() == len(first)
    share = (first["pit"] <= 0.5).mean()
    assert shown["reliability"].frame["seq2seq"].loc[0.5] == pytest.approx(share - 0.5)


def test_every_section_and_figure_has_the_year_of_the_run(run: Run) -> None:
    config = {**run.manifest["config"], "costs": {"periods": 365}}
    other = replace(run, manifest={**run.manifest, "config": config})
    table = {str(row[0]): row for row in sheets(other)["Before and after costs"].table.rows}
    sharpe = METRICS["sharpe"](run.daily("strategy_net"), periods=365)
    assert table["Sharpe ratio"][2] == f"{sharpe:+.2f}"
    assert "A = 365 sessions" in backtest_page(other).sections[-1].lead


@pytest.mark.parametrize(
    ("interval", "words"),
    [([0.1, 0.9], "above 0"), ([-0.9, -0.1], "below 0"), ([-0.1, 0.1], "0 lies inside")],
)
def test_the_interval_is_read_by_its_sides(
    with_result: Callable[..., Run], interval: list[float], words: str
) -> None:
    verdict = {"interval": interval, "sharpe_difference": float(np.mean(interval))}
    assert words in figures(with_result(verdict=verdict))["difference"].reading


@pytest.mark.parametrize(
    ("result", "turnover", "words"),
    [
        ({"break_even_bps": 12.34}, None, "12.3\u00a0bps"),
        ({"break_even_bps": 1e6}, None, "more than the whole notional"),
        ({"break_even_bps": None}, np.zeros(3), "none, it never traded"),
        ({"break_even_bps": None}, np.ones(3), "none, it earns less than cash"),
        ({}, None, "not stored"),
    ],
)
def test_break_even_says_why_there_is_none(result: Any, turnover: Any, words: str) -> None:
    assert sections.break_even(result, turnover).startswith(words)


def test_tests_are_coloured_by_side_and_not_where_nothing_would_be_printed() -> None:
    rng = np.random.default_rng(0)
    days = np.arange("2010-01-01", "2012-01-01", dtype="datetime64[D]")
    worse = rng.normal(size=len(days))
    found = [
        {"model": "m", "baseline": "r", "score": "log_score", "step": step}
        | vars(diebold_mariano(worse - gap + noise, worse, days))
        for step, gap, noise in (
            (1, 0.5, 0.1 * rng.normal(size=len(days))),
            (2, -0.5, 0.1 * rng.normal(size=len(days))),
            (3, 1e-9, 0.0),
        )
    ]
    assert [sections.test_side(one) for one in found] == [-1, 1, 0]
    sheet = sections.test_sheet(found)
    assert "1 clearly better (blue), 1 clearly worse (orange), 1 undecided" in sheet.reading
    assert [cell.tone for cell in sheet.table.rows[0][2:]] == ["up3", "down3", ""]


def test_scores_are_ranked_and_ties_named() -> None:
    models = {"a": {"log_score": -2.0}, "b": {"log_score": -2.00001}, "c": {"log_score": None}}
    sheet = sections.score_sheet(models, "a")
    assert "a is number 1 of 3, level with b" in sheet.reading
    assert [row[0] for row in sheet.table.rows] == ["b", "a", "c"]


def test_months_are_tinted_by_sign_and_depth(run: Run) -> None:
    table = sheets(run)["Months and years, net of costs, in percent"].table
    for row in table.rows:
        for cell in row[1:13]:
            value = str(cell).replace("−", "-")
            if cell.tone:
                assert (float(value) > 0) == cell.tone.startswith("up")
            else:
                assert value == "—" or abs(float(value)) <= 0.5


def test_an_open_trade_is_open_and_the_best_come_first(run: Run) -> None:
    trades = run.trades.head(3).assign(left=[pd.NaT, *run.trades["left"][1:3]])
    rows = sheets(replace(run, trades=trades))["All trades"].table.rows
    assert sum(row[3] == "open" for row in rows) == 1
    assert len(rows) == 3


def test_fans_are_the_best_the_middle_and_the_worst(run: Run, shown: dict[str, Figure]) -> None:
    fans = [shown[f"fan-{name}"] for name in ("best", "median", "worst")]
    crps = [
        float(fan.reading.split("mean CRPS ")[1].split("\u00a0")[0].replace(",", ""))
        for fan in fans
    ]
    assert crps == sorted(crps)
    frame = fans[0].frame
    assert list(frame.columns[:3]) == ["5\u00a0%", "10\u00a0%", "25\u00a0%"]
    assert (frame.iloc[:, 0] < frame.iloc[:, 6]).all()


def test_settings_are_dotted() -> None:
    found = sections.settings({"a": {"b": [1, 2], "c": None}, "d": {}, "e": 1})
    assert found == [("a.b", "1, 2"), ("a.c", "—"), ("d", "{}"), ("e", "1")]


def test_findings_are_one_line_per_rule_with_errors_first() -> None:
    one = {
        "severity": "warning",
        "rule": "gap",
        "symbol": "A",
        "count": 2,
        "sessions": ["2010-01-02"],
    }
    several = [one, {**one, "symbol": "B"}, {**one, "severity": "error", "rule": "zero"}]
    sheet = sections.notes({"data_findings": several})[1]
    assert isinstance(sheet, Sheet)
    assert [row[:4] for row in sheet.table.rows] == [
        ["error", "zero", "A", "2"],
        ["warning", "gap", "A, B", "4"],
    ]
    assert len(sections.notes({"data_findings": []})) == 2
    assert len(sections.notes({})) == 1
