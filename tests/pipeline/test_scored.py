"""Both places of scores give the same means, tests and calibration, as exactly as they say."""

from dataclasses import asdict

import pytest

from quantseq.pipeline.backtesting import BacktestOutcome
from quantseq.pipeline.scored import FromForecasts, FromPage
from quantseq.report.embedded import gather, packed, rounded, unpacked
from quantseq.report.run import Run

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


def test_what_is_not_kept_is_none(both: Pair) -> None:
    for one in both:
        assert one.mean("nobody", "crps", 1) is None
        assert one.test("nobody", "crps", 1) is None
        assert one.calibration("nobody") is None
