"""Laws of time and money first, then spans, masks, rivals, break-even and bad input."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError, NoDataError, NotEnoughDataError, SymbolNotFoundError
from quantseq.market.bars import Panel
from quantseq.trading.backtest import Costs, backtest, break_even_bps, buy_and_hold
from quantseq.trading.broker.orders import prices as _prices
from quantseq.trading.policy import changed

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
                backtest(one, weights_of(one, values), costs=FREE, fill=fill).equity[-1]
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
    first = backtest(panel, weights, fill=fill)
    k = seed % 18 + 1
    other = weights.copy()
    other.iloc[k:] = 0.05
    opens, closes = arrays(panel)
    opens[k + 1 :] *= 7
    closes[k + 1 :] *= 0.1
    for again in (
        backtest(panel, other, fill=fill),
        backtest(build(opens, closes), weights, fill=fill),
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
    result = backtest(panel, late, costs=FREE, fill=fill)
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
    result = backtest(panel, weights_of(panel, np.zeros((20, 3))), fill=fill)
    assert (result.equity == 1.0).all()
    assert (result.returns_net == 0.0).all()
    assert result.fills.empty


@quick
@seeds
def test_always_long_is_buy_and_hold_from_the_same_first_fill(make_panel, weights_of, seed, fill):
    panel = make_panel(seed, symbols=1, dividends=True)
    always = backtest(panel, weights_of(panel, np.ones((20, 1))), costs=FREE, fill=fill)
    first, last = always.sessions[[0, -1]]
    held = buy_and_hold(panel, None, first, last, costs=FREE, fill=fill)
    np.testing.assert_allclose(always.equity, held.equity, rtol=1e-13)
    bars = panel["S0"].adjusted()
    paid = getattr(bars, fill)[1]
    np.testing.assert_allclose(held.equity, bars.close[1:] / paid, rtol=1e-13)
    assert len(always.fills) == len(held.fills) == 1
    costly = backtest(panel, weights_of(panel, np.ones((20, 1))), fill=fill)
    np.testing.assert_allclose(costly.equity, held.equity / 1.0005, rtol=1e-12)


@quick
@seeds
def test_scale_of_prices_and_order_of_columns_do_not_matter(
    build, make_panel, random_weights, seed, fill
):
    panel = make_panel(seed)
    weights = random_weights(panel, seed, long_only=False)
    plain = backtest(panel, weights, fill=fill).equity
    opens, closes = arrays(panel)
    scale = np.array([1e-3, 1.0, 4e4])
    scaled = backtest(build(opens * scale, closes * scale), weights, fill=fill)
    np.testing.assert_allclose(scaled.equity, plain, rtol=1e-12)
    turned = backtest(panel, weights[["S2", "S0", "S1"]], fill=fill)
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
        backtest(panel, weights, costs=Costs(cost_bps=one), fill=fill).equity for one in sorted(bps)
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
    foresight = backtest(panel, weights_of(panel, best), costs=FREE, fill=fill)
    gained = moves.max(axis=1) if long_only else np.abs(moves).max(axis=1)
    bound = np.prod(1 + np.maximum(gained, 0))
    assert foresight.equity[-1] == pytest.approx(bound, rel=1e-12)
    other = backtest(panel, random_weights(panel, seed, long_only), costs=FREE, fill=fill)
    assert other.equity[-1] <= bound * (1 + 1e-12)


def test_an_unused_symbol_changes_nothing(make_panel, random_weights):
    panel = make_panel(3)
    weights = random_weights(panel.select(["S0", "S1"]), 3)
    alone = backtest(panel.select(["S0", "S1"]), weights)
    assert np.array_equal(backtest(panel, weights).equity, alone.equity)


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
    result = backtest(panel, weights_of(panel, values), costs=costs, fill=fill)
    assert result.equity[-1] == pytest.approx(GOLDEN[case], rel=1e-12)


# ---------------------------------------------------------------------------------- spans, masks


def test_start_and_end_choose_the_sessions(make_panel, random_weights):
    panel = make_panel(2)
    weights = random_weights(panel, 2)
    days = panel.sessions
    whole = backtest(panel, weights)
    assert np.array_equal(whole.sessions, days[1:])
    assert whole.unfilled_decisions == 1
    part = backtest(panel, weights, start=days[6], end=days[11])
    assert np.array_equal(part.sessions, days[6:12])
    same = backtest(panel, weights.iloc[5:11], end=days[11])
    assert np.array_equal(part.equity, same.equity)
    early = backtest(panel, weights.iloc[5:], start=days[0])
    assert (early.equity[:6] == 1.0).all()
    np.testing.assert_allclose(early.equity[6:12], part.equity, rtol=1e-15)


def test_decisions_may_be_rare(make_panel, random_weights, weights_of):
    panel = make_panel(4)
    weights = random_weights(panel, 4).iloc[[0, 7]]
    result = backtest(panel, weights, costs=FREE)
    assert list(np.unique(result.fills["session"])) == [
        pd.Timestamp(panel.sessions[1]),
        pd.Timestamp(panel.sessions[8]),
    ]


def test_the_mask_lets_positions_drift(make_panel, weights_of):
    panel = make_panel(6)
    weights = weights_of(panel, np.full((20, 3), 1 / 3))
    drifting = backtest(panel, weights, trade=changed(weights))
    held = buy_and_hold(panel, start=drifting.sessions[0])
    np.testing.assert_allclose(drifting.equity, held.equity, rtol=1e-13)
    assert len(drifting.fills) == 3
    assert len(backtest(panel, weights).fills) > 40


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
    free = backtest(panel, weights, costs=Costs(cost_bps=0, cash_rate=rate), fill=fill)
    if bps is None:
        assert free.equity[-1] <= cash
    else:
        there = Costs(cost_bps=bps, cash_rate=rate)
        end = backtest(panel, weights, costs=there, fill=fill).equity[-1]
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
        (good.replace(0.0, np.inf), ConfigError, "not finite"),
        (good.astype(object).replace(0.0, "x"), ConfigError, "no number"),
        (good.iloc[::-1], ConfigError, "increasing"),
        (good.iloc[[0, 0]], ConfigError, "increasing"),
        (good * 1.5, ConfigError, "must not exceed 1; scale"),
        (good.iloc[:0], ConfigError, "empty"),
        (good.set_axis(["S0", "S1", "S1"], axis=1), ConfigError, "'S1' twice"),
        (good.set_axis(list("abcdefghijklmnopqrst")), ConfigError, "no date"),
        (good.set_axis(["S0", "S1", "NOPE"], axis=1), SymbolNotFoundError, "'NOPE'"),
        (saturday, NoDataError, "2020-01-04 and 0 more"),
        (before, NoDataError, "no session of the prices"),
        (last, NotEnoughDataError, "last session"),
    ]:
        with pytest.raises(error) as caught:
            backtest(panel, weights)
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
            backtest(panel, weights, **arguments)
        assert words in str(caught.value)
