"""Closed forms equal arch and numerical integration; quantiles answer by their stated rule."""

import itertools

import numpy as np
import pytest
from arch.univariate import SkewStudent
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from quantseq.errors import ConfigError
from quantseq.forecasting.density import (
    Distribution,
    Quantiles,
    SkewT,
    TokenDensity,
    concatenate,
    t_mean_difference,
)

law = settings(deadline=None, max_examples=25)
nus, skews = st.floats(2.3, 60), st.floats(-0.9, 0.9)


def at(*values: float) -> np.ndarray:
    return np.array([values], dtype=float)


def skew_t(nu: float, skew: float, loc: float = 0.1, scale: float = 1.3) -> SkewT:
    return SkewT(at(loc), at(scale), at(nu), at(skew))


def quantiles(values: list[float], levels: tuple[float, ...]) -> Quantiles:
    return Quantiles(np.array([[values]]), levels)


@given(nus, skews, st.floats(-8, 8))
@law
def test_the_skewed_t_is_that_of_arch(nu: float, skew: float, outcome: float) -> None:
    ours, theirs = skew_t(nu, skew), SkewStudent()
    z = (outcome - 0.1) / 1.3
    assert ours.cdf(at(outcome))[0, 0] == pytest.approx(theirs.cdf(z, [nu, skew]), abs=1e-12)
    log_density = theirs.loglikelihood([nu, skew], np.array([outcome - 0.1]), np.array([1.69]))
    assert ours.log_density(at(outcome))[0, 0] == pytest.approx(float(log_density), rel=1e-9)


@given(nus, skews, st.lists(st.floats(0.001, 0.999), min_size=1, max_size=4))
@law
def test_quantiles_of_the_skewed_t_invert_its_cdf(
    nu: float, skew: float, levels: list[float]
) -> None:
    found = skew_t(nu, skew)
    for level, value in zip(levels, found.quantile(levels)[0, 0], strict=True):
        assert found.cdf(at(value))[0, 0] == pytest.approx(level, abs=1e-9)


def crps_by_definition(found: Distribution, outcome: float, cuts: list[float]) -> float:
    def gap(r: float) -> float:
        return float(found.cdf(at(r))[0, 0] - (r >= outcome)) ** 2

    marks = sorted({-np.inf, *cuts, outcome, np.inf})
    return sum(
        integrate.quad(gap, a, b, epsabs=1e-11, limit=200)[0] for a, b in itertools.pairwise(marks)
    )


@pytest.mark.parametrize("nu", [2.6, 5.0, 80.0])
@pytest.mark.parametrize("skew", [-0.5, 0.0, 0.2])
@pytest.mark.parametrize("outcome", [-4.0, 0.05, 0.4, 6.0])
def test_the_crps_of_the_skewed_t_is_the_integral(nu: float, skew: float, outcome: float) -> None:
    found = skew_t(nu, skew)
    expected = crps_by_definition(found, outcome, [-20.0, -2.0, 0.1, 2.0, 20.0])
    assert found.crps(at(outcome))[0, 0] == pytest.approx(expected, rel=1e-6)


def test_moments_of_the_skewed_t_are_its_location_and_scale() -> None:
    found = skew_t(6.0, 0.4)
    for power, expected in ((1, 0.1), (2, 0.1**2 + 1.3**2)):
        moment = integrate.quad(
            lambda r, power=power: r**power * np.exp(found.log_density(at(r))[0, 0]),
            -np.inf,
            np.inf,
        )[0]
        assert moment == pytest.approx(expected, abs=1e-6)
    assert (found.mean, found.std) == (found.loc, found.scale)
    assert found.prob_up[0, 0] == 1 - found.cdf(at(0.0))[0, 0]


def test_draws_of_halves_have_the_distribution() -> None:
    found, rng = skew_t(5.0, -0.3), np.random.default_rng(0)
    size = np.abs(rng.standard_t(5.0, (1, 20_000, 1)))
    z = found.from_halves(size, rng.random((1, 20_000, 1)))[0, :, 0]
    u = found.cdf((0.1 + 1.3 * z)[:, None])[:, 0]
    assert stats.kstest(u, "uniform").pvalue > 0.01


@pytest.mark.parametrize("nu", [2.5, 6.0])
def test_the_mean_difference_of_a_t(nu: float) -> None:
    spread = integrate.quad(lambda x: stats.t.cdf(x, nu) * stats.t.sf(x, nu), -np.inf, np.inf)[0]
    assert t_mean_difference(at(nu))[0, 0] == pytest.approx(2 * spread, rel=1e-6)


@given(st.lists(st.integers(-6, 6), min_size=2, max_size=9), st.floats(-8, 8))
@law
def test_the_crps_of_quantiles_is_twice_the_mean_pinball_loss(
    values: list[int], outcome: float
) -> None:
    levels = tuple(((np.arange(len(values)) + 0.5) / len(values)).tolist())
    found = quantiles(sorted(map(float, values)), levels)
    tau = (np.arange(40_000) + 0.5) / 40_000
    q = found.quantile(tau)[0, 0]
    pinball = np.maximum(tau * (outcome - q), (tau - 1) * (outcome - q))
    assert found.crps(at(outcome))[0, 0] == pytest.approx(2 * pinball.mean(), abs=1e-4)
    assert found.mean[0, 0] == pytest.approx(q.mean(), abs=1e-4)
    assert found.std[0, 0] == pytest.approx(q.std(), abs=1e-3)
    assert found.cdf(at(outcome))[0, 0] == pytest.approx(np.mean(q <= outcome), abs=1e-4)
    assert found.cdf_below(at(outcome))[0, 0] == pytest.approx(np.mean(q < outcome), abs=1e-4)


def test_an_atom_is_between_the_two_cdfs() -> None:
    found = quantiles([-1.0, 0.0, 0.0, 1.0], (0.125, 0.375, 0.625, 0.875))
    assert found.cdf_below(at(0.0))[0, 0] == pytest.approx(0.375)
    assert found.cdf(at(0.0))[0, 0] == pytest.approx(0.625)
    assert (found.cdf_below(at(-1.0))[0, 0], found.cdf(at(-1.0))[0, 0]) == (0.0, 0.125)
    assert np.isnan(found.log_density(at(0.0))).all()


def test_draws_are_the_quantile_function() -> None:
    found = quantiles([-1.0, 0.0, 2.0], (0.1, 0.5, 0.9))
    draws = found.at(np.array([[[0.05], [0.3], [0.7], [0.95]]]))
    np.testing.assert_allclose(draws[0, :, 0], [-1.0, -0.5, 1.0, 2.0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: skew_t(2.0, 0.0),
        lambda: skew_t(5.0, 1.0),
        lambda: skew_t(5.0, 0.0, scale=0.0),
        lambda: skew_t(5.0, 0.0, loc=np.nan),
        lambda: quantiles([1.0, 0.0], (0.2, 0.8)),
        lambda: quantiles([0.0, np.nan], (0.2, 0.8)),
        lambda: quantiles([0.0, 1.0], (0.2, 1.0)),
        lambda: quantiles([0.0], (0.2, 0.8)),
        lambda: skew_t(5.0, 0.0).quantile([0.0]),
    ],
)
def test_what_is_outside_the_rules_is_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()


def test_families_are_stacked_along_rows_and_never_mixed() -> None:
    one, two = skew_t(5.0, 0.1), skew_t(6.0, 0.2)
    both = concatenate([one, two])
    assert both.shape == (2, 1)
    np.testing.assert_array_equal(both[1:].nu, two.nu)
    small = quantiles([0.0, 1.0], (0.2, 0.8))
    assert concatenate([small, small]).shape == (2, 1)
    plain = TokenDensity.reference(at(0.0), at(1.0), at(5.0))
    with pytest.raises(ConfigError, match="one family"):
        concatenate([one, plain])
