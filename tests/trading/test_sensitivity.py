import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.trading.backtest import backtest
from quantseq.trading.broker.costs import Costs
from quantseq.trading.performance import METRICS
from quantseq.trading.sensitivity import at_cost, drift


@pytest.mark.parametrize("asked", [0.0, 2.0, 20.0, 50.0])
def test_other_costs_agree_with_re_run_accounts_at_first_order(make_panel, random_weights, asked):
    panel = make_panel(3, 250)
    weights = random_weights(panel, 3, True) * 0.6
    base, again = (
        backtest(panel, weights, costs=Costs(cost_bps=bps, borrow_bps=0)) for bps in (5.0, asked)
    )
    guess = at_cost(base.returns_net, base.turnover, charged_bps=5.0, cost_bps=asked)
    np.testing.assert_allclose(guess, again.returns_net, atol=5e-4)
    cagr = METRICS["cagr"]
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


def test_a_drift_has_the_sharpe_ratio_it_was_asked_for():
    wealth = drift(0.8, 0.2, 252)
    assert np.log(wealth[-1]) == pytest.approx(0.8 * 0.2 - 0.2**2 / 2)
    assert len(wealth) == 252
    np.testing.assert_array_equal(drift(0.8, 0.0, 3), np.ones(3))
