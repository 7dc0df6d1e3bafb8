"""SPA and PBO: their size on noise, hand-worked cases, independent implementations, frozen numbers."""

import math
from itertools import combinations

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from quantseq.errors import ConfigError
from quantseq.trading.chance.bootstrap import block_length
from quantseq.trading.chance.overfitting import Overfitting, _long_run_deviation, overfitting, spa

quick = settings(deadline=None, max_examples=25)
WAVES = np.array([1.7, 2.3, 3.1, 0.9, 4.7, 5.3])
TRIED = 0.01 * np.sin(np.arange(320)[:, None] * WAVES) ** 3


def noise(seed: int, n: int = 250, k: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, (n, k))


# -------------------------------------------------------------------------------------------- PBO


def slow_pbo(returns: np.ndarray, blocks: int) -> float:
    """Bailey et al. as they wrote it: concatenate, rank, logit; 0 counts half."""
    parts = np.array_split(np.arange(len(returns)), blocks)
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[k] for k in chosen])
        other = np.setdiff1d(np.arange(len(returns)), inside)
        first, second = (
            returns[rows].mean(axis=0) / returns[rows].std(axis=0, ddof=1)
            for rows in (inside, other)
        )
        share = rankdata(second)[np.argmax(first)] / (returns.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    signs = np.sign(np.round(logits, 12))
    return float((signs < 0).mean() + 0.5 * (signs == 0).mean())


@quick
@given(seed=st.integers(0, 10**6), k=st.integers(2, 7), drift=st.floats(0, 0.002))
def test_pbo_is_what_the_paper_says(seed, k, drift):
    returns = noise(seed, 90, k) + np.linspace(-drift, drift, k)
    found = overfitting(returns, blocks=6)
    assert found.pbo == pytest.approx(slow_pbo(returns, 6), abs=1e-12)
    assert (found.configurations, found.blocks, found.halves) == (k, 6, 20)


def test_frozen_numbers_of_purgedcv():
    """From purgedcv 0.1.11, probability_of_backtest_overfitting(returns.T, n_splits=8)."""
    frozen = {0: 0.22857142857142856, 1: 0.24285714285714285, 2: 0.07142857142857142}
    for seed, pbo in frozen.items():
        returns = np.random.default_rng(seed).normal(0.0003 * seed, 0.01, (320, 6))
        returns += np.linspace(-0.0005 * seed, 0.0005 * seed, 6)
        assert overfitting(returns, blocks=8).pbo == pbo


def test_a_case_by_hand():
    """Two blocks; A wins the first, B the second: whatever is chosen is the worse one afterwards."""
    early, late = np.tile([0.02, 0.0], 10), np.tile([0.01, -0.01], 10)
    returns = np.column_stack([np.r_[early, late], np.r_[late, early]])
    assert overfitting(returns, blocks=2) == Overfitting(1.0, 0.0, 2, 2, 2)
    better = np.column_stack([np.r_[early, early], np.r_[late, late]])
    assert overfitting(better, blocks=2).pbo == 0.0


@pytest.mark.parametrize("k", [8, 9])
def test_on_noise_it_is_a_coin_toss(k):
    found = [overfitting(noise(seed, 240, k), blocks=8).pbo for seed in range(60)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_skill_is_no_overfitting():
    returns = noise(3, 500, 8)
    returns[:, 5] += 0.005
    found = overfitting(returns)
    assert found.pbo == found.loss == 0.0
    assert found.halves == 12_870


def test_copies_and_what_never_moves_are_no_configurations():
    returns = noise(1, 200, 4)
    with_copies = np.column_stack([returns, returns[:, [0, 0, 2]], np.zeros(200)])
    assert overfitting(with_copies, blocks=8) == overfitting(returns, blocks=8)
    alone = overfitting(np.column_stack([returns[:, 0]] * 9))
    assert math.isnan(alone.pbo)
    assert alone.configurations == 1


def test_a_half_without_a_move_counts_as_cash():
    returns = noise(2, 80, 3)
    returns[:40, 0] = 0.0
    returns[:, 1:] -= 0.1
    found = overfitting(returns, blocks=2)
    assert np.isfinite([found.pbo, found.loss]).all()
    assert found.pbo == 0.0  # cash beats both losers on the half where it did not trade


def test_short_series_have_fewer_blocks_or_none():
    assert overfitting(noise(0, 47, 3)).blocks == 4
    assert math.isnan(overfitting(noise(0, 19, 3)).pbo)


# -------------------------------------------------------------------------------------------- SPA


def slow_spa(tried: np.ndarray, held: np.ndarray, seed: int, resamples: int) -> float:
    """Hansen's consistent p, written out: studentised, re-centred where it matters, at equal risk."""
    better = tried / tried.std(axis=0) * held.std() - held[:, None]
    n, size = len(better), block_length(better)
    centred = better - better.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    for lag in range(1, n):
        stay = 1 - 1 / size
        kappa = (1 - lag / n) * stay**lag + lag / n * stay ** (n - lag)
        variance += 2 * kappa * (centred[:-lag] * centred[lag:]).sum(axis=0) / n
    omega, mean = np.sqrt(variance), better.mean(axis=0)
    matters = math.sqrt(n) * mean / omega >= -math.sqrt(2 * math.log(math.log(n)))
    statistic = max(0.0, (math.sqrt(n) * mean / omega).max())
    rows = StationaryBootstrap(size, np.arange(n), seed=np.random.default_rng(seed))
    beyond = 0
    for (drawn,), _ in rows.bootstrap(resamples):
        moved = better[drawn].mean(axis=0) - np.where(matters, mean, 0.0)
        beyond += max(0.0, (math.sqrt(n) * moved / omega).max()) >= statistic
    return beyond / resamples


@pytest.mark.parametrize("shift", [0.0, 0.0008, 0.001, 0.002])
def test_spa_is_hansens(shift):
    tried, held = TRIED * np.arange(1, 7) + shift, noise(4, 320, 1)[:, 0] + 0.0002
    ours = spa(tried, held, seed=5, resamples=200)
    assert ours == pytest.approx(slow_spa(tried, held, 5, 200), abs=1e-12)
    assert 0 < ours < 1 or shift in (0.0, 0.002)


def test_the_long_run_deviation_sees_dependence():
    values = noise(7, 1000, 1)
    slow = np.apply_along_axis(lambda x: np.convolve(x, np.ones(5), "same"), 0, values)
    assert _long_run_deviation(values, 1) == pytest.approx(values.std(axis=0), rel=1e-12)
    assert _long_run_deviation(slow, 25) > 1.7 * slow.std(axis=0)


def test_arch_itself_does_not_studentise():
    """Why we do it: its p-value is the same with and without. When this fails, drop our own."""
    tried = TRIED * np.arange(1, 7) + 0.0003
    found = []
    for studentize in (True, False):
        test = SPA(np.zeros(320), -tried, block_size=3, reps=100, studentize=studentize, seed=1)
        test.compute()
        found.append(list(test.pvalues))
    assert found[0] == found[1]


def test_its_size_on_noise_is_about_what_it_says():
    found = np.array(
        [
            spa(noise(seed), noise(seed + 5000, k=1)[:, 0], seed=seed, resamples=100)
            for seed in range(150)
        ]
    )
    assert (found < 0.1).mean() == pytest.approx(0.1, abs=0.055)
    assert 0.3 < found.mean() < 0.7


def test_more_tries_make_the_best_less_of_a_wonder():
    held = noise(8, 500, 1)[:, 0]
    good = held + 0.0006 + noise(9, 500, 1)[:, 0] * 0.5
    alone = spa(good[:, None], held, seed=0)
    among = spa(np.column_stack([good, noise(10, 500, 60)]), held, seed=0)
    assert alone < 0.05 < among


def test_risk_is_no_skill_unless_it_is_asked_for():
    held = noise(11, 500, 1)[:, 0] + 0.001
    double = 2 * held[:, None]
    assert math.isnan(spa(double, held, seed=0))  # at equal risk it is the benchmark itself
    assert spa(double, held, seed=0, equal_risk=False) < 0.2
    half = 0.5 * held[:, None] + 0.0004 + 0.1 * noise(16, 500, 1)
    assert spa(half, held, seed=0, equal_risk=False) > 0.5
    assert spa(half, held, seed=0) < 0.05


def test_each_trial_may_have_its_own_benchmark():
    tried, held = noise(12, 300, 3), noise(13, 300, 3)
    same = np.broadcast_to(held[:, :1], (300, 3))
    assert spa(tried, same, seed=0) == spa(tried, held[:, 0], seed=0)
    assert spa(tried, held, seed=0) != spa(tried, held[:, 0], seed=0)


def test_what_says_nothing_is_left_out():
    held, tried = noise(14, 300, 1)[:, 0], noise(15, 300, 3)
    more = np.column_stack([tried, np.zeros(300), held])
    assert spa(more, held, seed=1) == spa(tried, held, seed=1)
    assert math.isnan(spa(np.zeros((300, 2)), held, seed=1))
    assert math.isnan(spa(tried[:19], held[:19], seed=1))


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match="finite returns over the same sessions"):
        spa(noise(0), noise(1)[:-1, 0], seed=0)
    with pytest.raises(ConfigError, match="finite returns over the same sessions"):
        spa(noise(0) * math.nan, noise(1)[:, 0], seed=0)
    with pytest.raises(ConfigError, match="finite returns over the same sessions"):
        spa(noise(0)[:, 0], noise(1)[:, 0], seed=0)
    with pytest.raises(ConfigError, match=r"finite returns, shape \(T, K\)"):
        overfitting(noise(0)[:, 0])
    for blocks in (3, 0, 22):
        with pytest.raises(ConfigError, match="'blocks'"):
            overfitting(noise(0), blocks=blocks)


def test_where_all_are_worse_nothing_is_claimed() -> None:
    held = np.random.default_rng(4).normal(5e-4, 0.01, 700)
    worse = (
        held[:, None]
        - np.array([0.002, 0.004])
        + np.random.default_rng(5).normal(0, 1e-3, (700, 2))
    )
    assert spa(worse, held, seed=0) == 1.0
    assert spa(np.column_stack([worse, held]), held, seed=0) == 1.0
