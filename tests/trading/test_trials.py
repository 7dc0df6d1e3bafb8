"""A trial is scored alike wherever it is: by the account to the bit, in returns space nearly."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import ConfigError
from quantseq.market.bars import Panel
from quantseq.trading.backtest import backtest, buy_and_hold
from quantseq.trading.broker.costs import Costs
from quantseq.trading.chance.bootstrap import bootstrap_interval
from quantseq.trading.ledger import returns_hash
from quantseq.trading.measures import METRICS
from quantseq.trading.policy import POLICIES, changed, make_policy
from quantseq.trading.trials import Trial, alternatives, score, score_all

KELLY = Trial("kelly", {"fraction": 0.3}, Costs(cost_bps=7, half_spread_bps=1))


@pytest.fixture(scope="module")
def panel(sample: Panel) -> Panel:
    return sample.between("2006-01-01", "2009-12-31")


@pytest.fixture(scope="module")
def moments(panel: Panel) -> pd.DataFrame:
    """Moments of no skill: a persistent guess of the mean, EWMA-like deviations, and tails."""
    rng = np.random.default_rng(0)
    days = panel.sessions[100:]
    parts = []
    for symbol in panel.symbols:
        mean = pd.Series(rng.normal(0, 1, len(days))).ewm(span=20).mean().to_numpy() * 0.003
        std = 0.015 * np.exp(0.2 * rng.normal(size=len(days)).cumsum() / 10)
        parts.append(
            pd.DataFrame(
                {
                    "symbol": symbol,
                    "cutoff": days.astype("datetime64[s]"),
                    "mean": mean,
                    "std": std,
                    "prob_up": 0.5 + np.clip(mean / std, -1, 1) * 0.39,
                    "es_long": 2.1 * std,
                    "es_short": 2.1 * std,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def test_it_is_the_account(panel: Panel, moments: pd.DataFrame) -> None:
    weights = make_policy("kelly", fraction=0.3, cost_bps=8.0).weights(moments)
    exact = backtest(panel, weights, costs=KELLY.costs, trade=changed(weights))
    found = score(panel, moments, KELLY)
    np.testing.assert_array_equal(found.net, exact.returns_net)
    np.testing.assert_array_equal(found.turnover, exact.turnover)
    np.testing.assert_array_equal(found.sessions, exact.sessions)


def test_a_policy_knows_the_costs_unless_it_is_told_others(moments: pd.DataFrame) -> None:
    def held(costs: Costs, **parameters: float) -> np.ndarray:
        return Trial("over_cost", parameters, costs).decide(moments).to_numpy()

    dear, cheap = Costs(cost_bps=200), Costs(cost_bps=1)
    assert (held(dear) != held(cheap)).any()
    np.testing.assert_array_equal(held(dear, cost_bps=1.0), held(cheap))
    assert np.isfinite(held(Costs(cost_bps=9_000, half_spread_bps=9_000))).all()
    with pytest.raises(ConfigError, match="no policy 'kely'"):
        Trial("kely").decide(moments)


def test_many_are_scored_as_one_by_one(panel: Panel, moments: pd.DataFrame) -> None:
    trials = [(5, Trial(name, {}, Costs(cost_bps=bps))) for name in POLICIES for bps in (0.0, 20.0)]
    found = score_all(panel, {5: moments}, trials)
    for (_, trial), one in zip(trials[::5], found[::5], strict=True):
        assert returns_hash(one.net) == returns_hash(score(panel, moments, trial).net)


def test_returns_space_is_near_the_account(panel: Panel, moments: pd.DataFrame) -> None:
    trials = [(5, Trial(name, {}, Costs(cost_bps=bps))) for name in POLICIES for bps in (0.0, 20.0)]
    exact = score_all(panel, {5: moments}, trials)
    fast = score_all(panel, {5: moments}, trials, fast=True)
    for one, other in zip(exact, fast, strict=True):
        np.testing.assert_array_equal(one.sessions, other.sessions)
        if np.ptp(one.net):
            sharpes = [METRICS["sharpe"](x.net) for x in (one, other)]
            assert sharpes[0] == pytest.approx(sharpes[1], abs=0.15)
            assert one.turnover.mean() == pytest.approx(other.turnover.mean(), rel=0.1, abs=0.002)
    with pytest.raises(ConfigError, match="proportional costs only"):
        score_all(panel, {5: moments}, [(5, replace(KELLY, costs=Costs(impact=1.0)))], fast=True)


def test_ruin_in_returns_space_ends_the_account(build, weights_of) -> None:
    closes = np.array([[100.0], [100.0], [100.0], [250.0], [200.0], [220.0], [210.0]])
    panel = build(closes, closes)
    days = panel.sessions[:-1].astype("datetime64[s]")
    rows = {"symbol": "S0", "cutoff": days, "mean": -0.02, "std": 0.02, "prob_up": 0.1}
    short = Trial("sign", {"long_only": False}, Costs(cost_bps=0, borrow_bps=0))
    exact, fast = (
        score_all(panel, {1: pd.DataFrame(rows)}, [(1, short)], fast=fast)[0]
        for fast in (False, True)
    )
    np.testing.assert_array_equal(exact.net, fast.net)
    assert exact.net.min() == -1.0
    assert (exact.net[3:] == 0).all()


def test_alternatives_are_all_other_policies_on_the_same_terms() -> None:
    found = alternatives(Trial("rank", {"share": 0.2, "long_only": True}, KELLY.costs, "close"))
    assert set(found) == set(POLICIES) - {"rank"}
    for name, one in found.items():
        assert one == Trial(name, {"long_only": True}, KELLY.costs, "close")


def coin(panel: Panel, seed: int) -> np.ndarray:
    """Net returns of long or short by the toss of a coin, every session anew, at no cost."""
    tosses = np.random.default_rng(seed).choice([-1.0, 1.0], (len(panel.sessions), len(panel)))
    index = pd.DatetimeIndex(panel.sessions.astype("datetime64[s]"))
    weights = pd.DataFrame(tosses / len(panel), index, list(panel.symbols))
    return backtest(panel, weights, costs=Costs(cost_bps=0, borrow_bps=0)).returns_net


def test_without_costs_a_coin_has_a_sharpe_ratio_around_nothing(sample: Panel) -> None:
    panel = sample.between("2008-01-01", "2013-03-01")
    covered = 0
    for seed in range(20):
        low, high = bootstrap_interval(
            METRICS["sharpe"], coin(panel, seed), seed=seed, resamples=200
        )
        covered += low < 0 < high
    assert covered >= 17  # 19 of 20 are expected of a 95 % interval
    held = buy_and_hold(panel, costs=Costs(cost_bps=0)).returns_net
    assert METRICS["sharpe"](held) > 0.4  # what a long-only rule would have had for nothing
