"""Intervals by resampling: paired, seeded, and as wide as dependence demands."""

import math

import numpy as np
import pytest

from quantseq.errors import ConfigError
from quantseq.trading.chance.bootstrap import block_length, bootstrap_interval, metric_intervals
from quantseq.trading.measures import METRICS


def noise(seed: int, mean: float = 0.0, n: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.01, n)


def test_equal_seeds_give_equal_intervals():
    one, same, other = (
        bootstrap_interval(np.mean, noise(3), seed=s, resamples=200) for s in (1, 1, 2)
    )
    assert one == same
    assert one != other
    assert one[0] < np.mean(noise(3)) < one[1]


def test_the_interval_of_a_mean_has_its_known_width():
    returns = noise(4, n=1000)
    low, high = bootstrap_interval(np.mean, returns, seed=0)
    assert high - low == pytest.approx(2 * 1.96 * returns.std() / math.sqrt(1000), rel=0.15)


def test_dependence_makes_it_wider():
    shocks = noise(5, n=1000)
    slow = np.convolve(shocks, np.ones(10) / math.sqrt(10), mode="same")
    assert block_length(slow) > 2 * block_length(shocks)
    wide, narrow = (
        bootstrap_interval(np.mean, one, seed=0, resamples=500) for one in (slow, shocks)
    )
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_pairs_stay_paired():
    own = noise(6)
    pair = np.column_stack([own, own + 0.001])
    low, high = bootstrap_interval(
        lambda drawn: np.mean(drawn[:, 1] - drawn[:, 0]), pair, seed=0, resamples=200
    )
    assert (low, high) == (pytest.approx(0.001), pytest.approx(0.001))


def test_an_undefined_statistic_has_no_interval():
    rare = np.zeros(100)
    rare[50] = 0.01
    assert all(math.isnan(end) for end in bootstrap_interval(METRICS["sharpe"], rare, seed=0))
    assert block_length(np.zeros(100)) == 1
    assert block_length(noise(0, n=5)) == 1


def test_intervals_of_many_figures_share_their_samples():
    returns, benchmark = noise(7, 0.0005), noise(8)
    names = ("sharpe", "beta", "max_drawdown")
    found = metric_intervals(returns, names, benchmark=benchmark, seed=0, resamples=300)
    assert list(found) == list(names)
    assert found["beta"][0] < 0 < found["beta"][1]
    for name, (low, high) in found.items():
        assert low < METRICS[name](returns, benchmark=benchmark) < high
    alone = metric_intervals(returns, ["sharpe"], seed=0, resamples=300)
    direct = bootstrap_interval(METRICS["sharpe"], returns, seed=0, resamples=300)
    assert alone["sharpe"] == direct
    assert all(math.isnan(one) for one in metric_intervals([0.1], ["sharpe"], seed=0)["sharpe"])


def test_bad_bootstraps_are_named():
    with pytest.raises(ConfigError, match="two or more finite"):
        bootstrap_interval(np.mean, [0.1, math.nan], seed=0)
    with pytest.raises(ConfigError, match="'level'"):
        bootstrap_interval(np.mean, noise(0), seed=0, level=95)
