"""Laws of every policy first, then each by hand, then what a position holds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quantseq.errors import ConfigError
from quantseq.forecasting.density import NORMAL_NU, SIMPLE_BOUND, TokenDensity
from quantseq.forecasting.forecasts import Forecasts
from quantseq.trading.costs import Costs
from quantseq.trading.policies import (
    _WIDEST,
    FORECAST_PATIENCE,
    POLICIES,
    Blend,
    FractionalKelly,
    MeanVariance,
    OverCost,
    Probability,
    Rank,
    Sign,
    VolTarget,
    changed,
    gap_loss,
    held_moments,
    make_policy,
    other_policies,
    read_view,
)

EVERY = [
    FractionalKelly(),
    FractionalKelly(fraction=0.2, cap=0.5, long_only=False, band=0.3),
    Sign(),
    Sign(cap=0.7, long_only=False, band=0.2),
    VolTarget(),
    VolTarget(target=0.3, long_only=False, band=0.1),
    Probability(threshold=0.55, long_only=False),
    OverCost(long_only=False, multiple=0.5, band="cost"),
    Rank(),
    Rank(share=0.5, long_only=True, band=0.2),
    Blend(),
    Blend(parts=["sign", "probability", "over_cost"], long_only=False, cap=0.6),
    FractionalKelly(band="cost", cvar_cap=0.02, name_cap=0.3, long_only=False),
    MeanVariance(),
    MeanVariance(long_only=False, correlation=0.0, gross=0.8, band="cost"),
]
APART = [one for one in EVERY if not (one.cvar_cap or one.name == "rank")]
"""Policies in which no symbol's weight depends on another's forecast."""
quick = settings(deadline=None, max_examples=8)


COLUMNS = ["symbol", "cutoff", "mean", "std", "prob_up", "es_long", "es_short"]


def moments(seed: int, days: int = 12, symbols: int = 4, share: float = 0.8) -> pd.DataFrame:
    """Random forecasts; symbols start late and pause, so that the universe changes on the way."""
    rng = np.random.default_rng(seed)
    rows = []
    for day, cutoff in enumerate(pd.bdate_range("2021-03-01", periods=days)):
        for k in range(symbols):
            if day >= 3 * k and (k == 0 or rng.random() < share):
                std = rng.uniform(0.005, 0.04)
                row = (f"S{k}", cutoff, rng.normal(0, 0.002), std, rng.uniform(0.4, 0.6), 2 * std)
                rows.append((*row, 2.1 * std))
    return pd.DataFrame(rows, columns=COLUMNS)


def one(mean: float, std: float, symbols: int = 1) -> pd.DataFrame:
    rows = [(f"S{k}", "2021-03-01", mean, std, 0.5, 2 * std, 2 * std) for k in range(symbols)]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.mark.parametrize("policy", EVERY, ids=repr)
class TestEveryPolicy:
    @quick
    @given(seed=st.integers(0, 10**6))
    def test_weights_are_complete_dated_and_unlevered(self, policy, seed):
        table = moments(seed)
        weights = policy.weights(table)
        assert weights.index.name == "decision"
        assert list(weights.index) == sorted(set(table["cutoff"]))
        assert list(weights.columns) == list(table["symbol"].unique())
        assert not weights.isna().any(axis=None)
        assert (weights.abs().sum(axis=1) <= 1 + 1e-12).all()
        assert not policy.long_only or (weights >= 0).all(axis=None)

    @quick
    @given(
        seed=st.integers(0, 10**6), cut=st.integers(0, 29), share=st.sampled_from([0.2, 0.5, 0.8])
    )
    def test_the_future_changes_nothing(self, policy, seed, cut, share):
        table = moments(seed, 30, share=share)
        cutoff = pd.bdate_range("2021-03-01", periods=30)[cut]
        full = policy.weights(table)
        prefix = policy.weights(table[table["cutoff"] <= cutoff])
        pd.testing.assert_frame_equal(
            full.loc[:cutoff, prefix.columns], prefix, check_exact=True, check_freq=False
        )
        assert (full.loc[:cutoff].drop(columns=prefix.columns) == 0).all(axis=None)
        wild = table.copy()
        wild.loc[wild["cutoff"] > cutoff, ["mean", "std"]] = [0.5, 3.0]
        rewritten = policy.weights(wild).loc[:cutoff]
        pd.testing.assert_frame_equal(rewritten, full.loc[:cutoff], check_exact=True)

    def test_the_order_of_rows_does_not_matter(self, policy):
        table = moments(1)
        shuffled = table.sample(frac=1, random_state=0)
        weights = policy.weights(table)
        again = policy.weights(shuffled)[weights.columns]
        exact = (
            policy in APART or policy.name == "rank"
        )  # else sums over symbols change their order
        pd.testing.assert_frame_equal(weights, again, check_exact=exact, rtol=1e-12 * (not exact))

    def test_its_name_builds_it(self, policy):
        assert type(make_policy(policy.name)) is type(policy)
        assert POLICIES[policy.name] is type(policy)
        assert policy.formula
        assert policy.source


@pytest.mark.parametrize("policy", APART, ids=repr)
class TestPoliciesBySymbol:
    @quick
    @given(seed=st.integers(0, 10**6), share=st.sampled_from([0.2, 0.5, 0.8]))
    def test_without_a_forecast_a_position_is_kept_for_a_week_then_closed(
        self, policy, seed, share
    ):
        table = moments(seed, 30, share=share)
        weights = policy.weights(table)
        known = table.assign(there=1).pivot_table("there", "cutoff", "symbol")
        known = known.reindex(columns=weights.columns).notna()
        slices = known.cummax().sum(axis=1)
        for name in weights:
            idle = FORECAST_PATIENCE + 1  # nothing to keep before the first forecast
            for k, there in enumerate(known[name]):
                idle = 0 if there else idle + 1
                weight = weights[name].iloc[k]
                if idle > FORECAST_PATIENCE:
                    assert weight == 0
                elif idle and slices.iloc[k] == slices.iloc[k - 1]:
                    assert weight == weights[name].iloc[k - 1]
                elif idle:
                    kept = weights[name].iloc[k - 1] * slices.iloc[k - 1]
                    assert weight * slices.iloc[k] == pytest.approx(kept, rel=1e-14)

    @quick
    @given(seed=st.integers(0, 10**6))
    def test_a_kept_position_is_no_move_for_the_band(self, policy, seed):
        """A pause within patience leaves every other date as if it had never been there."""
        table = moments(seed, symbols=1)
        dates = table["cutoff"].unique()
        begin = seed % 7 + 1
        pause = dates[begin : begin + FORECAST_PATIENCE]
        rest = table[~table["cutoff"].isin(pause)]
        other = table.assign(symbol="X")
        both = pd.concat([rest, other])  # X gives the pause its dates
        weights, alone = policy.weights(both)["S0"], policy.weights(rest)["S0"]
        np.testing.assert_array_equal(weights.drop(pause), alone / 2)
        assert not changed(weights.to_frame()).loc[pause].any(axis=None)


def test_each_symbol_so_far_gets_an_equal_slice():
    table = moments(3)
    weights = Sign(long_only=False).weights(table)
    seen = table.groupby("cutoff")["symbol"].agg(set)
    so_far: set[str] = set()
    for date, names in seen.items():
        so_far |= names
        assert set(weights.loc[date].abs().round(12)) <= {0.0, round(1 / len(so_far), 12)}


def test_kelly_by_hand():
    kelly = FractionalKelly(fraction=0.5, band=0.0)
    assert kelly.weights(one(0.0001, 0.02)).iloc[0, 0] == pytest.approx(0.5 * 0.0003 / 0.0004)
    assert kelly.weights(one(0.0, 0.02)).iloc[0, 0] == pytest.approx(0.25)  # μ = s²/2
    assert kelly.weights(one(0.01, 0.02)).iloc[0, 0] == 1.0
    assert kelly.weights(one(-0.01, 0.02)).iloc[0, 0] == 0.0
    both = FractionalKelly(fraction=0.5, band=0.0, long_only=False, cap=0.8)
    assert both.weights(one(-0.01, 0.02, symbols=2)).to_numpy().tolist() == [[-0.4, -0.4]]


def test_sign_by_hand():
    assert Sign().weights(one(-0.0001, 0.02)).iloc[0, 0] == 1.0  # μ = −0.0001 + 0.0002 > 0
    assert Sign().weights(one(-0.0003, 0.02)).iloc[0, 0] == 0.0
    assert Sign(long_only=False, cap=0.5).weights(one(-0.0003, 0.02)).iloc[0, 0] == -0.5


def test_vol_target_by_hand():
    policy = VolTarget(target=0.16, periods=256)
    assert policy.weights(one(-1.0, 0.02)).iloc[0, 0] == pytest.approx(0.5)
    assert policy.weights(one(0.0, 0.001)).iloc[0, 0] == 1.0
    short = VolTarget(target=0.16, periods=256, long_only=False)
    assert short.weights(one(-1.0, 0.02)).iloc[0, 0] == pytest.approx(-0.5)


def test_probability_by_hand():
    table = one(0.0, 0.02, symbols=5).assign(prob_up=[0.5, 0.55, 0.551, 0.45, 0.449])
    both = Probability(threshold=0.55, long_only=False, cap=0.5).weights(table)
    np.testing.assert_allclose(both, [[0, 0, 0.1, 0, -0.1]])
    assert Probability(threshold=0.55).weights(table).sum(axis=None) == pytest.approx(0.2)


def test_over_cost_by_hand():
    policy = OverCost(cost_bps=10, multiple=2, holding=4, long_only=False)  # 40 bps over 4 sessions
    s = 0.001
    table = one(0.0, s, symbols=4).assign(mean=np.array([11, 9, -9, -11]) * 1e-4 - s**2 / 2)
    np.testing.assert_allclose(policy.weights(table), [[0.25, 0, 0, -0.25]])


def test_rank_by_hand():
    table = one(0.0, 0.02, symbols=7).assign(mean=[0.3, 0.1, 0.2, 0.0, 0.5, 0.4, 0.1])
    # places 4.5, 1.5, 3.5, 0.5, 6.5, 5.5 and 1.5 of 7; a third is 2.33: the tied two share 1.5
    np.testing.assert_allclose(Rank().weights(table) * 7, [[0, -1, 0, -1, 1, 1, -1]])
    three = one(0.0, 0.02, symbols=3).assign(mean=[0.3, 0.1, 0.2])
    np.testing.assert_allclose(Rank().weights(three) * 3, [[1, -1, 0]])
    np.testing.assert_allclose(Rank(long_only=True).weights(three) * 3, [[1, 0, 0]])
    assert (Rank().weights(one(0.01, 0.02)) == 0).all(axis=None)


@quick
@given(seed=st.integers(0, 10**6))
def test_rank_is_neutral_where_no_two_forecasts_tie(seed):
    table = moments(seed, share=1.0)
    weights = Rank().weights(table)
    np.testing.assert_allclose(weights.sum(axis=1), 0, atol=1e-12)


@quick
@given(seed=st.integers(0, 10**6), rho=st.sampled_from([0.0, 0.3, 0.9]))
def test_mean_variance_solves_the_linear_system(seed, rho):
    """Against numpy's solver, on dates where nothing is capped."""
    table = moments(seed, share=1.0)
    policy = MeanVariance(
        risk_aversion=100.0, correlation=rho, long_only=False, band=0.0, cvar_cap=0.0
    )
    weights = policy.weights(table)
    for date, rows in table.groupby("cutoff"):
        s = rows["std"].to_numpy()
        cov = np.outer(s, s) * (rho + (1 - rho) * np.eye(len(s)))
        exact = np.linalg.solve(cov, rows["mean"].to_numpy() + s**2 / 2) / 100
        exact /= max(1.0, np.abs(exact).sum())
        np.testing.assert_allclose(weights.loc[date, rows["symbol"]], exact, rtol=1e-9, atol=1e-12)


def test_one_symbol_alone_makes_mean_variance_kelly():
    table = moments(5, symbols=1)
    full = MeanVariance(risk_aversion=2, band=0.1, cvar_cap=0).weights(table)
    kelly = FractionalKelly(fraction=0.5, band=0.1).weights(table)
    np.testing.assert_allclose(full, kelly)


def test_a_blend_is_the_mean_of_its_parts():
    table = moments(6)
    blend = Blend(parts=("sign", "vol_target"), band=0.0, long_only=False)
    parts = [Sign(long_only=False).weights(table), VolTarget(long_only=False).weights(table)]
    np.testing.assert_allclose(blend.weights(table), (parts[0] + parts[1]) / 2)


def test_the_year_of_a_blend_is_that_of_its_parts():
    table, both = moments(6), ("sign", "vol_target")
    costs = Costs(periods=365)
    blend = make_policy("blend", costs=costs, parts=both, band=0.0, long_only=False)
    own = [make_policy(name, costs=costs, long_only=False) for name in both]
    assert (blend.periods, own[1].periods) == (365, 365)
    parts = [one.weights(table) for one in own]
    np.testing.assert_allclose(blend.weights(table), (parts[0] + parts[1]) / 2)


def test_band_moves_to_its_nearer_edge_and_zero_closes():
    target = [0.5, 0.55, 0.35, 0.62, 0.0, 0.05]
    table = pd.DataFrame(
        {
            "symbol": "A",
            "cutoff": pd.bdate_range("2021-03-01", periods=6),
            "mean": [2 * 0.0004 * w - 0.0002 if w else -1.0 for w in target],
            "std": 0.02,
            "prob_up": 0.5,
        }
    )
    weights = FractionalKelly(band=0.1).weights(table)["A"]
    np.testing.assert_allclose(weights, [0.4, 0.45, 0.45, 0.52, 0.0, 0.0], atol=1e-12)


@quick
@given(seed=st.integers(0, 10**6), band=st.floats(0.01, 0.5))
def test_band_stays_near_the_target_and_trades_less(seed, band):
    table = moments(seed, symbols=1)
    exact = FractionalKelly(band=0.0, long_only=False).weights(table)
    lazy = FractionalKelly(band=band, long_only=False).weights(table)
    assert ((exact - lazy).abs() <= band + 1e-12).all(axis=None)
    assert lazy.diff().abs().sum().sum() <= exact.diff().abs().sum().sum() + 1e-12


def test_a_policy_knows_the_costs_and_the_year_unless_it_is_told_others():
    table = moments(7)

    def held(costs, **parameters):
        return make_policy("over_cost", costs=costs, **parameters).weights(table).to_numpy()

    dear, cheap = Costs(cost_bps=200), Costs(cost_bps=1)
    assert (held(dear) != held(cheap)).any()
    np.testing.assert_array_equal(held(dear, cost_bps=1.0), held(cheap))
    assert np.isfinite(held(Costs(cost_bps=9_000, half_spread_bps=9_000))).all()
    assert make_policy("vol_target", costs=Costs(periods=365)).periods == 365
    assert make_policy("vol_target", costs=Costs(periods=365), periods=250).periods == 250


def test_the_other_policies_are_all_others_on_the_same_terms():
    found = other_policies("rank", costs=Costs(cost_bps=7), share=0.2, long_only=True)
    assert set(found) == set(POLICIES) - {"rank"}
    for name, policy in found.items():
        assert policy == make_policy(name, costs=Costs(cost_bps=7), long_only=True)


def test_changed_marks_the_first_decision_and_every_move():
    weights = pd.DataFrame({"A": [0.1, 0.1, 0.2], "B": [0.0, 0.3, 0.3]})
    assert changed(weights).to_numpy().tolist() == [[True, True], [False, True], [True, False]]


@pytest.mark.parametrize(
    ("name", "params", "hint"),
    [
        ("keley", {}, "did you mean 'kelly'"),
        ("vol-target", {}, "did you mean 'vol_target'"),
        ("zzz", {}, "Known: kelly, mean_variance, sign"),
        ("kelly", {"fractoin": 0.5}, "did you mean 'fraction'"),
        ("sign", {"fraction": 0.5}, "no parameter 'fraction'"),
        ("kelly", {"fraction": 3}, "must be a number in (0, 1]. Got 3"),
        ("kelly", {"fraction": 0}, "Got 0"),
        ("kelly", {"fraction": "half"}, "Got 'half'"),
        ("kelly", {"fraction": float("nan")}, "Got nan"),
        ("kelly", {"cap": 1.5}, "'cap'"),
        ("sign", {"band": 1}, "[0, 1)"),
        ("sign", {"band": True}, "Got True"),
        ("sign", {"long_only": 1}, "true or false"),
        ("vol_target", {"target": -1}, "'target'"),
        ("vol_target", {"periods": 0}, "'periods'"),
        ("sign", {"band": "costs"}, 'or "cost". Got'),
        ("sign", {"gross": 1.2}, "'gross'"),
        ("sign", {"name_cap": 0}, "'name_cap'"),
        ("sign", {"cvar_cap": 1}, "'cvar_cap'"),
        ("sign", {"cost_bps": -1}, "'cost_bps'"),
        ("probability", {"threshold": 0.4}, "[0.5, 1)"),
        ("over_cost", {"holding": 0}, "'holding'"),
        ("over_cost", {"multiple": 0}, "'multiple'"),
        ("rank", {"share": 0.6}, "(0, 0.5]"),
        ("mean_variance", {"risk_aversion": 0}, "'risk_aversion'"),
        ("mean_variance", {"correlation": 1}, "[0, 1)"),
        ("blend", {"parts": ["kelly"]}, "two or more"),
        ("blend", {"parts": "kelly"}, "two or more"),
        ("blend", {"parts": ["kelly", "blend"]}, "cannot take 'blend'"),
        ("blend", {"parts": ["kelly", "sing"]}, "did you mean 'sign'"),
    ],
)
def test_bad_parameters_are_named(name, params, hint):
    with pytest.raises(ConfigError) as caught:
        make_policy(name, **params)
    assert hint in str(caught.value)


def test_bad_moments_are_named():
    good = moments(4)
    for broken, words in [
        (good.drop(columns="std"), "lack the columns ['std']"),
        (good.iloc[:0], "no rows"),
        (good.assign(mean=np.nan), "has mean nan"),
        (good.assign(std=0.0), "std above 0"),
        (pd.concat([good, good.iloc[[5]]]), "two forecasts"),
        (good.assign(cutoff=pd.NaT), "needs a cutoff"),
    ]:
        with pytest.raises(ConfigError) as caught:
            Sign().weights(broken)
        assert words in str(caught.value)


def forecasts(rows: int = 3, nu: float = 5.0, bins: int = 1, mean: float = 0.001) -> Forecasts:
    shape = (rows, 2)
    rng = np.random.default_rng(1)
    probs = rng.dirichlet(np.full(bins, 20.0), shape)
    density = TokenDensity(np.full(shape, mean), np.full(shape, 0.02), np.full(shape, nu), probs)
    day = np.datetime64("2020-01-01", "D")
    names = np.array([f"S{k}" for k in range(rows)], dtype=object)
    return Forecasts("m", names, np.full(rows, day), density, np.full(rows, 0.25), day, 0)


@pytest.mark.parametrize("fill", ["open", "close"])
def test_the_tails_of_a_normal_are_the_closed_form(fill):
    one = forecasts(nu=NORMAL_NU)
    table = held_moments(one, fill)
    m, s = table["mean"].to_numpy(), table["std"].to_numpy()
    z = stats.norm.ppf(0.05)
    worst = np.exp(m + s**2 / 2) * stats.norm.cdf(z - s) / 0.05 - 1  # E[e^X − 1 | X < q]
    best = np.exp(m + s**2 / 2) * stats.norm.cdf(s + z) / 0.05 - 1
    np.testing.assert_allclose(table["es_long"], -worst, rtol=1e-5)
    np.testing.assert_allclose(table["es_short"], best, rtol=1e-5)


@pytest.mark.parametrize("bins", [1, 8])
def test_the_tails_agree_with_a_fine_sum_over_quantiles(bins):
    one = forecasts(nu=4.0, bins=bins)
    table = held_moments(one)
    grid = (np.arange(200_000) + 0.5) / 200_000 * 0.05
    stretch = (table["std"] / one.std[:, 0]).to_numpy()
    shift = (table["mean"] - stretch * one.mean[:, 0]).to_numpy()
    low, high = (
        np.expm1(shift[:, None] + stretch[:, None] * one.density.quantile(u)[:, 0]).mean(axis=1)
        for u in (grid, 1 - grid)
    )
    np.testing.assert_allclose(table["es_long"], -low, rtol=2e-3 if bins == 1 else 1e-2)
    np.testing.assert_allclose(table["es_short"], high, rtol=2e-3 if bins == 1 else 1e-2)


def test_the_loss_of_a_short_is_bounded_where_the_exponential_has_no_mean():
    """A scale so wide that the outer nodes lie far beyond a doubling."""
    one = forecasts(nu=2.2)
    wide = replace(one, density=replace(one.density, scale=one.density.scale * 100))
    short = held_moments(wide)["es_short"]
    assert ((short > 0.5) & (short <= np.expm1(SIMPLE_BOUND) + 1e-12)).all()


def test_a_row_does_not_depend_on_the_batch():
    one = forecasts(rows=5, bins=8)
    whole = held_moments(one)
    part = held_moments(one[np.array([3])])
    np.testing.assert_array_equal(whole.iloc[3, 2:].to_numpy(), part.iloc[0, 2:].to_numpy())


def test_the_gap_by_hand(build, weights_of):
    opens = np.array([[10.0], [11.0], [12.0]])
    closes = np.array([[10.0], [12.0], [9.0]])
    panel = build(opens, closes)
    weights = weights_of(panel, [[0.5], [1.0], [1.0]])
    loss = gap_loss(panel, weights, forecasts())
    assert loss["of_forecast"] == pytest.approx(0.25)
    assert loss["move"] == pytest.approx(0.5 * 0.2 + 1.0 * (9 / 12 - 1))
    assert loss["before_fill"] == pytest.approx(0.5 * 0.1 + 0.0)
    assert loss["of_move"] == pytest.approx(0.05 / (0.1 - 0.25))
    late = gap_loss(panel, weights, forecasts(), fill="close")
    assert (late["of_forecast"], late["of_move"]) == (1.0, 1.0)
    none = gap_loss(panel, weights * 0, replace(forecasts(mean=0.0)))
    assert np.isnan(none["of_forecast"])
    assert np.isnan(none["of_move"])


# ------------------------------------------------------------------- caps, and bands from costs


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
