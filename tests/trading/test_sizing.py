"""The rules around every policy: caps, and bands that costs widen."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.trading.policies import FractionalKelly, MeanVariance, Sign, VolTarget
from quantseq.trading.sizing import _WIDEST, read_view
from tests.trading.test_policies import moments, one

quick = settings(deadline=None, max_examples=15)


@quick
@given(seed=st.integers(0, 10**6), cap=st.sampled_from([0.005, 0.02]), long_only=st.booleans())
def test_the_expected_shortfall_of_the_book_stays_below_its_cap(seed, cap, long_only):
    table = moments(seed, share=1.0)
    weights = MeanVariance(cvar_cap=cap, long_only=long_only, band=0.3).weights(table)
    long, short = (table.pivot_table(c, "cutoff", "symbol") for c in ("es_long", "es_short"))
    loss = (weights.clip(lower=0) * long - weights.clip(upper=0) * short).sum(axis=1)
    assert (loss <= cap + 1e-12).all()
    free = MeanVariance(cvar_cap=0.0, long_only=long_only, band=0.0).weights(table)
    tight = MeanVariance(cvar_cap=cap, long_only=long_only, band=0.0).weights(table)
    factor = tight.abs().sum(axis=1) / free.abs().sum(axis=1)
    np.testing.assert_allclose(tight, free.mul(factor.fillna(0), axis=0), atol=1e-12)  # one a date


def test_a_cvar_cap_needs_the_tails():
    table = moments(0).drop(columns=["es_long", "es_short"])
    with pytest.raises(ConfigError, match="lack es_long and es_short"):
        FractionalKelly(cvar_cap=0.02).weights(table)


@quick
@given(seed=st.integers(0, 10**6))
def test_gross_and_name_caps_bind_whatever_the_band_says(seed):
    table = moments(seed)
    policy = Sign(long_only=False, gross=0.3, name_cap=0.2, band=0.4)
    weights = policy.weights(table)
    assert (weights.abs() <= 0.2 + 1e-12).all(axis=None)
    assert (weights.abs().sum(axis=1) <= 0.3 + 1e-12).all()


def test_caps_by_hand():
    table = one(0.01, 0.02, symbols=2)
    assert Sign(name_cap=0.3).weights(table).to_numpy().tolist() == [[0.3, 0.3]]
    np.testing.assert_allclose(Sign(gross=0.5).weights(table), [[0.25, 0.25]])
    np.testing.assert_allclose(Sign(cvar_cap=0.02).weights(table), [[0.25, 0.25]])  # 0.5·2·0.04


def test_the_band_of_costs_by_hand_and_in_order():
    """Two dates: the target of Kelly moves by 0.5; width = (1.5·ε/γ·(0.5²/2)/s²)^(1/3)."""
    table = pd.concat([one(-0.0002 + 2 * 0.0004 * w, 0.02) for w in (0.2, 0.7)])
    table["cutoff"] = pd.bdate_range("2021-03-01", periods=2)
    policy = FractionalKelly(band="cost", cost_bps=1.0)
    width = (1.5 * 1e-4 / 2 * (0.25 / 2) / 0.0004) ** (1 / 3)
    np.testing.assert_allclose(policy.weights(table)["S0"], [0.2, 0.7 - width])
    assert policy.weights(table).iloc[1, 0] > FractionalKelly(band="cost").weights(table).iloc[1, 0]
    dear = FractionalKelly(band="cost", cost_bps=10_000.0)
    np.testing.assert_allclose(dear.weights(table)["S0"], [0.2, 0.7 - _WIDEST])


@quick
@given(seed=st.integers(0, 10**6))
def test_free_trading_has_no_band_and_dear_trading_trades_less(seed):
    table = moments(seed, 40, symbols=1)
    exact = VolTarget(band=0.0).weights(table)
    free = VolTarget(band="cost", cost_bps=0.0).weights(table)
    pd.testing.assert_frame_equal(exact, free, check_exact=True)
    paid = [
        VolTarget(band="cost", cost_bps=bps).weights(table).diff().abs().sum().sum()
        for bps in (0.0, 5.0, 500.0)
    ]
    assert paid[0] >= paid[1] - 1e-12
    assert paid[1] >= paid[2] - 1e-12


def test_the_view_spreads_rows_and_keeps_gaps():
    table = moments(2).iloc[[0, 3, 4]]
    view, dates, symbols = read_view(table)
    assert view.known.sum() == 3
    assert len(dates) == view.mu.shape[0]
    assert len(symbols) == view.mu.shape[1]
    with pytest.raises(ConfigError, match="prob_up in"):
        read_view(table.assign(prob_up=1.1))
