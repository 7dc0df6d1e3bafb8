"""Every scheme cuts, gives back, has an exact density, and keeps the variance."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from quantseq.errors import ConfigError, ModelFileError, NotEnoughDataError
from quantseq.forecasting.binning import (
    MAX_SHAPE,
    MIN_VALUES,
    SCHEMES,
    TAIL,
    BinTokenizer,
    EqualMassTokenizer,
    GaussianTokenizer,
    KMeansTokenizer,
    MeanScaledTokenizer,
    UniformTokenizer,
    _tail,
    limited,
)
from quantseq.forecasting.tokenizer import NARROWEST, Origin, ReturnTokenizer
from quantseq.seq2seq.tokens import FIRST_ID
from tests.prices import simulate_panel

law = settings(deadline=None, max_examples=25)
schemes = pytest.mark.parametrize("kind", SCHEMES, ids=lambda kind: kind.scheme)
Z_SCHEMES = [kind for kind in SCHEMES if kind is not MeanScaledTokenizer]
Kind = type[BinTokenizer]


def values_for(kind: Kind, n: int = 4000, *, seed: int = 0) -> np.ndarray:
    """Numbers as the scheme meets them: heavy-tailed r/σ, or price levels around 1."""
    z = stats.t(4).rvs(n, random_state=seed)
    return np.exp(0.02 * z + 0.1 * np.sin(np.arange(n) / 90)) if kind is MeanScaledTokenizer else z


@schemes
@given(
    num_bins=st.integers(4, 300),
    seed=st.integers(0, 99),
    inside=st.floats(1e-6, 1, exclude_max=True),
)
@law
def test_every_id_comes_back(kind: Kind, num_bins: int, seed: int, inside: float) -> None:
    fitted = kind.fit(values_for(kind, 500, seed=seed), num_bins=num_bins)
    ids = np.arange(FIRST_ID, fitted.vocab_size)
    found = fitted.decode(ids, min(inside, 1 - 1e-6))
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()
    np.testing.assert_array_equal(fitted.encode(found), ids)
    np.testing.assert_array_equal(fitted.encode(fitted.decode(ids)), ids)


@schemes
@pytest.mark.parametrize("num_bins", [5, 24])
def test_the_density_inside_a_bin_integrates_to_one_and_its_quantiles_are_what_is_decoded(
    kind: Kind, num_bins: int
) -> None:
    fitted = kind.fit(values_for(kind), num_bins=num_bins)

    def density(value: float) -> float:
        return float(np.exp(fitted.log_inside(np.array([value]))[0]))

    for number in range(fitted.num_bins):
        left, right = fitted.edges[number : number + 2]
        assert integrate.quad(density, left, right)[0] == pytest.approx(1, abs=1e-6)
        middle = fitted.decode(np.array([number + FIRST_ID]), 0.3)[0]
        assert integrate.quad(density, left, middle)[0] == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("kind", Z_SCHEMES, ids=lambda kind: kind.scheme)
@pytest.mark.parametrize("num_bins", [16, 64, 256])
def test_a_round_trip_keeps_the_variance(kind: Kind, num_bins: int) -> None:
    z = stats.t(5).rvs(20_000, random_state=1)
    fitted, rng = kind.fit(z, num_bins=num_bins), np.random.default_rng(0)
    ids = fitted.encode(z)
    drawn = [fitted.decode(ids, rng.random(len(ids))).var() for _ in range(40)]
    assert np.mean(drawn) == pytest.approx(z.var(), rel=0.01)
    if num_bins == 16:
        assert fitted.decode(ids).var() < 0.99 * z.var()


def test_a_round_trip_keeps_the_variance_of_scaled_levels() -> None:
    levels = values_for(MeanScaledTokenizer)
    fitted, rng = MeanScaledTokenizer.fit(levels, num_bins=4094), np.random.default_rng(0)
    drawn = fitted.decode(fitted.encode(levels), rng.random(len(levels)))
    assert drawn.var() == pytest.approx(levels.var(), rel=0.01)


@schemes
def test_exact_zeros_fill_no_bin_without_width(kind: Kind) -> None:
    z = values_for(kind)
    z[::5] = z[0] if kind is MeanScaledTokenizer else 0.0
    fitted = kind.fit(z, num_bins=64)
    assert (np.diff(fitted.inner) >= NARROWEST * z.std() * (1 - 1e-12)).all()
    assert fitted.num_bins <= fitted.asked == 64
    if kind is EqualMassTokenizer:
        assert fitted.num_bins < 64
    highest = np.exp(fitted.log_inside(z)).max()
    assert highest < 2 / (NARROWEST * z.std())


def test_equal_mass_bins_hold_equal_shares() -> None:
    z = values_for(EqualMassTokenizer)
    ids = EqualMassTokenizer.fit(z, num_bins=16).encode(z)
    assert np.bincount(ids)[FIRST_ID:].tolist() == [250] * 16


def test_uniform_bins_are_equally_wide_between_the_stated_tails() -> None:
    z = values_for(UniformTokenizer)
    fitted = UniformTokenizer.fit(z, num_bins=16)
    np.testing.assert_allclose(np.diff(fitted.inner), np.ptp(fitted.inner) / 14)
    assert np.mean(z < fitted.inner[0]) == pytest.approx(TAIL, abs=1e-3)
    assert np.mean(z > fitted.inner[-1]) == pytest.approx(TAIL, abs=1e-3)


def test_gaussian_bins_are_equally_likely_under_the_normal() -> None:
    z = values_for(GaussianTokenizer)
    usual = limited(z)
    levels = stats.norm(usual.mean(), usual.std()).cdf(GaussianTokenizer.fit(z, num_bins=8).inner)
    np.testing.assert_allclose(levels, np.arange(1, 8) / 8)


def test_k_means_puts_edges_between_clusters() -> None:
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(centre, 0.1, 500) for centre in (-3.0, 0.0, 2.0)])
    fitted = KMeansTokenizer.fit(z, num_bins=5)
    np.testing.assert_allclose(fitted.inner[1:-1], [-1.5, 1.0], atol=0.05)


def test_scaled_levels_waste_nearly_all_bins() -> None:
    fitted = MeanScaledTokenizer.fit(values_for(MeanScaledTokenizer), num_bins=4094)
    assert fitted.unused > 0.95 * 4094
    np.testing.assert_allclose(np.diff(fitted.inner), 30 / 4094)


def test_a_pareto_tail_keeps_mean_and_variance_of_its_exceedances() -> None:
    y = stats.genpareto(0.2, scale=0.7).rvs(200_000, random_state=0)
    shape, scale = _tail(y, 1.0)
    assert shape == pytest.approx(0.2, abs=0.05)
    fitted = stats.genpareto(shape, scale=scale)
    assert fitted.mean() == pytest.approx(y.mean())
    assert fitted.var() == pytest.approx(y.var())
    z = np.concatenate([stats.norm.rvs(size=5000, random_state=1), [-400.0]])
    assert EqualMassTokenizer.fit(z, num_bins=16).lower[0] < MAX_SHAPE
    assert _tail(np.array([]), 0.3) == (0.0, 0.3)
    assert _tail(np.array([0.5]), 0.3) == (0.0, 0.5)


@pytest.mark.parametrize("kind", Z_SCHEMES, ids=lambda kind: kind.scheme)
def test_one_broken_value_moves_no_edge_by_much(kind: Kind) -> None:
    z = values_for(kind)
    broken = np.concatenate([z, [2000.0]])
    whole, other = kind.fit(z, num_bins=24), kind.fit(broken, num_bins=24)
    assert other.num_bins == whole.num_bins
    np.testing.assert_allclose(other.inner, whole.inner, atol=0.06)
    assert other.upper[0] < whole.upper[0] + 0.1
    assert limited(broken).max() < 20
    assert limited(np.zeros(0)).shape == (0,)
    assert limited(np.array([0.0] * 99 + [1.0])).std() > 0  # most are an atom: nothing is cut away


@schemes
def test_the_unknown_is_the_middle_and_infinities_are_the_ends(kind: Kind) -> None:
    fitted = kind.fit(values_for(kind), num_bins=24)
    ids = fitted.encode(np.array([np.nan, -np.inf, np.inf]))
    assert ids.tolist() == [fitted.num_bins // 2 + FIRST_ID, FIRST_ID, fitted.vocab_size - 1]
    assert np.isnan(fitted.log_inside(np.array([np.nan]))).all()


@schemes
def test_the_state_survives_the_disk_and_only_as_what_it_is(kind: Kind, tmp_path: Path) -> None:
    origin = Origin.of(simulate_panel("AB", 60))
    assert origin.symbols == ("A", "B")
    fitted = kind.fit(values_for(kind), num_bins=24, origin=origin)
    path = tmp_path / "tokenizer.json"
    fitted.save(path)
    again = kind.load(path, expected=fitted.fingerprint)
    assert again == fitted
    assert (again.data_hash, again.fitted_until) == (origin.data_hash, origin.fitted_until)
    with pytest.raises(ModelFileError):
        ReturnTokenizer.load(path)
    for other in SCHEMES:
        if other is not kind:
            with pytest.raises(ModelFileError, match=f"scheme '{kind.scheme}'"):
                other.load(path)
    state = json.loads(path.read_text())
    state["inner"][3] += 1e-9
    path.write_text(json.dumps(state))
    with pytest.raises(ModelFileError, match="Tokens would mean something else"):
        kind.load(path)


@schemes
def test_the_same_values_give_the_same_fingerprint(kind: Kind) -> None:
    z = values_for(kind)
    shuffled = np.random.default_rng(0).permutation(z)
    one, two = kind.fit(z, num_bins=24), kind.fit(shuffled, num_bins=24)
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != kind.fit(z[1:], num_bins=25).fingerprint


@schemes
@pytest.mark.parametrize("num_bins", [3, 4097, 2.5, None])
def test_the_number_of_bins_has_a_rule(kind: Kind, num_bins: object) -> None:
    with pytest.raises(ConfigError, match=r"\[4, 4096\]"):
        kind.fit(values_for(kind), num_bins=num_bins)  # type: ignore[arg-type]


@schemes
def test_values_that_cannot_be_cut_are_refused(kind: Kind) -> None:
    for values in (np.zeros(500), np.full(500, np.nan), np.arange(MIN_VALUES - 1.0)):
        with pytest.raises(NotEnoughDataError, match="cannot be cut"):
            kind.fit(values, num_bins=8)


def test_a_series_that_nearly_stands_still_is_refused() -> None:
    values = np.zeros(5000)
    values[:3] = 1.0, -1.0, 2.0
    with pytest.raises(NotEnoughDataError, match="Nearly all"):
        EqualMassTokenizer.fit(values, num_bins=16)


def test_reserved_ids_are_never_decoded() -> None:
    fitted = UniformTokenizer.fit(values_for(UniformTokenizer), num_bins=8)
    for reserved in (0, 1, fitted.vocab_size):
        with pytest.raises(ConfigError, match="PAD and EOS are not"):
            fitted.decode(np.array([FIRST_ID, reserved]))


def test_a_damaged_state_is_refused() -> None:
    with pytest.raises(ConfigError, match="inner edges"):
        UniformTokenizer(8, inner=(0.0, 1.0), slopes=(0.0,))
    with pytest.raises(ConfigError, match="Edges must increase"):
        UniformTokenizer(4, inner=(0.0, 0.0, 1.0), slopes=(0.0, 0.0))
