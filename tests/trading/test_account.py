"""The loop against a slow, obvious reference, and the identities of its result."""

import math
import statistics
from collections import deque
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantseq.trading.account import BacktestResult
from quantseq.trading.backtest import simulate
from quantseq.trading.costs import Costs
from tests.trading.fills import fills_of

quick = settings(deadline=None, max_examples=30)
cases = given(
    seed=st.integers(0, 10**6),
    long_only=st.booleans(),
    fill=st.sampled_from(["open", "close"]),
    missing=st.sampled_from([0.0, 0.3]),
    bps=st.sampled_from([0.0, 5.0, 300.0]),
    rate=st.sampled_from([0.0, 0.05]),
)


def liquidity(panel, name):
    """Mean money volume and volatility over the 20 sessions before each one, the long way."""
    bars, found = panel[name], {}
    money = dict(zip(bars.sessions, bars.close * bars.volume, strict=True))
    close = dict(zip(bars.sessions, bars.adj_close, strict=True))
    volume = spread = price = None
    traded, moves = deque(maxlen=20), deque(maxlen=20)
    for now in panel.sessions:
        found[now] = volume, spread
        before, price = price, close.get(now, price)
        traded.append(money.get(now))
        moves.append(None if before is None else math.log(price / before))
        known = [one for one in traded if one is not None]
        volume = sum(known) / len(known) if known else volume
        known = [one for one in moves if one is not None]
        spread = statistics.stdev(known) if len(known) > 1 else spread
    return found


def slow(panel, weights, costs, fill, trade=None):
    """Cash and shares by symbol, one order after the other, in plain Python."""
    bars = {name: one.adjusted() for name, one in panel.items()}
    at = {n: {d: k for k, d in enumerate(b.sessions)} for n, b in bars.items()}
    day, money = 1 / costs.year, costs.capital
    decided = {np.datetime64(t.date()): k for k, t in enumerate(weights.index)}
    sessions = list(panel.sessions)
    sessions = sessions[sessions.index(min(decided)) :]
    cash, shares, last = 1.0, dict.fromkeys(panel, 0.0), dict.fromkeys(panel, 1.0)
    waiting: dict[str, float] = {}
    rest: dict[str, float] = {}
    idle, ignored = dict.fromkeys(panel, 0), set()
    names = ("delayed_orders", "liquidated", "completed_orders", "capped_orders")
    counts = dict.fromkeys(names, 0)
    depth = {n: liquidity(panel, n) for n in panel} if costs.need_liquidity else {}
    equity, spent = [1.0], []
    for before, now in pairwise(sessions):
        longs = sum(max(shares[n], 0) * last[n] for n in panel)
        shorts = sum(max(-shares[n], 0) * last[n] for n in panel)
        free = equity[-1] - longs
        loss = costs.borrow_bps / 1e4 * day * shorts
        if free < 0:
            loss -= (costs.cash_rate + costs.financing_bps / 1e4) * day * free
        cash += costs.cash_rate * day * max(free, 0) - loss
        price = dict(last)
        for n in panel:
            if now in at[n]:
                price[n] = getattr(bars[n], fill)[at[n][now]]
        new = set()
        if before in decided:
            row = weights.iloc[decided[before]]
            new = {n for n in panel if trade is None or trade.iloc[decided[before]][n]}
            waiting.update({n: row[n] for n in new})
            rest = {n: r for n, r in rest.items() if n not in new}
        worth = cash + sum(shares[n] * price[n] for n in panel)

        def lot(n, now=now):
            newest = max(i for day, i in at[n].items() if day <= now)
            return panel[n].close[newest] / (panel[n].adj_close[newest] * money)

        def trunc(n, many, lot=lot):
            return int(many / lot(n) + math.copysign(1e-9, many)) * lot(n)

        orders, resumed = {}, set()
        for n in panel:
            idle[n] = 0 if now in at[n] else idle[n] + 1
            if now in at[n]:
                ignored.discard(n)
                if n in waiting:
                    wanted = waiting.pop(n) * worth / price[n]
                    orders[n] = (trunc(n, wanted) if costs.whole_shares else wanted) - shares[n]
                elif n in rest:
                    orders[n] = rest.pop(n)
                    resumed.add(n)
            elif idle[n] >= 20:
                rest.pop(n, None)
                if abs(shares[n] * price[n]) > 1e-12 * worth:
                    orders[n] = -shares[n]
                    counts["liquidated"] += n not in ignored
                    ignored.add(n)
            if n in ignored:
                waiting.pop(n, None)
        seen = {n: depth[n][now] for n in depth}
        for n in list(orders) if costs.need_liquidity else ():
            volume, spread = seen[n]
            known = bool(volume) and spread is not None
            most = 0.0 if not known else (costs.volume_cap or math.inf) * volume / money
            if now in at[n] and abs(orders[n] * price[n]) > most:
                part = math.copysign(most / price[n], orders[n])
                part = trunc(n, part) if costs.whole_shares else part
                rest[n] = orders[n] - part
                orders[n] = part
                counts["capped_orders"] += 1

        def fee(n, many, price=price, seen=seen):
            size = abs(many) * price[n]
            charge = max(costs.cost_bps / 1e4 * size, costs.min_commission / money if size else 0)
            charge += costs.half_spread_bps / 1e4 * size
            if costs.impact and size and None not in seen[n]:
                volume, spread = seen[n]
                charge += costs.impact * spread * math.sqrt(size * money / volume) * size
            return charge

        def cost(part, buys, fee=fee, price=price):
            return sum(part * o * price[n] + fee(n, part * o) for n, o in buys.items())

        orders = {n: o for n, o in orders.items() if abs(o * price[n]) > 1e-12 * worth}
        for n, order in orders.items():
            if order < 0:
                shares[n] += order
                cash += -order * price[n] - fee(n, order)
                loss += fee(n, order)
        buys = {n: o for n, o in orders.items() if o > 0}
        budget, part = cash + (costs.max_gross - 1) * worth, 1.0
        if cost(1.0, buys) > budget:
            low, high = 0.0, 1.0
            for _ in range(80):
                middle = (low + high) / 2
                low, high = (low, middle) if cost(middle, buys) > budget else (middle, high)
            part = low
        sale = any(r < 0 for r in rest.values())
        sale |= any(shares[n] * price[n] - w * worth > 1e-12 * worth for n, w in waiting.items())
        for n, order in orders.items():
            got = order
            if order > 0 and part < 1:
                got = part * order
                if costs.whole_shares:
                    got = max(trunc(n, shares[n] + got) - shares[n], 0.0)
                if sale:
                    rest[n] = rest.get(n, 0.0) + order - got
            filled = bool(abs(got * price[n]) > 1e-12)
            counts["delayed_orders"] += (
                n in at and now in at[n] and n not in new | resumed and filled
            )
            counts["completed_orders"] += n in resumed and bool(abs(got * price[n]) > 1e-9)
            if order > 0:
                shares[n] += got
                cash -= got * price[n] + fee(n, got)
                loss += fee(n, got)
        if costs.whole_shares:
            rest = {n: r for n, r in rest.items() if now not in at[n] or abs(r) > 0.999999 * lot(n)}
        rest = {n: r for n, r in rest.items() if r}
        for n in panel:
            if now in at[n]:
                last[n] = bars[n].close[at[n][now]]
        spent.append(loss / equity[-1])
        equity.append(cash + sum(shares[n] * last[n] for n in panel))
    return np.array(equity[1:]), np.array(spent), counts


def compare(panel, weights, costs, fill, mask):
    for trade in (None, mask):
        result = simulate(panel, weights, costs=costs, fill=fill, trade=trade)
        if result.ruined is not None:
            continue
        equity, spent, counts = slow(panel, weights, costs, fill, trade)
        assert {name: getattr(result, name) for name in counts} == counts
        np.testing.assert_allclose(result.equity, equity, rtol=1e-9)  # roots are found
        np.testing.assert_allclose(result.costs, spent, rtol=1e-6, atol=1e-10)


def random_mask(weights, seed, share=0.7):
    draws = np.random.default_rng(seed).random(weights.shape)
    return pd.DataFrame(draws < share, weights.index, weights.columns)


@quick
@cases
@example(seed=579, long_only=True, fill="open", missing=0.0, bps=300.0, rate=0.0)
@example(seed=252, long_only=False, fill="open", missing=0.0, bps=300.0, rate=0.0)
def test_the_loop_equals_the_slow_reference(
    make_panel, random_weights, seed, long_only, fill, missing, bps, rate
):
    panel = make_panel(seed, 60, missing=missing, dividends=True, hole=45)
    weights = random_weights(panel, seed + 1, long_only)
    costs = Costs(cost_bps=bps, borrow_bps=400, cash_rate=rate, financing_bps=200)
    compare(panel, weights, costs, fill, random_mask(weights, seed))


@pytest.mark.slow
@quick
@given(
    seed=st.integers(0, 10**6),
    long_only=st.booleans(),
    fill=st.sampled_from(["open", "close"]),
    missing=st.sampled_from([0.0, 0.2]),
    terms=st.fixed_dictionaries(
        {
            "min_commission": st.sampled_from([0.0, 1.5]),
            "half_spread_bps": st.sampled_from([0.0, 4.0]),
            "impact": st.sampled_from([0.0, 0.8]),
            "volume_cap": st.sampled_from([0.0, 0.05]),
            "whole_shares": st.booleans(),
            "max_gross": st.sampled_from([1.0, 1.5]),
        }
    ),
)
@example(  # an order without a bar replaces what is left of an older one
    seed=628,
    long_only=True,
    fill="open",
    missing=0.2,
    terms={"volume_cap": 0.05, "max_gross": 1.0},
)
@example(  # what the root of a short buy leaves over is no rest
    seed=54, long_only=True, fill="open", missing=0.2, terms={"impact": 0.8, "max_gross": 1.0}
)
def test_the_loop_equals_the_slow_reference_on_every_term(
    make_panel, random_weights, seed, long_only, fill, missing, terms
):
    """Bars trade 1,000 shares of about 50 a day, so that 20,000 of capital feel a cap of 5 %."""
    panel = make_panel(seed, 40, missing=missing, dividends=True, hole=30)
    weights = random_weights(panel, seed + 1, long_only) * terms["max_gross"]
    costs = Costs(cost_bps=7, cash_rate=0.03, financing_bps=300, capital=20_000.0, **terms)
    compare(panel, weights, costs, fill, random_mask(weights, seed))


@quick
@cases
def test_the_parts_of_a_result_agree(
    make_panel, random_weights, seed, long_only, fill, missing, bps, rate
):
    panel = make_panel(seed, 60, missing=missing, hole=45)
    weights = random_weights(panel, seed + 1, long_only)
    result = simulate(panel, weights, costs=Costs(cost_bps=bps, cash_rate=rate), fill=fill)
    before = np.concatenate([[1.0], result.equity[:-1]])
    np.testing.assert_allclose(result.returns_net, result.equity / before - 1, atol=1e-15)
    np.testing.assert_allclose(result.returns_gross - result.returns_net, result.costs, atol=1e-15)
    worth = result.cash + (result.shares * result.closes).sum(axis=1)
    np.testing.assert_allclose(worth, result.equity, rtol=1e-12)
    np.testing.assert_allclose(np.cumsum(result.traded, axis=0), result.shares, atol=1e-12)
    fills = fills_of(result)
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
        "net_exposure",
    ]
    assert list(result.weights.columns) == list(panel.symbols)


def test_costs_by_hand(build, weights_of):
    prices = np.array([[100.0], [100.0], [110.0], [110.0]])
    panel = build(prices, prices)
    result = simulate(panel, weights_of(panel, [[0.5], [0.5], [0.0]]), costs=Costs(cost_bps=100))
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
    result = simulate(panel, weights_of(panel, [[0.7, 0.3]]), costs=Costs(cost_bps=100))
    np.testing.assert_allclose(result.traded[0] * 10, np.array([0.7, 0.3]) / 1.01)
    assert result.cash[0] == 0.0
    assert result.scaled_sessions == 1
    assert result.equity[0] == pytest.approx(1 / 1.01)


def test_cash_earns_and_short_proceeds_do_not(build, weights_of):
    prices = np.full((4, 1), 10.0)
    panel = build(prices, prices)
    costs = Costs(cost_bps=0, borrow_bps=100, cash_rate=0.0252)
    flat = simulate(panel, weights_of(panel, [[0.0]]), costs=costs)
    np.testing.assert_allclose(flat.returns_net, 0.0001, rtol=1e-9)
    short = simulate(panel, weights_of(panel, [[-1.0]]), costs=costs)
    assert short.cash[0] == pytest.approx(2.0002)
    assert short.costs[1] == pytest.approx(0.01 / 252)
    assert short.returns_gross[1] == pytest.approx(0.0001)  # on equity, not on the cash of 2


@pytest.mark.parametrize("fill", ["open", "close"])
def test_ruin_ends_the_account_and_is_stated(build, weights_of, fill):
    closes = np.array([[10.0], [10.0], [10.0], [40.0], [5.0], [5.0]])
    panel = build(closes, closes)
    result = simulate(panel, weights_of(panel, [[-1.0]] * 6), fill=fill)
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
    result = simulate(panel, weights_of(panel, [[-1.0]]))
    assert result.ruined == panel.sessions[2]
    assert result.equity[1:].tolist() == [0.0, 0.0]


def test_ruin_at_a_fill_is_not_undone_by_the_close(build, weights_of):
    """Long A, short B; B opens at four times its price and closes where it was."""
    closes = np.full((4, 2), 10.0)
    opens = np.array([[10, 10], [10, 10], [10, 40], [10, 10.0]])
    panel = build(opens, closes)
    weights = weights_of(panel, [[0.5, -0.5], [0.0, 0.0]])
    only_a = pd.DataFrame([[True, True], [True, False]], weights.index, weights.columns)
    assert simulate(panel, weights, trade=only_a).ruined == panel.sessions[2]
    once = simulate(panel, weights.iloc[:1])  # no order, no look at the open
    assert once.ruined is None


def test_a_result_cannot_be_reassigned(make_panel, random_weights):
    panel = make_panel(0)
    result = simulate(panel, random_weights(panel, 0))
    assert isinstance(result, BacktestResult)
    with pytest.raises(AttributeError):
        result.equity = result.equity
    assert replace(result, carried=7).carried == 7
