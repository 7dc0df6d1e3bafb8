"""The closed forms equal slow integrals; uniform probabilities are the reference itself."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from quantseq.errors import ConfigError
from quantseq.forecasting.density import MIN_NU, NORMAL_NU, TokenDensity, _make_table, t_log_density

law = settings(deadline=None, max_examples=40)
NUS, BINS = (2.1, 3.0, 5.5, NORMAL_NU), (1, 7, 24)
LOC, SCALE = 0.003, 0.02


def one(nu: float, bins: int, *, seed: int = 0, loc: float = LOC, scale: float = SCALE):
    """One distribution with random probabilities."""
    probs = np.random.default_rng(seed).dirichlet(np.full(bins, 2.0))
    shape = (1, 1)
    return TokenDensity(
        np.full(shape, loc), np.full(shape, scale), np.full(shape, nu), probs[None, None]
    )


def at(value: float) -> np.ndarray:
    return np.array([[value]])


def over_levels(density: TokenDensity, function) -> float:
    """E[function(R)] bin by bin over the reference's levels; x(s) is flat at both infinite ends."""
    reference = stats.t(density.nu[0, 0], density.loc[0, 0], density.scale[0, 0])
    total = 0.0
    for k, p in enumerate(density.probs[0, 0]):
        a, b = k / density.num_bins, (k + 1) / density.num_bins

        def part(s: float, a: float = a, b: float = b) -> float:
            jacobian = 630 * s**4 * (1 - s) ** 4
            u = a + (b - a) * _flat(s)
            r = reference.ppf(u) if u < 0.5 else reference.isf((1 - b) + (b - a) * _flat(1 - s))
            return function(r) * jacobian if np.isfinite(r) else 0.0

        total += p * integrate.quad(part, 0, 1, limit=200, epsabs=1e-12)[0]
    return total


def _flat(s: float) -> float:
    return s**5 * (126 - 420 * s + 540 * s**2 - 315 * s**3 + 70 * s**4)


@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("bins", BINS)
def test_the_density_integrates_to_one(nu: float, bins: int) -> None:
    density = one(nu, bins)
    edges = density.loc[0, 0] + density.scale[0, 0] * stats.t.ppf(
        np.arange(bins + 1) / bins, density.nu[0, 0]
    )
    total = sum(
        integrate.quad(
            lambda r: float(np.exp(density.log_density(at(r)))[0, 0]), a, b, epsabs=1e-11
        )[0]
        for a, b in itertools.pairwise(edges)
    )
    assert total == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("bins", BINS)
def test_mean_and_standard_deviation_equal_their_integrals(nu: float, bins: int) -> None:
    density = one(nu, bins)
    mean = over_levels(density, lambda r: r)
    assert density.mean[0, 0] == pytest.approx(mean, rel=1e-6)
    if nu > 2.5:  # nearer to 2 the tail of r² defeats the slow integral, not the closed form
        second = over_levels(density, lambda r: (r - mean) ** 2)
        assert density.std[0, 0] == pytest.approx(np.sqrt(second), rel=1e-5)


@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("bins", BINS)
@pytest.mark.parametrize("outcome", [-0.2, -0.013, 0.003, 0.0301, 0.5])
def test_the_crps_equals_the_integral_of_its_definition(
    nu: float, bins: int, outcome: float
) -> None:
    density = one(nu, bins)

    def gap(r: float) -> float:
        return float((density.cdf(at(r))[0, 0] - (r >= outcome)) ** 2)

    inner = LOC + SCALE * stats.t.ppf(np.arange(1, bins) / bins, nu)
    cuts = np.unique([*inner, outcome, LOC])
    total = integrate.quad(gap, -np.inf, cuts[0], epsabs=1e-12)[0]
    total += integrate.quad(gap, cuts[-1], np.inf, epsabs=1e-12)[0]
    for a, b in itertools.pairwise(cuts):
        total += integrate.quad(gap, a, b, epsabs=1e-13)[0]
    assert density.crps(at(outcome))[0, 0] == pytest.approx(total, rel=2e-5)


@given(
    nu=st.floats(MIN_NU, 200),
    bins=st.integers(1, 64),
    seed=st.integers(0, 999),
    level=st.floats(1e-4, 1 - 1e-4),
)
@law
def test_quantile_and_cdf_undo_each_other(nu: float, bins: int, seed: int, level: float) -> None:
    density = one(nu, bins, seed=seed)
    quantile = density.quantile([level])[..., 0]
    assert density.cdf(quantile)[0, 0] == pytest.approx(level, abs=1e-9)


@given(nu=st.floats(MIN_NU, 200), bins=st.integers(1, 64), seed=st.integers(0, 999))
@law
def test_quantiles_never_cross_and_the_cdf_never_falls(nu: float, bins: int, seed: int) -> None:
    density = one(nu, bins, seed=seed)
    assert (np.diff(density.quantile(np.linspace(0.001, 0.999, 200))[0, 0]) >= 0).all()
    grid = np.linspace(-0.3, 0.3, 200)
    cdf = [density.cdf(at(r))[0, 0] for r in grid]
    assert (np.diff(cdf) >= 0).all()
    assert 0 <= cdf[0] <= cdf[-1] <= 1


@given(
    nu=st.floats(MIN_NU, 200),
    bins=st.integers(2, 64),
    outcome=st.floats(-0.3, 0.3),
)
@law
def test_uniform_probabilities_are_the_reference_itself(
    nu: float, bins: int, outcome: float
) -> None:
    shape = (1, 1)
    parts = np.full(shape, LOC), np.full(shape, SCALE), np.full(shape, nu)
    uniform = TokenDensity(*parts, np.full((1, 1, bins), 1 / bins))
    reference = TokenDensity.reference(*parts)
    r = at(outcome)
    for name in ("log_density", "cdf", "crps"):
        np.testing.assert_allclose(
            getattr(uniform, name)(r), getattr(reference, name)(r), rtol=1e-6, atol=1e-9
        )
    levels = [0.01, 0.3, 0.5, 0.99]
    np.testing.assert_allclose(  # the tokens' probabilities are float32
        uniform.quantile(levels), reference.quantile(levels), rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(uniform.mean, reference.mean, atol=1e-12)
    np.testing.assert_allclose(uniform.std, reference.std, rtol=1e-7)


@given(nu=st.floats(MIN_NU, 1000), outcome=st.floats(-2, 2))
@law
def test_one_bin_is_the_student_t_of_scipy(nu: float, outcome: float) -> None:
    ours, theirs = one(nu, 1), stats.t(nu, LOC, SCALE)
    assert ours.log_density(at(outcome))[0, 0] == pytest.approx(theirs.logpdf(outcome), rel=1e-9)
    assert ours.cdf(at(outcome))[0, 0] == pytest.approx(theirs.cdf(outcome), abs=1e-12)
    assert ours.quantile([0.05])[0, 0, 0] == pytest.approx(theirs.ppf(0.05), rel=1e-9)
    assert ours.mean[0, 0] == pytest.approx(LOC)
    assert ours.std[0, 0] == pytest.approx(theirs.std(), rel=1e-6)


def test_very_many_degrees_of_freedom_are_the_normal_with_its_known_crps() -> None:
    density, normal = one(NORMAL_NU, 1), stats.norm(LOC, SCALE)
    for outcome in (-0.05, 0.0, 0.02):
        z = (outcome - LOC) / SCALE
        crps = SCALE * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - np.pi**-0.5)
        assert density.log_density(at(outcome))[0, 0] == pytest.approx(
            normal.logpdf(outcome), abs=1e-4
        )
        assert density.cdf(at(outcome))[0, 0] == pytest.approx(normal.cdf(outcome), abs=1e-6)
        assert density.crps(at(outcome))[0, 0] == pytest.approx(crps, rel=1e-5)


def below(density: TokenDensity, end: float, function, start: float = -np.inf) -> float:
    """∫ function(r) f(r) dr from `start` to `end`, bin by bin."""
    inner = LOC + SCALE * stats.t.ppf(
        np.arange(1, density.num_bins) / density.num_bins, density.nu[0, 0]
    )
    cuts = [start, *inner[(inner > start) & (inner < end)], end]

    def part(r: float) -> float:
        return float(function(r) * np.exp(density.log_density(at(r))[0, 0]))

    return sum(integrate.quad(part, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(cuts))


@pytest.mark.parametrize("nu", [2.1, 5.5])
@pytest.mark.parametrize("bins", [1, 24])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_losses_equal_their_integrals(nu: float, bins: int, level: float) -> None:
    density = one(nu, bins)
    (risk,) = density.value_at_risk([level])[0, 0]
    (shortfall,) = density.expected_shortfall([level])[0, 0]
    assert below(density, -risk, lambda _: 1.0) == pytest.approx(1 - level, rel=1e-6)
    mean = below(density, -risk, lambda r: r) / (1 - level)
    assert shortfall == pytest.approx(-mean, rel=1e-5)


@given(
    nu=st.floats(MIN_NU, 200),
    bins=st.integers(1, 64),
    seed=st.integers(0, 999),
    level=st.floats(0.01, 0.999),
)
@law
def test_losses_grow_with_the_level_and_a_shortfall_is_never_below_its_risk(
    nu: float, bins: int, seed: int, level: float
) -> None:
    density = one(nu, bins, seed=seed)
    levels = [level, level + (1 - level) / 2]
    risk, shortfall = density.value_at_risk(levels)[0, 0], density.expected_shortfall(levels)[0, 0]
    assert risk[0] < risk[1]
    assert shortfall[0] < shortfall[1]
    assert (shortfall >= risk).all()


def test_the_losses_of_a_normal_are_those_of_the_textbook() -> None:
    density = one(NORMAL_NU, 1)
    z = stats.norm.ppf([0.95, 0.99])
    np.testing.assert_allclose(density.value_at_risk()[0, 0], SCALE * z - LOC, rtol=1e-5)
    expected = SCALE * stats.norm.pdf(z) / [0.05, 0.01] - LOC
    np.testing.assert_allclose(density.expected_shortfall()[0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, np.nan])
def test_losses_are_asked_for_at_levels_between_zero_and_one(level: float) -> None:
    for name in ("value_at_risk", "expected_shortfall"):
        with pytest.raises(ConfigError, match="must lie in"):
            getattr(one(4.0, 6), name)([level])


@pytest.mark.parametrize("nu", [MIN_NU, 3.0, NORMAL_NU])
@pytest.mark.parametrize("bins", [1, 2, 24, 4096])
def test_the_constants_of_the_bins_are_finite_and_symmetric(nu: float, bins: int) -> None:
    table = _make_table(nu, bins)
    for name in ("mean", "second", "difference"):
        assert np.isfinite(table[name]).all(), name
    np.testing.assert_allclose(table["difference"], table["difference"][::-1], rtol=1e-9)


def test_the_crps_equals_that_of_many_draws() -> None:
    density = one(4.0, 9, seed=3)
    rng = np.random.default_rng(0)
    bins = rng.choice(9, size=200_000, p=density.probs[0, 0])[None, :, None]
    paths = density.at_tokens(bins, rng.random(bins.shape))[0, :, 0]
    for outcome in (-0.03, 0.01):
        brute = np.abs(paths - outcome).mean() - np.abs(paths[::2] - paths[1::2]).mean() / 2
        assert density.crps(at(outcome))[0, 0] == pytest.approx(brute, rel=0.02)
    assert paths.mean() == pytest.approx(density.mean[0, 0], abs=3e-4)
    assert paths.std() == pytest.approx(density.std[0, 0], rel=0.03)


def test_a_token_lands_in_the_middle_of_its_share_of_probability() -> None:
    density = one(5.0, 10)
    found = density.at_tokens(np.array([[[0], [4], [9]]]), np.array([[[0.5], [0.5], [0.5]]]))
    np.testing.assert_allclose(found[0, :, 0], stats.t.ppf([0.05, 0.45, 0.95], 5, LOC, SCALE))


def test_a_draw_of_exactly_zero_stays_on_the_map() -> None:
    density = one(2.1, 1)
    lowest = density.at_tokens(np.zeros((1, 1, 1), int), np.zeros((1, 1, 1), np.float32))
    highest = density.at_tokens(
        np.zeros((1, 1, 1), int), np.full((1, 1, 1), 1 - 2**-24, np.float32)
    )
    ratio = (LOC - lowest[0, 0, 0]) / (highest[0, 0, 0] - LOC)
    assert 1 < ratio < 2


def test_the_probability_of_a_rise_is_what_the_cdf_leaves() -> None:
    density = one(4.0, 6, seed=5)
    assert density.prob_up[0, 0] == 1 - density.cdf(at(0.0))[0, 0]


def test_a_bin_without_probability_is_never_drawn_and_has_no_density() -> None:
    shape = (1, 1)
    probs = np.array([[[0.5, 0.0, 0.5]]])
    density = TokenDensity(np.zeros(shape), np.ones(shape), np.full(shape, 5.0), probs)
    assert density.log_density(at(0.0))[0, 0] == -np.inf
    below, above = density.quantile([0.4999999, 0.5000001])[0, 0]
    assert below < stats.t.ppf(1 / 3, 5) < stats.t.ppf(2 / 3, 5) < above
    assert np.isfinite(density.crps(at(0.0))[0, 0])


def test_an_unknown_outcome_gives_no_score() -> None:
    density = one(4.0, 6)
    assert np.isnan(density.log_density(at(np.nan)))
    assert np.isnan(density.cdf(at(np.nan)))


def test_rows_are_what_they_were_alone() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(5), size=(7, 2)).astype(np.float32)
    whole = TokenDensity(
        rng.normal(size=(7, 2)), rng.random((7, 2)) + 1, rng.choice([3.0, 8.0], (7, 2)), probs
    )
    r = rng.normal(size=(7, 2))
    for rows in (np.array([3]), np.array([6, 0, 2])):
        part = whole[rows]
        for name in ("mean", "std", "prob_up"):
            assert getattr(part, name).tobytes() == getattr(whole, name)[rows].tobytes()
        for name in ("value_at_risk", "expected_shortfall"):
            assert getattr(part, name)().tobytes() == getattr(whole, name)()[rows].tobytes()
        for name in ("log_density", "cdf", "crps"):
            found = getattr(part, name)(r[rows])
            assert found.tobytes() == getattr(whole, name)(r)[rows].tobytes()
        assert part.quantile([0.1, 0.9]).tobytes() == whole.quantile([0.1, 0.9])[rows].tobytes()


def test_the_log_density_of_the_t_stays_finite_far_out() -> None:
    assert np.isfinite(t_log_density(np.array([1e8, -1e8]), np.array([3.0, NORMAL_NU]))).all()


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, np.nan])
def test_levels_outside_zero_and_one_have_no_quantile(level: float) -> None:
    with pytest.raises(ConfigError, match="must lie in"):
        one(4.0, 6).quantile([0.5, level])


@pytest.mark.parametrize(
    ("scale", "nu"), [(0.0, 4.0), (-1.0, 4.0), (np.nan, 4.0), (1.0, 2.0), (1.0, np.nan)]
)
def test_broken_parameters_are_refused(scale: float, nu: float) -> None:
    with pytest.raises(ConfigError, match="scale > 0"):
        one(nu, 3, scale=scale)


def test_shapes_that_disagree_are_refused() -> None:
    ones = np.ones((2, 3))
    with pytest.raises(ConfigError, match="one shape"):
        TokenDensity(ones, ones, ones * 5, np.ones((2, 2, 4)))


def tied(zero: float, half_tick: float, *, bins: int = 6) -> TokenDensity:
    density = one(5.0, bins, seed=3, loc=0.001, scale=0.01)
    return TokenDensity(*list(density.arrays().values())[:4], at(zero), at(half_tick))


@pytest.mark.parametrize(
    ("zero", "half_tick"), [(0.3, 0.004), (0.05, 0.006), (0.2, 0.0), (0.0, 0.003), (0.96, 0.002)]
)
def test_with_large_ticks_everything_is_that_of_its_draws(zero: float, half_tick: float) -> None:
    density, rng, n = tied(zero, half_tick), np.random.default_rng(0), 400_000
    bins = rng.choice(6, size=(1, n, 1), p=density.probs[0, 0])
    x = density.tie(density.at_tokens(bins, rng.random((1, n, 1))), rng.random((1, n, 1)))[0, :, 0]
    up, still, down = (p[0, 0] for p in (density.prob_up, density.prob_zero, density.prob_down))
    assert up + still + down == pytest.approx(1)
    assert still >= zero - 1e-12
    np.testing.assert_allclose([np.mean(x > 0), np.mean(x == 0)], [up, still], atol=0.003)
    assert density.mean[0, 0] == pytest.approx(x.mean(), abs=1e-4)
    assert density.std[0, 0] == pytest.approx(x.std(), rel=0.02)
    levels = np.array([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])
    np.testing.assert_allclose(density.quantile(levels)[0, 0], np.quantile(x, levels), atol=4e-4)
    risks, ordered = (0.3, 0.6, 0.8, 0.95), np.sort(x)
    worst = [-ordered[: round(n * (1 - level))].mean() for level in risks]
    np.testing.assert_allclose(density.expected_shortfall(risks)[0, 0], worst, atol=2e-4)
    between = np.abs(x - rng.permutation(x)).mean() / 2
    for came in (-0.03, -half_tick / 2, 0.0, 0.0065, 0.05):
        slow = np.abs(x - came).mean() - between
        assert density.crps(at(came))[0, 0] == pytest.approx(slow, abs=6e-5)
        if came != -half_tick / 2:
            assert density.cdf(at(came))[0, 0] == pytest.approx(np.mean(x <= came), abs=0.003)
            assert density.cdf_below(at(came))[0, 0] == pytest.approx(np.mean(x < came), abs=0.003)
    outside = np.linspace(0.012, 0.013, 3)[1]
    width = 1e-6
    slope = (density.cdf(at(outside + width)) - density.cdf(at(outside - width))) / (2 * width)
    np.testing.assert_allclose(density.log_density(at(outside)), np.log(slope), rtol=1e-4)


def test_without_ticks_no_bit_is_another() -> None:
    plain, rows = one(4.0, 6, seed=5), np.array([0])
    explicit = TokenDensity(*list(plain.arrays().values())[:4], at(0.0), at(0.0))
    assert not plain.has_ticks
    assert plain.untied is plain
    assert (plain.prob_zero == 0).all()
    for name in ("mean", "std", "prob_up", "prob_down"):
        assert getattr(plain, name).tobytes() == getattr(explicit, name).tobytes()
    smooth = tied(0.3, 0.004).untied
    assert not smooth.has_ticks
    assert (
        smooth.crps(at(0.01)).tobytes()
        == one(5.0, 6, seed=3, loc=0.001, scale=0.01).crps(at(0.01)).tobytes()
    )
    whole = tied(0.3, 0.004)
    assert whole[rows].quantile([0.1, 0.6]).tobytes() == whole.quantile([0.1, 0.6]).tobytes()


@pytest.mark.parametrize(
    ("zero", "half_tick"), [(1.0, 0.1), (-0.1, 0.1), (np.nan, 0.1), (0.1, -1.0)]
)
def test_ticks_that_cannot_be_are_refused(zero: float, half_tick: float) -> None:
    with pytest.raises(ConfigError, match=r"zero in \[0, 1\)"):
        tied(zero, half_tick)
