"""Laws of time and money, spans, masks, missing bars, break-even, drawings and bad input."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError, NoDataError, NotEnoughDataError, SymbolNotFoundError
from quantseq.market.bars import Panel
from quantseq.trading.backtest import at_cost, break_even_bps, buy_and_hold, simulate
from quantseq.trading.backtest import prices as _prices
from quantseq.trading.costs import Costs
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import changed
from tests.trading.fills import fills_of

FREE = Costs(cost_bps=0, borrow_bps=0)
FILLS = ("open", "close")
quick = settings(deadline=None, max_examples=25)
seeds = given(seed=st.integers(0, 10**6), fill=st.sampled_from(FILLS))


def arrays(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    return panel.matrix("open").copy(), panel.matrix("close").copy()


# ---------------------------------------------------------------------------------------- timing


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("kind", ["inside", "gap"])
def test_who_earns_a_move(build, make_panel, weights_of, fill, kind):
    """Only j = k − 1 earns the inside of session k at open fills, only j = k − 2 all else.

    Each decision j is held alone, for one session, so that its profit is its own.
    """
    days = 9
    panel = make_panel(5, days=days, symbols=1)
    for k in range(1, days):
        opens, closes = arrays(panel)
        opens[k + 1 :] *= 1.3
        closes[k:] *= 1.3
        if kind == "gap":
            opens[k] *= 1.3
        moved = build(opens, closes)
        for j in range(days - 2):
            values = np.zeros((days, 1))
            values[j] = 0.9
            ends = [
                simulate(one, weights_of(one, values), costs=FREE, fill=fill).equity[-1]
                for one in (panel, moved)
            ]
            earns = j == k - 1 if (kind, fill) == ("inside", "open") else j == k - 2
            assert (abs(ends[1] / ends[0] - 1) > 0.05) == earns, (k, j)
            assert earns or ends[1] == pytest.approx(ends[0], rel=1e-13)


@quick
@seeds
def test_no_later_decision_or_bar_changes_the_past(
    build, make_panel, random_weights, weights_of, seed, fill
):
    panel = make_panel(seed)
    weights = random_weights(panel, seed, long_only=False)
    first = simulate(panel, weights, fill=fill)
    k = seed % 18 + 1
    other = weights.copy()
    other.iloc[k:] = 0.05
    opens, closes = arrays(panel)
    opens[k + 1 :] *= 7
    closes[k + 1 :] *= 0.1
    for again in (
        simulate(panel, other, fill=fill),
        simulate(build(opens, closes), weights, fill=fill),
    ):
        past = slice(0, k)  # sessions 1..k of the panel
        for name in ("equity", "returns_net", "returns_gross", "shares", "costs", "cash"):
            assert np.array_equal(getattr(first, name)[past], getattr(again, name)[past])


@quick
@given(seed=st.integers(0, 10**6), fill=st.sampled_from(FILLS), lag=st.integers(0, 3))
def test_lag_shift_is_the_returns_space_formula(make_panel, random_weights, seed, fill, lag):
    """Delaying decisions by `lag` sessions delays what they earn by exactly as much."""
    panel = make_panel(seed)
    weights = random_weights(panel, seed, long_only=False)
    values = weights.to_numpy()
    late = weights.shift(lag).fillna(0.0)
    result = simulate(panel, late, costs=FREE, fill=fill)
    opens, closes = arrays(panel)
    overnight, inside = opens[1:] / closes[:-1] - 1, closes / opens - 1
    expected = []
    for k in range(1, len(values)):  # session k holds what was decided at k − 1 − lag
        new = values[k - 1 - lag] if k - 1 - lag >= 0 else 0 * values[0]
        old = values[k - 2 - lag] if k - 2 - lag >= 0 else 0 * values[0]
        if fill == "close":
            expected.append(old @ (closes[k] / closes[k - 1] - 1))
        else:
            gone = old * (1 + inside[k - 1]) / (1 + old @ inside[k - 1])
            expected.append((1 + gone @ overnight[k - 1]) * (1 + new @ inside[k]) - 1)
    np.testing.assert_allclose(result.returns_net, expected, atol=1e-13)


# ----------------------------------------------------------------------------------------- money


@quick
@seeds
def test_zero_weights_are_flat(make_panel, weights_of, seed, fill):
    panel = make_panel(seed, missing=0.3)
    result = simulate(panel, weights_of(panel, np.zeros((20, 3))), fill=fill)
    assert (result.equity == 1.0).all()
    assert (result.returns_net == 0.0).all()
    assert fills_of(result).empty


@quick
@seeds
def test_always_long_is_buy_and_hold_from_the_same_first_fill(make_panel, weights_of, seed, fill):
    panel = make_panel(seed, symbols=1, dividends=True)
    always = simulate(panel, weights_of(panel, np.ones((20, 1))), costs=FREE, fill=fill)
    first, last = always.sessions[[0, -1]]
    held = buy_and_hold(panel, None, first, last, costs=FREE, fill=fill)
    np.testing.assert_allclose(always.equity, held.equity, rtol=1e-13)
    bars = panel["S0"].adjusted()
    paid = getattr(bars, fill)[1]
    np.testing.assert_allclose(held.equity, bars.close[1:] / paid, rtol=1e-13)
    assert len(fills_of(always)) == len(fills_of(held)) == 1
    costly = simulate(panel, weights_of(panel, np.ones((20, 1))), fill=fill)
    np.testing.assert_allclose(costly.equity, held.equity / 1.0005, rtol=1e-12)


@quick
@seeds
def test_scale_of_prices_and_order_of_columns_do_not_matter(
    build, make_panel, random_weights, seed, fill
):
    panel = make_panel(seed)
    weights = random_weights(panel, seed, long_only=False)
    plain = simulate(panel, weights, fill=fill).equity
    opens, closes = arrays(panel)
    scale = np.array([1e-3, 1.0, 4e4])
    scaled = simulate(build(opens * scale, closes * scale), weights, fill=fill)
    np.testing.assert_allclose(scaled.equity, plain, rtol=1e-12)
    turned = simulate(panel, weights[["S2", "S0", "S1"]], fill=fill)
    np.testing.assert_allclose(turned.equity, plain, rtol=1e-12)


@quick
@given(
    seed=st.integers(0, 10**6),
    fill=st.sampled_from(FILLS),
    bps=st.tuples(st.floats(0, 200), st.floats(0, 200)),
)
def test_more_cost_never_pays(make_panel, random_weights, seed, fill, bps):
    panel = make_panel(seed)
    weights = random_weights(panel, seed)
    low, high = (
        simulate(panel, weights, costs=Costs(cost_bps=one), fill=fill).equity for one in sorted(bps)
    )
    assert (high <= low * (1 + 1e-12)).all()


@quick
@given(seed=st.integers(0, 10**6), fill=st.sampled_from(FILLS), long_only=st.booleans())
def test_perfect_foresight_from_fill_to_fill_is_an_upper_bound(
    make_panel, random_weights, weights_of, seed, fill, long_only
):
    """All money in the symbol that moves most until the next fill: nobody can earn more."""
    panel = make_panel(seed, symbols=4)
    opens, closes = arrays(panel)
    prices = opens if fill == "open" else closes
    ends = np.vstack([prices[2:], closes[-1:]])  # the last position is held to the last close
    moves = ends / prices[1:] - 1
    best = np.zeros((20, 4))
    for t, move in enumerate(moves):
        pick = int(np.argmax(move if long_only else np.abs(move)))
        best[t, pick] = max(np.sign(move[pick]), 0.0 if long_only else -1.0)
    foresight = simulate(panel, weights_of(panel, best), costs=FREE, fill=fill)
    gained = moves.max(axis=1) if long_only else np.abs(moves).max(axis=1)
    bound = np.prod(1 + np.maximum(gained, 0))
    assert foresight.equity[-1] == pytest.approx(bound, rel=1e-12)
    other = simulate(panel, random_weights(panel, seed, long_only), costs=FREE, fill=fill)
    assert other.equity[-1] <= bound * (1 + 1e-12)


def test_an_unused_symbol_changes_nothing(make_panel, random_weights):
    panel = make_panel(3)
    weights = random_weights(panel.select(["S0", "S1"]), 3)
    alone = simulate(panel.select(["S0", "S1"]), weights)
    assert np.array_equal(simulate(panel, weights).equity, alone.equity)


def test_prices_are_the_panels_adjusted_ones(make_panel):
    panel = make_panel(1, missing=0.3, dividends=True)
    opens, closes = _prices(panel, panel.symbols)
    np.testing.assert_array_equal(opens, panel.adjusted().matrix("open"))
    np.testing.assert_array_equal(closes, panel.adjusted().matrix("close"))


GOLDEN = {
    # (book, fill, bps): final equity of vectorbt 1.2.0, Portfolio.from_orders(
    #   close, size=weights.shift(1), price=fill prices, val_price=fill prices, fees=bps / 1e4,
    #   size_type="targetpercent", group_by=True, cash_sharing=True, call_seq="auto", init_cash=1.0)
    ("long", "open", 0): 1.177366441910393,
    ("long", "open", 5): 1.012664437927752,
    ("long", "close", 0): 1.1735112916170753,
    ("long", "close", 5): 1.0093764814856565,
    ("long and short", "open", 0): 0.7749780560310574,
    ("long and short", "close", 0): 0.9256131734180508,
}


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_agrees_with_vectorbt(build, weights_of, case):
    book, fill, bps = case
    rng = np.random.default_rng(3)
    closes = np.exp(np.cumsum(rng.normal(0, 0.02, (400, 7)), axis=0)) * 50
    opens = closes * np.exp(rng.normal(0, 0.01, (400, 7)))
    raw = rng.normal(size=(400, 7))
    values = raw / np.abs(raw).sum(axis=1, keepdims=True)
    if book == "long":
        values = 0.95 * np.abs(values)
    panel = build(opens, closes)
    costs = Costs(cost_bps=bps, borrow_bps=0)
    result = simulate(panel, weights_of(panel, values), costs=costs, fill=fill)
    assert result.equity[-1] == pytest.approx(GOLDEN[case], rel=1e-12)


# ---------------------------------------------------------------------------------- spans, masks


def test_start_and_end_choose_the_sessions(make_panel, random_weights):
    panel = make_panel(2)
    weights = random_weights(panel, 2)
    days = panel.sessions
    whole = simulate(panel, weights)
    assert np.array_equal(whole.sessions, days[1:])
    assert whole.unfilled_decisions == 1
    part = simulate(panel, weights, start=days[6], end=days[11])
    assert np.array_equal(part.sessions, days[6:12])
    same = simulate(panel, weights.iloc[5:11], end=days[11])
    assert np.array_equal(part.equity, same.equity)
    early = simulate(panel, weights.iloc[5:], start=days[0])
    assert (early.equity[:6] == 1.0).all()
    np.testing.assert_allclose(early.equity[6:12], part.equity, rtol=1e-15)


def test_decisions_may_be_rare(make_panel, random_weights, weights_of):
    panel = make_panel(4)
    weights = random_weights(panel, 4).iloc[[0, 7]]
    result = simulate(panel, weights, costs=FREE)
    assert list(np.unique(fills_of(result)["session"])) == [
        pd.Timestamp(panel.sessions[1]),
        pd.Timestamp(panel.sessions[8]),
    ]


def test_the_mask_lets_positions_drift(make_panel, weights_of):
    panel = make_panel(6)
    weights = weights_of(panel, np.full((20, 3), 1 / 3))
    drifting = simulate(panel, weights, trade=changed(weights))
    held = buy_and_hold(panel, start=drifting.sessions[0])
    np.testing.assert_allclose(drifting.equity, held.equity, rtol=1e-13)
    assert len(fills_of(drifting)) == 3
    assert len(fills_of(simulate(panel, weights))) > 40


def test_buy_and_hold_splits_money_equally(build):
    opens = np.array([[10, 10], [10, 20], [10, 20.0]])
    closes = np.array([[10, 10], [20, 20], [20, 40.0]])
    panel = build(opens, closes)
    result = buy_and_hold(panel, start=panel.sessions[1], costs=FREE)
    np.testing.assert_allclose(result.equity, [1.5, 2.0])
    only = buy_and_hold(panel, ["S1"], costs=FREE, fill="close")
    np.testing.assert_allclose(only.equity, [1.0, 2.0, 4.0])
    with pytest.raises(ConfigError, match="empty"):
        buy_and_hold(panel, [])


# ------------------------------------------------------------------------------------- break-even


@quick
@given(seed=st.integers(0, 10**6), fill=st.sampled_from(FILLS), rate=st.sampled_from([0.0, 0.03]))
def test_break_even_ends_where_cash_would(make_panel, random_weights, seed, fill, rate):
    panel = make_panel(seed)
    weights = random_weights(panel, seed)
    costs = Costs(cost_bps=77, cash_rate=rate)
    bps = break_even_bps(panel, weights, costs=costs, fill=fill)
    cash = (1 + rate / 252) ** 19
    free = simulate(panel, weights, costs=Costs(cost_bps=0, cash_rate=rate), fill=fill)
    if bps is None:
        assert free.equity[-1] <= cash
    else:
        there = Costs(cost_bps=bps, cash_rate=rate)
        end = simulate(panel, weights, costs=there, fill=fill).equity[-1]
        assert end == pytest.approx(cash, rel=1e-6)


def test_break_even_by_hand_and_at_its_limits(build, weights_of):
    closes = np.array([[10.0], [10.0], [11.0], [11.0]])
    panel = build(closes, closes)
    once = weights_of(panel, [[1.0], [1.0], [0.0]])
    bps = break_even_bps(panel, once)  # 1.1·(1 − c)/(1 + c) = 1
    assert bps == pytest.approx(1e4 * 0.1 / 2.1, rel=1e-6)
    assert break_even_bps(panel, weights_of(panel, [[0.0]] * 3)) is None
    assert break_even_bps(panel, weights_of(panel, [[-1.0]] * 3)) is None
    rocket = build(closes * np.array([[1], [1], [5], [5.0]]), closes * [[1], [1], [5], [5]])
    assert break_even_bps(rocket, weights_of(rocket, [[1.0]])) == 10_000


# -------------------------------------------------------------------------------------- bad input


def test_bad_weights_are_named(make_panel, random_weights):
    panel = make_panel(0)
    good = random_weights(panel, 0)
    nan = good.copy()
    nan.iloc[3, 1] = np.nan
    saturday = good.rename(index={good.index[4]: good.index[4] + pd.Timedelta("12h")})
    saturday.index = [*good.index[:2], pd.Timestamp("2020-01-04"), *good.index[3:]]
    before = good.set_axis(good.index - pd.Timedelta(days=3650))
    last = good.iloc[[-1]]
    for weights, error, words in [
        (nan, ConfigError, "weight of S1 decided on 2020-01-06 is nan"),
        (good.replace(0.0, np.inf), ConfigError, "is inf"),
        (good.astype(object).replace(0.0, "x"), ConfigError, "must be numbers"),
        (good.iloc[::-1], ConfigError, "increasing"),
        (good.iloc[[0, 0]], ConfigError, "increasing"),
        (good * 1.5, ConfigError, "must not exceed 1; scale"),
        (good.iloc[:0], ConfigError, "empty"),
        (good.set_axis(["S0", "S1", "S1"], axis=1), ConfigError, "'S1' twice"),
        (good.set_axis(list("abcdefghijklmnopqrst")), ConfigError, "indexed by decision date"),
        (good.set_axis(["S0", "S1", "NOPE"], axis=1), SymbolNotFoundError, "'NOPE'"),
        (saturday, NoDataError, "2020-01-04, which is no session"),
        (before, NoDataError, "no session of the prices"),
        (last, NotEnoughDataError, "last session"),
    ]:
        with pytest.raises(error) as caught:
            simulate(panel, weights)
        assert words in str(caught.value)


def test_bad_arguments_are_named(make_panel, random_weights):
    panel = make_panel(0)
    weights = random_weights(panel, 0)
    days = panel.sessions
    for arguments, error, words in [
        ({"fill": "noon"}, ConfigError, "'open' or 'close'"),
        ({"start": days[5], "end": days[2]}, ConfigError, "reversed"),
        ({"start": "2031-01-01", "end": "2031-02-01"}, NotEnoughDataError, "No session"),
        ({"trade": weights}, ConfigError, "trade mask"),
        ({"trade": changed(weights).iloc[1:]}, ConfigError, "trade mask"),
    ]:
        with pytest.raises(error) as caught:
            simulate(panel, weights, **arguments)
        assert words in str(caught.value)


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
    whole = simulate(panel, weights, fill=fill, trade=mask)
    k = seed % 55 + 3
    known = panel.until(panel.sessions[k])
    names = list(known.symbols)
    later = weights.iloc[: k + 1][names], mask.iloc[: k + 1][names]
    if whole.ruined is None and len(names) == len(panel):
        part = simulate(known, later[0], fill=fill, trade=later[1])
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
    result = simulate(panel, weights, fill=fill, trade=mask)
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
    result = simulate(panel, weights, costs=FREE, trade=changed(weights))
    np.testing.assert_allclose(result.shares[:, 1], [0.05, 0.05, 0.05, 0.0, 0.0])
    np.testing.assert_allclose(result.equity, [1.0, 1.0, 1.0, 1.5, 1.5])
    assert (result.delayed_orders, result.dropped_orders, result.carried) == (1, 0, 2)
    early = simulate(panel, weights, costs=FREE, trade=changed(weights), end=panel.sessions[3])
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
    result = simulate(panel, weights, costs=FREE, trade=trade)
    np.testing.assert_allclose(result.weights["S1"], [1, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(result.weights["S2"], [0, 0, 0, 1, 1, 1])
    assert (result.completed_orders, result.delayed_orders, result.dropped_orders) == (1, 1, 0)
    assert result.scaled_sessions == 1
    cheaper, _, _ = switch(build, weights_of, 7, 4, last=5.0)
    half = simulate(cheaper, weights, costs=FREE, trade=trade)
    np.testing.assert_allclose(half.shares[-1, 2], 0.05)  # the sale brought only half
    costly = simulate(panel, weights, trade=trade)
    assert costly.equity[-1] == pytest.approx((1 - 5e-4) / 1.0005 / 1.0005)
    assert (costly.cash >= 0).all()


def test_a_rest_is_dropped_for_a_newer_order_or_the_end_and_bought_after_a_liquidation(
    build, weights_of
):
    panel, weights, trade = switch(build, weights_of, 7, 6)
    early = simulate(panel, weights, costs=FREE, trade=trade, end=panel.sessions[4])
    assert (early.completed_orders, early.dropped_orders) == (0, 2)  # the sale and the buy
    newer = weights.copy()
    newer.iloc[3:, 2] = 0.0
    result = simulate(panel, newer, costs=FREE, trade=changed(newer))
    assert (result.shares[:, 2] == 0).all()
    assert result.completed_orders == 0
    panel, weights, trade = switch(build, weights_of, 30, None)
    gone = simulate(panel, weights, costs=FREE, trade=trade)
    assert gone.liquidated == 1
    assert gone.completed_orders == 1
    bought = int(np.flatnonzero(gone.traded[:, 2])[0])
    assert bought == np.flatnonzero(gone.traded[:, 1])[1]  # as soon as there was cash


def test_a_newer_order_replaces_the_waiting_one(build, weights_of):
    closes = np.array([[10, 10], [10, 10], [10, np.nan], [10, 20], [10, 20.0]])
    panel = build(closes, closes)
    values = np.array([[0.0, 0.5], [0.0, 0.0], [0.0, 0.5], [0.0, 0.5]])
    result = simulate(panel, weights_of(panel, values), costs=FREE)
    assert (result.delayed_orders, result.dropped_orders, result.carried) == (0, 0, 1)
    np.testing.assert_allclose(result.equity, [1.0, 1.0, 1.5, 1.5])
    np.testing.assert_allclose(result.weights["S1"], [0.5, 0.5, 0.5, 0.5])
    assert list(fills_of(result)["session"].dt.day) == [2, 6]


def test_a_symbol_not_yet_listed_is_not_bought(build, weights_of):
    closes = np.array([[10, np.nan], [10, np.nan], [10, 7], [10, 14.0]])
    panel = build(closes, closes)
    result = simulate(panel, weights_of(panel, [[0.0, 1.0]] * 4), costs=FREE)
    np.testing.assert_allclose(result.equity, [1.0, 1.0, 2.0])
    assert (result.dropped_orders, result.unfilled_decisions) == (0, 1)
    once = simulate(panel, weights_of(panel, [[0.0, 1.0]]), costs=FREE)
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
    result = simulate(panel, weights_of(panel, [[0.0, 0.4 * side]]), costs=costs, fill=fill)
    gone = 3 + 20 - 1  # row of the 20th session without a bar; row 0 is session 1
    assert (result.shares[:gone, 1] == result.shares[0, 1]).all()
    assert (result.shares[gone:, 1] == 0).all()
    assert list(np.flatnonzero(result.traded[:, 1])) == [0, gone]
    last = fills_of(result).iloc[-1]
    assert (last["price"], last["shares"]) == (20.0, pytest.approx(-0.04 * side))
    end = 1 - 0.004 + 0.4 * side - 0.008  # bought for 0.4, doubled, 1 % of 0.4 and of 0.8
    np.testing.assert_allclose(result.equity[gone:], end)
    np.testing.assert_allclose(result.cash[gone:], end)
    assert (result.cash >= 0).all()
    assert (result.liquidated, result.carried, result.dropped_orders) == (1, 19, 0)


def test_no_liquidation_one_session_earlier(build, weights_of):
    weights = weights_of(panel := delisted(build, back=3 + 20), [[0.0, 0.4]])
    assert simulate(panel, weights).liquidated == 0
    weights = weights_of(panel := delisted(build, back=3 + 21), [[0.0, 0.4]])
    assert simulate(panel, weights).liquidated == 1


@pytest.mark.parametrize("decided", [10, 28])
def test_orders_for_a_liquidated_symbol_are_void_until_it_has_a_bar(build, weights_of, decided):
    """Decided before and after the liquidation of session 23, without and with a bar to come."""
    panel = delisted(build, back=35)
    weights = weights_of(panel, [[0.0, 0.4]] + 39 * [[0.0, 0.3]])
    mask = weights.astype(bool) & False
    mask.iloc[[0, decided], 1] = True
    result = simulate(panel, weights, costs=FREE, trade=mask)
    assert (result.shares[22:] == 0).all()
    assert (result.liquidated, result.delayed_orders, result.dropped_orders) == (1, 0, 1)
    mask.iloc[34, 1] = True  # filled in session 35, where there is a bar
    again = simulate(panel, weights, costs=FREE, trade=mask)
    np.testing.assert_allclose(again.weights["S1"].iloc[34:], 0.3)
    assert (again.liquidated, again.dropped_orders) == (1, 0)


def test_an_order_for_a_symbol_not_held_waits_as_long_as_it_takes(build, weights_of):
    panel = delisted(build, back=35)
    weights = weights_of(panel, 40 * [[0.0, 0.5]])
    mask = weights.astype(bool) & False
    mask.iloc[5, 1] = True
    result = simulate(panel, weights, costs=FREE, trade=mask)
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


@pytest.mark.parametrize("asked", [0.0, 2.0, 20.0, 50.0])
def test_other_costs_agree_with_re_run_accounts_at_first_order(make_panel, random_weights, asked):
    panel = make_panel(3, 250)
    weights = random_weights(panel, 3, True) * 0.6
    base, again = (
        simulate(panel, weights, costs=Costs(cost_bps=bps, borrow_bps=0)) for bps in (5.0, asked)
    )
    guess = at_cost(base.returns_net, base.turnover, charged_bps=5.0, cost_bps=asked)
    np.testing.assert_allclose(guess, again.returns_net, atol=5e-4)
    cagr = partial(METRICS["cagr"], periods=252)
    moved = abs(cagr(again.returns_net) - cagr(base.returns_net))
    assert cagr(guess) == pytest.approx(cagr(again.returns_net), abs=0.03 * moved + 1e-12)


@given(st.floats(0, 50), st.floats(0, 50))
def test_dearer_is_never_better(low, extra):
    net, turnover = np.array([0.01, -0.02, 0.0]), np.array([0.5, 0.0, np.nan])
    cheap, dear = (
        at_cost(net, turnover, charged_bps=5, cost_bps=bps) for bps in (low, low + extra)
    )
    assert (dear <= cheap).all()
    np.testing.assert_array_equal(at_cost(net, turnover, charged_bps=5, cost_bps=5), net)


def test_nobody_loses_more_than_everything():
    assert at_cost([0.0], [900.0], charged_bps=0, cost_bps=50)[0] == -1.0
