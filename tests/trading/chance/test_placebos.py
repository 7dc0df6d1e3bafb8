"""Placebos hold nothing, and a line that finds something in them, or in tomorrow, is caught."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.evaluation.nulls import BLOCK
from quantseq.evaluation.walkforward import WalkForward
from quantseq.market.bars import Panel
from quantseq.trading.backtest import backtest, buy_and_hold
from quantseq.trading.broker.account import BacktestResult
from quantseq.trading.broker.costs import Costs
from quantseq.trading.chance.placebos import (
    DELAYS,
    Draw,
    dealt_anew,
    lag_curve,
    nothing_to_find,
    permuted_tests,
    placebos,
    simulated,
)
from quantseq.trading.measures import METRICS
from quantseq.trading.policy import changed
from tests.prices import recent_prices, simulate_bars, simulate_panel

PANEL = Panel([*simulate_panel("AB", 1000).values(), simulate_bars("Y", 400, start="2017-06-01")])
FOLDS = WalkForward(test_size=150, validation_size=60, min_train=400).split(PANEL.sessions)


def trade(panel: Panel, weights: pd.DataFrame, *, start: Any = None) -> BacktestResult:
    return backtest(panel, weights, costs=Costs(), start=start, trade=changed(weights))


def decided(panel: Panel, signal: np.ndarray, first: int = 500) -> pd.DataFrame:
    days = pd.DatetimeIndex(panel.sessions[first:].astype("datetime64[s]"))
    side = np.nan_to_num(np.sign(signal[first:])) / signal.shape[1]
    return pd.DataFrame(side, days, list(panel.symbols))


def held_returns(panel: Panel) -> np.ndarray:
    """What a position decided at t holds: open t+1 to open t+2; the future, in other words."""
    opened = panel.matrix("open")
    ahead = np.full_like(opened, np.nan)
    ahead[:-2] = opened[2:] / opened[1:-1] - 1
    return ahead


def past_returns(panel: Panel) -> np.ndarray:
    close = panel.matrix("close")
    past = np.full_like(close, np.nan)
    past[20:] = close[20:] / close[:-20] - 1
    return past


def test_honest_decisions_lose_little_by_waiting() -> None:
    curve, found = lag_curve(trade, PANEL, decided(PANEL, past_returns(PANEL)))
    assert [one.delay for one in curve] == list(DELAYS)
    assert found.passed, found.reading
    assert "no cliff" in found.reading


def test_decisions_that_know_tomorrow_fall_off_a_cliff() -> None:
    curve, found = lag_curve(trade, PANEL, decided(PANEL, held_returns(PANEL)))
    assert not found.passed
    assert "a cliff, as if the next session had been known" in found.reading
    assert curve[0].sharpe > 5 > 2 > curve[1].sharpe


def test_delay_0_is_the_run_and_all_delays_have_its_sessions() -> None:
    weights = decided(PANEL, past_returns(PANEL))
    plain = trade(PANEL, weights)
    seen: list[BacktestResult] = []

    def watched(panel: Panel, weights: pd.DataFrame, *, start: Any = None) -> BacktestResult:
        seen.append(trade(panel, weights, start=start))
        return seen[-1]

    lag_curve(watched, PANEL, weights)
    np.testing.assert_array_equal(seen[0].returns_net, plain.returns_net)
    for delay, one in zip(DELAYS, seen, strict=True):
        np.testing.assert_array_equal(one.sessions, plain.sessions)
        assert not one.returns_net[:delay].any()


def test_nothing_held_has_no_curve_and_no_cliff() -> None:
    curve, found = lag_curve(trade, PANEL, 0 * decided(PANEL, past_returns(PANEL)))
    assert np.isnan([one.sharpe for one in curve]).all()
    assert found.passed
    assert "undefined at 0" in found.reading


def test_forecasts_dealt_anew_are_the_same_forecasts_in_blocks() -> None:
    days = PANEL.sessions[500:760].astype("datetime64[s]")
    moments = pd.DataFrame(
        {"symbol": np.repeat(["A", "B"], len(days)), "cutoff": np.tile(days, 2)}
    ).assign(mean=np.arange(2.0 * len(days)))
    dealt = dealt_anew(moments, seed=1)
    assert set(dealt["cutoff"]) == set(days)
    one, two = (dealt[dealt["symbol"] == name].sort_values("cutoff") for name in "AB")
    steps = np.diff(one["mean"])
    assert 0 < (steps != 1).sum() <= len(days) / BLOCK + 1
    np.testing.assert_array_equal(two["mean"].to_numpy() - one["mean"].to_numpy(), len(days))
    assert not dealt.equals(dealt_anew(moments, seed=2))


def test_permuted_days_stay_in_their_fold() -> None:
    real = recent_prices()
    folds = WalkForward(test_size=150, validation_size=60, min_train=400).split(real.sessions)
    made = permuted_tests(real, folds, seed=0)
    before = folds[0].test_start - np.timedelta64(1, "D")
    adjusted = real.adjusted()
    assert made.until(before).sha256 == adjusted.until(before).sha256
    for symbol, bars in made.items():
        np.testing.assert_array_equal(bars.sessions, real[symbol].sessions)
        for fold in folds:
            one, two = (
                panel[symbol].between(fold.test_start, fold.test_end) for panel in (made, adjusted)
            )
            assert one.close[-1] == pytest.approx(two.close[-1], rel=1e-9)
            np.testing.assert_allclose(
                np.sort(np.log(one.close / one.open)),
                np.sort(np.log(two.close / two.open)),
                atol=1e-9,
            )
            assert (one.close != two.close).any() or len(one) <= BLOCK


def test_simulated_prices_have_the_drift_and_the_volume_of_the_real_ones() -> None:
    span = (PANEL.sessions[500], PANEL.sessions[-1])
    made = simulated(PANEL, span, seed=0)
    still = simulated(PANEL, (PANEL.sessions[500],) * 2, seed=0)
    for symbol, bars in made.items():
        np.testing.assert_array_equal(bars.volume, PANEL[symbol].volume)
        drift = PANEL[symbol].between(*span).log_returns()[1:].mean()
        extra = bars.log_returns()[1:] - still[symbol].log_returns()[1:]
        np.testing.assert_allclose(extra, drift, atol=1e-12)


def draw(panel: Panel, signal: np.ndarray) -> Draw:
    weights = decided(panel, signal)
    result = trade(panel, weights)
    held = buy_and_hold(panel, None, result.sessions[0], result.sessions[-1])
    return Draw(result.returns_net, held.returns_net)


def test_a_line_that_earns_on_prices_without_anything_is_caught() -> None:
    worlds = [
        simulated(PANEL, (PANEL.sessions[500], PANEL.sessions[-1]), seed=seed) for seed in range(3)
    ]
    honest = {"simulated GARCH": [draw(one, past_returns(one)) for one in worlds]}
    seeing = {"simulated GARCH": [draw(one, held_returns(one)) for one in worlds]}
    assert nothing_to_find(honest).passed
    found = nothing_to_find(seeing)
    assert not found.passed
    assert "sees what is not there on simulated GARCH" in found.reading
    assert not nothing_to_find({}).passed


def test_the_place_of_the_real_result_among_placebos() -> None:
    rng = np.random.default_rng(0)
    nets = [rng.normal(0.0, 0.01, 500) for _ in range(10)]
    flat = np.zeros(500)
    families = {"one": [Draw(net, flat) for net in nets], "none": [Draw(flat, flat)]}
    found, rank = placebos(100.0, families)
    assert rank == 1.0
    assert [(one.name, one.n) for one in found] == [("one", 10), ("none", 0)]
    assert found[0].low < found[0].sharpe < found[0].high
    assert np.isnan(found[1].sharpe)
    assert placebos(-100.0, families)[1] == 0.0
    assert np.isnan(placebos(np.nan, families)[1])
    same = {"one": [Draw(nets[0], flat)] * 4}
    alike = METRICS["sharpe"](nets[0])
    assert placebos(alike * (1 + 1e-13), same)[1] == 0.5
    assert placebos(alike, {**same, "two": [Draw(nets[0] - 1e-4, flat)] * 4})[1] == 0.75
    assert np.isnan(placebos(1.0, {})[1])
