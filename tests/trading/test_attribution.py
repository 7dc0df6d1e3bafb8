"""The parts of the profit sum to the whole, and each stands where it belongs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.trading.attribution import ACCOUNT, attribute
from quantseq.trading.backtest import backtest
from quantseq.trading.broker.costs import Costs

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
    result = backtest(panel, weights, costs=costs, fill=fill)
    table = attribute(result)
    assert list(table.index) == [*panel.symbols, ACCOUNT]
    total = result.equity[-1] - 1
    scale = max(1.0, result.equity.max())
    assert table["total"].sum() == pytest.approx(total, abs=1e-12 * scale * len(result.equity))
    assert (result.written_off > 0) <= (result.ruined is not None)
    kinds = ["commission", "spread", "impact", "borrow", "financing"]
    charged = result.costs_by_kind
    assert list(charged.columns) == kinds
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
    table = attribute(backtest(panel, weights, costs=costs, trade=mask))
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
    result = backtest(
        panel, weights_of(panel, [[0.5, -0.5]] * 6), fill=fill, costs=Costs(cost_bps=0)
    )
    table = attribute(result)
    assert result.ruined is not None
    assert table.loc["S1", "short"] < -1
    assert table.loc["S0", "total"] == 0
    assert table.loc[ACCOUNT, "written_off"] == pytest.approx(result.written_off)
    assert table["total"].sum() == pytest.approx(-1)
