"""Bootstraps: intervals cover as often as they say, the confidence set keeps the best."""

import numpy as np
import pytest

from quantseq.evaluation.confidence import MIN_DAYS, block_length, confidence_set, mean_interval


def test_an_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=303)
        series = 0.2 + np.convolve(noise, np.ones(4) / 4, mode="valid")
        low, high = mean_interval(series, seed=0)
        held += low <= 0.2 <= high
    assert 0.83 <= held / 60 <= 1.0


def test_dependence_widens_the_interval() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=1000)
    smooth = np.convolve(rng.normal(size=1009), np.ones(10) / np.sqrt(10), mode="valid")
    width = [np.ptp(mean_interval(x, seed=1)) for x in (noise, smooth)]
    assert width[1] > 1.8 * width[0]
    assert block_length(smooth) > block_length(noise)


def test_the_same_seed_gives_the_same_interval_and_gaps_are_left_out() -> None:
    series = np.random.default_rng(0).normal(size=100)
    assert mean_interval(series, seed=3) == mean_interval(series, seed=3)
    gappy = np.insert(series, 40, np.nan)
    assert mean_interval(gappy, seed=3) == mean_interval(series, seed=3)
    assert np.isnan(mean_interval(series[: MIN_DAYS - 1], seed=0)).all()
    assert mean_interval(np.zeros(50), seed=0) == (0.0, 0.0)


def test_the_confidence_set_drops_who_is_worse_and_keeps_who_may_be_best() -> None:
    rng = np.random.default_rng(0)
    base, noise = rng.normal(size=500), rng.normal(size=(3, 500))
    noise = 0.1 * (noise - noise.mean(axis=1, keepdims=True))
    losses = {
        "best": base + noise[0] - 0.001,
        "as good": base + noise[1],
        "worse": base + noise[2] + 0.1,
    }
    found = confidence_set(losses, seed=0)
    assert found["worse"] < 0.01
    assert min(found["best"], found["as good"]) > 0.1
    assert max(found.values()) == 1.0
    assert found == confidence_set(losses, seed=0)


def test_twins_share_their_p_value() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=200)
    found = confidence_set(
        {"a": base, "b": base.copy(), "c": base + rng.normal(size=200) ** 2}, seed=0
    )
    assert found["a"] == found["b"] == 1.0
    assert confidence_set({"a": base, "b": base.copy()}, seed=0) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("losses", [{}, {"a": np.zeros(50)}, {"a": np.zeros(9), "b": np.ones(9)}])
def test_too_little_makes_no_set(losses: dict[str, np.ndarray]) -> None:
    assert confidence_set(losses, seed=0) == {}


def test_an_infinite_loss_counts_against_its_model_and_drops_no_day() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=300)
    losses = {"good": base, "worse": base + 0.1 * rng.normal(size=300)}
    losses["worse"][:200] += 0.05  # what shows it to be worse
    broken = base - 1.0  # best on every other day
    broken[:200] = np.inf
    found = confidence_set({"broken": broken, **losses}, seed=0)
    assert found == {"broken": 0.0, **confidence_set(losses, seed=0)}
    assert found["worse"] < 0.1 < found["good"]
    assert list(found) == ["broken", "good", "worse"]
    assert confidence_set({"broken": broken, "good": base}, seed=0) == {"broken": 0.0, "good": 1.0}
    assert confidence_set({"broken": broken, "too": broken}, seed=0) == {}


def test_an_infinite_day_has_no_interval() -> None:
    series = np.random.default_rng(0).normal(size=100)
    series[3] = -np.inf
    assert np.isnan(mean_interval(series, seed=0)).all()
