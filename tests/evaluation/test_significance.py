import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quantseq.evaluation.significance import (
    _MIN_DAYS,
    block_length,
    by_date,
    clustered_mean,
    confidence_set,
    days_needed,
    diebold_mariano,
    hit_rate,
    information_coefficient,
    loss_difference,
    mean_interval,
    pesaran_timmermann,
    profit_by_confidence,
)

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
            lags=max(step - 1, int(4 * (n / 100) ** (2 / 9))),
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
    assert np.isnan(mean_interval(series[: _MIN_DAYS - 1], seed=0)).all()
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


law_direction = settings(deadline=None, max_examples=25)


def panel(days: int, symbols: int, skill: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    forecast = rng.normal(size=(days, symbols))
    outcome = skill * forecast + rng.normal(size=(days, symbols))
    dates = np.arange(days).astype("datetime64[D]").repeat(symbols)
    return forecast.ravel(), outcome.ravel(), dates


@given(st.integers(3, 12), st.booleans(), st.integers(0, 99))
@law_direction
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


RNG = np.random.default_rng(0)
DATES = np.repeat(np.datetime64("2010-01-04") + np.arange(500), 4)
PROB = 0.5 + 0.2 * RNG.uniform(-1, 1, len(DATES))
NOISE = RNG.normal(0, 0.01, len(DATES))


def test_each_group_holds_its_share_of_the_forecasts_in_order_of_confidence():
    sure = np.abs(PROB - 0.5)
    found = profit_by_confidence(PROB, np.log1p(np.sign(PROB - 0.5) * sure), DATES)
    order = np.argsort(sure, kind="stable")
    for group, part in zip(found, np.array_split(order, 10), strict=True):
        rows = np.sort(part)
        assert group.value == pytest.approx(by_date(sure[rows], DATES[rows]).mean(), rel=1e-12)


def test_confidence_that_knows_is_seen_to_earn():
    outcome = NOISE + 0.05 * (PROB - 0.5)
    found = profit_by_confidence(PROB, outcome, DATES)
    assert found[-1].value > found[0].value
    assert found[-1].t > 3


def test_noise_earns_nothing_beyond_its_error():
    ts = [one.t for one in profit_by_confidence(PROB, NOISE, DATES)]
    assert np.abs(ts).max() < 4
    assert abs(np.mean(ts)) < 1.5


def test_forecasts_without_a_call_or_an_outcome_are_left_out():
    even = PROB.copy()
    even[: len(even) // 2] = 0.5
    outcome = NOISE.copy()
    outcome[-100:] = np.nan
    groups = profit_by_confidence(even, outcome, DATES)
    kept = slice(len(even) // 2, -100)
    again = profit_by_confidence(PROB[kept], NOISE[kept], DATES[kept])
    assert [one.value for one in groups] == [one.value for one in again]


@pytest.mark.parametrize("count", [0, 99])
def test_too_few_give_nothing(count):
    assert profit_by_confidence(PROB[:count], NOISE[:count], DATES[:count]) == []
