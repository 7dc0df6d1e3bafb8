"""The house forecaster: the same bytes for the same past, whatever stands beside or after it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantseq.errors import BarsError, ConfigError, NotEnoughDataError
from quantseq.evaluation.walkforward import WalkForward
from quantseq.forecasting import forecaster
from quantseq.forecasting.baselines import ReferenceForecaster
from quantseq.forecasting.calibration import Recalibration, Shrinkage
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import Forecasts
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.forecasting.rows import MIN_HISTORY
from quantseq.forecasting.windows import PriceTask
from quantseq.market.bars import Bars, Panel
from quantseq.seq2seq.training import StepReport
from tests.forecasting.broken import glitch, only_closes, stale
from tests.prices import (
    TOKYO,
    fit_small,
    forecast_bytes,
    opinionated,
    rewrite_after,
    simulate_bars,
    simulate_panel,
)

QUICK = ForecasterConfig(
    horizon=2,
    num_bins=6,
    members=1,
    epochs=1,
    stride=8,
    batch_size=64,
    hidden_size=8,
    embedding_size=4,
)

NOTHING = Recalibration(0.0, 0.0, 0.0)


def predict(forecaster: Seq2SeqForecaster, panel: Panel, days: Any, **changes: Any) -> Forecasts:
    options = {"horizon": 3, "num_paths": 40, "seed": 0} | changes
    return forecaster.predict(panel, np.asarray(days), **options)


@pytest.fixture(scope="module")
def days(recent: Panel) -> np.ndarray:
    """More cutoffs than one encoder chunk holds, so that chunks have ragged ends."""
    return recent.sessions[701:740]


@pytest.fixture(scope="module")
def together(fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray) -> Forecasts:
    return predict(fitted, recent, days)


def test_every_symbol_is_forecast_at_every_cutoff(
    together: Forecasts, recent: Panel, days: np.ndarray
) -> None:
    pairs = list(zip(together.symbols, together.cutoffs, strict=True))
    assert pairs == [(symbol, day) for symbol in recent for day in days]
    assert together.paths.shape == (4 * len(days), 40, 3)
    assert together.density.probs.shape == (4 * len(days), 3, 12)
    np.testing.assert_allclose(together.density.probs.sum(axis=-1), 1, atol=1e-6)


def test_the_network_is_heard(together: Forecasts) -> None:
    probs = together.density.probs
    assert np.ptp(probs, axis=-1).min() > 0.005
    assert np.ptp(probs[:, 0], axis=0).min() > 0.005


@pytest.mark.parametrize("chosen", [[0], [17], [38], [3, 30]])
def test_a_cutoff_alone_is_what_it_was_together(
    fitted: Seq2SeqForecaster,
    recent: Panel,
    days: np.ndarray,
    together: Forecasts,
    chosen: list[int],
) -> None:
    alone = predict(fitted, recent, days[chosen])
    same = together[np.isin(together.cutoffs, days[chosen])]
    assert forecast_bytes(alone) == forecast_bytes(same)


def test_the_order_of_cutoffs_does_not_matter(
    fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray, together: Forecasts
) -> None:
    assert forecast_bytes(predict(fitted, recent, days[::-1])) == forecast_bytes(together)


def test_the_order_of_symbols_changes_their_order_only(
    fitted: Seq2SeqForecaster, days: np.ndarray, recent: Panel, together: Forecasts
) -> None:
    two = recent.select(["AAPL", "MSFT"])
    plain = predict(fitted, two, days[:5])
    swapped = predict(fitted, two.select(["MSFT", "AAPL"]), days[:5])
    order = np.r_[5:10, 0:5]
    assert forecast_bytes(swapped[order]) == forecast_bytes(plain)


@pytest.mark.parametrize("which", [0, 20, 38])
def test_a_panel_cut_at_the_cutoff_gives_the_same_forecast(
    fitted: Seq2SeqForecaster,
    recent: Panel,
    days: np.ndarray,
    together: Forecasts,
    which: int,
) -> None:
    day = days[which]
    cut = predict(fitted, recent.until(day), [day])
    assert forecast_bytes(cut) == forecast_bytes(together[together.cutoffs == day])


@pytest.mark.parametrize("seed", range(3))
def test_rewritten_later_bars_change_no_forecast(
    fitted: Seq2SeqForecaster,
    recent: Panel,
    days: np.ndarray,
    together: Forecasts,
    seed: int,
) -> None:
    cutoff = days[10 + seed]
    early = days[days <= cutoff]
    other = predict(fitted, rewrite_after(recent, cutoff, seed=seed), early)
    assert forecast_bytes(other) == forecast_bytes(together[together.cutoffs <= cutoff])


def test_a_change_of_the_last_known_bar_changes_the_forecast(
    fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray, together: Forecasts
) -> None:
    moved = rewrite_after(recent, days[4])
    day = next(d for d in days[5:] if all(d in bars.sessions for bars in moved.values()))
    new, old = predict(fitted, moved, [day]), together[together.cutoffs == day]
    assert (new.density.scale != old.density.scale).all()
    assert (new.density.probs[:, 0] != old.density.probs[:, 0]).any(axis=-1).all()


def test_bars_after_the_fit_change_nothing_from_fit_to_forecast(
    recent: Panel, config: ForecasterConfig, fitted: Seq2SeqForecaster
) -> None:
    """Also: the same seed gives the same bytes."""
    last = recent.sessions[700]
    rewritten = rewrite_after(recent, last)
    again = opinionated(fit_small(rewritten, config))
    assert again.trained_until == fitted.trained_until == last
    assert again.describe() == fitted.describe()
    early = recent.sessions[680:701]
    assert forecast_bytes(predict(again, rewritten, early)) == forecast_bytes(
        predict(fitted, recent, early)
    )
    for mine, theirs in zip(again.networks, fitted.networks, strict=True):
        for name, value in mine.state_dict().items():
            assert value.numpy().tobytes() == theirs.state_dict()[name].numpy().tobytes(), name


def test_the_seed_of_a_fit_and_that_of_a_forecast_matter(
    recent: Panel, fitted: Seq2SeqForecaster, days: np.ndarray, together: Forecasts
) -> None:
    other = predict(fitted, recent, days, seed=1)
    assert other.paths.tobytes() != together.paths.tobytes()
    assert other.density.probs[:, 0].tobytes() == together.density.probs[:, 0].tobytes()
    one, two = (fit_small(recent, QUICK, seed=seed) for seed in (0, 1))
    weights = [f.networks[0].encoder.embedding.weight.detach().numpy() for f in (one, two)]
    assert not np.array_equal(*weights)


def test_without_weight_the_forecast_is_the_reference(
    fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray
) -> None:
    reference = fitted.task.reference
    rival = ReferenceForecaster(fitted.trained_until, reference.overnight_share, reference)
    mute = replace(fitted, shrinkage=Shrinkage(0.0, 0.0), recalibration=NOTHING)
    ours, theirs = predict(mute, recent, days), predict(rival, recent, days)
    outcome = np.random.default_rng(0).normal(0, 0.02, ours.mean.shape)
    for name in ("log_density", "cdf", "crps"):
        np.testing.assert_allclose(
            getattr(ours.density, name)(outcome),
            getattr(theirs.density, name)(outcome),
            rtol=1e-6,
            atol=1e-7,
        )
    levels = [0.01, 0.5, 0.99]
    np.testing.assert_allclose(ours.quantile(levels), theirs.quantile(levels), rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(ours.overnight_share, theirs.overnight_share)


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_weight_mixes_network_and_reference(
    fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray, weight: float
) -> None:
    plain = replace(fitted, recalibration=NOTHING)
    full = predict(replace(plain, shrinkage=Shrinkage(1.0, 0.0)), recent, days[:3])
    mixed = predict(replace(plain, shrinkage=Shrinkage(weight, 0.0)), recent, days[:3])
    np.testing.assert_allclose(
        mixed.density.probs[:, 0], weight * full.density.probs[:, 0] + (1 - weight) / 12, atol=1e-6
    )


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_paths_are_draws_from_the_distributions_beside_them(
    fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray, weight: float
) -> None:
    one = replace(fitted, shrinkage=Shrinkage(weight, 0.0))
    found = predict(one, recent, days[:1], num_paths=6000)
    for level in (0.1, 0.5, 0.9):
        quantile = found.quantile([level])[..., 0]
        share = (found.paths <= quantile[:, None]).mean(axis=1)
        np.testing.assert_allclose(share, level, atol=0.03)


def test_a_recalibration_tilts_every_step_and_its_paths(
    fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray
) -> None:
    plain = predict(replace(fitted, recalibration=NOTHING), recent, days[:2], num_paths=500)
    narrow = Recalibration(-0.3, 0.0, 0.0)
    tilted = predict(replace(fitted, recalibration=narrow), recent, days[:2], num_paths=500)
    np.testing.assert_allclose(tilted.density.probs, narrow.apply(plain.density.probs), rtol=1e-6)
    assert (tilted.std < plain.std).all()
    assert (tilted.paths.std(axis=1) < plain.paths.std(axis=1)).all()
    for step in range(3):  # a path that was high stays high
        for row in range(len(plain.paths)):
            order = np.argsort(plain.paths[row, :, step])
            assert (np.diff(tilted.paths[row, order, step]) > -1e-6).all()


def test_few_paths_come_from_every_member(
    fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray
) -> None:
    whole = replace(fitted, shrinkage=Shrinkage(1.0, 0.0))
    one = predict(whole, recent, days, horizon=1, num_paths=1)
    many = predict(whole, recent, days, horizon=1, num_paths=10)
    assert one.paths.shape == (4 * len(days), 1, 1)
    np.testing.assert_allclose(one.density.probs, many.density.probs, atol=1e-6)


@pytest.mark.parametrize("paths", [0, 1, 7])
def test_any_number_of_paths_can_be_asked_for(
    fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray, paths: int
) -> None:
    found = predict(fitted, recent, days[:2], num_paths=paths)
    assert (found.paths is None) == (paths == 0)
    assert np.isfinite(found.std).all()


def test_the_first_step_does_not_depend_on_the_horizon(
    fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray, together: Forecasts
) -> None:
    short = predict(fitted, recent, days, horizon=1)
    assert short.density.probs[:, 0].tobytes() == together.density.probs[:, 0].tobytes()
    assert short.quantile([0.1])[:, 0].tobytes() == together.quantile([0.1])[:, 0].tobytes()


def test_a_symbol_that_the_fit_never_met_can_be_forecast(fitted: Seq2SeqForecaster) -> None:
    panel = Panel([simulate_bars("^X", 300)])
    found = predict(fitted, panel, panel.sessions[-2:])
    assert found.symbols.tolist() == ["^X", "^X"]
    assert np.isfinite(found.paths).all()


@pytest.mark.parametrize("horizon", [4, 0, -1])
def test_a_horizon_beyond_the_fit_is_refused(
    fitted: Seq2SeqForecaster, recent: Panel, days: np.ndarray, horizon: int
) -> None:
    with pytest.raises(ConfigError, match="1 to 3 steps"):
        predict(fitted, recent, days, horizon=horizon)


def test_too_little_history_for_a_forecast_is_an_error(
    fitted: Seq2SeqForecaster, recent: Panel
) -> None:
    short = recent.until(recent.sessions[MIN_HISTORY - 1])
    with pytest.raises(NotEnoughDataError, match="Nothing to forecast"):
        predict(fitted, short, short.sessions[-1:])


@pytest.mark.parametrize(
    ("sessions", "train", "validate", "match"),
    [
        (160, 100, 110, "The longest training history"),
        (400, 330, 399, "The validation block"),
        (400, 300, 394, "early-stopping"),
        (400, 190, 200, "training"),
    ],
)
def test_blocks_that_are_too_short_are_an_error(
    sessions: int, train: int, validate: int, match: str
) -> None:
    panel = simulate_panel("AB", sessions)
    with pytest.raises(NotEnoughDataError, match=match):
        Seq2SeqForecaster.fit(
            panel,
            train_until=panel.sessions[train],
            validate_from=panel.sessions[validate],
            config=QUICK,
        )


@pytest.mark.slow
def test_the_number_of_jobs_changes_no_byte(recent: Panel) -> None:
    panel = recent.until(recent.sessions[500])
    one, two = (
        Seq2SeqForecaster.fit(
            panel,
            train_until=panel.sessions[400],
            validate_from=panel.sessions[406],
            config=replace(QUICK, members=2),
            jobs=jobs,
        )
        for jobs in (1, 2)
    )
    assert one.shrinkage == two.shrinkage
    for mine, theirs in zip(one.networks, two.networks, strict=True):
        for name, value in mine.state_dict().items():
            assert value.numpy().tobytes() == theirs.state_dict()[name].numpy().tobytes(), name


def test_each_training_step_is_told_with_its_member(recent: Panel) -> None:
    told: list[tuple[int, StepReport]] = []
    panel = recent.until(recent.sessions[500])
    Seq2SeqForecaster.fit(
        panel,
        train_until=panel.sessions[400],
        validate_from=panel.sessions[406],
        config=replace(QUICK, members=2),
        on_step=lambda member, report: told.append((member, report)),
    )
    assert {member for member, _ in told} == {0, 1}


def test_a_fit_says_what_it_saw(fitted: Seq2SeqForecaster, recent: Panel) -> None:
    told = fitted.describe()
    assert told["trained_until"] == str(recent.sessions[700])
    assert told["symbols"] == list(recent)
    assert fitted.task.tokenizer.fitted_until == str(recent.sessions[565])
    assert len(fitted.histories) == 2
    known = recent.until(recent.sessions[700])
    assert told["data_hashes"] == {symbol: bars.sha256 for symbol, bars in known.items()}


@pytest.mark.parametrize(
    "wrong", [{"horizon": 0}, {"members": -1}, {"epochs": 1.5}, {"stride": None}, {"patience": "3"}]
)
def test_choices_have_rules(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be an int in"):
        ForecasterConfig(**wrong)


def test_too_many_bins_are_refused_before_anything_is_trained(recent: Panel) -> None:
    with pytest.raises(ConfigError, match="num_bins"):
        fit_small(recent, replace(QUICK, num_bins=1))


def test_the_nominal_architecture_is_the_one_that_is_trained(fitted: Seq2SeqForecaster) -> None:
    assert fitted.networks[0].config == fitted.config.architecture()


@pytest.mark.parametrize("seed", [-1, 2**48])
def test_a_seed_that_no_generator_takes_is_refused(recent: Panel, seed: int) -> None:
    with pytest.raises(ConfigError, match="seed"):
        fit_small(recent, QUICK, seed=seed)


def test_the_largest_seed_works(recent: Panel) -> None:
    fit_small(recent, QUICK, seed=2**48 - 1)


def test_members_begin_from_seeds_of_their_own(fitted: Seq2SeqForecaster) -> None:
    first, second = (one.encoder.embedding.weight.detach().numpy() for one in fitted.networks)
    assert not np.isin(first, second).any()


def fit_and_forecast(panel: Panel) -> Forecasts:
    """Fit until session 400 of the first symbol, forecast the last ten."""
    days = next(iter(panel.values())).sessions
    fitted = Seq2SeqForecaster.fit(
        panel.until(days[400]), train_until=days[300], validate_from=days[306], config=QUICK
    )
    return fitted.predict(panel, days[-10:], horizon=2, num_paths=5)


def numbers(found: Forecasts) -> list[np.ndarray]:
    return [found.mean, found.std, found.prob_up, found.quantile([0.05, 0.95]), found.paths]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bars: glitch(bars, 200),
        lambda bars: glitch(bars, len(bars) - 3),
        lambda bars: bars.between(bars.sessions[-190]),
        lambda bars: only_closes(bars, bars.close),
        lambda bars: replace(bars, timezone=TOKYO),
    ],
    ids=["glitch", "glitch at the end", "young", "only closes", "elsewhere"],
)
def test_a_broken_series_is_forecast_with_numbers_and_harms_no_other(
    spoil: Callable[[Bars], Bars],
) -> None:
    panel = simulate_panel("ABCD", 430)
    broken = Panel([*list(panel.values())[:3], spoil(panel["D"])])
    found, healthy = fit_and_forecast(broken), fit_and_forecast(panel)
    assert sorted(set(found.symbols)) == list("ABCD")
    for values in numbers(found):
        assert np.isfinite(values).all()
    others, usual = found.symbols != "D", healthy.symbols != "D"
    ratio = found.density.scale[others] / healthy.density.scale[usual]
    assert np.median(np.abs(np.log(ratio))) < 0.1
    assert np.abs(np.log(ratio)).max() < 0.25


@pytest.mark.parametrize("rest", [stale, lambda bars: only_closes(bars, np.full(len(bars), 7.0))])
def test_a_series_at_rest_is_left_out_and_harms_no_other(rest: Callable[[Bars], Bars]) -> None:
    panel = simulate_panel("ABCD", 430)
    found = fit_and_forecast(Panel([*list(panel.values())[:3], rest(panel["D"])]))
    assert sorted(set(found.symbols)) == list("ABC")
    healthy = fit_and_forecast(panel)
    ratio = found.density.scale / healthy.density.scale[healthy.symbols != "D"]
    assert np.abs(np.log(ratio)).max() < 0.25


def test_a_symbol_with_too_little_history_is_left_out_and_the_others_are_forecast() -> None:
    panel = simulate_panel("AB", 430)
    young = simulate_bars("Y", 60, start=str(panel.sessions[-60]))
    found = fit_and_forecast(Panel([*panel.values(), young]))
    assert sorted(set(found.symbols)) == ["A", "B"]


def test_one_symbol_is_enough() -> None:
    found = fit_and_forecast(simulate_panel("A", 430))
    for values in numbers(found):
        assert np.isfinite(values).all()


def test_holidays_of_its_own_leave_a_symbol_without_a_forecast_on_them() -> None:
    panel = simulate_panel("AB", 430)
    away = panel.sessions[-5]
    keep = panel["B"].sessions != away
    values = {
        name: getattr(panel["B"], name)[keep]
        for name in (
            "sessions",
            "open",
            "high",
            "low",
            "close",
            "adj_close",
            "volume",
            "dividends",
            "splits",
        )
    }
    found = fit_and_forecast(Panel([panel["A"], replace(panel["B"], **values)]))
    rows = list(zip(found.symbols, found.cutoffs, strict=True))
    assert ("A", away) in rows
    assert ("B", away) not in rows
    assert len(rows) == 19


def test_unknown_prices_never_reach_a_forecast() -> None:
    bars = simulate_bars("A", 430)
    close = bars.close.copy()
    close[200] = np.nan
    with pytest.raises(BarsError, match="A"):
        replace(bars, close=close)


def test_nothing_that_is_fitted_reaches_the_purge_before_the_test(
    recent: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest bar of any fitted part, targets included, lies a horizon before the test block."""
    fold = WalkForward(test_size=60, validation_size=60, min_train=400, purge=5).split(
        recent.sessions
    )[0]
    seen: dict[str, np.datetime64] = {}
    choose, train, task = forecaster.choose_shrinkage, forecaster.fit_networks, PriceTask.fit

    def spy_task(panel: Panel, **options: Any) -> PriceTask:
        seen["reference and bins"] = panel.sessions[-1]
        return task(panel, **options)

    def spy_networks(config: Any, table: Any, *rows: Any, **options: Any) -> Any:
        seen["training"], seen["stopping"] = (table.known_on[part].max() for part in rows)
        return train(config, table, *rows, **options)

    def spy_shrinkage(tilt: Any, cutoffs: Any) -> Any:
        after = np.searchsorted(recent.sessions, cutoffs.max()) + QUICK.horizon
        seen["shrinkage and recalibration"] = recent.sessions[after]
        return choose(tilt, cutoffs)

    monkeypatch.setattr(PriceTask, "fit", spy_task)
    monkeypatch.setattr(forecaster, "fit_networks", spy_networks)
    monkeypatch.setattr(forecaster, "choose_shrinkage", spy_shrinkage)
    fitted = Seq2SeqForecaster.fit(
        recent.between(fold.train_start, fold.validation_end),
        train_until=fold.train_end,
        validate_from=fold.validation_start,
        config=QUICK,
    )
    place = {day: i for i, day in enumerate(recent.sessions)}
    limit = place[fold.test_start] - QUICK.horizon
    assert len(seen) == 4
    for part, newest in seen.items():
        assert place[newest] < limit, part
    assert place[fitted.trained_until] < limit
    assert seen["reference and bins"] <= fold.train_end
    assert seen["training"] <= fold.train_end
    assert seen["stopping"] < seen["shrinkage and recalibration"]
