"""Noise is not believed, knowledge is, and little data changes nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.forecast.calibration import BLOCKS, Shrinkage, choose_shrinkage

DAYS = np.repeat(np.arange(300).astype("datetime64[D]"), 4)


def tilts(strength: float, *, truth: bool, seed: int, bins: int = 24) -> np.ndarray:
    """V · p(what happened) of a network whose opinion is right, or has nothing to do with it."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(bins, 1 / strength), size=len(DAYS))
    if truth:
        cumulated = probs.cumsum(axis=1)
        happened = (rng.random((len(DAYS), 1)) > cumulated).sum(axis=1).clip(max=bins - 1)
    else:
        happened = rng.integers(0, bins, len(DAYS))
    return probs[np.arange(len(DAYS)), happened] * bins


@pytest.mark.parametrize("seed", range(8))
def test_pure_noise_is_not_believed(seed: int) -> None:
    assert choose_shrinkage(tilts(0.3, truth=False, seed=seed), DAYS).weight <= 0.1


@pytest.mark.parametrize("seed", range(8))
def test_a_network_that_knows_the_truth_is_believed(seed: int) -> None:
    tilt = tilts(0.3, truth=True, seed=seed)
    found = choose_shrinkage(tilt, DAYS)
    assert found.weight > 0.8
    assert found.gain == pytest.approx(np.log(tilt).mean(), rel=0.1)


def test_half_a_truth_is_half_believed() -> None:
    right, wrong = (tilts(0.5, truth=truth, seed=1) for truth in (True, False))
    mixed = np.where(np.random.default_rng(0).random(len(DAYS)) < 0.5, right, wrong)
    assert 0.2 < choose_shrinkage(mixed, DAYS).weight < 0.8


def test_a_network_that_says_nothing_weighs_nothing() -> None:
    assert choose_shrinkage(np.ones(len(DAYS)), DAYS) == Shrinkage(0.0, 0.0)


def test_a_gain_in_one_block_alone_is_not_accepted() -> None:
    tilt = np.full(len(DAYS), 0.8)
    tilt[: len(DAYS) // BLOCKS] = 1.5
    found = choose_shrinkage(tilt, DAYS)
    assert found.weight == 0.0
    assert found.gain < 0


def test_a_token_that_was_ruled_out_and_happened_forbids_full_belief() -> None:
    tilt = tilts(0.3, truth=True, seed=0)
    tilt[::100] = 0.0
    found = choose_shrinkage(tilt, DAYS)
    assert 0 < found.weight < 1
    assert np.isfinite(found.gain)


@given(st.integers(0, 2 * BLOCKS - 1))
def test_too_few_days_change_nothing(days: int) -> None:
    cutoffs = np.repeat(np.arange(days).astype("datetime64[D]"), 5)
    assert choose_shrinkage(np.full(len(cutoffs), 2.0), cutoffs) == Shrinkage(0.0, 0.0)


@given(st.permutations(range(40)), st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_the_order_of_rows_does_not_matter(order: list[int], seed: int) -> None:
    tilt = np.exp(np.random.default_rng(seed).normal(0, 0.3, 40))
    days = np.repeat(np.arange(20).astype("datetime64[D]"), 2)
    plain, mixed = choose_shrinkage(tilt, days), choose_shrinkage(tilt[order], days[order])
    assert mixed.weight == pytest.approx(plain.weight)
    assert mixed.gain == pytest.approx(plain.gain)


def test_several_steps_are_judged_together() -> None:
    tilt = tilts(0.3, truth=True, seed=0)
    both = np.column_stack([tilt, tilt])
    assert choose_shrinkage(both, DAYS).weight == choose_shrinkage(tilt, DAYS).weight
