"""The vectorised path against the loop: equal without costs, close with them, refused elsewhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.trading.backtest import backtest
from quantseq.trading.broker.costs import Costs
from quantseq.trading.policy import changed
from quantseq.trading.returns_space import in_returns_space

quick = settings(deadline=None, max_examples=25)


@quick
@given(
    seed=st.integers(0, 10**6),
    fill=st.sampled_from(["open", "close"]),
    long_only=st.booleans(),
    rate=st.sampled_from([0.0, 0.03]),
)
def test_without_trading_costs_it_is_the_loop(
    make_panel, random_weights, seed, fill, long_only, rate
):
    panel = make_panel(seed, 60, dividends=True)
    weights = random_weights(panel, seed, long_only)
    costs = Costs(cost_bps=0, borrow_bps=300, cash_rate=rate, financing_bps=100)
    exact = backtest(panel, weights, costs=costs, fill=fill)
    space = in_returns_space(panel, weights, fill=fill)
    np.testing.assert_array_equal(space.sessions, exact.sessions)
    # holding charges of a session move the weights of the next a little
    np.testing.assert_allclose(space.returns(costs), exact.returns_net, atol=1e-5)
    free = Costs(cost_bps=0, borrow_bps=0)
    exact = backtest(panel, weights, costs=free, fill=fill)
    np.testing.assert_allclose(space.turnover, exact.turnover, atol=1e-12)
    np.testing.assert_allclose(space.returns(free), exact.returns_net, atol=1e-13)


@quick
@given(
    seed=st.integers(0, 10**6),
    fill=st.sampled_from(["open", "close"]),
    bps=st.sampled_from([1.0, 10.0, 50.0]),
)
def test_with_costs_it_errs_by_second_order_only(make_panel, random_weights, seed, fill, bps):
    panel = make_panel(seed, 60)
    weights = random_weights(panel, seed, long_only=False) * 0.9
    costs = Costs(cost_bps=bps, borrow_bps=0)
    exact = backtest(panel, weights, costs=costs, fill=fill)
    if exact.scaled_sessions == 0:
        found = in_returns_space(panel, weights, fill=fill).returns(costs)
        assert np.abs(found - exact.returns_net).max() <= 0.5 * costs.rate
        assert found.sum() == pytest.approx(exact.returns_net.sum(), abs=2 * costs.rate)


def test_one_book_is_priced_at_many_costs(make_panel, random_weights):
    panel = make_panel(1, 60)
    space = in_returns_space(panel, random_weights(panel, 1))
    totals = [space.returns(Costs(cost_bps=bps)).sum() for bps in (0, 5, 20)]
    assert totals == sorted(totals, reverse=True)


def test_what_it_cannot_do_is_refused(make_panel, random_weights):
    panel = make_panel(1, 60)
    weights = random_weights(panel, 1)
    space = in_returns_space(panel, weights)
    with pytest.raises(ConfigError, match="proportional costs only"):
        space.returns(Costs(impact=1.0))
    with pytest.raises(ConfigError, match="one per session"):
        in_returns_space(panel, weights.iloc[::2])
    holes = make_panel(1, 60, missing=0.2)
    with pytest.raises(NotEnoughDataError, match="bars are missing"):
        in_returns_space(holes, weights)
    assert np.isfinite(in_returns_space(holes, weights, carried=True).returns()).all()


@quick
@given(seed=st.integers(0, 10**6), fill=st.sampled_from(["open", "close"]))
def test_what_is_not_traded_pays_nothing_and_stays_close_to_the_loop(
    make_panel, random_weights, seed, fill
):
    panel = make_panel(seed, 60)
    weights = random_weights(panel, seed, long_only=False) * 0.9
    weights = weights.iloc[::10].reindex(weights.index, method="ffill")
    costs, trade = Costs(cost_bps=10, borrow_bps=0), changed(weights)
    space = in_returns_space(panel, weights, fill=fill, trade=trade)
    exact = backtest(panel, weights, costs=costs, fill=fill, trade=trade)
    still = ~trade.to_numpy()[: len(space.turnover)].any(axis=1)
    assert (space.turnover[still] == 0).all()
    assert (space.turnover[~still] > 0).all()
    daily = in_returns_space(panel, weights, fill=fill)
    assert (space.turnover <= daily.turnover + 1e-15).all()
    assert np.corrcoef(space.returns(costs), exact.returns_net)[0, 1] > 0.95
