"""The line from a grid to a judged choice: every point kept, counted once, and never scored twice."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.config import Places, RunConfig
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.market.bars import Panel
from quantseq.pipeline.backtesting import BacktestOutcome
from quantseq.pipeline.sweeps import sweeping
from quantseq.pipeline.sweeps.grid import Grid
from quantseq.pipeline.sweeps.selection import describe
from quantseq.pipeline.sweeps.sweeping import SweepOutcome, sweep, to_json
from quantseq.trading import ledger
from quantseq.trading.chance.deflation import expected_best_sharpe, psr
from quantseq.trading.chance.overfitting import overfitting, spa
from quantseq.trading.performance import METRICS
from tests.conftest import SMALL

ROOT = Path(__file__).parents[3]
GRID = Grid(
    ("kelly", "sign", "vol_target", "probability"),
    {"kelly": {"fraction": (0.25, 0.5)}, "vol_target": {"target": (0.1, 0.2)}},
    (0.0, 5.0, 20.0),
)
POINTS = 3 * (2 + 1 + 2 + 4)


def places_in(root: Path, gates: Path) -> Places:
    target = Places(root / "data", root / "reports")
    target.gates.mkdir(parents=True)
    for record in gates.iterdir():
        (target.gates / record.name).write_bytes(record.read_bytes())
    return target


@pytest.fixture(scope="module")
def places(gates: Path, tmp_path_factory: pytest.TempPathFactory) -> Places:
    return places_in(tmp_path_factory.mktemp("sweep"), gates)


@pytest.fixture(scope="module")
def outcome(small_panel: Panel, places: Places) -> SweepOutcome:
    return sweep(small_panel, grid=GRID, config=SMALL, places=places, command="quantseq sweep …")


@pytest.fixture
def elsewhere(outcome: SweepOutcome, places: Places, tmp_path: Path) -> Places:
    """Other reports, the same forecasts."""
    return replace(places, reports=tmp_path / "reports")


@pytest.fixture
def no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("forecast again")

    monkeypatch.setattr(sweeping, "evaluate", refuse)


def returns_of(outcome: SweepOutcome) -> dict[str, np.ndarray]:
    reports = outcome.folder.parent
    return {
        one["returns_file"]: pd.read_parquet(reports / one["returns_file"])["net"].to_numpy()
        for one in outcome.result["sweep"]["points"]
    }


def test_every_point_is_kept_and_stands_in_the_ledger(
    outcome: SweepOutcome, places: Places
) -> None:
    record = ledger.read(places.ledger)
    assert record.verify(ledger.kept_heads(places.reports)) is None
    assert len(record.entries) == len(outcome.result["sweep"]["points"]) == POINTS
    assert {ledger.check_returns(places.reports, one) for one in record.entries} == {"kept"}
    first = record.entries[0]
    assert first["label"] == "kelly fraction=0.25, 0 bps, horizon 3"
    assert first["run_id"] == outcome.folder.name
    assert first["command"] == "quantseq sweep …"
    assert first["sharpe"] * np.sqrt(252) == pytest.approx(
        METRICS["sharpe"](returns_of(outcome)[first["returns_file"].split("#")[0]])
    )


def test_a_point_earns_what_its_backtest_does(
    outcome: SweepOutcome, small_run: BacktestOutcome
) -> None:
    """Half Kelly at 5 bps is the small run: one trial, whoever scored it."""
    wanted = ledger.returns_hash(small_run.strategy.returns_net)
    (point,) = (
        one
        for one in outcome.result["sweep"]["points"]
        if (one["label"], one["cost_bps"]) == ("kelly fraction=0.5", 5.0)
    )
    assert point["returns_sha256"] == wanted
    figures = small_run.run.result["metrics"]
    assert point["sharpe"] == figures["strategy"]["sharpe"]
    difference = figures["strategy"]["sharpe"] - figures["buy_and_hold"]["sharpe"]
    assert point["sharpe_difference"] == pytest.approx(difference)


def test_a_trained_model_is_swept_whatever_purge_was_asked_for(
    small_panel: Panel, elsewhere: Places
) -> None:
    model = Seq2SeqForecaster.fit(
        small_panel.until("2005-06-30"),
        train_until="2004-12-31",
        validate_from="2005-01-10",
        config=SMALL.forecaster,
    )
    short = replace(
        SMALL,
        forecaster=replace(SMALL.forecaster, horizon=1),
        walk_forward=replace(SMALL.walk_forward, purge=1),
    )
    grid = Grid(("sign",), costs_bps=(0.0,))
    found = sweep(small_panel, grid=grid, config=short, model=model, places=elsewhere)
    assert found.manifest["config"]["walk_forward"]["purge"] == 3
    assert found.manifest["config"]["forecaster"]["horizon"] == 3


def test_the_best_can_be_run_alone(outcome: SweepOutcome) -> None:
    best = RunConfig.from_mapping(tomllib.loads((outcome.folder / "best.toml").read_text()))
    here = [one for one in outcome.result["sweep"]["points"] if one["cost_bps"] == 5.0]
    top = max(here, key=lambda one: one["sharpe"] or -9)
    assert (best.policy.name, dict(best.policy.parameters)) == (top["policy"], top["parameters"])
    assert best.costs.one_way_bps == outcome.result["sweep"]["cost_bps"] == 5.0
    assert best.forecaster == SMALL.forecaster
    assert outcome.result["metrics"]["strategy"]["sharpe"] == top["sharpe"]


def test_the_tests_over_all_points_can_be_recomputed_from_the_folder(
    outcome: SweepOutcome, small_run: BacktestOutcome
) -> None:
    found, kept = outcome.result["sweep"], returns_of(outcome)
    for level in found["by_cost"]:
        rows = [one for one in found["points"] if one["cost_bps"] == level["cost_bps"]]
        matrix = np.column_stack([kept[one["returns_file"]] for one in rows])
        assert overfitting(matrix).pbo == level["pbo"]
        sharpes = [one["sharpe"] for one in rows if one["sharpe"] is not None]
        assert sharpes == sorted(sharpes, reverse=True)
        if level["cost_bps"] == 5.0:
            held = small_run.benchmark.returns_net
            assert spa(matrix, held, seed=SMALL.seed) == level["spa_p"]
    assert found["pbo"] == found["by_cost"][1]["pbo"]
    assert 0 <= found["spa_p"] <= 1


def test_the_verdict_is_deflated_by_every_point_and_claims_nothing_unaudited(
    outcome: SweepOutcome, places: Places
) -> None:
    judged, record = outcome.result["verdict"], ledger.read(places.ledger)
    assert judged["n_trials"] == record.n_trials() > POINTS / 2
    assert judged["trial_sd"] == pytest.approx(np.std(record.trial_sharpes(), ddof=1))
    assert judged["audit_passed"] is None
    assert not judged["edge"]
    net = returns_of(outcome)[top_file(outcome)]
    best = expected_best_sharpe(judged["n_trials"], judged["trial_sd"])
    assert psr(net, benchmark_sharpe=best) == judged["dsr"] <= judged["psr"]
    assert judged["ledger_head"] in {one["hash"] for one in record.entries}


def top_file(outcome: SweepOutcome) -> str:
    found = outcome.result["sweep"]
    return next(
        one["returns_file"] for one in found["points"] if one["cost_bps"] == found["cost_bps"]
    )


def test_it_says_what_the_choice_is_worth(outcome: SweepOutcome) -> None:
    sentence = outcome.result["sweep"]["sentence"]
    assert sentence.startswith("Best of 9 points at 5 bps (27 in all): ")
    assert "(PBO)" in sentence
    assert "(SPA p = " in sentence
    table, lines = describe(outcome.result)
    assert len(table) == 9
    assert [line.split(":")[0] for line in lines[:3]] == ["0 bps", "5 bps", "20 bps"]
    assert lines[3].startswith("Break-even cost of the best: ")
    assert "nan" not in f"{table}{lines}{sentence}"


def test_the_documented_keys_are_all_there_are(outcome: SweepOutcome) -> None:
    text = (ROOT / "docs/json.md").read_text(encoding="utf-8").split("## `sweep`")[1]
    found = to_json(outcome)
    for cell in re.findall(r"^\| (`.*?`) \|", text.split("\n## ")[0], re.M):
        for key in re.findall(r"`([^`]+)`", cell):
            value: Any = found
            for name in key.replace("[]", ".0").split("."):
                value = value[int(name)] if name.isdigit() else value[name]
    for part in ("by_cost", "points"):
        line = next(one for one in text.splitlines() if f"sweep.{part}[]" in one)
        assert set(found["sweep"][part][0]) <= set(re.findall(r"`([a-z0-9_]+)`", line))


def test_a_finished_sweep_gives_back_what_was_judged(
    outcome: SweepOutcome, small_panel: Panel, places: Places, no_fit: None
) -> None:
    ledger.append(places.ledger, {"returns_sha256": "another", "sharpe": 0.5})
    before = places.ledger.read_bytes()
    again = sweep(small_panel, grid=GRID, config=SMALL, places=places, jobs=2)
    assert again.folder == outcome.folder
    assert again.result == outcome.result
    assert places.ledger.read_bytes() == before


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(
    outcome: SweepOutcome, small_panel: Panel, elsewhere: Places, no_fit: None
) -> None:
    again = sweep(small_panel, grid=GRID, config=SMALL, places=elsewhere, jobs=2)
    assert again.result["sweep"]["points"] == outcome.result["sweep"]["points"]
    assert again.result["sweep"]["by_cost"] == outcome.result["sweep"]["by_cost"]
    assert ledger.read(elsewhere.ledger).n_trials() == outcome.result["verdict"]["n_trials"]


def test_a_killed_sweep_loses_nothing_that_was_scored(
    outcome: SweepOutcome,
    small_panel: Panel,
    elsewhere: Places,
    no_fit: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, append_all = [], ledger.append_all

    def killed(path: Path, entries: Any) -> Any:
        calls.append(len(entries))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return append_all(path, entries)

    monkeypatch.setattr(ledger, "append_all", killed)
    with pytest.raises(KeyboardInterrupt, match="the same command goes on from there"):
        sweep(small_panel, grid=GRID, config=SMALL, places=elsewhere)
    folder = elsewhere.reports / outcome.folder.name
    kept = {path: path.stat().st_mtime_ns for path in (folder / "points").iterdir()}
    entered = len(ledger.read(elsewhere.ledger).entries)
    assert 0 < entered < len(kept) < POINTS  # killed between the files and their lines
    assert not (folder / "result.json").exists()
    monkeypatch.setattr(ledger, "append_all", append_all)
    again = sweep(small_panel, grid=GRID, config=SMALL, places=elsewhere)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    record = ledger.read(elsewhere.ledger)
    assert len(record.entries) == len({one["returns_file"] for one in record.entries}) == POINTS
    assert again.result["sweep"] == outcome.result["sweep"]


def test_a_fast_sweep_reports_its_best_by_the_account(
    outcome: SweepOutcome, small_panel: Panel, elsewhere: Places, no_fit: None
) -> None:
    found = sweep(small_panel, grid=GRID, config=SMALL, places=elsewhere, fast=True)
    assert found.folder.name != outcome.folder.name
    rows = {(one["label"], one["cost_bps"]): one for one in found.result["sweep"]["points"]}
    exact = {(one["label"], one["cost_bps"]): one for one in outcome.result["sweep"]["points"]}
    assert set(rows) == set(exact)
    engines = [one["engine"] for one in rows.values()]
    assert engines.count("account") == 3 * sweeping.FINALISTS
    for name, one in rows.items():
        if one["engine"] == "account":
            assert one["returns_sha256"] == exact[name]["returns_sha256"]
        elif exact[name]["sharpe"] is not None:
            assert one["sharpe"] == pytest.approx(exact[name]["sharpe"], abs=0.2)
    assert found.result["sweep"]["best"] == outcome.result["sweep"]["best"]
    labels = [one["label"] for one in ledger.read(elsewhere.ledger).entries]
    assert sum(label.endswith("in returns space") for label in labels) == POINTS
    assert len(labels) == POINTS + 3 * sweeping.FINALISTS
