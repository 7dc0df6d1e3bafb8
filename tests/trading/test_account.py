"""The loop against a slow, obvious reference, and the identities of its result."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.trading.account import BacktestResult, Costs
from quantseq.trading.backtest import backtest

quick = settings(deadline=None, max_examples=30)
cases = given(
    seed=st.integers(0, 10**6),
    long_only=st.booleans(),
    fill=st.sampled_from(["open", "close"]),
    missing=st.sampled_from([0.0, 0.3]),
    bps=st.sampled_from([0.0, 5.0, 300.0]),
    rate=st.sampled_from([0.0, 0.05]),
)


def slow(panel, weights, costs, fill, trade=None):
    """Cash and shares by symbol, one order after the other, in plain Python."""
    bars = {name: one.adjusted() for name, one in panel.items()}
    at = {n: {d: k for k, d in enumerate(b.sessions)} for n, b in bars.items()}
    fee, day = costs.cost_bps / 1e4, 1 / costs.periods
    decided = {np.datetime64(t.date()): k for k, t in enumerate(weights.index)}
    sessions = list(panel.sessions)
    sessions = sessions[sessions.index(min(decided)) :]
    cash, shares, last = 1.0, dict.fromkeys(panel, 0.0), dict.fromkeys(panel, 1.0)
    waiting: dict[str, float] = {}
    idle, ignored = dict.fromkeys(panel, 0), set()
    counts = dict.fromkeys(("delayed_orders", "liquidated"), 0)
    equity, spent = [1.0], []
    for before, now in pairwise(sessions):
        longs = sum(max(shares[n], 0) * last[n] for n in panel)
        shorts = sum(max(-shares[n], 0) * last[n] for n in panel)
        loss = costs.borrow_bps / 1e4 * day * shorts
        cash += costs.cash_rate * day * (equity[-1] - longs) - loss
        price = dict(last)
        for n in panel:
            if now in at[n]:
                price[n] = getattr(bars[n], fill)[at[n][now]]
        new = set()
        if before in decided:
            row = weights.iloc[decided[before]]
            new = {n for n in panel if trade is None or trade.iloc[decided[before]][n]}
            waiting.update({n: row[n] for n in new})
        worth = cash + sum(shares[n] * price[n] for n in panel)
        orders = {}
        for n in panel:
            idle[n] = 0 if now in at[n] else idle[n] + 1
            if now in at[n]:
                ignored.discard(n)
                if n in waiting:
                    orders[n] = waiting.pop(n) * worth / price[n] - shares[n]
            elif idle[n] >= 20 and shares[n]:
                orders[n] = -shares[n]
                counts["liquidated"] += n not in ignored
                ignored.add(n)
            if n in ignored:
                waiting.pop(n, None)
        if orders:
            for n, order in orders.items():
                if order < 0:
                    shares[n] += order
                    cash += -order * price[n] * (1 - fee)
                    loss += -order * price[n] * fee
            wanted = sum(order * price[n] * (1 + fee) for n, order in orders.items() if order > 0)
            part = min(1.0, max(cash, 0) / wanted) if wanted > 0 else 0.0
            for n, order in orders.items():
                filled = abs(order * price[n]) * (part if order > 0 else 1.0) > 1e-12
                counts["delayed_orders"] += now in at[n] and n not in new and filled
                if order > 0:
                    shares[n] += part * order
                    cash -= part * order * price[n] * (1 + fee)
                    loss += part * order * price[n] * fee
        for n in panel:
            if now in at[n]:
                last[n] = bars[n].close[at[n][now]]
        spent.append(loss / equity[-1])
        equity.append(cash + sum(shares[n] * last[n] for n in panel))
    return np.array(equity[1:]), np.array(spent), counts


@quick
@cases
def test_the_loop_equals_the_slow_reference(
    make_panel, random_weights, seed, long_only, fill, missing, bps, rate
):
    panel = make_panel(seed, 60, missing=missing, dividends=True, hole=45)
    weights = random_weights(panel, seed + 1, long_only)
    costs = Costs(cost_bps=bps, borrow_bps=400, cash_rate=rate)
    mask = pd.DataFrame(
        np.random.default_rng(seed).random(weights.shape) < 0.7, weights.index, weights.columns
    )
    for trade in (None, mask):
        result = backtest(panel, weights, costs=costs, fill=fill, trade=trade)
        if result.ruined is not None:
            continue
        equity, spent, counts = slow(panel, weights, costs, fill, trade)
        assert {name: getattr(result, name) for name in counts} == counts
        np.testing.assert_allclose(result.equity, equity, rtol=1e-11)
        np.testing.assert_allclose(result.costs, spent, rtol=1e-9, atol=1e-14)


@quick
@cases
def test_the_parts_of_a_result_agree(
    make_panel, random_weights, seed, long_only, fill, missing, bps, rate
):
    panel = make_panel(seed, 60, missing=missing, hole=45)
    weights = random_weights(panel, seed + 1, long_only)
    result = backtest(panel, weights, costs=Costs(cost_bps=bps, cash_rate=rate), fill=fill)
    before = np.concatenate([[1.0], result.equity[:-1]])
    np.testing.assert_allclose(result.returns_net, result.equity / before - 1, atol=1e-15)
    np.testing.assert_allclose(result.returns_gross - result.returns_net, result.costs, atol=1e-15)
    worth = result.cash + (result.shares * result.closes).sum(axis=1)
    np.testing.assert_allclose(worth, result.equity, rtol=1e-12)
    np.testing.assert_allclose(np.cumsum(result.traded, axis=0), result.shares, atol=1e-12)
    fills = result.fills
    frame = result.to_frame()
    assert len(fills) == np.count_nonzero(result.traded)
    assert (fills["notional"] > 0).all()
    np.testing.assert_allclose(fills["cost"], fills["notional"] * bps / 1e4)
    if long_only:
        by_day = fills.groupby("session")["cost"].sum().reindex(frame.index, fill_value=0)
        np.testing.assert_allclose(by_day, result.costs * before, atol=1e-14)
        assert (result.cash >= 0).all()
        assert (frame["gross_exposure"] <= 1 + 1e-12).all()
    assert list(frame.columns) == [
        "returns_net",
        "returns_gross",
        "equity",
        "cost",
        "turnover",
        "gross_exposure",
    ]
    assert list(result.weights.columns) == list(panel.symbols)


def test_costs_by_hand(build, weights_of):
    prices = np.array([[100.0], [100.0], [110.0], [110.0]])
    panel = build(prices, prices)
    result = backtest(panel, weights_of(panel, [[0.5], [0.5], [0.0]]), costs=Costs(cost_bps=100))
    # bought 0.005 shares at 100 for 0.5 and a cost of 0.005
    assert result.equity[0] == pytest.approx(0.995)
    assert result.turnover[0] == pytest.approx(0.5)
    # at 110 worth 0.495 + 0.55 = 1.045; back to half of it sells 0.0275
    assert result.turnover[1] == pytest.approx(0.0275 / 1.045)
    assert result.equity[1] == pytest.approx(1.045 - 0.000275)
    sold = (1.045 - 0.000275) - (0.495 + 0.0275 - 0.000275)
    assert result.equity[2] == pytest.approx(result.equity[1] - 0.01 * sold)
    assert result.shares[2, 0] == 0.0


def test_short_cash_scales_all_buys_by_one_factor(build, weights_of):
    prices = np.full((3, 2), 10.0)
    panel = build(prices, prices)
    result = backtest(panel, weights_of(panel, [[0.7, 0.3]]), costs=Costs(cost_bps=100))
    np.testing.assert_allclose(result.traded[0] * 10, np.array([0.7, 0.3]) / 1.01)
    assert result.cash[0] == 0.0
    assert result.scaled_sessions == 1
    assert result.equity[0] == pytest.approx(1 / 1.01)


def test_cash_earns_and_short_proceeds_do_not(build, weights_of):
    prices = np.full((4, 1), 10.0)
    panel = build(prices, prices)
    costs = Costs(cost_bps=0, borrow_bps=100, cash_rate=0.0252)
    flat = backtest(panel, weights_of(panel, [[0.0]]), costs=costs)
    np.testing.assert_allclose(flat.returns_net, 0.0001, rtol=1e-9)
    short = backtest(panel, weights_of(panel, [[-1.0]]), costs=costs)
    assert short.cash[0] == pytest.approx(2.0002)
    assert short.costs[1] == pytest.approx(0.01 / 252)
    assert short.returns_gross[1] == pytest.approx(0.0001)  # on equity, not on the cash of 2


@pytest.mark.parametrize("fill", ["open", "close"])
def test_ruin_ends_the_account_and_is_stated(build, weights_of, fill):
    closes = np.array([[10.0], [10.0], [10.0], [40.0], [5.0], [5.0]])
    panel = build(closes, closes)
    result = backtest(panel, weights_of(panel, [[-1.0]] * 6), fill=fill)
    day = np.datetime64(panel.sessions[3])
    assert result.ruined == day
    gone = result.sessions >= day
    assert (result.equity[gone] == 0).all()
    assert result.returns_net[gone].tolist() == [-1.0, 0.0, 0.0]
    assert (result.shares[gone] == 0).all()
    assert np.isfinite(result.to_frame()).all(axis=None)


def test_ruin_at_a_mark_is_not_undone_by_a_later_price(build, weights_of):
    closes = np.array([[10.0], [10.0], [30.0], [5.0]])
    panel = build(closes, closes)
    result = backtest(panel, weights_of(panel, [[-1.0]]))
    assert result.ruined == panel.sessions[2]
    assert result.equity[1:].tolist() == [0.0, 0.0]


def test_ruin_at_a_fill_is_not_undone_by_the_close(build, weights_of):
    """Long A, short B; B opens at four times its price and closes where it was."""
    closes = np.full((4, 2), 10.0)
    opens = np.array([[10, 10], [10, 10], [10, 40], [10, 10.0]])
    panel = build(opens, closes)
    weights = weights_of(panel, [[0.5, -0.5], [0.0, 0.0]])
    only_a = pd.DataFrame([[True, True], [True, False]], weights.index, weights.columns)
    assert backtest(panel, weights, trade=only_a).ruined == panel.sessions[2]
    once = backtest(panel, weights.iloc[:1])  # no order, no look at the open
    assert once.ruined is None


def test_a_result_cannot_be_reassigned(make_panel, random_weights):
    panel = make_panel(0)
    result = backtest(panel, random_weights(panel, 0))
    assert isinstance(result, BacktestResult)
    with pytest.raises(AttributeError):
        result.equity = result.equity
    assert replace(result, cost_rate=0.0).cost_rate == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cost_bps", -1),
        ("cost_bps", 10_001),
        ("cost_bps", float("nan")),
        ("borrow_bps", -0.1),
        ("borrow_bps", float("inf")),
        ("cash_rate", 1.0),
        ("cash_rate", -0.01),
        ("periods", 0),
    ],
)
def test_bad_costs_are_named(name, value):
    with pytest.raises(ConfigError, match=f"'{name}' parameter of Costs"):
        Costs(**{name: value})
