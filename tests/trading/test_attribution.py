"""The parts of the profit, and its round trips, sum to the whole, and each stands where it belongs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.trading.attribution import ACCOUNT, attribute, round_trips
from quantseq.trading.backtest import simulate
from quantseq.trading.costs import Costs

quick = settings(deadline=None, max_examples=30)


@quick
@given(
    seed=st.integers(0, 10**6),
    fill=st.sampled_from(["open", "close"]),
    long_only=st.booleans(),
    gross=st.sampled_from([1.0, 9.0]),
    terms=st.sampled_from(
        [
            {},
            {"impact": 0.5, "volume_cap": 0.1, "capital": 3e4},
            {"min_commission": 2.0, "whole_shares": True, "capital": 3e4},
        ]
    ),
)
def test_the_parts_sum_to_the_total(
    make_panel, random_weights, seed, fill, long_only, gross, terms
):
    """With nine times the money at stake ruin is common; the parts sum up then too."""
    panel = make_panel(seed, 40, missing=0.1, dividends=True, hole=30)
    weights = random_weights(panel, seed, long_only) * gross
    costs = Costs(half_spread_bps=3, cash_rate=0.02, financing_bps=100, max_gross=gross, **terms)
    result = simulate(panel, weights, costs=costs, fill=fill)
    table = attribute(result)
    assert list(table.index) == [*panel.symbols, ACCOUNT]
    total = result.equity[-1] - 1
    scale = max(1.0, result.equity.max())
    assert table["total"].sum() == pytest.approx(total, abs=1e-12 * scale * len(result.equity))
    assert (result.written_off > 0) <= (result.ruined is not None)
    kinds = ["commission", "spread", "impact", "borrow", "financing"]
    charged = pd.DataFrame(
        np.column_stack([*result.order_costs.sum(axis=2), result.borrow, result.financing]),
        columns=kinds,
    )
    np.testing.assert_allclose(-table[kinds].sum(), charged.sum(), rtol=1e-9, atol=1e-13)
    before = np.concatenate([[1.0], result.equity[:-1]])
    np.testing.assert_allclose(charged.sum(axis=1), result.costs * before, rtol=1e-9, atol=1e-13)


def test_sides_and_costs_by_hand(build, weights_of):
    """Long S0 from 10 to 12, then short from 12 to 9; S1 stands still."""
    closes = np.array([[10, 5], [10, 5], [12, 5], [12, 5], [9, 5], [9, 5.0]])
    panel = build(closes, closes)
    weights = weights_of(panel, [[0.5, 0.0], [0.5, 0.0], [-0.5, 0.0], [-0.5, 0.0], [0.0, 0.0]])
    mask = weights.astype(bool) & False
    mask.iloc[[0, 2, 4], 0] = True
    costs = Costs(cost_bps=0, half_spread_bps=10, borrow_bps=252)
    table = attribute(simulate(panel, weights, costs=costs, trade=mask))
    assert table.loc["S0", "long"] == pytest.approx(0.1)
    equity = 1 - 0.0005 + 0.1
    assert table.loc["S0", "short"] == pytest.approx(equity * 0.5 / 12 * 3)
    assert table.loc["S0", "commission"] == 0
    assert table.loc["S0", "borrow"] == pytest.approx(
        -equity * 0.5 / 12 * (12 + 9) * 1e-4, rel=1e-9
    )
    assert (table.loc["S1"] == 0).all()
    assert table.loc[ACCOUNT, "total"] == 0


@pytest.mark.parametrize("fill", ["open", "close"])
def test_ruin_is_blamed_on_who_caused_it(build, weights_of, fill):
    closes = np.array([[10, 10], [10, 10], [10, 10], [10, 40], [10, 5], [10, 5.0]])
    panel = build(closes, closes)
    result = simulate(
        panel, weights_of(panel, [[0.5, -0.5]] * 6), fill=fill, costs=Costs(cost_bps=0)
    )
    table = attribute(result)
    assert result.ruined is not None
    assert table.loc["S1", "short"] < -1
    assert table.loc["S0", "total"] == 0
    assert table.loc[ACCOUNT, "written_off"] == pytest.approx(result.written_off)
    assert table["total"].sum() == pytest.approx(-1)


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
    result = simulate(panel, weights, costs=Costs(half_spread_bps=3, max_gross=gross), fill=fill)
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
    result = simulate(panel, weights_of(panel, [[0.5], [0.8], [0.0], [0.0], [0.0]]), costs=FREE)
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
    trips = round_trips(simulate(panel, weights, costs=costs))
    assert list(trips["side"]) == ["long", "short"]
    assert trips["left"][0] == trips["entered"][1] == pd.Timestamp(panel.sessions[3])
    np.testing.assert_allclose(trips["profit"], -trips["cost"], atol=1e-15)
    np.testing.assert_allclose(trips["cost"], 1e-3, rtol=2e-3)


def test_what_is_held_at_the_end_is_open(build, weights_of):
    closes = np.full((4, 1), 100.0)
    panel = build(closes, closes)
    trips = round_trips(simulate(panel, weights_of(panel, [[0.5], [0.5], [0.5]]), costs=FREE))
    assert trips["left"].isna().all()
    assert list(trips["sessions"]) == [3]


def test_no_trade_is_no_trip(build, weights_of):
    closes = np.full((4, 1), 100.0)
    panel = build(closes, closes)
    trips = round_trips(simulate(panel, weights_of(panel, [[0.0], [0.0], [0.0]]), costs=FREE))
    assert trips.empty
    assert list(trips.columns)[:4] == ["symbol", "side", "entered", "left"]
