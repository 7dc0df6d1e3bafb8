from collections.abc import Callable
from typing import Any

from quantseq.reporting import words
from quantseq.reporting.page import Missing, Sheet
from quantseq.reporting.run import Run
from quantseq.reporting.sections.folds import fold_sheet
from quantseq.trading.performance import METRICS


def _sheet(block: Any) -> Sheet:
    assert isinstance(block, Sheet)
    return block


def test_folds_show_only_what_the_run_knows(run: Run, with_result: Callable[..., Run]) -> None:
    table = _sheet(fold_sheet(run)).table
    assert len(table.rows) == 5
    thin = [
        {k: v for k, v in fold.items() if k not in ("seconds", "n_train", "survived")}
        for fold in run.result["folds"]
    ]
    table = _sheet(fold_sheet(with_result(folds=thin))).table
    assert "network kept" not in table.headers
    assert len(table.classes) == len(table.headers) == len(table.rows[0])


def test_a_fold_earned_what_its_sessions_earned(run: Run) -> None:
    net = run.daily("strategy_net")
    assert net is not None
    table = _sheet(fold_sheet(run)).table
    place = list(table.headers).index("net return")
    earned = METRICS["total_return"](net.loc["2009-03-02":"2010-02-28"])
    assert table.rows[1][place] == words.percent(earned, sign=True)


def test_no_folds_are_said(with_result: Callable[..., Run]) -> None:
    for folds in (None, []):
        assert isinstance(fold_sheet(with_result(folds=folds)), Missing)


def test_folds_are_counted_by_their_sharpe_ratios(run: Run) -> None:
    sheet = _sheet(fold_sheet(run))
    net, rival = run.daily("strategy_net"), run.daily("buy_and_hold")
    assert net is not None
    assert rival is not None
    ahead = 0
    for fold in run.result["folds"]:
        part = slice(fold["test_start"], fold["test_end"])
        ahead += METRICS["sharpe"](net.loc[part]) > METRICS["sharpe"](rival.loc[part])
    assert f"better than buy-and-hold by Sharpe ratio in {ahead} of 5" in sheet.reading
