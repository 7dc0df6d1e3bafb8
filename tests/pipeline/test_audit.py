"""The real line passes its audit, the same with a leak planted in it does not; a run is made again to the bit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.config import RunConfig
from quantseq.errors import ConfigError, RunError
from quantseq.evaluation import run as loop
from quantseq.evaluation.scores import naive_errors
from quantseq.evaluation.walkforward import Fold
from quantseq.files import Places, read_json, write_json
from quantseq.forecasting import inputs
from quantseq.forecasting.calibration import Shrinkage
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import Forecasts
from quantseq.forecasting.reference import Reference, StepParameters
from quantseq.forecasting.volatility import SymbolFeatures
from quantseq.forecasting.windows import PriceTask
from quantseq.market.bars import Events, Panel
from quantseq.market.events import EventStore
from quantseq.market.store import Store
from quantseq.pipeline import audit as module
from quantseq.pipeline.audit import (
    SHORT,
    Audited,
    Depth,
    audit,
    audit_run,
    badge,
    describe_audit,
    describe_checks,
    find_prices,
)
from quantseq.pipeline.backtest import BacktestOutcome, describe_backtest
from quantseq.pipeline.results import OURS, new_manifest
from quantseq.reporting.run import Run, sign
from quantseq.trading.audit import Check, cut_points, prefix_invariance
from quantseq.trading.policies import held_moments
from tests.prices import rewrite_after, with_events

TINY = Depth("tiny", cuts=2, window=2, draws=2)


def with_networks(run: Audited, networks: list[Seq2SeqForecaster]) -> Audited:
    return replace(run, evaluation=replace(run.evaluation, fitted={OURS: networks}))


def audited(run: BacktestOutcome, panel: Panel) -> Audited:
    """The shared run, with half of its networks let through, ready to be asked again."""
    config = RunConfig.from_mapping(run.run.manifest["config"])
    asked = with_networks(
        Audited(panel, run.evaluation, pd.DataFrame(), config, TINY),
        [replace(one, shrinkage=Shrinkage(0.5, 0.0)) for one in run.evaluation.fitted[OURS]],
    )
    made = []
    for fold, network in zip(asked.evaluation.folds, asked.networks, strict=True):
        days = panel.sessions
        days = days[(days >= fold.test_start) & (days <= fold.test_end)]
        options = {"horizon": config.forecaster.horizon, "num_paths": config.num_paths}
        found = network.predict(panel, days, **options, seed=config.seed)
        made.append(found[np.argsort(found.cutoffs, kind="stable")])
    forecasts = Forecasts.concatenate(made)
    weights = config.make_policy().weights(
        held_moments(forecasts, config.fill, symbols=panel.symbols)
    )
    evaluation = replace(asked.evaluation, forecasts={OURS: forecasts})
    return replace(asked, evaluation=evaluation, weights=weights)


@pytest.fixture(scope="module")
def honest(small_run: BacktestOutcome, small_panel: Panel) -> Audited:
    return audited(small_run, small_panel)


def failed(found: Any) -> dict[str, str]:
    return {one["name"]: one["reading"] for one in found["checks"] if not one["passed"]}


# ------------------------------------------------------------------------------ every check


def test_an_honest_run_passes_every_check(honest: Audited) -> None:
    found = audit_run(honest)
    assert found["passed"], describe_audit(found)
    assert found["scope"] == "tiny"
    assert [one["delay"] for one in found["lag_curve"]] == [0, 1, 2, 5]
    assert [(one["name"], one["n"]) for one in found["placebos"]] == [("random entry", 2)]
    assert 0 <= found["rank"] <= 1
    assert np.ptp(honest.forecasts.density.probs, axis=-1).max() > 0  # the networks took part
    assert badge(found) == "passed"


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
    found = prefix_invariance(run, small_panel, run.cuts, known=run.known)
    assert not found.passed
    assert "rows of scale" in found.reading


def test_an_event_that_is_used_before_it_was_known_is_caught(
    small_run: BacktestOutcome, small_panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = with_events(small_panel, notice=3)
    networks = []
    for one in small_run.evaluation.fitted[OURS]:
        slopes = np.full_like(one.task.reference.event_slopes, 0.3)
        reference = replace(one.task.reference, event_slopes=slopes)
        networks.append(replace(one, task=replace(one.task, reference=reference)))
    evaluation = replace(small_run.evaluation, fitted={OURS: networks})
    run = audited(replace(small_run, evaluation=evaluation), panel)
    known = panel.events[panel.symbols[0]]
    cuts = np.unique(
        known.known_on[(known.known_on >= run.cuts[0]) & (known.known_on <= run.cuts[-1])]
    )[:2]
    days = panel.sessions[np.searchsorted(panel.sessions, cuts) - 1]  # the last close without it
    assert len(days)
    assert prefix_invariance(run, panel, days, known=run.known).passed
    true = inputs._events

    def early(events: Events | None, *others: Any) -> Any:
        if events is not None:
            events = replace(events, known_on=events.dates - np.timedelta64(30, "D"))
        return true(events, *others)

    monkeypatch.setattr(inputs, "_events", early)
    run = audited(replace(small_run, evaluation=evaluation), panel)
    found = prefix_invariance(run, panel, days, known=run.known)
    assert not found.passed
    assert "rows of scale" in found.reading


def test_weights_moved_by_one_are_caught(
    honest: Audited, small_panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = RunConfig.make_policy

    class Early:
        def __init__(self, config: RunConfig) -> None:
            self.policy = true(config)

        def weights(self, moments: pd.DataFrame) -> pd.DataFrame:
            return self.policy.weights(moments).shift(-1).ffill()

    monkeypatch.setattr(RunConfig, "make_policy", lambda config: Early(config))
    run = replace(honest, weights=honest.weights.shift(-1).ffill())
    found = prefix_invariance(run, small_panel, run.cuts, known=run.known)
    assert not found.passed
    assert "rows of weights" in found.reading


def test_bins_and_reference_fitted_on_all_data_are_caught(
    honest: Audited, small_panel: Panel
) -> None:
    first, *others = honest.networks
    task = first.task
    everything = PriceTask.fit(small_panel, horizon=task.horizon, num_bins=task.tokenizer.num_bins)
    tokenizer = replace(everything.tokenizer, data_hash=task.tokenizer.data_hash)
    leaky = replace(first, task=replace(everything, tokenizer=tokenizer))
    shallow = replace(honest, depth=replace(TINY, cuts=1, draws=1))
    assert "refit" in failed(audit_run(with_networks(shallow, [leaky, *others])))
    late = replace(first, trained_until=honest.evaluation.folds[0].test_start)
    found = audit_run(with_networks(shallow, [late, *others]))
    assert "fit window" in failed(found)
    assert badge(found).startswith("failed: ")
    assert "0 sessions before its test" in describe_audit(found)


def test_the_short_audit_stands_in_the_run(small_run: BacktestOutcome) -> None:
    found = small_run.run.result["audit"]
    assert found["passed"]
    assert found["scope"] == SHORT.name
    assert [one["name"] for one in found["checks"]] == [
        "prefix invariance",
        "fit window",
        "refit",
        "lag curve",
        "placebos",
    ]
    assert read_json(small_run.folder / "manifest.json")["audit"] == "passed"
    sharpe = small_run.run.result["metrics"]["strategy"]["sharpe"]
    assert found["lag_curve"][0]["sharpe"] == pytest.approx(sharpe, rel=1e-12)
    entry, rival = found["placebos"][0], small_run.run.result["benchmarks"]["random_entry"]
    assert [entry["low"], entry["high"]] == pytest.approx(rival["sharpe_range"], rel=1e-12)
    assert "Look-ahead audit (short): 5 checks passed" in describe_backtest(small_run)[-1]


def test_no_placebo_and_no_audit_is_a_trial(small_run: BacktestOutcome) -> None:
    lines = (small_run.folder.parent / "ledger.jsonl").read_text().splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["run_id"] == small_run.folder.name


def test_cuts_lie_in_the_fold_that_tests_them(honest: Audited) -> None:
    for cut in cut_points(honest.forecasts.cutoffs, 7):
        fold = honest.evaluation.folds[honest.fold_at(cut)]
        assert fold.test_start <= cut <= fold.test_end


# ------------------------------------------------------------------------------ made again


@pytest.fixture
def folder(small_run: BacktestOutcome, tmp_path: Path) -> Path:
    """A copy of the shared run, to be written to."""
    copy = tmp_path / "reports" / "run"
    shutil.copytree(small_run.folder, copy)
    return copy


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full audit that looks at little."""
    monkeypatch.setattr(module, "_FULL", Depth("full", cuts=1, window=1, draws=2))


def test_what_was_known_beside_the_prices_is_found_and_proved(
    small_panel: Panel, tmp_path: Path
) -> None:
    places, told = Places(tmp_path / "data"), with_events(small_panel)
    for symbol, bars in told.items():
        Store(places.data).write(bars)
        later = told.events[symbol].dates[-1:] + 90
        events = replace(
            told.events[symbol], known_on=np.full(len(told.events[symbol]), "NaT", "datetime64[D]")
        )
        EventStore(places.data).keep(symbol, events, {})
        EventStore(places.data).keep(symbol, replace(events.rows([0]), dates=later), {})
    panel = Panel(told.values(), events=told.events)
    manifest = new_manifest(
        panel, RunConfig(), panel.sessions, command="", title="", reports=tmp_path
    )
    assert find_prices(manifest, places).sha256 == panel.sha256
    assert find_prices(manifest, places, panel).sha256 == panel.sha256
    with pytest.raises(RunError, match="its events or its covariate differ"):
        find_prices(manifest, places, None, {"notice": 3})
    plain = new_manifest(
        small_panel, RunConfig(), panel.sessions, command="", title="", reports=tmp_path
    )
    assert plain["ahead"] is None


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_run_is_made_again_to_the_last_bit(folder: Path, tmp_path: Path) -> None:
    before = read_json(folder / "result.json")
    outcome = audit(folder, places=Places(tmp_path / "data"))
    checks = {one["name"]: one for one in outcome.audit["checks"]}
    assert outcome.audit["passed"], describe_checks(outcome)
    assert "come out the same, bit for bit" in checks["reproduction"]["reading"]
    fits = len(before["folds"]) * len(before["forecast"]["models"])
    assert f"{fits} fits, made again on prices that are noise" in checks["refit"]["reading"]
    after = read_json(folder / "result.json")
    assert after["audit"]["scope"] == "full"
    assert {**after, "audit": 0} == {**before, "audit": 0}
    assert read_json(folder / "manifest.json")["audit"] == "passed"
    assert not (folder.parent / "ledger.jsonl").exists()
    assert not (tmp_path / "data" / "cache").exists()
    assert describe_checks(outcome)[0].startswith("passed  reproduction")


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_loop_that_shows_a_fit_the_future_and_a_changed_run_are_caught(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaky(panel: Panel, model: Any, group: Any, draws: Any, jobs: int) -> Any:
        fold: Fold = group[0][1]
        fitted = model.fit(
            panel.between(fold.train_start, fold.test_end), fold, draws["seed"], jobs
        )
        return fitted, {}, {"naive": naive_errors(panel.between(fold.train_start, fold.train_end))}

    forecasts = pd.read_parquet(folder / "forecasts.parquet")
    forecasts.loc[3, "sigma"] *= 1.01
    forecasts.to_parquet(folder / "forecasts.parquet", index=False)
    result = read_json(folder / "result.json")
    claimed = {**result["verdict"], "edge": True, "sentence": "An edge was found."}
    few = {OURS: result["forecast"]["models"][OURS]}
    forecast = {**result["forecast"], "models": few}
    write_json(folder / "result.json", {**result, "verdict": claimed, "forecast": forecast})
    sign(folder)
    monkeypatch.setattr(loop, "_fit", leaky)
    outcome = audit(folder, places=Places(tmp_path / "data"))
    found = failed(outcome.audit)
    assert {"reproduction", "fit window", "refit"} <= set(found)
    assert "differ by up to" in found["reproduction"]
    assert "seq2seq of fold 0 changes with prices after" in found["refit"]
    assert read_json(folder / "manifest.json")["audit"] == badge(outcome.audit) != "passed"
    assert read_json(folder / "result.json")["verdict"] == claimed
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "No edge is claimed, for the look-ahead audit failed. Before: An edge was found." in page
    assert "Edge found" not in page


def test_prices_are_found_in_the_panel_the_store_or_the_sample_by_their_hashes(
    small_run: BacktestOutcome, sample: Panel, small_panel: Panel, tmp_path: Path
) -> None:
    manifest, places = small_run.run.manifest, Places(tmp_path)
    assert find_prices(manifest, places).sha256 == small_panel.sha256
    facts = manifest["data"]["IBM"]
    mine = replace(sample["IBM"], symbol="MINE")
    own = {**manifest, "data": {"MINE": {**facts, "sha256": "0" * 64}}}
    with pytest.raises(RunError, match="MINE: no bars were found"):
        find_prices(own, places)
    Store(tmp_path).write(mine)
    with pytest.raises(RunError, match=r"those in the store \(1007 bars\) are not those of the"):
        find_prices(own, places)
    own["data"]["MINE"]["sha256"] = mine.between(facts["first"], facts["last"]).sha256
    assert find_prices(own, places).symbols == ("MINE",)
    assert find_prices(own, Places(tmp_path / "none"), Panel([mine])).symbols == ("MINE",)


def test_what_cannot_be_made_again_is_refused_before_anything_is_fitted(
    folder: Path, small_panel: Panel, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="its data differ") as caught:
        audit(folder, places=Places(tmp_path), panel=rewrite_after(small_panel, "2006-12-01"))
    for symbol in small_panel:
        assert f"{symbol}: those in the panel" in str(caught.value)
    assert "restore the backup" in str(caught.value)
    manifest = read_json(folder / "manifest.json")
    for change, error, words in (
        ({"config": {}}, RunError, "holds no config"),
        ({"kind": "sweep"}, RunError, "backtest"),
        ({"data": {"IBM": {"sha256": "x"}}}, RunError, "IBM: those in the bundled sample"),
        ({"data": {}}, RunError, r"its data differ\. It names none"),
        (
            {"model": {"trained_until": "2005-01-01", "tokenizer": "x"}},
            ConfigError,
            "Name its folder with --model",
        ),
    ):
        write_json(folder / "manifest.json", {**manifest, **change})
        sign(folder)
        with pytest.raises(error, match=words):
            audit(folder, places=Places(tmp_path))


def test_other_versions_may_round_otherwise_and_are_told(
    small_run: BacktestOutcome, small_panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig.from_mapping(small_run.run.manifest["config"])
    moments = held_moments(
        small_run.evaluation.forecasts[OURS], config.fill, symbols=small_panel.symbols
    )
    weights = config.make_policy().weights(moments)
    again = Audited(small_panel, small_run.evaluation, weights, config, SHORT)

    def read(run: Run) -> Check:
        return module._reproduction(run, again)

    assert "bit for bit" in read(small_run.run).reading
    forecasts = small_run.run.forecasts.copy()
    forecasts.loc[3, "sigma"] += 1e-9
    assert read(replace(small_run.run, forecasts=forecasts)).passed
    forecasts.loc[3, "sigma"] += 1e-3
    changed = replace(small_run.run, forecasts=forecasts)
    found = read(changed)
    assert not found.passed
    assert "differ by up to 1.0e-03 (1e-06 is allowed)" in found.reading
    monkeypatch.setattr(module, "versions", lambda: {"torch": "0"})
    assert read(changed).passed
    assert "not held against it: torch 2" in read(changed).reading
    for part in ("forecasts", "weights", "equity"):
        fewer = replace(small_run.run, **{part: getattr(small_run.run, part).iloc[1:]})
        assert not read(fewer).passed
