"""Trips sum to the profit of all sides, and each is cut where the position begins and ends."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.trading.attribution import attribute
from quantseq.trading.backtest import backtest
from quantseq.trading.broker.costs import Costs
from quantseq.trading.trips import round_trips

FREE = Costs(cost_bps=0, borrow_bps=0)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    fill=st.sampled_from(["open", "close"]),
    long_only=st.booleans(),
    gross=st.sampled_from([1.0, 9.0]),
)
def test_trips_sum_to_the_profit_of_all_sides_less_trading_costs(
    make_panel, random_weights, seed, fill, long_only, gross
):
    panel = make_panel(seed, 40, missing=0.1, dividends=True, hole=30)
    weights = random_weights(panel, seed, long_only) * gross
    result = backtest(panel, weights, costs=Costs(half_spread_bps=3, max_gross=gross), fill=fill)
    trips, parts = round_trips(result), attribute(result)
    kinds = ["long", "short", "commission", "spread", "impact"]
    scale = 1e-11 * max(1.0, result.equity.max()) * len(result.equity)
    by_symbol = trips.groupby("symbol")["profit"].sum()
    for symbol in panel.symbols:
        earned = by_symbol.get(symbol, 0.0)
        assert earned == pytest.approx(parts.loc[symbol, kinds].sum(), abs=scale)
    paid = -parts[["commission", "spread", "impact"]].to_numpy().sum()
    assert trips["cost"].sum() == pytest.approx(paid, abs=scale)


def test_a_trip_starts_and_ends_with_its_fills_whatever_is_added(build, weights_of):
    closes = np.array([[100.0], [100.0], [110.0], [121.0], [121.0], [121.0]])
    panel = build(closes, closes)
    result = backtest(panel, weights_of(panel, [[0.5], [0.8], [0.0], [0.0], [0.0]]), costs=FREE)
    (row,) = round_trips(result).itertuples()
    days = panel.sessions
    assert (row.side, row.sessions) == ("long", 2)
    assert (row.entered, row.left) == (pd.Timestamp(days[1]), pd.Timestamp(days[3]))
    assert row.profit == pytest.approx(result.equity[-1] - 1, abs=1e-15)


def test_turning_a_position_over_ends_one_trip_and_starts_another_and_shares_the_cost(
    build, weights_of
):
    closes = np.full((6, 1), 100.0)
    panel = build(closes, closes)
    costs = Costs(cost_bps=10, borrow_bps=0)
    weights = weights_of(panel, [[0.5], [0.5], [-0.5], [-0.5], [0.0]])
    trips = round_trips(backtest(panel, weights, costs=costs))
    assert list(trips["side"]) == ["long", "short"]
    assert trips["left"][0] == trips["entered"][1] == pd.Timestamp(panel.sessions[3])
    np.testing.assert_allclose(trips["profit"], -trips["cost"], atol=1e-15)
    np.testing.assert_allclose(trips["cost"], 1e-3, rtol=2e-3)


def test_what_is_held_at_the_end_is_open(build, weights_of):
    closes = np.full((4, 1), 100.0)
    panel = build(closes, closes)
    trips = round_trips(backtest(panel, weights_of(panel, [[0.5], [0.5], [0.5]]), costs=FREE))
    assert trips["left"].isna().all()
    assert list(trips["sessions"]) == [3]


def test_no_trade_is_no_trip(build, weights_of):
    closes = np.full((4, 1), 100.0)
    panel = build(closes, closes)
    trips = round_trips(backtest(panel, weights_of(panel, [[0.0], [0.0], [0.0]]), costs=FREE))
    assert trips.empty
    assert list(trips.columns)[:4] == ["symbol", "side", "entered", "left"]
