from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from quantseq.reporting import words
from quantseq.reporting.page import Chart, Facts, Missing
from quantseq.reporting.run import Run
from quantseq.reporting.sections import doubt
from quantseq.trading.luck import psr

pytestmark = pytest.mark.usefixtures("undrawn")


def _facts(run: Run) -> dict[str, str]:
    (facts,) = (block for block in doubt.luck(run).blocks if isinstance(block, Facts))
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
    assert facts["Rule"].endswith("look-ahead audit passes and the ledger is whole")


def test_the_scatter_of_chance_is_not_called_that_of_the_trials(
    run: Run, with_result: Callable[..., Run]
) -> None:
    alone = {"n_trials": 1, "trial_sd": 1 / np.sqrt(len(run.equity) - 1)}
    told = _facts(with_result(verdict=alone))["Trials counted"]
    assert told.endswith(
        "they show no scatter, so that of chance is taken, 0.0282 in Sharpe per session"
    )
    told = _facts(with_result(verdict={"n_trials": 9, "trial_sd": 0.05}))["Trials counted"]
    assert told.endswith("their Sharpe ratios per session scatter by 0.0500")


def test_spa_and_the_track_record_needed_are_shown(with_result: Callable[..., Run]) -> None:
    facts = _facts(with_result(verdict={"spa_p": 0.0312, "min_track_record": 900.2}))
    assert facts["Test that nothing tried beats buy-and-hold (SPA)"].startswith("p 0.031, ")
    needed = facts["Sessions needed for a PSR of 95 %"]
    assert needed == "901 at this Sharpe ratio; this run has 1,258"
    never = _facts(with_result(verdict={"min_track_record": None}))
    assert never["Sessions needed for a PSR of 95 %"].startswith("no number would do")
    assert "not stored" in never["Test that nothing tried beats buy-and-hold (SPA)"]
    assert "not stored" in _facts(with_result(verdict={}))["Sessions needed for a PSR of 95 %"]


def test_the_deflated_sharpe_is_marked_at_the_ledgers_trials(
    run: Run, find: Callable[..., Any]
) -> None:
    chart = find(doubt.luck(run), "deflated")
    dsr = run.result["verdict"]["dsr"]
    assert f"After the 7 trials in the ledger {words.percent(dsr)} are left." in chart.reading
    assert (chart.table.rows[0][0], chart.table.rows[-1][0]) == ("1", "1,000")


@pytest.mark.parametrize("curve", [None, "x", [], [{"n": 1, "dsr": 0.5}], [{"n": 0}, {"dsr": 1}]])
def test_without_a_curve_that_is_said(with_result: Callable[..., Run], curve: object) -> None:
    blocks = doubt.luck(with_result(verdict={"dsr_curve": curve})).blocks
    said = [block.text for block in blocks if isinstance(block, Missing)]
    assert "This run stored no curve of the deflated Sharpe against trials." in said


def test_placebos_stand_beside_the_strategy(run: Run, find: Callable[..., Any]) -> None:
    chart = find(doubt.luck(run), "placebos")
    assert f"It beats {words.percent(0.93)} of all placebos" in chart.reading
    assert list(chart.table.rows[0]) == ["random entry", "−0.20", "+0.31", "+0.81", "20"]


def test_a_failed_check_is_said_and_marked(
    with_result: Callable[..., Run], find: Callable[..., Any]
) -> None:
    checks = [
        {"name": "a", "passed": True, "reading": "fine"},
        {"name": "b", "passed": False, "reading": "3 rows moved"},
    ]
    sheet = find(doubt.luck(with_result(audit={"checks": checks})), "Look-ahead audit")
    assert sheet.reading == "1 check of 2 failed: the result may not be claimed."
    assert sheet.table.rows[1][1].tone == "loss"
    assert str(sheet.table.rows[1][1]) == "failed"


@pytest.mark.parametrize("audit", [None, "x", {}, {"checks": "x", "placebos": [{"name": "p"}]}])
def test_a_run_without_audit_says_so(with_result: Callable[..., Run], audit: object) -> None:
    blocks = doubt.luck(with_result(audit=audit)).blocks
    said = [block.text for block in blocks if isinstance(block, Missing)]
    assert "This run was not audited for look-ahead." in said
    assert "This run stored no placebos to compare with." in said
