"""Where bars are missing: orders that wait, positions that are liquidated, symbols that list late."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.market.bars import Panel
from quantseq.trading.backtest import Costs, backtest, buy_and_hold
from quantseq.trading.policy import changed

FREE = Costs(cost_bps=0, borrow_bps=0)
FILLS = ("open", "close")
quick = settings(deadline=None, max_examples=25)


@quick
@given(
    seed=st.integers(0, 10**6),
    fill=st.sampled_from(FILLS),
    trades=st.sampled_from([None, 0.1, 0.7]),
)
def test_with_gaps_too_nothing_later_changes_the_past(
    make_panel, random_weights, seed, fill, trades
):
    """Waiting and liquidation look back only: cut bars and decisions at k, and the rest stands."""
    panel = make_panel(seed, 60, missing=0.2 * (seed % 2), hole=45)
    weights = random_weights(panel, seed, long_only=False)
    mask = pd.DataFrame(
        np.random.default_rng(seed).random(weights.shape) < (trades or 1),
        weights.index,
        list(panel),
    )
    whole = backtest(panel, weights, fill=fill, trade=mask)
    k = seed % 55 + 3
    known = panel.until(panel.sessions[k])
    names = list(known.symbols)
    later = weights.iloc[: k + 1][names], mask.iloc[: k + 1][names]
    if whole.ruined is None and len(names) == len(panel):
        part = backtest(known, later[0], fill=fill, trade=later[1])
        for name in ("equity", "shares", "costs", "cash"):
            assert np.array_equal(getattr(whole, name)[:k], getattr(part, name))


@quick
@given(seed=st.integers(0, 10**6), fill=st.sampled_from(FILLS))
def test_every_fill_has_a_bar_and_an_order_decided_since_the_last_one(
    make_panel, random_weights, seed, fill
):
    panel = make_panel(seed, 40, missing=0.4)
    weights = random_weights(panel, seed)
    rng = np.random.default_rng(seed)
    mask = pd.DataFrame(rng.random(weights.shape) < 0.3, weights.index, weights.columns)
    result = backtest(panel, weights, fill=fill, trade=mask)
    bars = np.isfinite(panel.matrix("close"))[1:]
    ordered = mask.to_numpy()[:-1]  # row k: filled in session k of the result at the earliest
    rests = 0
    for k, s in np.argwhere(result.traded):
        assert bars[k, s]
        before = np.flatnonzero(bars[:k, s])
        since = before[-1] + 1 if len(before) else 0
        if not ordered[since : k + 1, s].any():  # not decided after the last bar: a buy's rest
            assert result.traded[k, s] > 0
            rests += 1
    assert rests >= result.completed_orders
    assert rests == 0 or result.scaled_sessions


def test_an_order_without_a_bar_waits_for_the_next_one(build, weights_of):
    """The finding: a position to be closed met no bar, and no later decision changed."""
    closes = np.array([[10, 10], [10, 10], [10, np.nan], [10, np.nan], [10, 20], [10, 40.0]])
    panel = build(closes, closes)
    weights = weights_of(panel, [[0.0, 0.5]] + 5 * [[0.0, 0.0]])
    result = backtest(panel, weights, costs=FREE, trade=changed(weights))
    np.testing.assert_allclose(result.shares[:, 1], [0.05, 0.05, 0.05, 0.0, 0.0])
    np.testing.assert_allclose(result.equity, [1.0, 1.0, 1.0, 1.5, 1.5])
    assert (result.delayed_orders, result.dropped_orders, result.carried) == (1, 0, 2)
    early = backtest(panel, weights, costs=FREE, trade=changed(weights), end=panel.sessions[3])
    assert (early.delayed_orders, early.dropped_orders) == (0, 1)


def switch(build, weights_of, days: int, back: int | None, last: float = 10.0):
    """All in S0, then all in S1; S0 has no bar from session 2 on until `back`."""
    closes = np.full((days, 3), 10.0)
    closes[2:back, 0] = np.nan
    if back is not None:
        closes[back:, 0] = last
    panel = build(closes[:, [2, 0, 1]], closes[:, [2, 0, 1]])  # the fixture's S0 is always there
    weights = weights_of(panel, [[0.0, 1.0, 0.0]] + [[0.0, 0.0, 1.0]] * (days - 1))
    return panel, weights, changed(weights)


def test_a_buy_that_waits_for_the_cash_of_a_sale_is_made_up(build, weights_of):
    """The defect: the sale met no bar, the buy shrank to nothing, and no later decision changed."""
    panel, weights, trade = switch(build, weights_of, 7, 4)
    result = backtest(panel, weights, costs=FREE, trade=trade)
    np.testing.assert_allclose(result.weights["S1"], [1, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(result.weights["S2"], [0, 0, 0, 1, 1, 1])
    assert (result.completed_orders, result.delayed_orders, result.dropped_orders) == (1, 1, 0)
    assert result.scaled_sessions == 1
    cheaper, _, _ = switch(build, weights_of, 7, 4, last=5.0)
    half = backtest(cheaper, weights, costs=FREE, trade=trade)
    np.testing.assert_allclose(half.shares[-1, 2], 0.05)  # the sale brought only half
    costly = backtest(panel, weights, trade=trade)
    assert costly.equity[-1] == pytest.approx((1 - 5e-4) / 1.0005 / 1.0005)
    assert (costly.cash >= 0).all()


def test_a_rest_is_dropped_for_a_newer_order_or_the_end_and_bought_after_a_liquidation(
    build, weights_of
):
    panel, weights, trade = switch(build, weights_of, 7, 6)
    early = backtest(panel, weights, costs=FREE, trade=trade, end=panel.sessions[4])
    assert (early.completed_orders, early.dropped_orders) == (0, 2)  # the sale and the buy
    newer = weights.copy()
    newer.iloc[3:, 2] = 0.0
    result = backtest(panel, newer, costs=FREE, trade=changed(newer))
    assert (result.shares[:, 2] == 0).all()
    assert result.completed_orders == 0
    panel, weights, trade = switch(build, weights_of, 30, None)
    gone = backtest(panel, weights, costs=FREE, trade=trade)
    assert gone.liquidated == 1
    assert gone.completed_orders == 1
    bought = int(np.flatnonzero(gone.traded[:, 2])[0])
    assert bought == np.flatnonzero(gone.traded[:, 1])[1]  # as soon as there was cash


def test_a_newer_order_replaces_the_waiting_one(build, weights_of):
    closes = np.array([[10, 10], [10, 10], [10, np.nan], [10, 20], [10, 20.0]])
    panel = build(closes, closes)
    values = np.array([[0.0, 0.5], [0.0, 0.0], [0.0, 0.5], [0.0, 0.5]])
    result = backtest(panel, weights_of(panel, values), costs=FREE)
    assert (result.delayed_orders, result.dropped_orders, result.carried) == (0, 0, 1)
    np.testing.assert_allclose(result.equity, [1.0, 1.0, 1.5, 1.5])
    np.testing.assert_allclose(result.weights["S1"], [0.5, 0.5, 0.5, 0.5])
    assert list(result.fills["session"].dt.day) == [2, 6]


def test_a_symbol_not_yet_listed_is_not_bought(build, weights_of):
    closes = np.array([[10, np.nan], [10, np.nan], [10, 7], [10, 14.0]])
    panel = build(closes, closes)
    result = backtest(panel, weights_of(panel, [[0.0, 1.0]] * 4), costs=FREE)
    np.testing.assert_allclose(result.equity, [1.0, 1.0, 2.0])
    assert (result.dropped_orders, result.unfilled_decisions) == (0, 1)
    once = backtest(panel, weights_of(panel, [[0.0, 1.0]]), costs=FREE)
    np.testing.assert_allclose(once.equity, [1.0, 1.0, 2.0])
    assert (once.delayed_orders, once.dropped_orders) == (1, 0)


def delisted(build, last: int = 3, days: int = 40, back: int | None = None) -> Panel:
    """S0 at 10 always; S1 at 10, at 20 from session 2, no bars after session `last` until `back`."""
    closes = np.full((days, 2), 10.0)
    closes[2:, 1] = 20
    closes[last + 1 : back, 1] = np.nan
    return build(closes, closes)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("side", [1, -1])
def test_a_delisted_position_is_liquidated_at_its_last_price(build, weights_of, fill, side):
    panel = delisted(build)
    costs = Costs(cost_bps=100, borrow_bps=0)
    result = backtest(panel, weights_of(panel, [[0.0, 0.4 * side]]), costs=costs, fill=fill)
    gone = 3 + 20 - 1  # row of the 20th session without a bar; row 0 is session 1
    assert (result.shares[:gone, 1] == result.shares[0, 1]).all()
    assert (result.shares[gone:, 1] == 0).all()
    assert list(np.flatnonzero(result.traded[:, 1])) == [0, gone]
    last = result.fills.iloc[-1]
    assert (last["price"], last["shares"]) == (20.0, pytest.approx(-0.04 * side))
    end = 1 - 0.004 + 0.4 * side - 0.008  # bought for 0.4, doubled, 1 % of 0.4 and of 0.8
    np.testing.assert_allclose(result.equity[gone:], end)
    np.testing.assert_allclose(result.cash[gone:], end)
    assert (result.cash >= 0).all()
    assert (result.liquidated, result.carried, result.dropped_orders) == (1, 19, 0)


def test_no_liquidation_one_session_earlier(build, weights_of):
    weights = weights_of(panel := delisted(build, back=3 + 20), [[0.0, 0.4]])
    assert backtest(panel, weights).liquidated == 0
    weights = weights_of(panel := delisted(build, back=3 + 21), [[0.0, 0.4]])
    assert backtest(panel, weights).liquidated == 1


@pytest.mark.parametrize("decided", [10, 28])
def test_orders_for_a_liquidated_symbol_are_void_until_it_has_a_bar(build, weights_of, decided):
    """Decided before and after the liquidation of session 23, without and with a bar to come."""
    panel = delisted(build, back=35)
    weights = weights_of(panel, [[0.0, 0.4]] + 39 * [[0.0, 0.3]])
    mask = weights.astype(bool) & False
    mask.iloc[[0, decided], 1] = True
    result = backtest(panel, weights, costs=FREE, trade=mask)
    assert (result.shares[22:] == 0).all()
    assert (result.liquidated, result.delayed_orders, result.dropped_orders) == (1, 0, 1)
    mask.iloc[34, 1] = True  # filled in session 35, where there is a bar
    again = backtest(panel, weights, costs=FREE, trade=mask)
    np.testing.assert_allclose(again.weights["S1"].iloc[34:], 0.3)
    assert (again.liquidated, again.dropped_orders) == (1, 0)


def test_an_order_for_a_symbol_not_held_waits_as_long_as_it_takes(build, weights_of):
    panel = delisted(build, back=35)
    weights = weights_of(panel, 40 * [[0.0, 0.5]])
    mask = weights.astype(bool) & False
    mask.iloc[5, 1] = True
    result = backtest(panel, weights, costs=FREE, trade=mask)
    assert list(np.flatnonzero(result.traded[:, 1])) == [34]
    assert (result.liquidated, result.delayed_orders) == (0, 1)


def test_buy_and_hold_buys_a_late_symbol_at_its_first_bar(build):
    """Two symbols list late, after the first has doubled: each gets the money kept for it."""
    closes = np.full((6, 4), 10.0)
    closes[1:, 0] = 20
    closes[:2, 1] = closes[:4, 2] = closes[:, 3] = np.nan
    closes[5, 3] = 10
    panel = build(closes, closes)
    result = buy_and_hold(panel, ["S0", "S1", "S2"], costs=FREE)
    third = 1 / 30
    expected = [[third, 0, 0]] * 2 + [[third, third, 0]] * 2 + [[third] * 3] * 2
    np.testing.assert_allclose(result.shares, expected)
    np.testing.assert_allclose(result.cash, [2 / 3, 2 / 3, 1 / 3, 1 / 3, 0, 0], atol=1e-15)
    assert (result.delayed_orders, result.dropped_orders) == (2, 0)
    costly = buy_and_hold(panel, ["S0", "S1", "S2"], costs=Costs(cost_bps=100))
    assert (costly.cash >= 0).all()
    assert costly.scaled_sessions == 1  # the last one pays for the costs
    never = buy_and_hold(panel, end=panel.sessions[4], costs=FREE)
    np.testing.assert_allclose(never.cash[-1], 0.25)
    assert (never.delayed_orders, never.dropped_orders) == (2, 1)


def test_buy_and_hold_liquidates_what_is_delisted(build):
    panel = delisted(build)
    result = buy_and_hold(panel, costs=Costs(cost_bps=10))
    assert result.liquidated == 1
    paid = 1 / 1.001
    np.testing.assert_allclose(result.cash[:23], 0, atol=1e-15)
    np.testing.assert_allclose(result.cash[23:], paid * 0.999)
    np.testing.assert_allclose(result.equity[23:], paid * (0.5 + 0.999))
