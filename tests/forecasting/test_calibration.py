"""Noise is not believed, knowledge is, and little data changes nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.forecasting.calibration import (
    BLOCKS,
    KEEP,
    KEEP_TILT,
    Recalibration,
    Shrinkage,
    choose_recalibration,
    choose_shrinkage,
    move_draws,
)

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
    assert 0.8 * KEEP < found.weight <= KEEP
    assert found.gain == pytest.approx(np.log(1 + KEEP * (tilt - 1)).mean(), rel=0.1)


def test_half_a_truth_is_half_believed() -> None:
    right, wrong = (tilts(0.5, truth=truth, seed=1) for truth in (True, False))
    mixed = np.where(np.random.default_rng(0).random(len(DAYS)) < 0.5, right, wrong)
    assert 0.2 * KEEP < choose_shrinkage(mixed, DAYS).weight < 0.8 * KEEP


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
    assert 0 < found.weight < KEEP
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


def test_a_step_that_is_worse_weighs_less() -> None:
    good, noise = tilts(0.3, truth=True, seed=0), tilts(0.3, truth=False, seed=1)
    found = choose_shrinkage(np.column_stack([good, noise, good]), DAYS)
    first, second, third = found.weights(3)
    assert first == third > second
    assert found.weights(2).tolist() == [first, second]
    assert choose_shrinkage(np.column_stack([noise, noise]), DAYS).weights(2).tolist() == [0, 0]
    assert Shrinkage(0.5, 0.0).weights(3).tolist() == [0.5, 0.5, 0.5]


NOTHING = Recalibration(0.0, 0.0, 0.0)
BINS = 24
UNIFORM = np.full((len(DAYS), BINS), 1 / BINS)


def drawn(tilt: Recalibration, seed: int) -> np.ndarray:
    """Bins that come as often as a tilt of the uniform says."""
    rng = np.random.default_rng(seed)
    return rng.choice(BINS, size=len(DAYS), p=tilt.apply(np.full(BINS, 1 / BINS)))


@pytest.mark.parametrize("width", [-0.2, 0.15])
@pytest.mark.parametrize("skew", [-0.3, 0.2])
def test_a_part_of_a_lasting_error_is_corrected(width: float, skew: float) -> None:
    many = np.repeat(DAYS, 20)
    rng = np.random.default_rng(0)
    true = Recalibration(width, skew, 0.0).apply(np.full(BINS, 1 / BINS))
    happened = rng.choice(BINS, size=len(many), p=true)
    found = choose_recalibration(np.full((len(many), BINS), 1 / BINS), happened, many)
    assert found.width == pytest.approx(KEEP_TILT * width, abs=0.01)
    assert found.skew == pytest.approx(KEEP_TILT * skew, abs=0.015)
    assert found.gain > 0


@pytest.mark.parametrize("seed", range(6))
def test_a_calibrated_forecast_is_left_as_it_is(seed: int) -> None:
    assert not choose_recalibration(UNIFORM, drawn(NOTHING, seed), DAYS).changes


def test_an_error_that_reverses_is_not_corrected() -> None:
    wide, narrow = drawn(Recalibration(0.3, 0.0, 0.0), 0), drawn(Recalibration(-0.3, 0.0, 0.0), 1)
    block = np.searchsorted(np.unique(DAYS), DAYS) * BLOCKS // 300
    happened = np.where(block % 2 == 0, wide, narrow)
    assert not choose_recalibration(UNIFORM, happened, DAYS).changes


def test_too_few_days_correct_nothing() -> None:
    few = DAYS[: 4 * (2 * BLOCKS - 1)]
    happened = np.full(len(few), BINS // 2)
    assert choose_recalibration(UNIFORM[: len(few)], happened, few) == NOTHING


@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(2, 40), st.integers(0, 99))
def test_a_tilt_keeps_probabilities(width: float, skew: float, bins: int, seed: int) -> None:
    probs = np.random.default_rng(seed).dirichlet(np.ones(bins), size=(3, 2))
    tilted = Recalibration(width, skew, 0.0).apply(probs)
    np.testing.assert_allclose(tilted.sum(axis=-1), 1)
    assert (tilted >= 0).all()
    assert NOTHING.apply(probs) is probs


@given(st.integers(1, 30), st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_carried_draws_stand_at_their_old_level(bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.dirichlet(np.ones(bins), size=(2, 4, 3))
    ids, inside = rng.integers(0, bins, (4, 50, 3)), rng.random((4, 50, 3))
    new, place = move_draws(ids, inside, before, after)
    assert (place >= 0).all()
    assert (place < 1).all()
    for row in range(4):
        for step in range(3):
            old_level = np.interp(
                ids[row, :, step] + inside[row, :, step],
                np.arange(bins + 1),
                np.concatenate([[0], before[row, step].cumsum()]),
            )
            new_level = np.interp(
                new[row, :, step] + place[row, :, step],
                np.arange(bins + 1),
                np.concatenate([[0], after[row, step].cumsum()]),
            )
            np.testing.assert_allclose(new_level, old_level, atol=1e-9)


def test_carrying_to_the_same_place_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(8), size=(2, 3))
    ids, inside = rng.integers(0, 8, (2, 100, 3)), rng.random((2, 100, 3))
    new, place = move_draws(ids, inside, probs, probs)
    np.testing.assert_allclose(new + place, ids + inside, atol=1e-9)
