from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.evaluation.scores import naive_errors, score, summary
from quantseq.forecasting.baselines import (
    BASELINE_BINS,
    BASELINES,
    BOOSTED_LEVELS,
    BOOTSTRAP_LEVELS,
    BOOTSTRAP_WINDOW,
    HISTORY,
    PRIOR,
    Autoregression,
    Boosting,
    Bootstrap,
    EwmaStudent,
    HarRangeStudent,
    HistoricalVolatility,
    Markov,
    ReferenceForecaster,
    ToldTheSame,
    Unigram,
    choose_baselines,
    fit_baseline,
    tokens,
    trailing_quantiles,
)
from quantseq.forecasting.density import NORMAL_NU
from quantseq.forecasting.reference import POOL, Reference
from quantseq.forecasting.rows import MIN_HISTORY, Baseline
from quantseq.forecasting.volatility import aligned_returns, daily_variance
from quantseq.market.bars import Panel
from tests.prices import forecast_bytes, recent_prices, rewrite_after, simulate_bars, simulate_panel

law = settings(deadline=None, max_examples=5)
H = 3
PANEL = Panel(
    [*simulate_panel("AB", 800).values(), simulate_bars("C", 500, start="2015-09-01")],
    covariate=simulate_bars("^V", 800, seed=5),
)
BLOCK = PANEL.until(PANEL.sessions[700])
UNTIL = BLOCK.sessions[-1]
FITTED = {name: fit_baseline(name, BLOCK, horizon=H) for name in BASELINES}
for one in FITTED.values():
    if isinstance(one, ToldTheSame):  # believed, or there would be nothing to see
        FITTED[one.name] = replace(one, learned=replace(one.learned, kept=(0.5,) * H))
SHARES = FITTED["har-pooled-t"].overnight_share
every_baseline = pytest.mark.parametrize("baseline", FITTED.values(), ids=lambda one: one.name)


def predict(baseline: Baseline, panel: Panel, cutoffs: np.ndarray, seed: int = 0):
    return baseline.predict(panel, cutoffs, horizon=H, num_paths=8, seed=seed)


@every_baseline
def test_every_symbol_is_forecast_at_every_cutoff_it_traded(baseline: Baseline) -> None:
    found = predict(baseline, PANEL, PANEL.sessions)
    expected = [(s, d) for s in PANEL for d in PANEL[s].sessions[MIN_HISTORY:]]
    assert list(zip(found.symbols, found.cutoffs, strict=True)) == expected
    assert found.paths.shape == (len(expected), 8, H)
    assert found.horizon == H
    assert (found.model, found.trained_until) == (baseline.name, UNTIL)


@every_baseline
def test_cutoffs_alone_together_permuted_or_cut_give_the_same_bytes(
    baseline: Baseline,
) -> None:
    days = PANEL.sessions[[400, 512, 620]]
    together = predict(baseline, PANEL, days)
    assert forecast_bytes(predict(baseline, PANEL, days[[2, 0, 1]])) == forecast_bytes(together)
    for day in days:
        rows = together.cutoffs == day
        assert forecast_bytes(predict(baseline, PANEL, np.array([day]))) == forecast_bytes(
            together[rows]
        )
        cut = predict(baseline, PANEL.until(day), np.array([day]))
        assert forecast_bytes(cut) == forecast_bytes(together[rows])


@every_baseline
@given(st.integers(MIN_HISTORY + 4, 790), st.integers(0, 50))
@law
def test_rewritten_later_bars_change_nothing(baseline: Baseline, n: int, seed: int) -> None:
    days = PANEL.sessions[n - 2 : n + 1]
    other = rewrite_after(PANEL, PANEL.sessions[n], seed=seed)
    assert forecast_bytes(predict(baseline, other, days)) == forecast_bytes(
        predict(baseline, PANEL, days)
    )


@every_baseline
def test_the_same_seed_gives_the_same_paths_and_another_does_not(baseline: Baseline) -> None:
    days = PANEL.sessions[600:603]
    first = predict(baseline, PANEL, days)
    assert predict(baseline, PANEL, days).paths.tobytes() == first.paths.tobytes()
    assert predict(baseline, PANEL, days, seed=1).paths.tobytes() != first.paths.tobytes()
    assert baseline.predict(PANEL, days, horizon=H).paths is None


@every_baseline
def test_paths_are_draws_from_the_density(baseline: Baseline) -> None:
    found = baseline.predict(PANEL, PANEL.sessions[600:601], horizon=H, num_paths=4000, seed=0)
    inside = found.density
    for row in range(len(found)):
        for step in range(H):
            share = np.mean(found.paths[row, :, step] <= inside.quantile([0.2])[row, step, 0])
            assert share == pytest.approx(0.2, abs=0.03)


@every_baseline
def test_a_stranger_is_forecast_with_what_is_pooled(baseline: Baseline) -> None:
    stranger = Panel([simulate_bars("Q", 300)], covariate=PANEL.covariate)
    found = predict(baseline, stranger, stranger.sessions[-3:])
    assert len(found) == 3
    assert (found.overnight_share == SHARES[POOL]).all()


@every_baseline
def test_forecasts_are_roughly_calibrated_out_of_sample(baseline: Baseline) -> None:
    found = baseline.predict(PANEL, PANEL.sessions[701:], horizon=H)
    rows = score(found, PANEL, naive_errors(PANEL))
    assert summary(rows[rows["step"] == 1])["coverage_90"] == pytest.approx(0.9, abs=0.07)


@every_baseline
def test_too_little_history_is_an_error(baseline: Baseline) -> None:
    short = PANEL.until(PANEL.sessions[MIN_HISTORY - 1])
    with pytest.raises(NotEnoughDataError, match="Nothing to forecast"):
        predict(baseline, short, short.sessions[-1:])


@every_baseline
def test_no_number_of_a_forecast_is_missing(baseline: Baseline) -> None:
    found = predict(baseline, PANEL, PANEL.sessions[300::25])
    rows = score(found, PANEL, naive_errors(PANEL))
    known = np.isfinite(rows["realised"])
    for name in ("crps", "pit", "pinball", "interval_score", "scaled_error"):
        assert (np.isfinite(rows[name]) == known).all()
    density = np.isfinite(rows["log_score"])
    assert (
        not density.any()
        if baseline.name in ("bootstrap", "boosting")
        else (density == known).all()
    )
    for values in (found.mean, found.std, found.prob_up, found.quantile([0.025, 0.975])):
        assert np.isfinite(values).all()
    assert (found.std > 0).all()


@every_baseline
def test_the_pit_is_the_cdf_and_quantiles_invert_it(baseline: Baseline) -> None:
    found = predict(baseline, PANEL, PANEL.sessions[[600]]).density
    for level in (0.05, 0.3, 0.9):
        at = found.quantile([level])[..., 0]
        np.testing.assert_allclose(found.cdf(at), level, atol=2e-3)


@every_baseline
def test_paths_of_a_shorter_horizon_have_the_same_first_step_distribution(
    baseline: Baseline,
) -> None:
    day = PANEL.sessions[[600]]
    one = baseline.predict(PANEL, day, horizon=1, num_paths=50)
    three = predict(baseline, PANEL, day)
    np.testing.assert_array_equal(one.quantile([0.1, 0.9])[:, 0], three.quantile([0.1, 0.9])[:, 0])
    assert one.paths.shape == (3, 50, 1)


PANEL_STUDENT = simulate_panel("AB", 800)
BLOCK_STUDENT = PANEL_STUDENT.until(PANEL_STUDENT.sessions[700])
REFERENCE = Reference.fit(BLOCK_STUDENT, horizon=3)
STUDENT_SHARES, STUDENT_UNTIL = REFERENCE.overnight_share, BLOCK_STUDENT.sessions[-1]


def test_historical_volatility_is_that_of_twenty_days() -> None:
    day = PANEL_STUDENT.sessions[500]
    found = HistoricalVolatility(STUDENT_UNTIL, STUDENT_SHARES).predict(
        PANEL_STUDENT, np.array([day]), horizon=3
    )
    returns = PANEL_STUDENT["A"].until(day).log_returns()[-HISTORY:]
    np.testing.assert_allclose(found.density.scale[0], np.sqrt(np.mean(returns**2)))
    assert (found.density.nu == NORMAL_NU).all()


def test_the_reference_forecaster_is_the_reference() -> None:
    baseline = ReferenceForecaster(STUDENT_UNTIL, STUDENT_SHARES, REFERENCE)
    found = baseline.predict(PANEL_STUDENT, PANEL_STUDENT.sessions[[500]], horizon=3)
    np.testing.assert_array_equal(found.density.nu[0], REFERENCE.shapes["A"][:, 0])
    assert found.density.num_bins == 1


def test_ewma_shapes_make_training_returns_unit_t() -> None:
    nu, scale = EwmaStudent.fit(BLOCK_STUDENT, REFERENCE, horizon=3).fits["A"]
    assert 2.1 <= nu <= 100
    assert 0.5 < scale < 1.2


def test_ewma_needs_a_series_that_moves() -> None:
    with pytest.raises(NotEnoughDataError, match="moving prices"):
        EwmaStudent.fit(simulate_panel("A", 30), REFERENCE, horizon=3)


PANEL_BOOTSTRAP = simulate_panel("AB", 700)
RIVAL = Bootstrap(PANEL_BOOTSTRAP.sessions[500], {"": 0.3})


@pytest.mark.parametrize(
    "place", [200, BOOTSTRAP_WINDOW - 1, BOOTSTRAP_WINDOW, BOOTSTRAP_WINDOW + 1, 690]
)
def test_quantiles_are_those_of_the_last_returns(place: int) -> None:
    returns = PANEL_BOOTSTRAP["A"].log_returns()
    recent = returns[max(1, place - BOOTSTRAP_WINDOW + 1) : place + 1]
    expected = np.quantile(recent, BOOTSTRAP_LEVELS, method="hazen")
    np.testing.assert_allclose(trailing_quantiles(returns, np.array([place]))[0], expected)


@pytest.mark.parametrize("place", [200, 690])
def test_paths_are_runs_of_returns_that_ended_by_the_cutoff(place: int) -> None:
    found = RIVAL.predict(
        PANEL_BOOTSTRAP, PANEL_BOOTSTRAP.sessions[[place]], horizon=3, num_paths=2000, seed=1
    )
    returns = PANEL_BOOTSTRAP["A"].log_returns().astype(np.float32)
    runs = np.lib.stride_tricks.sliding_window_view(returns, 3)[
        max(1, place - BOOTSTRAP_WINDOW + 1) : place - 1
    ]
    seen = {tuple(path) for path in found.paths[0]}
    possible = {tuple(run) for run in runs}
    assert seen <= possible
    assert len(seen) > 0.95 * len(possible)


def test_the_regression_is_least_squares_on_lags_1_5_22_and_bad_news() -> None:
    panel = recent_prices().select(["IBM"])
    found = HarRangeStudent.fit(panel, REFERENCE, horizon=2)
    bars = panel["IBM"].adjusted()
    y, r = np.log(daily_variance(bars)), bars.log_returns()
    rows, targets = [], []
    for i in range(21, len(bars) - 2):
        month = y[i - 21 : i + 1].mean()
        bad = min(np.clip(r[i] / np.exp(month / 2), -8, 8), 0)
        rows.append([1, y[i], y[i - 4 : i + 1].mean(), month, bad])
        targets.append(y[i + 1 : i + 3])
    expected = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
    np.testing.assert_allclose(found.fits["IBM"][:5], expected, rtol=1e-6, atol=1e-9)
    assert found.fits["IBM"][4, 0] < 0  # bad news raises volatility


def test_a_short_symbol_takes_the_medians() -> None:
    short = simulate_bars("S", 150, start="2016-09-01")
    baseline = HarRangeStudent.fit(
        Panel([*simulate_panel("AB", 600).values(), short]), REFERENCE, horizon=2
    )
    assert set(baseline.fits) == {"A", "B", ""}
    assert baseline.describe() == {"own_fits": 2}
    with pytest.raises(NotEnoughDataError, match="har-range-t"):
        HarRangeStudent.fit(Panel([short]), REFERENCE, horizon=2)


def series(slope: float, n: int = 4000) -> Panel:
    rng = np.random.default_rng(1)
    r = np.zeros(n)
    for i in range(1, n):
        r[i] = slope * r[i - 1] + 0.01 * rng.normal()
    close = 100 * np.exp(np.cumsum(r))
    names = ("open", "high", "low", "close", "adj_close")
    return Panel([simulate_bars("A", n, **dict.fromkeys(names, close))])


@pytest.mark.parametrize("slope", [-0.4, 0.0, 0.3])
def test_the_slope_is_found_and_decays_with_the_steps(slope: float) -> None:
    panel = series(slope)
    baseline = Autoregression.fit(panel, REFERENCE, horizon=3)
    assert baseline.fits["A"][1] == pytest.approx(slope, abs=0.04)
    found = baseline.predict(panel, panel.sessions[[3000]], horizon=3)
    c, phi = baseline.fits["A"][:2]
    last = panel["A"].log_returns()[3000]
    first = c + phi * last
    np.testing.assert_allclose(found.mean[0], [first, c + phi * first, c + phi * (c + phi * first)])


def test_too_little_history_is_an_error_autoregression() -> None:
    with pytest.raises(NotEnoughDataError, match="ar1"):
        Autoregression.fit(Panel([simulate_bars("A", 200)]), REFERENCE, horizon=3)


TOKEN_PANEL = simulate_panel("AB", 800)
TOKEN_REFERENCE = fit_baseline("har-pooled-t", TOKEN_PANEL, horizon=3)


def test_tokens_are_equal_bins_and_unknown_is_none() -> None:
    levels = np.array([0.0, 1 / BASELINE_BINS, 0.999, 1.0, np.nan])
    assert tokens(levels).tolist() == [0, 1, BASELINE_BINS - 1, BASELINE_BINS - 1, -1]


def test_the_unigram_counts_what_came() -> None:
    baseline = Unigram.fit(TOKEN_PANEL, TOKEN_REFERENCE.reference, horizon=3)
    found = TOKEN_REFERENCE.parameters(TOKEN_PANEL, 3)
    counts = np.zeros(BASELINE_BINS)
    for symbol, bars in TOKEN_PANEL.items():
        u = found[symbol].cdf(aligned_returns(bars.log_returns(), 3))[:, 1]
        counts += np.histogram(u[np.isfinite(u)], bins=BASELINE_BINS, range=(0, 1))[0]
    expected = (counts + PRIOR / BASELINE_BINS) / (counts.sum() + PRIOR)
    np.testing.assert_allclose(baseline.table[1], expected)


def test_the_chain_takes_powers_of_its_table_and_walks_through_it() -> None:
    plain = Markov.fit(TOKEN_PANEL, TOKEN_REFERENCE.reference, horizon=3)
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(BASELINE_BINS, 0.2), BASELINE_BINS + 1)
    baseline = Markov(plain.trained_until, plain.overnight_share, TOKEN_REFERENCE.reference, table)
    day = TOKEN_PANEL.sessions[[500]]
    found = baseline.predict(TOKEN_PANEL, day, horizon=3, num_paths=6000, seed=0)
    parameters = TOKEN_REFERENCE.parameters(TOKEN_PANEL, 1)["A"]
    u = parameters.cdf(aligned_returns(TOKEN_PANEL["A"].log_returns(), 1))[499, 0]
    first = table[int(u * BASELINE_BINS)]
    np.testing.assert_allclose(found.density.probs[0, 0], first)
    np.testing.assert_allclose(found.density.probs[0, 2], first @ table[:-1] @ table[:-1])
    share = np.mean(found.paths[0, :, 2] <= found.density.quantile([0.3])[0, 2, 0])
    assert share == pytest.approx(0.3, abs=0.03)
    for rows in (table, plain.table):
        np.testing.assert_allclose(rows.sum(axis=1), 1)


PANEL_BOOSTING = simulate_panel("ABC", 900)
BLOCK_BOOSTING = PANEL_BOOSTING.until(PANEL_BOOSTING.sessions[700])


@pytest.fixture(scope="module")
def baseline() -> Boosting:
    return Boosting.fit(BLOCK_BOOSTING, REFERENCE, horizon=2)


def test_quantiles_do_not_cross_and_cover(baseline: Boosting) -> None:
    found = baseline.predict(PANEL_BOOSTING, PANEL_BOOSTING.sessions[701:], horizon=2)
    values = found.quantile(BOOSTED_LEVELS)
    assert (np.diff(values, axis=-1) >= 0).all()
    rows = score(found, PANEL_BOOSTING, naive_errors(PANEL_BOOSTING))
    assert summary(rows[rows["step"] == 2])["coverage_80"] == pytest.approx(0.8, abs=0.07)
    assert rows["log_score"].isna().all()


@pytest.mark.slow
def test_the_number_of_jobs_changes_nothing(baseline: Boosting) -> None:
    again = Boosting.fit(BLOCK_BOOSTING, REFERENCE, horizon=2, jobs=2)
    day = PANEL_BOOSTING.sessions[-3:]
    one, two = (
        r.predict(PANEL_BOOSTING, day, horizon=2).quantile(BOOSTED_LEVELS)
        for r in (baseline, again)
    )
    assert one.tobytes() == two.tobytes()


def test_too_little_history_is_an_error_boosting() -> None:
    with pytest.raises(NotEnoughDataError, match="boosting"):
        Boosting.fit(BLOCK_BOOSTING.until(PANEL_BOOSTING.sessions[150]), REFERENCE, horizon=2)


NAMES = [
    "hist-vol",
    "bootstrap",
    "ewma-t",
    "garch-t",
    "gjr-garch-skewt",
    "egarch-t",
    "gas-t",
    "har-range-t",
    "har-x",
    "har-pooled-t",
    "ar1",
    "unigram",
    "markov",
    "boosting",
    "boosting-t",
    "perceptron-t",
]


def test_the_names_are_those_of_the_tables() -> None:
    assert list(BASELINES) == NAMES


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("all", tuple(NAMES)),
        ("none", ("har-pooled-t",)),
        ("markov, ar1", ("har-pooled-t", "ar1", "markov")),
        (["ewma-t", "ewma-t"], ("ewma-t", "har-pooled-t")),
        ("har-pooled-t", ("har-pooled-t",)),
    ],
)
def test_rivals_are_chosen_by_name_in_the_order_of_the_tables(asked: object, found: object) -> None:
    assert choose_baselines(asked) == found  # type: ignore[arg-type]


def test_a_near_name_is_offered() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'garch-t'"):
        choose_baselines("garch")
    with pytest.raises(ConfigError, match="Known: hist-vol"):
        choose_baselines("xyz,all")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("", "No baseline is named. Give all, none, or some of: hist-vol"),
        (" , ", "No baseline is named"),
        ([], "No baseline is named"),
        ("none,garch-t", "'none' stands alone. Got none, garch-t"),
        ("garch-t,all", "'all' stands alone"),
    ],
)
def test_an_empty_or_contradictory_choice_is_refused(asked: str | list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        choose_baselines(asked)


def test_har_x_needs_a_covariate_and_uses_only_its_session_before() -> None:
    plain = Panel(BLOCK.values())
    with pytest.raises(NotEnoughDataError, match="--covariate"):
        fit_baseline("har-x", plain, horizon=H)
    assert "har-x" not in choose_baselines("all", covariate=False)
    assert "har-x" in choose_baselines("all")
    assert "har-x" in choose_baselines("har-x", covariate=False)
    beside, fitted = PANEL.covariate, FITTED["har-x"]
    assert beside is not None
    day = beside.sessions[650]
    louder = replace(
        beside, adj_close=np.where(beside.sessions == day, 3.0, 1.0) * beside.adj_close
    )
    other = Panel(PANEL.values(), covariate=louder)
    for cutoff, same in ((day, True), (beside.sessions[651], False)):
        old, new = (
            predict(fitted, one, np.array([cutoff])).density.scale for one in (PANEL, other)
        )
        assert (old == new).all() == same
