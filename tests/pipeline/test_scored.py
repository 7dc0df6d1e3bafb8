"""Both places of scores give the same means, tests and calibration, as exactly as they say."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from quantseq.pipeline.backtesting import BacktestOutcome
from quantseq.pipeline.scored import FromForecasts, FromPage
from quantseq.reporting.embedded import gather, packed, rounded, unpacked
from quantseq.reporting.run import Run

RIVALS = ("har-pooled-t", "ewma-t", "hist-vol")
Pair = tuple[FromForecasts, FromPage]


@pytest.fixture(scope="module")
def run(small_run: BacktestOutcome) -> Run:
    return Run.load(small_run.folder)


@pytest.fixture(scope="module")
def both(run: Run) -> Pair:
    return FromForecasts(run), FromPage(unpacked(packed(gather(rounded(run)))))


@pytest.mark.parametrize("model", ["seq2seq", *RIVALS])
@pytest.mark.parametrize("score", ["log_score", "crps"])
def test_means_are_those_of_the_evaluation(run: Run, both: Pair, model: str, score: str) -> None:
    stored = run.result["forecast"]["models"][model][score]
    exact, near = (one.mean(model, score, 1) for one in both)
    assert exact == pytest.approx(stored, rel=1e-12)
    assert near == pytest.approx(stored, abs=both[1].room(model, score, 1))
    assert both[1].room(model, score, 1) < 1e-3 * (1 if score == "log_score" else 0.05)


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("step", [1, 3])
def test_tests_are_those_of_the_evaluation(run: Run, both: Pair, rival: str, step: int) -> None:
    (stored,) = (
        one
        for one in run.result["forecast"]["tests"]
        if (one["rival"], one["score"], one["step"]) == (rival, "log_score", step)
    )
    exact, near = (one.test(rival, "log_score", step) for one in both)
    assert exact is not None
    assert near is not None
    assert asdict(exact) == {name: stored[name] for name in asdict(exact)}
    assert near.n_days == exact.n_days
    assert near.t == pytest.approx(exact.t, rel=0.02, abs=0.02)


def test_calibration_is_that_of_the_evaluation(run: Run, both: Pair) -> None:
    for model in ("seq2seq", *RIVALS):
        stored = run.result["forecast"]["models"][model]
        exact, near = (one.calibration(model) for one in both)
        assert exact is not None
        assert near is not None
        for name in exact:
            assert exact[name] == stored[name]
            room = 1 / 4000 if name == "pit_ks" else 0.0
            assert near[name] == pytest.approx(stored[name], abs=room + 1e-12)


def _in_both(run: Run, forecasts: pd.DataFrame) -> Pair:
    other = replace(run, forecasts=forecasts)
    return FromForecasts(other), FromPage(unpacked(packed(gather(rounded(other)))))


def test_means_are_exact_to_their_room_where_days_have_unlike_rows(run: Run) -> None:
    frame = run.forecasts
    day, _ = pd.factorize(frame["cutoff"], sort=True)
    first = frame["symbol"] == frame["symbol"].iloc[0]
    exact, near = _in_both(run, frame[first | (day % 9 > 2)])
    for model in ("seq2seq", *RIVALS):
        for score in ("log_score", "crps"):
            room = near.room(model, score, 1)
            means = [one.mean(model, score, 1) for one in (exact, near)]
            assert means[1] == pytest.approx(means[0], abs=room, rel=0)
            assert room < 2e-3 * (1 if score == "log_score" else 0.05)


def _close(
    exact: FromForecasts, near: FromPage, rival: str, score: str, step: int, *, least: float = 0.02
) -> None:
    one, other = exact.test(rival, score, step), near.test(rival, score, step)
    assert one is not None
    assert other is not None
    assert other.t == pytest.approx(one.t, rel=least, abs=least)
    assert other.p == pytest.approx(one.p, abs=least)
    room = near.room(rival, score, step)
    assert other.mean_difference == pytest.approx(one.mean_difference, abs=room, rel=0)


@pytest.mark.parametrize("size", [1e-12, 1e-9, 1e-7])
def test_tests_agree_where_the_models_nearly_do(run: Run, size: float) -> None:
    frame, rng = run.forecasts.copy(), np.random.default_rng(0)
    for score in ("log_score", "crps"):
        noise = rng.normal(0.3, 1.0, len(frame)) * (rng.uniform(size=len(frame)) < 0.3)
        frame[f"{score}:ewma-t"] = frame[score] * (1 + size * noise)
    both = _in_both(run, frame)
    for score in ("log_score", "crps"):
        for step in (1, 3):
            _close(*both, "ewma-t", score, step)


def test_tests_agree_in_runs_of_a_few_weeks(run: Run) -> None:
    days = np.unique(run.forecasts["cutoff"])
    for count in (25, 30, 40, 60):
        frame = run.forecasts[run.forecasts["cutoff"] < days[count]]
        both = _in_both(run, frame)
        for rival in RIVALS:
            for score in ("log_score", "crps"):
                for step in range(1, int(frame["step"].max()) + 1):
                    _close(*both, rival, score, step, least=0.002)


def test_what_is_not_kept_is_none(both: Pair) -> None:
    for one in both:
        assert one.mean("nobody", "crps", 1) is None
        assert one.test("nobody", "crps", 1) is None
        assert one.calibration("nobody") is None
