"""Each charge by hand, what size does to an order, and the rules of `Costs`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError, NoDataError
from quantseq.market.bars import Bars, Panel
from quantseq.trading.backtest import simulate
from quantseq.trading.costs import Costs, Liquidity, order_costs

quick = settings(deadline=None, max_examples=25)
FREE = {"cost_bps": 0.0, "borrow_bps": 0.0}


def test_every_kind_by_hand():
    costs = Costs(cost_bps=10, min_commission=2.0, half_spread_bps=5, impact=0.5, capital=1_000.0)
    liquidity = Liquidity(np.array([4.0, 4.0, 4.0]), np.array([0.02, 0.02, 0.02]))
    charged = order_costs(np.array([0.0, 1.0, 9.0]), costs, liquidity)
    np.testing.assert_allclose(charged[0], [0, 0.002, 0.009])  # at least 2 of 1,000
    np.testing.assert_allclose(charged[1], [0, 0.0005, 0.0045])
    np.testing.assert_allclose(charged[2], [0, 0.5 * 0.02 * 0.5, 9 * 0.5 * 0.02 * 1.5])


@quick
@given(
    seed=st.integers(0, 10**6),
    name=st.sampled_from(
        ["cost_bps", "min_commission", "half_spread_bps", "impact", "borrow_bps", "financing_bps"]
    ),
)
def test_no_charge_ever_pays(make_panel, random_weights, seed, name):
    panel = make_panel(seed, 40)
    weights = random_weights(panel, seed, long_only=name not in ("borrow_bps",))
    base = {"capital": 1e5, "max_gross": 2.0, "half_spread_bps": 1.0, "impact": 1e-9}
    gross = 2.0 if name == "financing_bps" else 1.0
    cheap = simulate(panel, weights * gross, costs=Costs(**base))
    dear = simulate(panel, weights * gross, costs=Costs(**base | {name: 50.0}))
    assert (dear.equity <= cheap.equity * (1 + 1e-12)).all()


def still(days: int, price: float = 10.0, volume: float = 100.0, symbols: int = 1) -> Panel:
    """Prices that barely move, so that volatility is known, and a volume that is."""
    close = price * (1 + 1e-9 * (np.arange(days) % 2))
    sessions = np.datetime64("2020-01-01", "D") + np.arange(days)
    none = np.zeros(days)
    return Panel(
        Bars(f"S{k}", sessions, *(5 * [close]), np.full(days, volume), none, none)
        for k in range(symbols)
    )


def test_the_rest_of_a_capped_order_follows_on_the_next_sessions(weights_of):
    panel = still(12)  # 1,000 of money a day; an order of 500 at 20 % needs three sessions
    weights = weights_of(panel, [[0.5]], first=3)
    costs = Costs(**FREE, volume_cap=0.2, capital=1_000.0)
    result = simulate(panel, weights, costs=costs)
    np.testing.assert_allclose(result.weights["S0"].iloc[:4], [0.2, 0.4, 0.5, 0.5], rtol=1e-7)
    assert (result.capped_orders, result.completed_orders, result.dropped_orders) == (2, 2, 0)
    early = simulate(panel, weights, costs=costs, end=panel.sessions[5])
    assert early.dropped_orders == 1


def test_only_volume_before_the_fill_counts(weights_of):
    panel = still(12)
    loud = still(12, volume=1e9)
    bars = [Bars.from_frame("S0", one["S0"].to_frame()) for one in (panel, loud)]
    frame = bars[0].to_frame()
    frame.iloc[5:, frame.columns.get_loc("volume")] = 1e9
    costs = Costs(**FREE, volume_cap=0.2, impact=1.0, capital=1_000.0)
    weights = weights_of(panel, [[0.5]], first=4)
    quiet, burst = (
        simulate(one, weights, costs=costs)
        for one in (panel, Panel([Bars.from_frame("S0", frame)]))
    )
    assert quiet.traded[0] == burst.traded[0]
    assert quiet.traded[1] != burst.traded[1]


def test_nothing_is_filled_before_there_is_volume_to_go_by(weights_of):
    panel = still(12)
    weights = weights_of(panel, [[0.5]])
    result = simulate(panel, weights, costs=Costs(**FREE, impact=1.0, capital=1.0))
    first = int(np.flatnonzero(result.traded[:, 0])[0])
    assert first == 2  # two moves are known before the third fill
    assert result.capped_orders == 2


def test_whole_shares_are_whole_on_the_day_and_splits_leave_them_whole(weights_of):
    sessions = np.datetime64("2020-01-01", "D") + np.arange(8)
    close = np.array([300.0] * 4 + [150.0] * 4)  # two for one on the fifth session
    adjusted, none = np.full(8, 150.0), np.zeros(8)
    bars = Bars("S0", sessions, *(4 * [close]), adjusted, none + 1, none, none)
    panel = Panel([bars])
    weights = weights_of(panel, [[1.0], [1.0], [1.0], [1.0], [1.0], [0.5], [0.0]])
    costs = Costs(cost_bps=0, whole_shares=True, capital=1_000.0)
    result = simulate(panel, weights, costs=costs)
    counted = result.shares[:, 0] * 1_000 / (close[1:] / adjusted[1:])
    np.testing.assert_allclose(counted, [3, 3, 3, 6, 6, 3, 0], atol=1e-9)
    np.testing.assert_allclose(result.cash[:4], 0.1)


@quick
@given(seed=st.integers(0, 10**6), long_only=st.booleans())
def test_whole_shares_approach_fractional_ones_as_capital_grows(
    make_panel, random_weights, seed, long_only
):
    panel = make_panel(seed, 30)
    weights = random_weights(panel, seed, long_only)
    exact = simulate(panel, weights).equity
    small, large = (
        np.abs(simulate(panel, weights, costs=Costs(whole_shares=True, capital=c)).equity - exact)
        for c in (1e3, 1e9)
    )
    assert large.max() < 1e-5
    assert large.max() <= small.max()


def test_a_least_commission_shrinks_the_buys_so_that_cash_lasts(build, weights_of):
    prices = np.full((3, 2), 10.0)
    panel = build(prices, prices)
    costs = Costs(cost_bps=0, min_commission=5.0, capital=1_000.0)
    result = simulate(panel, weights_of(panel, [[0.7, 0.3]]), costs=costs)
    np.testing.assert_allclose(result.traded[0] * 10, np.array([0.7, 0.3]) * 0.99, rtol=1e-9)
    assert 0 <= result.cash[0] < 1e-9
    assert result.scaled_sessions == 1
    broke = Costs(cost_bps=0, min_commission=600.0, capital=1_000.0)
    nothing = simulate(panel, weights_of(panel, [[0.7, 0.3]]), costs=broke)
    assert nothing.equity.tolist() == [1.0, 1.0]


def test_borrowed_money_is_paid_for(build, weights_of):
    prices = np.full((3, 1), 10.0)
    panel = build(prices, prices)
    costs = Costs(cost_bps=0, cash_rate=0.0252, financing_bps=252, max_gross=2.0)
    result = simulate(panel, weights_of(panel, [[1.5], [1.5]]), costs=costs)
    assert result.cash[0] == pytest.approx(-0.5 * 1.0001)  # after a session of interest on 1
    borrowed = 1.5 * 1.0001 - 1.0001
    assert result.financing[1] == pytest.approx(borrowed * 2e-4)
    assert result.interest[1] == 0
    assert result.costs[1] == pytest.approx(borrowed * 2e-4 / 1.0001)


def test_weights_above_the_cap_are_refused(make_panel, random_weights):
    panel = make_panel(0)
    weights = random_weights(panel, 0) * 1.5
    with pytest.raises(ConfigError, match="must not exceed 1; scale them down, or raise"):
        simulate(panel, weights)
    simulate(panel, weights, costs=Costs(max_gross=1.5))


def test_a_symbol_without_volume_has_no_impact_to_charge(weights_of):
    panel = still(12, volume=0.0)
    weights = weights_of(panel, [[0.5]])
    for terms in ({"impact": 1.0}, {"volume_cap": 0.1}):
        with pytest.raises(NoDataError, match="S0 has no volume"):
            simulate(panel, weights, costs=Costs(**terms))
    simulate(panel, weights)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cost_bps", -1),
        ("cost_bps", 10_001),
        ("cost_bps", float("nan")),
        ("min_commission", -1),
        ("half_spread_bps", 20_000),
        ("impact", float("inf")),
        ("volume_cap", 1.1),
        ("borrow_bps", -0.1),
        ("borrow_bps", float("inf")),
        ("cash_rate", 1.0),
        ("cash_rate", -0.01),
        ("financing_bps", float("nan")),
        ("capital", 0.0),
        ("whole_shares", 1),
        ("max_gross", 0.5),
        ("periods", -1),
    ],
)
def test_bad_costs_are_named(name, value):
    with pytest.raises(ConfigError, match=f"'{name}' parameter of Costs"):
        Costs(**{name: value})
