"""Direction counts days, equals hand computation, finds what is planted and nothing in noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quantseq.evaluation.direction import (
    clustered_mean,
    days_needed,
    hit_rate,
    information_coefficient,
    pesaran_timmermann,
)

law = settings(deadline=None, max_examples=25)


def panel(days: int, symbols: int, skill: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    forecast = rng.normal(size=(days, symbols))
    outcome = skill * forecast + rng.normal(size=(days, symbols))
    dates = np.arange(days).astype("datetime64[D]").repeat(symbols)
    return forecast.ravel(), outcome.ravel(), dates


@given(st.integers(3, 12), st.booleans(), st.integers(0, 99))
@law
def test_the_ic_is_the_mean_of_daily_correlations(symbols: int, ranks: bool, seed: int) -> None:
    x, y, dates = panel(40, symbols, 0.3, seed)
    x[::7] = np.nan
    found = information_coefficient(x, y, dates, ranks=ranks)
    daily = []
    for day in np.unique(dates):
        known = (dates == day) & np.isfinite(x)
        if known.sum() >= 3:
            measure = stats.spearmanr if ranks else stats.pearsonr
            daily.append(measure(x[known], y[known])[0])
    assert found.value == pytest.approx(np.mean(daily))
    assert found.n_days == len(daily)


def test_days_without_spread_or_with_two_symbols_say_nothing() -> None:
    x, y, dates = panel(50, 5, 0.0)
    assert information_coefficient(np.full_like(x, 0.1), y, dates).n_days == 0
    x, y, dates = panel(50, 2, 0.5)
    assert np.isnan(information_coefficient(x, y, dates).value)


def test_symbols_that_move_together_count_once() -> None:
    rng = np.random.default_rng(1)
    came = np.repeat(rng.normal(size=300), 50)
    called = np.repeat(rng.random(300), 50)
    dates = np.arange(300).astype("datetime64[D]").repeat(50)
    many = hit_rate(called, came, dates)
    one = hit_rate(called[::50], came[::50], dates[::50])
    assert many == one
    assert abs(many.t) < 3


def test_hits_leave_out_what_calls_or_shows_no_sign() -> None:
    called = np.array([0.6, 0.6, 0.4, 0.5, 0.7])
    came = np.array([1.0, -1.0, -1.0, 1.0, 0.0])
    dates = np.arange(5).astype("datetime64[D]")
    found = hit_rate(called, came, dates)
    assert (found.value, found.n_days) == (2 / 3, 3)
    assert np.isnan(hit_rate(np.full(5, 0.5), came, dates).t)


def classic(called: np.ndarray, came: np.ndarray) -> float:
    """The statistic of Pesaran and Timmermann (1992), by their formulas."""
    n, hits = len(called), np.mean(called == came)
    x, y = called.mean(), came.mean()
    star = x * y + (1 - x) * (1 - y)
    var_hits = star * (1 - star) / n
    var_star = ((2 * y - 1) ** 2 * x * (1 - x) + (2 * x - 1) ** 2 * y * (1 - y)) / n
    var_star += 4 * x * y * (1 - x) * (1 - y) / n**2
    return float((hits - star) / np.sqrt(var_hits - var_star))


@pytest.mark.parametrize("skill", [0.0, 0.1, 0.25])
def test_pesaran_timmermann_tends_to_the_classic_statistic(skill: float) -> None:
    x, y, _ = panel(6000, 1, skill, seed=4)
    dates = np.arange(6000).astype("datetime64[D]")
    ours = pesaran_timmermann(0.5 + x / 100 + 1e-4, y + 0.3, dates)
    theirs = classic(x + 0.01 > 0, y + 0.3 > 0)
    assert ours.t == pytest.approx(theirs, rel=0.08, abs=0.12)


def test_calling_up_every_day_is_no_skill() -> None:
    _, y, dates = panel(500, 3, 0.0)
    assert hit_rate(np.full_like(y, 0.6), y + 0.5, dates).t > 4
    assert np.isnan(pesaran_timmermann(np.full_like(y, 0.6), y + 0.5, dates).t)


def test_noise_is_rarely_called_skill() -> None:
    loud = 0
    for seed in range(200):
        x, y, dates = panel(250, 4, 0.0, seed)
        loud += abs(information_coefficient(x, y, dates).t) > 1.97
    assert loud / 200 < 0.1


def test_days_needed_are_those_of_t_equal_two() -> None:
    assert days_needed(1.0, 100) == 400
    assert days_needed(-4.0, 100) == 25
    assert days_needed(0.0, 100) == np.inf
    rng = np.random.default_rng(0)
    found = clustered_mean(rng.normal(0.05, 1, 500))
    assert found.n_needed == pytest.approx(500 * 4 / found.t**2)


@pytest.mark.parametrize("daily", [[], [1.0], [np.nan, np.nan, 2.0]])
def test_fewer_than_two_days_are_unknown(daily: list[float]) -> None:
    assert np.isnan(clustered_mean(np.array(daily)).t)


def test_the_same_value_every_day_is_certain() -> None:
    found = clustered_mean(np.full(10, 0.7), nothing=0.5)
    assert found.value == pytest.approx(0.7)
    assert (found.t, found.p, found.n_needed) == (np.inf, 0.0, 0.0)
    assert clustered_mean(np.full(10, 0.5), nothing=0.5).t == 0.0
