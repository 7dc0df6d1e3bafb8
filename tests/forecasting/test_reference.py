"""The rival to beat: its t is scipy's t, it is causal, and one broken series does not set it."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quantseq.errors import NotEnoughDataError
from quantseq.files import to_json
from quantseq.forecasting.density import MIN_NU, TokenDensity, t_log_density
from quantseq.forecasting.inputs import NUM_DAYS, NUM_NUMBERS, REACTS, inputs, score_of_scale
from quantseq.forecasting.reference import (
    DRIFT_PRIOR,
    KEPT_SLOPES,
    LEVEL_NU,
    LEVEL_STEP,
    MAX_NU,
    POOL,
    WIDEST,
    Reference,
    StepParameters,
    chance_of_zero,
    fit_reference,
    fit_slopes,
    fit_student_t,
    follow,
    stretch,
)
from quantseq.forecasting.volatility import (
    LONG_WINDOW,
    MIN_OWN_ROWS,
    SCALES,
    aligned_returns,
)
from quantseq.market.bars import Bars, Panel
from tests.prices import rewrite_after, rounded, simulate_bars, simulate_panel, with_events

law = settings(deadline=None, max_examples=15)
PANEL = simulate_panel("ABC", 750)
REFERENCE = Reference.fit(PANEL, horizon=2)
DATA = inputs(PANEL, horizon=2)


@pytest.mark.parametrize("nu", [2.6, 4.0, 7.0, 25.0])
def test_the_student_t_fit_equals_that_of_scipy(nu: float) -> None:
    z = 1.7 * np.random.default_rng(0).standard_t(nu, 3000)
    found_nu, found_scale = fit_student_t(z)
    theirs_nu, _, theirs_scale = stats.t.fit(z, floc=0)
    best = stats.t.logpdf(z, theirs_nu, 0, theirs_scale).mean()
    assert stats.t.logpdf(z, found_nu, 0, found_scale).mean() == pytest.approx(best, abs=1e-6)
    assert found_nu == pytest.approx(theirs_nu, rel=0.01)
    assert found_scale == pytest.approx(theirs_scale, rel=0.002)


@given(st.floats(1e-3, 1e3))
@law
def test_the_scale_scales_and_the_shape_does_not(factor: float) -> None:
    z = np.random.default_rng(1).standard_t(5, 500)
    nu, scale = fit_student_t(z)
    other_nu, other_scale = fit_student_t(z * factor)
    assert other_scale == pytest.approx(scale * factor, rel=0.02)
    assert other_nu == pytest.approx(nu, rel=0.1)


def test_degrees_of_freedom_stay_within_their_bounds() -> None:
    rng = np.random.default_rng(0)
    assert fit_student_t(rng.normal(size=4000))[0] > 20
    assert fit_student_t(rng.uniform(-1, 1, size=400))[0] == pytest.approx(MAX_NU, rel=0.01)
    assert fit_student_t(rng.standard_cauchy(400))[0] == pytest.approx(MIN_NU, rel=0.01)
    nu, scale = fit_student_t(np.zeros(50))
    assert MIN_NU <= nu <= MAX_NU
    assert scale > 0


def test_training_returns_are_uniform_under_the_reference() -> None:
    for symbol, one in inputs(PANEL, horizon=2).items():
        levels = REFERENCE.parameters(symbol, one).cdf(aligned_returns(one.returns, 2))
        for step in (0, 1):
            known = levels[np.isfinite(levels[:, step]), step]
            assert stats.kstest(known, "uniform").statistic < 0.06


def test_location_scale_and_shape_are_sigma_times_what_was_fitted() -> None:
    one = inputs(PANEL, horizon=2)["B"]
    found, sigma = REFERENCE.parameters("B", one), REFERENCE.volatility.scale("B", one)
    nu, relative = REFERENCE.shapes["B"][1]
    np.testing.assert_array_equal(found.loc[:, 1], sigma[:, 1] * REFERENCE.drift[1])
    before = np.concatenate([[np.nan], one.returns[1:] / sigma[:-1, 0]])
    level = np.exp(follow(before - REFERENCE.drift[0], REFERENCE.starts["B"]))
    moved = np.exp(stretch(one, REFERENCE.measure, REFERENCE.slopes))[:, 1]
    np.testing.assert_array_equal(found.scale[:, 1], sigma[:, 1] * level * moved * relative)
    assert (found.nu[:, 1] == nu).all()


@given(st.integers(200, 748), st.integers(0, 99))
@law
def test_parameters_do_not_see_later_bars_that_are_rewritten(n: int, seed: int) -> None:
    other = inputs(rewrite_after(PANEL, PANEL.sessions[n], seed=seed), horizon=2)
    for symbol, one in inputs(PANEL, horizon=2).items():
        old = REFERENCE.parameters(symbol, one)
        new = REFERENCE.parameters(symbol, other[symbol])
        for name in ("loc", "scale", "nu"):
            assert getattr(old, name)[: n + 1].tobytes() == getattr(new, name)[: n + 1].tobytes()


def test_the_level_follows_a_scale_that_drifts() -> None:
    rng = np.random.default_rng(0)
    true = np.linspace(0, 0.8, 3000)
    levels = follow(np.exp(true) * rng.standard_t(LEVEL_NU, 3000), 0.0)
    assert np.abs(levels - true)[500:].max() < 0.3
    assert np.abs(levels - true)[500:].mean() < 0.12


def test_the_level_stands_where_the_score_vanishes_on_average() -> None:
    z = 0.7 * np.random.default_rng(1).standard_t(6, 20000)
    levels = follow(z, 0.0)[2000:]
    score = score_of_scale((z[2000:] / np.exp(levels)) ** 2, LEVEL_NU)
    assert score.mean() == pytest.approx(0, abs=0.01)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), max_size=60), st.floats(-2, 2))
@law
def test_the_level_moves_by_small_steps_and_is_never_unknown(z: list[float], start: float) -> None:
    levels = follow(np.array(z, dtype=np.float64), start)
    steps = np.diff(np.concatenate([[start], levels]))
    assert np.isfinite(levels).all()
    assert (steps <= LEVEL_STEP * LEVEL_NU + 1e-12).all()
    assert (steps >= -LEVEL_STEP - 1e-12).all()
    assert (steps[np.isnan(z)] == 0).all()


def test_a_series_that_stands_still_keeps_a_level() -> None:
    levels = follow(np.zeros(5000), 0.5)
    assert levels[-1] == pytest.approx(0.5 - np.log(WIDEST))


@pytest.mark.parametrize("volatility", list(SCALES))
def test_every_volatility_makes_a_calibrated_density(volatility: str) -> None:
    reference = Reference.fit(PANEL, horizon=2, volatility=volatility)
    assert reference.volatility.kind == volatility
    for symbol, one in DATA.items():
        levels = reference.parameters(symbol, one).cdf(aligned_returns(one.returns, 2))
        known = levels[LONG_WINDOW:-2]
        assert ((known > 0.05) & (known < 0.95)).mean() == pytest.approx(0.9, abs=0.04)


def replaced(bars: Bars, close: np.ndarray) -> Bars:
    same = dict.fromkeys(("open", "high", "low", "close", "adj_close"), close)
    rest = {name: getattr(bars, name) for name in ("volume", "dividends", "splits")}
    return Bars(bars.symbol, bars.sessions, **same, **rest, timezone=bars.timezone)


def broken(kind: str) -> Bars:
    """A series that no rule of `Bars` forbids and nobody should learn from."""
    bars = simulate_bars("Z", 750)
    rng = np.random.default_rng(0)
    closes = {
        "flat": np.full(750, 3.0),
        "stale": bars.close[(np.arange(750) // 40) * 40],
        "glitches": np.where(rng.random(750) < 0.05, 100.0, 1.0) * bars.close,
        "rocket": np.exp(np.linspace(0, 300, 750)),
    }
    return replaced(bars, closes[kind])


@pytest.mark.parametrize("kind", ["flat", "stale", "glitches", "rocket"])
def test_one_broken_series_does_not_set_what_is_pooled(kind: str) -> None:
    healthy = simulate_panel("ABCDEFG", 750)
    plain = fit_reference(healthy, horizon=2)
    spoiled = Reference.fit(Panel([*healthy.values(), broken(kind)]), horizon=2)
    np.testing.assert_allclose(spoiled.drift, plain.drift, atol=0.03)
    np.testing.assert_allclose(spoiled.shapes[POOL], plain.shapes[POOL], rtol=0.25)
    for symbol, one in inputs(healthy, horizon=2).items():
        old, new = (r.parameters(symbol, one) for r in (plain, spoiled))
        ratio = np.log(new.scale / old.scale)[200:]
        assert np.sqrt(np.mean(ratio**2)) < 0.1
        assert np.isfinite(new.scale[200:]).all()


@pytest.mark.parametrize("kind", ["flat", "stale", "glitches", "rocket"])
def test_a_broken_series_still_has_a_density(kind: str) -> None:
    panel = Panel([*PANEL.values(), broken(kind)])
    found = Reference.fit(panel, horizon=2).parameters("Z", inputs(panel, horizon=2)["Z"])
    assert (found.scale[200:] > 0).all()
    assert np.isfinite(found.scale[200:]).all()
    assert (found.nu >= MIN_NU).all()


def test_the_drift_is_shared_and_shrunk_to_a_plausible_size() -> None:
    z = {
        s: aligned_returns(o.returns, 2) / REFERENCE.volatility.scale(s, o) for s, o in DATA.items()
    }
    known = {s: v[np.isfinite(v).all(axis=1)] for s, v in z.items()}
    typical = np.median([np.clip(v, -8, 8).mean(axis=0) for v in known.values()], axis=0)
    error2 = 1 / max(map(len, known.values()))
    np.testing.assert_allclose(
        REFERENCE.drift, typical * DRIFT_PRIOR**2 / (DRIFT_PRIOR**2 + error2), atol=1e-12
    )
    assert np.abs(REFERENCE.drift).max() < np.abs(typical).max()


def test_symbols_with_little_history_borrow_from_the_pool() -> None:
    young = simulate_bars("Y", MIN_OWN_ROWS, start=str(PANEL.sessions[100]))
    reference = Reference.fit(Panel([*PANEL.values(), young]), horizon=2)
    assert set(reference.shapes) == set(reference.starts) == {"A", "B", "C", POOL}
    one = inputs(PANEL, horizon=2)["A"]
    new, pooled = reference.parameters("Y", one), reference.parameters("unheard of", one)
    assert new.scale.tobytes() == pooled.scale.tobytes()
    assert new.nu.tobytes() == pooled.nu.tobytes()


def test_young_symbols_alone_are_fitted_together() -> None:
    panel = simulate_panel("ABC", 300)
    reference = Reference.fit(panel, horizon=2)
    assert set(reference.shapes) == {POOL}
    one = inputs(panel, horizon=2)["A"]
    levels = reference.parameters("A", one).cdf(aligned_returns(one.returns, 2))
    assert np.nanstd(levels) == pytest.approx(np.sqrt(1 / 12), rel=0.1)


def test_a_symbol_with_a_single_bar_does_no_harm() -> None:
    newborn = simulate_bars("N", 1, start=str(PANEL.sessions[-1]))
    reference = Reference.fit(Panel([*PANEL.values(), newborn]), horizon=2)
    assert reference.overnight_share == REFERENCE.overnight_share
    assert reference.share_overnight("N") == reference.overnight_share[POOL]


def test_the_overnight_share_is_the_share_of_squares() -> None:
    bars = PANEL["A"]
    night = np.log(bars.open[1:] / bars.close[:-1])
    day = np.log(bars.close[1:] / bars.open[1:])
    share = (night**2).sum() / ((night**2).sum() + (day**2).sum())
    assert REFERENCE.overnight_share["A"] == pytest.approx(share, rel=1e-6)
    assert 0 < REFERENCE.overnight_share[POOL] < 1


def test_without_opens_everything_moves_overnight() -> None:
    panel = Panel([replaced(bars, bars.close) for bars in PANEL.values()])
    assert Reference.fit(panel, horizon=1).overnight_share[POOL] == 1.0


def test_prices_that_never_move_cannot_be_fitted() -> None:
    with pytest.raises(NotEnoughDataError, match="No symbol among Z"):
        Reference.fit(Panel([broken("flat")]), horizon=2)


def test_the_first_steps_are_the_first_columns() -> None:
    columns = np.arange(6.0).reshape(2, 3)
    first = StepParameters(columns, columns + 1, columns + 3, columns, columns).first(2)
    np.testing.assert_array_equal(first.scale, columns[:, :2] + 1)


def test_the_reference_survives_json_bit_for_bit() -> None:
    again = Reference.from_json(json.loads(to_json(asdict(REFERENCE))))
    one = inputs(PANEL, horizon=2)["C"]
    for name in ("loc", "scale", "nu"):
        old, new = (getattr(r.parameters("C", one), name) for r in (REFERENCE, again))
        assert old.tobytes() == new.tobytes()
    assert again.overnight_share == REFERENCE.overnight_share


def heteroscedastic(slopes: list[float], seed: int, n: int = 6000) -> tuple[np.ndarray, ...]:
    """Numbers, returns whose log scale is linear in them, and days of ten returns each."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, len(slopes))).astype(np.float32)
    z = np.exp(0.1 + values @ slopes) * rng.standard_t(LEVEL_NU, n)
    return np.column_stack([np.ones(n, np.float32), values]), z, np.arange(n) // 10


def test_slopes_are_found_by_the_likelihood_and_kept_in_part() -> None:
    values, z, days = heteroscedastic([0.3, 0.0, -0.2], seed=0, n=60_000)
    found = fit_slopes(values, z, days)
    np.testing.assert_allclose(found, KEPT_SLOPES * np.array([0.1, 0.3, 0, -0.2]), atol=0.03)


def test_slopes_of_noise_are_next_to_nothing() -> None:
    values, z, days = heteroscedastic([0.0] * 40, seed=1)
    assert np.abs(fit_slopes(values, z, days)[1:]).max() < 0.02


def test_glitches_do_not_set_slopes() -> None:
    values, z, days = heteroscedastic([0.3, 0.0], seed=2)
    spoiled = np.where(np.random.default_rng(0).random(len(z)) < 0.002, 1e4, z)
    np.testing.assert_allclose(
        fit_slopes(values, spoiled, days), fit_slopes(values, z, days), atol=0.04
    )


def test_the_scale_of_simulated_days_that_are_told_apart_by_a_number_is_told_apart() -> None:
    one = inputs(PANEL, horizon=2)["A"]
    slopes = np.zeros((2, 1 + NUM_NUMBERS + NUM_DAYS))
    slopes[0, 5], slopes[1, 1 + NUM_NUMBERS + 4] = 0.1, 0.2  # z of four days ago; a Friday
    moved = stretch(one, REFERENCE.measure, slopes)
    low, high, mean, deviation = (
        getattr(REFERENCE.measure, n)[4] for n in ("low", "high", "mean", "deviation")
    )
    expected = 0.1 * (np.clip(one.numbers[:, 4], low, high) - mean) / deviation
    np.testing.assert_allclose(moved[:, 0], expected, atol=1e-6)
    friday = one.days[one.place, 1, 4] == 1
    assert (moved[friday, 1].min() - moved[~friday, 1].max()) > 0.2


def test_the_days_of_events_are_wider_by_what_they_were_in_training() -> None:
    panel = with_events(simulate_panel("ABC", 1100), size=0.06)
    fitted = Reference.fit(panel.until(panel.sessions[800]), horizon=2)
    assert fitted.event_slopes[:, 0].min() > 0.3
    known, plain = (inputs(one, horizon=2) for one in (panel, Panel(panel.values())))
    for symbol, one in known.items():
        told, silent = (fitted.parameters(symbol, each).scale for each in (one, plain[symbol]))
        sure = (one.events[:, :, REACTS] > 0.9) & np.isfinite(silent)
        none = ~one.events.any(axis=2)
        assert (told[sure] > 1.5 * silent[sure]).all()
        assert told[none].tobytes() == silent[none].tobytes()
    blind = Reference.fit(Panel(panel.values()).until(panel.sessions[800]), horizon=2)
    assert not blind.event_slopes.any()
    late = np.arange(1100) > 801
    gains = []
    for symbol, one in known.items():
        returns = aligned_returns(one.returns, 2)[:, 0]
        densities = []
        for reference in (fitted, blind):
            p = reference.parameters(symbol, one).first(1)
            density = t_log_density((returns - p.loc[:, 0]) / p.scale[:, 0], p.nu[:, 0])
            densities.append(density - np.log(p.scale[:, 0]))
        gains.append((densities[0] - densities[1])[late & np.isfinite(returns)])
    assert np.mean(np.concatenate(gains)) > 0.005


TIED = Panel(
    rounded(bars, tick, still=still)
    for bars, tick, still in zip(
        simulate_panel("ABCDE", 1000).values(),
        (0.02, 0.01, 0.01, 0.0001, 0.01),
        (0, 0, 0.1, 0, 0.7),
        strict=True,
    )
)
TICKS = Reference.fit(TIED.until(TIED.sessions[750]), horizon=2)


def test_prices_with_large_ticks_are_those_with_many_zeros_and_not_the_stale_ones() -> None:
    assert TICKS.ticks == ("A", "B", "C")
    assert REFERENCE.ticks == ()
    again = Reference.from_json(json.loads(to_json(asdict(TICKS))))
    assert again.ticks == TICKS.ticks
    data = inputs(TIED, horizon=2)
    for symbol in "DE":
        found = TICKS.parameters(symbol, data[symbol])
        assert not (found.zero + found.half_tick).any()


def test_zeros_come_as_often_as_is_said() -> None:
    for symbol, one in inputs(TIED, horizon=2).items():
        if symbol in TICKS.ticks:
            density = TokenDensity.reference(
                *(part[751:-1] for part in vars(TICKS.parameters(symbol, one)).values())
            )
            came = (one.returns[752:] == 0).mean()
            np.testing.assert_allclose(density.prob_zero[:, 0].mean(), came, atol=0.08)
            rounded_alone = replace(density, zero=np.zeros(density.shape)).prob_zero.mean()
            assert (density.prob_zero.mean() > rounded_alone + 0.025) == (symbol == "C")


def test_more_zeros_than_a_density_says_are_learned_and_forgotten() -> None:
    rng = np.random.default_rng(0)
    within = np.full((4000, 2), 0.1)
    zero = rng.random(4000) < np.where(np.arange(4000) < 2500, 0.1 + 0.9 * 0.3, 0.02)
    found = chance_of_zero(np.where(zero, 0.0, 0.01), within)
    assert found[1500:2500].mean() == pytest.approx(0.37, abs=0.03)
    np.testing.assert_array_equal(found[3500:], 0.1)
    assert (
        found[:900].tobytes()
        == chance_of_zero(np.where(zero, 0.0, 0.01)[:900], within[:900]).tobytes()
    )


@given(st.integers(760, 990), st.integers(0, 99))
@law
def test_ticks_do_not_see_later_bars_that_are_rewritten(n: int, seed: int) -> None:
    other = inputs(rewrite_after(TIED, TIED.sessions[n], seed=seed), horizon=2)["C"]
    old, new = (TICKS.parameters("C", one) for one in (inputs(TIED, horizon=2)["C"], other))
    for name in ("zero", "half_tick", "scale"):
        assert getattr(old, name)[: n + 1].tobytes() == getattr(new, name)[: n + 1].tobytes()


def test_the_same_bars_of_another_market_are_no_hit() -> None:
    here = Panel([simulate_bars("A", 750)])
    there = Panel([replace(here["A"], timezone="Asia/Tokyo")])
    one, two = (fit_reference(panel, horizon=2) for panel in (here, there))
    assert one is not two
    assert fit_reference(here, horizon=2) is one
