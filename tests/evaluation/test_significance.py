"""Diebold-Mariano equals statsmodels, has the right size, and survives odd differences."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.evaluation.significance import (
    by_date,
    diebold_mariano,
    loss_difference,
)
from quantseq.forecasting.hac import hac_lag

law = settings(deadline=None, max_examples=40)


def losses(n: int, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    noise = np.convolve(rng.normal(size=n + 4), np.ones(5) / 5, mode="valid")
    first = rng.normal(size=n) ** 2
    return first, first + noise + shift, np.arange(n).astype("datetime64[D]")


@pytest.mark.parametrize(
    ("n", "step", "t", "p"),
    [
        (100, 1, -0.3959175877933909, 0.6930177907116899),
        (250, 5, 0.9557016101503538, 0.3401499309303547),
    ],
)
def test_two_numbers_of_statsmodels_frozen(n: int, step: int, t: float, p: float) -> None:
    found = diebold_mariano(*losses(n, shift=-0.05), step=step)
    assert found.t == pytest.approx(t, rel=1e-9)
    assert found.p == pytest.approx(p, rel=1e-9)


@given(st.integers(20, 300), st.integers(1, 6), st.integers(0, 50))
@law
def test_the_test_equals_that_of_statsmodels(n: int, step: int, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stattools = pytest.importorskip("statsmodels.tsa.stattools")
        if not hasattr(stattools, "diebold_mariano_test"):
            pytest.skip("this statsmodels has no Diebold-Mariano test")
        first, second, dates = losses(n, seed)
        theirs = stattools.diebold_mariano_test(
            np.zeros(n),
            first,
            second,
            criterion=lambda _, loss: loss,
            lags=hac_lag(n, step),
            harvey_adj=True,
            horizon=step,
        )
    found = diebold_mariano(first, second, dates, step=step)
    assert found.t == pytest.approx(theirs.statistic, rel=1e-9)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-15)


def test_swapping_the_models_swaps_the_sign() -> None:
    first, second, dates = losses(120)
    one, other = diebold_mariano(first, second, dates), diebold_mariano(second, first, dates)
    assert (one.t, one.p, one.n_days) == (-other.t, other.p, 120)


def test_the_better_model_has_a_negative_t() -> None:
    found = diebold_mariano(*losses(400, shift=0.3))
    assert found.t < -3
    assert found.p < 0.01
    assert found.mean_difference == pytest.approx(-0.3, abs=0.1)


def test_equal_losses_are_no_evidence() -> None:
    first, _, dates = losses(50)
    found = diebold_mariano(first, first.copy(), dates)
    assert (found.t, found.p, found.mean_difference) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("n", [2, 3, 100])
def test_a_constant_advantage_is_certain(n: int) -> None:
    loss, dates = np.full(n, 0.25), np.arange(n).astype("datetime64[D]")
    found = diebold_mariano(loss, loss + 0.1, dates)
    assert (found.t, found.p) == (-np.inf, 0.0)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_days_say_nothing(n: int) -> None:
    found = diebold_mariano(np.ones(n), np.zeros(n), np.arange(n).astype("datetime64[D]"))
    assert np.isnan([found.t, found.p, found.mean_difference]).all()
    assert found.n_days == n


def test_symbols_of_one_day_count_once() -> None:
    first, second, dates = losses(60)
    many = diebold_mariano(np.tile(first, 5), np.tile(second, 5), np.tile(dates, 5))
    one = diebold_mariano(first, second, dates)
    assert many.n_days == 60
    assert many.t == pytest.approx(one.t)


def test_unknown_losses_are_left_out() -> None:
    first, second, dates = losses(60)
    first[50:], second[3] = np.nan, np.nan
    keep = np.r_[0:3, 4:50]
    found = diebold_mariano(first, second, dates)
    assert found == diebold_mariano(first[keep], second[keep], dates[keep])


def test_means_by_date_are_in_date_order() -> None:
    dates = np.array(["2020-01-03", "2020-01-01", "2020-01-03"], dtype="datetime64[D]")
    np.testing.assert_array_equal(by_date(np.array([1.0, 5.0, 3.0]), dates), [5.0, 2.0])


def test_equal_models_are_rarely_told_apart() -> None:
    rng = np.random.default_rng(0)
    dates = np.arange(300).astype("datetime64[D]")
    rejected = [
        diebold_mariano(rng.normal(size=300), rng.normal(size=300), dates).p < 0.05
        for _ in range(400)
    ]
    assert 0.02 < np.mean(rejected) < 0.1


def test_an_infinite_loss_counts_against_its_model() -> None:
    dates = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]")
    first = np.linspace(0, 1, 10)
    second = first[::-1].copy()
    first[3] = np.inf
    result = diebold_mariano(first, second, dates)
    assert (result.t, result.p, result.n_days) == (np.inf, 0.0, 10)


def test_rounding_is_not_a_difference() -> None:
    dates = np.arange("2020-01-01", "2020-04-10", dtype="datetime64[D]")
    losses = np.random.default_rng(0).normal(-2.8, 0.5, len(dates))
    result = diebold_mariano(losses, losses + 2.98e-10, dates)
    assert (result.t, result.p) == (0.0, 1.0)


def test_what_is_rounding_of_both_losses_is_no_difference() -> None:
    first = np.array([1.0, 1.0, -5.0, 0.0, np.inf, np.inf, np.nan])
    second = np.array([1.0 + 1e-9, 1.0 + 1e-8, -5.0 - 9e-9, 1e-15, 1.0, -np.inf, 1.0])
    found = loss_difference(first, second)
    np.testing.assert_array_equal(found[[0, 2]], 0.0)
    np.testing.assert_allclose(found[[1, 3]], [-1e-8, -1e-15], rtol=1e-6)
    np.testing.assert_array_equal(found[4:], [np.inf, np.inf, np.nan])
