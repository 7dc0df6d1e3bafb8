"""Columns of forecasts: rows, moments of what a position really holds, draws by key."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quantseq.errors import ConfigError, CorruptFileError
from quantseq.forecasting.density import Quantiles, TokenDensity
from quantseq.forecasting.forecasts import (
    QUANTILE_LEVELS,
    Forecasts,
    keyed_uniforms,
    with_zeros,
)

law = settings(deadline=None, max_examples=25)
DAYS = np.arange("2020-01-01", "2020-01-07", dtype="datetime64[D]")


def made(
    rows: int = 6, horizon: int = 3, *, bins: int = 5, paths: int = 40, seed: int = 0
) -> Forecasts:
    rng = np.random.default_rng(seed)
    shape = (rows, horizon)
    density = TokenDensity(
        rng.normal(0, 0.002, shape),
        rng.uniform(0.005, 0.03, shape),
        rng.choice([3.0, 6.0], shape),
        rng.dirichlet(np.full(bins, 3.0), shape),
    )
    return Forecasts(
        "test",
        np.array(list("ABCDEF")[:rows], dtype=object),
        DAYS[:rows],
        density,
        rng.uniform(0.1, 0.6, rows),
        np.datetime64("2019-12-31"),
        7,
        rng.normal(0, 0.01, (rows, paths, horizon)).astype(np.float32) if paths else None,
    )


def test_a_row_alone_is_that_row() -> None:
    every = made()
    for row in range(len(every)):
        one = every[np.array([row])]
        assert (one.symbols[0], one.cutoffs[0], one.seed) == ("ABCDEF"[row], DAYS[row], 7)
        for name in ("mean", "prob_up", "paths"):
            np.testing.assert_array_equal(getattr(one, name)[0], getattr(every, name)[row])
        np.testing.assert_array_equal(one.value_at_risk()[0], every.value_at_risk()[row])
        np.testing.assert_array_equal(one.expected_shortfall()[0], every.expected_shortfall()[row])


def test_what_is_saved_comes_back_to_the_bit_without_its_paths(tmp_path: Path) -> None:
    every = made()
    kept = every.without_paths()
    assert kept.paths is None
    np.testing.assert_array_equal(
        kept.cumulative_quantile(QUANTILE_LEVELS), every.cumulative_quantile(QUANTILE_LEVELS)
    )
    kept.save(tmp_path / "forecasts")
    again = Forecasts.load(tmp_path / "forecasts")
    pd.testing.assert_frame_equal(again.to_frame(), every.to_frame(), check_exact=True)
    assert (again.model, again.trained_until, again.seed) == (
        every.model,
        every.trained_until,
        every.seed,
    )
    (tmp_path / "forecasts").write_bytes(b"PAR1 half a file")
    with pytest.raises(CorruptFileError, match="computed again"):
        Forecasts.load(tmp_path / "forecasts")


@pytest.mark.parametrize("rows", [np.array([4, 1]), np.arange(6) % 2 == 0])
def test_picking_rows_picks_every_column(rows: np.ndarray) -> None:
    every = made()
    some = every[rows]
    assert some.symbols.tolist() == every.symbols[rows].tolist()
    np.testing.assert_array_equal(some.overnight_share, every.overnight_share[rows])
    np.testing.assert_array_equal(some.mean, every.mean[rows])
    np.testing.assert_array_equal(some.paths, every.paths[rows])


def test_concatenation_undoes_picking() -> None:
    every = made()
    again = Forecasts.concatenate([every[np.arange(2)], every[np.arange(2, 6)]])
    assert again.symbols.tolist() == every.symbols.tolist()
    assert again.std.tobytes() == every.std.tobytes()
    assert again.paths.tobytes() == every.paths.tobytes()
    assert Forecasts.concatenate([made(paths=0), made()]).paths is None


def test_cumulative_quantiles_are_those_of_summed_paths_after_an_exact_first_step() -> None:
    every = made()
    found = every.cumulative_quantile([0.1, 0.5])
    np.testing.assert_array_equal(found[:, 0], every.quantile([0.1, 0.5])[:, 0])
    for row in range(6):
        for step in (1, 2):
            summed = every.paths[row, :, : step + 1].astype(float).sum(axis=1)
            np.testing.assert_allclose(found[row, step], np.quantile(summed, [0.1, 0.5]))


def test_cumulative_quantiles_need_paths() -> None:
    with pytest.raises(ConfigError, match="num_paths > 0"):
        made(paths=0).cumulative_quantile([0.5])


def test_close_fills_hold_the_second_step() -> None:
    every = made()
    moments = every.fill_moments("close")
    np.testing.assert_allclose(moments["mean"], every.mean[:, 1])
    np.testing.assert_allclose(moments["std"], every.std[:, 1])
    np.testing.assert_allclose(moments["prob_up"], every.prob_up[:, 1])


def test_open_fills_hold_the_day_of_step_one_and_the_night_of_step_two() -> None:
    every = made()
    moments, night = every.fill_moments("open"), every.overnight_share
    mean = (1 - night) * every.mean[:, 0] + night * every.mean[:, 1]
    variance = (1 - night) * every.std[:, 0] ** 2 + night * every.std[:, 1] ** 2
    np.testing.assert_allclose(moments["mean"], mean)
    np.testing.assert_allclose(moments["std"], np.sqrt(variance))
    assert moments["prob_up"].between(0, 1).all()


def test_a_single_step_stands_in_for_the_second() -> None:
    every = made(horizon=1)
    for fill in ("open", "close"):
        moments = every.fill_moments(fill)
        np.testing.assert_allclose(moments["mean"], every.mean[:, 0])
        np.testing.assert_allclose(moments["std"], every.std[:, 0])
        np.testing.assert_allclose(moments["prob_up"], every.prob_up[:, 0], atol=1e-12)


def test_the_chance_of_a_rise_follows_mean_and_spread() -> None:
    ones = np.ones((1, 2))
    density = TokenDensity.reference(0.01 * ones, 0.02 * ones, 5 * ones)
    every = Forecasts("t", np.array(["A"], object), DAYS[:1], density, np.array([0.3]), DAYS[0], 0)
    expected = stats.t.cdf(0.5, 5)
    assert every.fill_moments()["prob_up"][0] == pytest.approx(expected)


def test_an_unknown_fill_is_refused() -> None:
    with pytest.raises(ConfigError, match="'open' or 'close'"):
        made().fill_moments("noon")


def test_the_frame_has_one_line_per_row_and_step() -> None:
    every = made()
    frame = every.to_frame()
    assert len(frame) == 18
    assert frame["step"].tolist() == [1, 2, 3] * 6
    names = [f"q{round(100 * level):02d}" for level in QUANTILE_LEVELS]
    np.testing.assert_allclose(frame[names], every.quantile(QUANTILE_LEVELS).reshape(18, 7))
    np.testing.assert_allclose(
        frame[[f"cum_{name}" for name in names]],
        every.cumulative_quantile(QUANTILE_LEVELS).reshape(18, 7),
    )
    assert frame["cutoff"].iloc[3] == pd.Timestamp("2020-01-02")
    assert not [name for name in made(paths=0).to_frame() if name.startswith("cum")]


@given(st.integers(0, 2**40), st.permutations(range(6)), st.integers(1, 5))
@law
def test_draws_depend_on_their_key_alone(seed: int, order: list[int], paths: int) -> None:
    symbols = np.array(["AAPL", "AAPL", "^GSPC", "BRK-B", "π", "A|1"], dtype=object)
    draws = keyed_uniforms(seed, symbols, DAYS, (paths, 3))
    other = keyed_uniforms(seed, symbols[order], DAYS[order], (paths, 3))
    assert other.tobytes() == draws[order].tobytes()
    alone = keyed_uniforms(seed, symbols[2:3], DAYS[2:3], (paths, 3))
    assert alone.tobytes() == draws[2:3].tobytes()
    assert len({row.tobytes() for row in draws}) == 6


def test_draws_differ_between_seeds_and_are_uniform() -> None:
    symbols, days = np.full(6, "A", dtype=object), DAYS
    draws = keyed_uniforms(0, symbols, days, (5000,))
    assert not np.array_equal(draws, keyed_uniforms(1, symbols, days, (5000,)))
    assert draws.dtype == np.float32
    assert 0 <= draws.min() < draws.max() < 1
    assert stats.kstest(draws.ravel(), "uniform").pvalue > 0.01


def test_a_model_without_tokens_is_a_forecast_too() -> None:
    plain = made(2, 3)
    values = np.sort(np.random.default_rng(0).normal(0, 0.01, (2, 3, 5)), axis=-1)
    found = replace(plain, density=Quantiles(values, (0.1, 0.3, 0.5, 0.7, 0.9)))
    assert (found.horizon, len(found)) == (3, 2)
    frame = found.to_frame()
    assert frame["token_prob_max"].isna().all()
    np.testing.assert_allclose(frame["q50"], values[..., 2].ravel())
    both = Forecasts.concatenate([found, found])
    np.testing.assert_array_equal(both.density.quantile([0.3])[2:], found.density.quantile([0.3]))
    assert np.isfinite(found.fill_moments("open")["prob_up"]).all()


def test_a_notebook_shows_the_next_step_and_says_what_it_leaves_out() -> None:
    every = replace(made(), symbols=np.array(["<b>", *"BCDEF"], dtype=object))
    text = every._repr_html_()
    assert "<b>" not in text
    assert "test: 6 forecasts of 3 steps" in text
    assert f"{100 * every.quantile([0.05])[1, 0, 0]:.2f}" in text
    assert "more forecasts" not in text
    many = Forecasts.concatenate([every] * 6)
    assert "6 more forecasts are not shown." in many._repr_html_()


def with_ticks(every: Forecasts) -> Forecasts:
    """The same forecasts, of which all but the first row have large ticks."""
    zero, half_tick = np.full((2, *every.density.shape), [[[0.4]], [[0.003]]])
    zero[0], half_tick[0] = 0, 0
    return replace(every, density=replace(every.density, zero=zero, half_tick=half_tick))


def test_zeros_are_drawn_as_often_as_they_are_expected_by_keys_of_their_rows() -> None:
    tied = with_ticks(made())
    uniforms = np.random.default_rng(0).random((6, 4000, 3))
    smooth = tied.density.at_tokens(np.zeros(uniforms.shape, int), uniforms / 5)
    flat = replace(tied.density, probs=np.eye(5)[[[0] * 3] * 6])
    key = (tied.symbols, tied.cutoffs)
    found = with_zeros(smooth.copy(), flat, 7, *key)
    np.testing.assert_allclose((found == 0).mean(axis=1), flat.prob_zero, atol=0.03)
    assert found[0].tobytes() == smooth[0].tobytes()
    row = np.array([3])
    alone = with_zeros(smooth[row], flat[row], 7, *(one[row] for one in key))
    assert alone[0].tobytes() == found[3].tobytes()


def test_of_a_move_up_and_down_are_as_likely_with_ticks_as_without(tmp_path: Path) -> None:
    plain, tied = made(), with_ticks(made())
    np.testing.assert_allclose(tied.prob_up + tied.prob_zero + tied.prob_down, 1)
    assert (tied.prob_up[1:] < 0.5).all()
    for fill in ("open", "close"):
        one, other = (each.fill_moments(fill) for each in (plain, tied))
        np.testing.assert_allclose(one["prob_up"], other["prob_up"])
        assert (one["std"][1:] > other["std"][1:]).all()
    tied.save(tmp_path / "f")
    again = Forecasts.load(tmp_path / "f")
    np.testing.assert_array_equal(again.prob_zero, tied.prob_zero)
    frame = tied.to_frame()
    np.testing.assert_array_equal(frame["prob_zero"], tied.prob_zero.ravel())
    np.testing.assert_allclose(frame[["prob_up", "prob_zero", "prob_down"]].sum(axis=1), 1)
