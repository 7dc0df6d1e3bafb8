"""The real line passes its audit, and the same line with a leak planted in it does not."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.config import RunConfig
from quantseq.evaluation.walkforward import Evaluation
from quantseq.forecasting.calibration import Shrinkage
from quantseq.forecasting.forecasts import Forecasts
from quantseq.forecasting.reference import Reference, StepParameters
from quantseq.forecasting.volatility import SymbolFeatures
from quantseq.forecasting.windows import PriceTask
from quantseq.market.bars import Panel
from quantseq.pipeline.backtesting import BacktestOutcome, describe
from quantseq.pipeline.checks.audited import FULL, OURS, SHORT, Audited, Depth
from quantseq.pipeline.checks.auditing import audit_run, badge, describe_audit
from quantseq.trading.audit import cut_points, future_corruption, prefix_invariance
from quantseq.trading.decisions.holding import held_moments
from quantseq.trading.trials import Trial

TINY = Depth("tiny", cuts=2, window=2, draws=2, worlds=1)


def audited(run: BacktestOutcome, panel: Panel, evaluation: Evaluation | None = None) -> Audited:
    """The shared run, with half of its networks let through, ready to be asked again."""
    config = RunConfig.from_mapping(run.run.manifest["config"])
    models = [
        {**one, OURS: replace(one[OURS], shrinkage=Shrinkage(0.5, 0.0))}  # type: ignore[type-var]
        for one in run.evaluation.models
    ]
    found = replace(evaluation or run.evaluation, models=models)
    asked = Audited(panel, found, pd.DataFrame(), run.strategy, run.benchmark, config, TINY)
    parts = [
        asked.predict(number, panel, asked.days(number), num_paths=config.num_paths)
        for number in range(len(models))
    ]
    forecasts = {**found.forecasts, OURS: Forecasts.concatenate(parts)}
    weights = config.trial.make_policy().weights(held_moments(forecasts[OURS], config.fill))
    return replace(asked, evaluation=replace(found, forecasts=forecasts), weights=weights)


@pytest.fixture(scope="module")
def honest(small_run: BacktestOutcome, small_panel: Panel) -> Audited:
    return audited(small_run, small_panel)


def failed(audit: dict[str, Any]) -> set[str]:
    return {one["name"] for one in audit["checks"] if not one["passed"]}


def test_an_honest_run_passes_every_check(honest: Audited) -> None:
    steps: list[int] = []
    audit = audit_run(honest, step=lambda: steps.append(1))
    assert audit["passed"], describe_audit(audit)
    assert audit["scope"] == "tiny"
    assert len(steps) == TINY.steps
    assert [one["delay"] for one in audit["lag_curve"]] == [0, 1, 2, 5]
    assert [(one["name"], one["n"]) for one in audit["placebos"]] == [
        ("random entry", 2),
        ("shuffled targets", 2),
        ("block-permuted returns", 1),
        ("simulated GARCH", 1),
    ]
    assert 0 <= audit["rank"] <= 1
    assert np.ptp(honest.forecasts.density.probs, axis=-1).max() > 0  # the networks took part
    assert badge(audit) == "passed"


def test_every_stage_is_compared(honest: Audited) -> None:
    cut = honest.cuts[0]
    known, again = honest.known(cut), honest(honest.panel, cut)
    assert list(known) == list(again) == ["scale", "tokens", "forecasts", "moments", "weights"]
    for stage, frame in known.items():
        assert len(frame), stage
        assert frame.index.get_level_values(0).max() >= pd.Timestamp(str(cut)), stage


def test_a_sigma_that_includes_the_return_it_is_for_is_caught(
    small_run: BacktestOutcome, small_panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = Reference.parameters

    def seeing(self: Reference, symbol: str, one: SymbolFeatures) -> StepParameters:
        made = true(self, symbol, one)
        scale = np.vstack([made.scale[1:], made.scale[-1:]])
        return replace(made, scale=scale)

    monkeypatch.setattr(Reference, "parameters", seeing)
    run = audited(small_run, small_panel)
    for check in (prefix_invariance, future_corruption):
        found = check(run, small_panel, run.cuts, known=run.known)
        assert not found.passed
        assert "rows of scale" in found.reading


def test_weights_moved_by_one_are_caught(
    honest: Audited, small_panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = Trial.make_policy

    class Early:
        name = "early"

        def __init__(self, trial: Trial) -> None:
            self.policy = true(trial)

        def weights(self, moments: pd.DataFrame) -> pd.DataFrame:
            return self.policy.weights(moments).shift(-1).ffill()

    monkeypatch.setattr(Trial, "make_policy", lambda trial: Early(trial))
    run = replace(honest, weights=honest.weights.shift(-1).ffill())
    found = prefix_invariance(run, small_panel, run.cuts, known=run.known)
    assert not found.passed
    assert "rows of weights" in found.reading


def test_bins_and_reference_fitted_on_all_data_are_caught(
    honest: Audited, small_panel: Panel
) -> None:
    task = honest.model(0).task
    everything = PriceTask.fit(small_panel, horizon=task.horizon, num_bins=task.tokenizer.num_bins)
    tokenizer = replace(everything.tokenizer, data_hash=task.tokenizer.data_hash)
    leaky = replace(honest.model(0), task=replace(everything, tokenizer=tokenizer))
    models = [{**honest.evaluation.models[0], OURS: leaky}, *honest.evaluation.models[1:]]
    run = replace(honest, evaluation=replace(honest.evaluation, models=models))
    run = replace(run, depth=replace(TINY, cuts=1, draws=1, worlds=0))
    assert "fit window" in failed(audit_run(run))
    late = replace(honest.model(0), trained_until=honest.evaluation.folds[0].test_start)
    models = [{**honest.evaluation.models[0], OURS: late}, *honest.evaluation.models[1:]]
    run = replace(run, evaluation=replace(honest.evaluation, models=models))
    audit = audit_run(run)
    assert "fit window" in failed(audit)
    assert badge(audit).startswith("failed: ")
    assert "0 sessions before its test" in describe_audit(audit)


def test_the_short_audit_stands_in_the_run(small_run: BacktestOutcome) -> None:
    audit = small_run.run.result["audit"]
    assert audit["passed"]
    assert audit["scope"] == SHORT.name != FULL.name
    assert [one["name"] for one in audit["checks"]] == [
        "prefix invariance",
        "future corruption",
        "fit window",
        "warm-up drift",
        "fill timing",
        "lag curve",
    ]
    told = json.loads((small_run.folder / "manifest.json").read_text())
    assert told["audit"] == "passed"
    sharpe = small_run.run.result["metrics"]["strategy"]["sharpe"]
    assert audit["lag_curve"][0]["sharpe"] == pytest.approx(sharpe, rel=1e-12)
    entry, rival = audit["placebos"][0], small_run.run.result["rivals"]["random_entry"]
    assert [entry["low"], entry["high"]] == pytest.approx(rival["sharpe_range"], rel=1e-12)
    assert "Look-ahead audit (short): 6 checks passed" in describe(small_run)[-1]


def test_no_placebo_and_no_audit_is_a_trial(small_run: BacktestOutcome) -> None:
    lines = (small_run.folder.parent / "ledger.jsonl").read_text().splitlines()
    assert len(lines) == 1
    assert small_run.verdict.n_trials == 1
    assert asdict(SHORT)["worlds"] == 0


def test_cuts_lie_in_the_fold_that_tests_them(honest: Audited) -> None:
    for cut in cut_points(honest.forecasts.cutoffs, 7):
        fold = honest.evaluation.folds[honest.fold_at(cut)]
        assert fold.test_start <= cut <= fold.test_end
