"""The long-run variance is its definition, and the lag grows as it should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.forecasting.hac import hac_lag, long_run_variance, standard_error

law = settings(deadline=None, max_examples=40)


@given(st.integers(2, 60), st.integers(0, 80))
@law
def test_the_long_run_variance_is_the_bartlett_sum_and_not_negative(n: int, lag: int) -> None:
    series = np.random.default_rng(n).normal(size=n)
    centred = series - series.mean()
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    expected = centred @ np.maximum(0, 1 - distance / (lag + 1)) @ centred / n
    assert long_run_variance(series, lag) == pytest.approx(expected, abs=1e-12)
    assert expected > -1e-12


@pytest.mark.parametrize(
    ("n", "horizon", "lag"), [(100, 1, 4), (1254, 1, 7), (100, 10, 9), (5, 1, 2)]
)
def test_the_lag_grows_with_sample_and_horizon(n: int, horizon: int, lag: int) -> None:
    assert hac_lag(n, horizon) == lag


def test_the_error_of_independent_days_is_the_usual_one_and_of_dependent_ones_larger() -> None:
    noise = np.random.default_rng(0).normal(size=4000)
    usual = noise.std() / np.sqrt(len(noise))
    assert standard_error(noise) == pytest.approx(usual, rel=0.1)
    smooth = np.convolve(noise, np.ones(5) / 5, mode="valid")
    assert standard_error(smooth, step=5) > 1.8 * smooth.std() / np.sqrt(len(smooth))
