"""What a run tells of prices that are not as they should be: counted in its notes, never left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantseq.config import Places, PolicyConfig, RunConfig
from quantseq.errors import NotEnoughDataError
from quantseq.evaluation.walkforward import WalkForward
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Bars, Panel
from quantseq.pipeline.backtesting import BacktestOutcome, backtest
from quantseq.pipeline.results import Traded, _notes
from quantseq.trading.decisions.holding import GapLoss

SMALL = RunConfig(
    forecaster=ForecasterConfig(members=1, epochs=1, horizon=3),
    walk_forward=WalkForward(test_size=150, validation_size=120, min_train=500, purge=3),
    num_paths=20,
    seed=7,
)


def elsewhere(bars: Bars) -> Bars:
    """The same stock on another exchange: closed on days of its own, open on New York's holidays."""
    frame = bars.to_frame()
    own = pd.bdate_range(frame.index[0], frame.index[-1]).difference(frame.index)
    frame = frame[np.random.default_rng(0).random(len(frame)) > 0.06]
    added = frame.reindex(own, method="ffill").assign(dividends=0.0, splits=0.0)
    return Bars.from_frame("7203.T", pd.concat([frame, added]).sort_index(), timezone="Asia/Tokyo")


def test_exchanges_with_different_calendars_are_traded_on_the_union_and_counted(
    small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    panel = Panel([small_panel["IBM"], elsewhere(small_panel["MSFT"])])
    assert not set(panel["7203.T"].sessions) <= set(panel["IBM"].sessions)
    outcome = backtest(panel, config=SMALL, places=Places(gates.parent.parent, tmp_path))
    strategy, notes = outcome.strategy, outcome.run.result["notes"]
    assert strategy.carried > 0 < strategy.delayed_orders
    assert f"{strategy.carried} times a position was marked at an old price for want" in str(notes)
    assert f"{strategy.delayed_orders} orders met no bar and waited for the symbol's" in str(notes)
    tested = panel.sessions[panel.sessions > outcome.evaluation.folds[0].test_start]
    assert (
        strategy.sessions.tolist() == tested.tolist()
    )  # no session of either exchange is left out


def test_an_account_that_is_ruined_ends_and_the_run_says_when(
    small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    """Long IBM for half, short MSFT for half; MSFT opens at five times its close."""
    config = replace(SMALL, policy=PolicyConfig("rank"))
    day = np.datetime64("2006-04-17")
    frame = small_panel["MSFT"].to_frame()
    frame.loc[frame.index > pd.Timestamp(day), ["open", "high", "low", "close", "adj_close"]] *= 5
    jumped = Bars.from_frame("MSFT", frame, timezone=small_panel["MSFT"].timezone)
    outcome = backtest(
        Panel([small_panel["IBM"], jumped]),
        config=config,
        places=Places(gates.parent.parent, tmp_path),
        allow_bad_data=True,
    )
    strategy, result = outcome.strategy, outcome.run.result
    assert strategy.weights.loc[pd.Timestamp(day), "MSFT"] < -0.4
    assert strategy.ruined == np.datetime64("2006-04-18")
    assert "The account was ruined on 2006-04-18; trading stopped there." in result["notes"]
    assert (strategy.equity[strategy.sessions > day] == 0).all()
    assert result["metrics"]["strategy"]["max_drawdown"] == pytest.approx(-1.0)
    assert not outcome.verdict.edge
    assert "The account was ruined on" in outcome.report.read_text(encoding="utf-8")


def test_symbols_that_never_trade_at_one_time_are_refused_where_a_block_is_empty(
    small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    ibm, msft = small_panel["IBM"].until("2004-12-31"), small_panel["MSFT"].between("2005-01-03")
    places = Places(gates.parent.parent, tmp_path)
    with pytest.raises(NotEnoughDataError, match="0 early-stopping and 0 shrinkage windows"):
        backtest(Panel([ibm, msft]), config=SMALL, places=places)


def test_what_happened_once_is_told_in_the_singular(
    small_run: BacktestOutcome, small_panel: Panel
) -> None:
    one = replace(
        small_run.strategy,
        **dict.fromkeys(
            (
                *("delayed_orders", "dropped_orders", "completed_orders", "capped_orders"),
                *("liquidated", "carried", "scaled_sessions"),
            ),
            1,
        ),
    )
    traded = Traded(pd.DataFrame(), one, one, None, {}, GapLoss(np.nan, 0.0, 0.0, np.nan), {})
    notes = _notes(small_panel, traded, small_run.evaluation)
    assert [note.split()[:2] for note in notes[-7:]] == [
        ["1", noun] for noun in ("order", "order", "rest", "time", "position", "time", "session")
    ]
    assert "1 time the volume of a session cut an order or its rest." in notes
