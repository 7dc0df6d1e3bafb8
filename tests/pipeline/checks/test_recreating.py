"""A run is made again only from its own prices, and what is not its own is noticed."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from quantseq.config import Places, RunConfig
from quantseq.errors import ConfigError, RunError
from quantseq.evaluation.walkforward import Fold
from quantseq.files import read_json, write_json
from quantseq.market.bars import Panel
from quantseq.market.store import Store
from quantseq.pipeline.backtesting import BacktestOutcome
from quantseq.pipeline.checks import recreating
from quantseq.pipeline.checks.audited import SHORT, Audited, Depth
from quantseq.pipeline.checks.recreating import FitRewritten, audit, describe, find_prices
from quantseq.reporting.run import Run
from quantseq.trading.audit import Check
from tests.prices import rewrite_after


@pytest.fixture
def folder(small_run: BacktestOutcome, tmp_path: Path) -> Path:
    """A copy of the shared run, to be written to."""
    copy = tmp_path / "reports" / "run"
    shutil.copytree(small_run.folder, copy)
    return copy


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full audit that looks at little."""
    monkeypatch.setattr(recreating, "FULL", Depth("full", cuts=1, window=1, draws=2, worlds=1))


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_run_is_made_again_to_the_last_bit(folder: Path, tmp_path: Path) -> None:
    before = read_json(folder / "result.json")
    outcome = audit(folder, places=Places(tmp_path / "data"))
    checks = {one["name"]: one for one in outcome.audit["checks"]}
    assert outcome.audit["passed"], describe(outcome)
    assert "come out the same, bit for bit" in checks["reproduction"]["reading"]
    assert "; 12 fitted again on prices rewritten" in checks["fit window"]["reading"]
    assert checks["placebos"]["passed"]
    after = read_json(folder / "result.json")
    assert after["audit"]["scope"] == "full"
    assert {**after, "audit": 0} == {**before, "audit": 0}
    assert read_json(folder / "manifest.json")["audit"] == "passed"
    assert not (folder.parent / "ledger.jsonl").exists()
    assert describe(outcome)[0].startswith("passed  reproduction")


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_fit_that_saw_the_future_and_a_changed_run_are_caught(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaky(panel: Panel, fold: Fold, fit: Any, *, seed: int) -> Any:
        return fit(panel.between(fold.train_start, fold.test_end), fold, seed)

    forecasts = pd.read_parquet(folder / "forecasts.parquet")
    forecasts.loc[3, "sigma"] *= 1.01
    forecasts.to_parquet(folder / "forecasts.parquet", index=False)
    result = read_json(folder / "result.json")
    claimed = {**result["verdict"], "edge": True, "sentence": "An edge was found."}
    write_json(folder / "result.json", {**result, "verdict": claimed})
    monkeypatch.setattr(recreating, "fit_fold", leaky)
    monkeypatch.setattr("quantseq.evaluation.walkforward.check_not_trained_on", lambda *_: None)
    outcome = audit(folder, places=Places(tmp_path / "data"))
    failed = {one["name"]: one["reading"] for one in outcome.audit["checks"] if not one["passed"]}
    assert set(failed) == {"reproduction", "fit window"}
    assert "differ by up to" in failed["reproduction"]
    assert "seq2seq of fold 0 changes with prices after" in failed["fit window"]
    assert read_json(folder / "manifest.json")["audit"] == "failed: reproduction, fit window"
    assert read_json(folder / "result.json")["verdict"] == claimed
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "No edge is claimed, for the look-ahead audit failed. Before: An edge was found." in page
    assert "Edge found" not in page


def test_prices_are_found_in_the_panel_the_store_or_the_sample_by_their_hashes(
    small_run: BacktestOutcome, sample: Panel, small_panel: Panel, tmp_path: Path
) -> None:
    manifest, places = small_run.run.manifest, Places(tmp_path)
    assert find_prices(manifest, places).sha256 == small_panel.sha256
    own = {**manifest, "data": {"MINE": manifest["data"]["IBM"]}}
    mine = replace(sample["IBM"], symbol="MINE")
    own["data"]["MINE"] = {**own["data"]["MINE"], "sha256": "0" * 64}
    with pytest.raises(RunError, match="MINE: no bars were found"):
        find_prices(own, places)
    Store(tmp_path).write(mine)
    with pytest.raises(RunError, match=r"those in the store \(1007 bars\) are not the 1007 of the"):
        find_prices(own, places)
    span = (manifest["data"]["IBM"]["first"], manifest["data"]["IBM"]["last"])
    own["data"]["MINE"]["sha256"] = mine.between(*span).sha256
    assert find_prices(own, places).symbols == ("MINE",)
    assert find_prices(own, Places(tmp_path / "none"), Panel([mine])).symbols == ("MINE",)


def test_data_that_differ_are_told_before_anything_is_fitted(
    folder: Path, small_panel: Panel, tmp_path: Path
) -> None:
    other = rewrite_after(small_panel, "2006-12-01")
    with pytest.raises(RunError, match="its data differ") as caught:
        audit(folder, places=Places(tmp_path), panel=other)
    for symbol in small_panel:
        assert f"{symbol}: those in the panel" in str(caught.value)
    assert "restore the backup" in str(caught.value)


def test_a_run_of_a_trained_model_needs_that_model(folder: Path, tmp_path: Path) -> None:
    manifest = read_json(folder / "manifest.json")
    manifest["model"] = {"trained_until": "2005-01-01", "tokenizer": "x"}
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(ConfigError, match="Name its folder with --model"):
        audit(folder, places=Places(tmp_path))


def test_the_fit_on_rewritten_prices_is_given_noise_after_the_window(
    small_run: BacktestOutcome, small_panel: Panel
) -> None:
    fold = small_run.evaluation.folds[0]
    seen: list[Panel] = []

    def fit(panel: Panel, fold: Fold, seed: int) -> dict[str, Any]:
        seen.append(panel)
        return {}

    FitRewritten(small_panel, fit)(small_panel, fold, 7)
    assert seen[0].sha256 == small_panel.between(fold.train_start, fold.validation_end).sha256


def test_what_cannot_be_made_again_is_refused_at_once(folder: Path, tmp_path: Path) -> None:
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", {**manifest, "config": {}})
    with pytest.raises(RunError, match="holds no config"):
        audit(folder)
    write_json(folder / "manifest.json", {**manifest, "data": {"IBM": {"sha256": "x"}}})
    with pytest.raises(RunError, match="says nothing of when the bars of IBM begin"):
        audit(folder, places=Places(tmp_path))
    write_json(folder / "manifest.json", {**manifest, "data": {}})
    with pytest.raises(RunError, match=r"its data differ\. It names none"):
        audit(folder, places=Places(tmp_path))


def test_other_versions_may_round_otherwise_and_are_told(
    small_run: BacktestOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited = Audited(
        small_run.run,  # type: ignore[arg-type]  # only what it earned is looked at
        small_run.evaluation,
        pd.DataFrame(),
        small_run.strategy,
        small_run.benchmark,
        config := RunConfig.from_mapping(small_run.run.manifest["config"]),
        SHORT,
    )

    def read(run: Run) -> Check:
        return recreating._reproduction(run, small_run.evaluation, config, audited)

    assert read(small_run.run).passed
    forecasts = small_run.run.forecasts.copy()
    forecasts.loc[3, "sigma"] += 1e-9
    assert read(replace(small_run.run, forecasts=forecasts)).passed
    forecasts.loc[3, "sigma"] += 1e-3
    changed = replace(small_run.run, forecasts=forecasts)
    found = read(changed)
    assert not found.passed
    assert "differ by up to 1.0e-03 (1e-06 is allowed)" in found.reading
    monkeypatch.setattr(recreating, "versions", lambda: {"torch": "0"})
    assert read(changed).passed
    assert "not held against it: torch 2" in read(changed).reading
    cut = replace(small_run.run, forecasts=forecasts.iloc[1:])
    assert not read(cut).passed
