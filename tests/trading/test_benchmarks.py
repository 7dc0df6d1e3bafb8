"""Benchmarks: none sees the future, each by hand, and random entry keeps exposure and turnover."""

from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.trading.backtest import buy_and_hold, simulate
from quantseq.trading.benchmarks import _DECIDE, BENCHMARKS, _look, random_entries, run_benchmarks
from quantseq.trading.costs import Costs
from quantseq.trading.inference import metric_intervals
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import changed
from tests.trading.fills import fills_of

quick = settings(deadline=None, max_examples=6)
FREE = Costs(cost_bps=0, borrow_bps=0)
sharpe = partial(METRICS["sharpe"], periods=252)


def decided(panel, random_weights, seed, long_only=True, first=260):
    return random_weights(panel, seed, long_only).iloc[first:]


def test_every_rule_runs_over_the_sessions_of_the_strategy(make_panel, random_weights):
    panel = make_panel(1, 330, missing=0.1)
    weights = decided(panel, random_weights, 2)
    strategy = simulate(panel, weights)
    found = run_benchmarks(panel, weights, draws=3)
    assert list(found) == list(BENCHMARKS)
    for name, one in found.items():
        assert one.rule == BENCHMARKS[name]
        assert all(asdict(one.rule).values())
        np.testing.assert_array_equal(one.result.sessions, strategy.sessions)
        assert one.result.terms == strategy.terms
        assert (one.result.weights >= -1e-15).all(axis=None)
    held = buy_and_hold(panel, start=strategy.sessions[0], end=strategy.sessions[-1])
    np.testing.assert_array_equal(found["buy_and_hold"].result.equity, held.equity)


@quick
@given(seed=st.integers(0, 10**6), long_only=st.booleans())
def test_the_future_changes_no_rule(build, make_panel, random_weights, seed, long_only):
    """Neither cutting it off nor prices that soar or crash on the very next session."""
    panel = make_panel(seed, 300)
    weights = decided(panel, random_weights, seed, long_only)
    market, k = _look(panel, weights, 252), 20
    until = panel.until(weights.index[k])
    others = [until]
    for factor in (50.0, 0.02):
        closes = panel.matrix("close").copy()
        closes[len(until.sessions) :] *= factor
        others.append(build(closes, closes))
    for other in others:
        part = _look(other, weights.iloc[: k + 1], 252)
        part = replace(part, long_only=market.long_only)
        for name, decide in _DECIDE.items():
            np.testing.assert_array_equal(decide(market)[: k + 1], decide(part), err_msg=name)


def test_momentum_and_averages_by_hand(build, weights_of):
    """S0 rises all the time, S1 falls: long the first, out of the second or short of it."""
    days = 300
    closes = np.column_stack([1.01 ** np.arange(days), 0.99 ** np.arange(days)]) * 50
    panel = build(closes, closes)
    long = weights_of(panel, np.full((40, 2), 0.5), first=255)
    both = long.copy()
    both.iloc[0, 0] = -0.5
    for name in ("momentum_12m", "moving_averages"):
        held = run_benchmarks(panel, long, costs=FREE, draws=1)[name].result
        assert (held.shares[:, 1] == 0).all()
        assert held.weights["S0"].iloc[0] == pytest.approx(0.5, rel=0.01)
        short = run_benchmarks(panel, both, costs=FREE, draws=1)[name].result
        assert (short.shares[:, 1] < 0).all()
        assert len(fills_of(held)) == 1  # a signal that stays trades once
    early = weights_of(panel, np.full((40, 2), 0.5), first=100)
    young = run_benchmarks(panel, early, costs=FREE, draws=1)
    assert fills_of(young["momentum_12m"].result).empty  # no twelve months of history yet
    assert fills_of(young["moving_averages"].result).empty


def test_the_ewma_target_by_hand(make_panel, weights_of):
    panel = make_panel(3, 120, symbols=1)
    weights = weights_of(panel, np.ones((30, 1)), first=80)
    result = run_benchmarks(panel, weights, costs=FREE, draws=1)["ewma_vol_target"].result
    returns = np.diff(np.log(panel["S0"].adj_close))[:80]
    decay = 0.94 ** np.arange(80)[::-1]
    deviation = np.sqrt((decay * returns**2).sum() / decay.sum() * 252)
    target = 0.15 / deviation
    assert result.traded[0, 0] * result.fill_prices[0, 0] == pytest.approx(target - 0.1)


def test_a_year_is_the_year_of_the_run(make_panel, random_weights, build, weights_of):
    """365 sessions of a coin's calendar: range, EWMA target and window of momentum all follow."""
    panel = make_panel(5, 420)
    weights = random_weights(panel, 5).iloc[380:]
    stock, coin = (
        run_benchmarks(panel, weights, costs=Costs(periods=n), draws=3) for n in (252, 365)
    )
    low, high = stock["random_entry"].sharpe_range
    scale = np.sqrt(365 / 252)
    assert coin["random_entry"].sharpe_range == pytest.approx((low * scale, high * scale))
    first = [one["ewma_vol_target"].result.weights.iloc[0] for one in (stock, coin)]
    assert (first[1] < first[0]).all()
    closes = np.r_[np.full(120, 20.0), np.full(300, 10.0), np.full(20, 15.0)][:, None]
    late = build(closes, closes)  # above a year of 252 sessions ago, below one of 365
    held = weights_of(late, np.full((15, 1), 1.0), first=421)
    stock, coin = (
        run_benchmarks(late, held, costs=Costs(periods=n), draws=1)["momentum_12m"].result
        for n in (252, 365)
    )
    assert len(fills_of(stock)) == 1
    assert fills_of(coin).empty


def test_equal_weight_is_restored_once_a_month(make_panel, weights_of):
    panel = make_panel(4, 70, symbols=2)
    weights = weights_of(panel, np.full((69, 2), 0.5))
    result = run_benchmarks(panel, weights, costs=FREE, draws=1)["equal_weight"].result
    months = pd.DatetimeIndex(weights.index).to_period("M").nunique()
    assert fills_of(result)["session"].nunique() == months


@quick
@given(seed=st.integers(0, 10**6))
def test_random_entry_keeps_exposure_and_turnover(make_panel, random_weights, seed):
    panel = make_panel(seed, 60)
    weights = random_weights(panel, seed)
    weights.iloc[10:20] = weights.iloc[10].to_numpy()
    trade = changed(weights)
    for one, mask in random_entries(weights, trade, seed=seed, draws=5):
        assert sorted(one.sum(axis=1)) == sorted(weights.sum(axis=1))
        ring = np.abs(weights.to_numpy() - np.roll(weights.to_numpy(), 1, axis=0)).sum()
        moved = np.abs(one.to_numpy() - np.roll(one.to_numpy(), 1, axis=0)).sum()
        assert moved == pytest.approx(ring)
        pd.testing.assert_frame_equal(changed(one) | mask, mask)  # every move is traded
        assert mask.to_numpy().sum() <= trade.to_numpy().sum() + 2 * weights.shape[1]
    again = random_entries(weights, trade, seed=seed, draws=5)
    first = random_entries(weights, trade, seed=seed, draws=5)
    assert all(a.equals(b) for (a, _), (b, _) in zip(first, again, strict=True))


def test_the_shown_random_entry_has_the_median_sharpe(make_panel, random_weights):
    panel = make_panel(8, 120)
    weights = random_weights(panel, 8)
    shown = run_benchmarks(panel, weights, seed=4, draws=5)["random_entry"]
    sharpes = sorted(
        sharpe(simulate(panel, one).returns_net)
        for one, _ in random_entries(weights, None, seed=4, draws=5)
    )
    assert sharpe(shown.result.returns_net) == pytest.approx(sharpes[2])
    assert shown.sharpe_range == pytest.approx(tuple(np.quantile(sharpes, [0.05, 0.95])))


def test_a_strategy_that_never_trades_has_benchmarks_all_the_same(make_panel, weights_of):
    panel = make_panel(9, 60)
    found = run_benchmarks(panel, weights_of(panel, np.zeros((60, 3))), draws=2)
    assert found["random_entry"].sharpe_range is None
    assert found["equal_weight"].result.equity[-1] != 1


def test_a_free_random_policy_has_a_sharpe_interval_that_covers_zero(sample):
    """Random sides on real prices at no cost: skill-less, and the interval says so."""
    rng = np.random.default_rng(0)
    panel = sample.between("2006-01-01")
    index = pd.DatetimeIndex(panel.sessions[:-1].astype("datetime64[s]"))
    sides = rng.choice([-1.0, 1.0], (len(index), len(panel))) / len(panel)
    weights = pd.DataFrame(sides, index, list(panel.symbols))
    net = simulate(panel, weights, costs=FREE).returns_net
    low, high = metric_intervals(net, seed=0, periods=252, names=("sharpe",), resamples=500)[
        "sharpe"
    ]
    assert low < 0 < high
