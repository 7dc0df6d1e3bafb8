"""From a grid to a judged choice: every point kept, counted once, never scored twice; and the ledger of all."""

import json
import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.config import PolicyConfig, RunConfig
from quantseq.errors import ConfigError
from quantseq.evaluation.walkforward import WalkForward
from quantseq.files import Places, fingerprint, write_json
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Panel
from quantseq.pipeline import sweep as module
from quantseq.pipeline.backtest import BacktestOutcome
from quantseq.pipeline.sweep import (
    COSTS_BPS,
    KNOBS,
    Grid,
    SweepOutcome,
    describe_sweep,
    describe_trials,
    label,
    list_trials,
    sweep,
    to_toml,
)
from quantseq.trading import ledger
from quantseq.trading.costs import Costs
from quantseq.trading.inference import expected_best_sharpe, overfitting, psr, spa
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import POLICIES, make_policy
from tests.conftest import SMALL

ROOT = Path(__file__).parents[2]
GRID = Grid(
    ("kelly", "sign", "vol_target", "probability"),
    {"kelly": {"fraction": (0.25, 0.5)}, "vol_target": {"target": (0.1, 0.2)}},
    (0.0, 5.0, 20.0),
)
POINTS = 3 * (2 + 1 + 2 + 4)

# ------------------------------------------------------------------------------ the grid


def test_by_default_every_policy_is_tried_with_its_knobs_at_every_cost() -> None:
    points = Grid().points(RunConfig())
    values = sum(len(next(iter(KNOBS.get(name, {"": (0,)}).values()))) for name in POLICIES)
    assert len(points) == values * len(COSTS_BPS) == 84
    assert {one.policy.name for one in points} == set(POLICIES)
    assert len({label(one) for one in points}) == len(points)
    assert label(points[0]) == "kelly fraction=0.25, 0 bps, horizon 5"


def test_knobs_name_parameters_that_exist_and_values_that_are_allowed() -> None:
    for name, knobs in KNOBS.items():
        for knob, values in knobs.items():
            for value in values:
                assert getattr(make_policy(name, **{knob: value}), knob) == value


def test_what_is_given_takes_the_place_of_what_is_usual() -> None:
    grid = Grid(
        ("probability", "sign"),
        {"probability": {"threshold": (0.6,), "cap": (0.5, 1.0)}},
        (3,),
        (1, 2),
    )
    base = RunConfig(
        costs=Costs(half_spread_bps=1), policy=PolicyConfig("sign", {"long_only": False})
    )
    assert [label(one) for one in grid.points(base)] == [
        f"{policy}, 4 bps, horizon {horizon}"
        for horizon in (1, 2)
        for policy in (
            "probability long_only=False threshold=0.6 cap=0.5",
            "probability long_only=False threshold=0.6 cap=1",
            "sign long_only=False",
        )
    ]


def test_a_grid_is_read_from_what_is_typed() -> None:
    grid = Grid.parse(
        policies="blend, probability,kelly",
        thresholds="0.5,0.6",
        vary=["kelly.fraction=0.1,1", "kelly.band=cost,0.2", "blend.long_only=true,false"],
        costs_bps="0,2.5",
        horizons="1,5",
    )
    assert grid == Grid(
        ("blend", "probability", "kelly"),
        {
            "kelly": {"fraction": (0.1, 1), "band": ("cost", 0.2)},
            "blend": {"long_only": (True, False)},
            "probability": {"threshold": (0.5, 0.6)},
        },
        (0, 2.5),
        (1, 5),
    )
    assert Grid.parse() == Grid()


def test_all_points_are_tested_on_the_same_sessions() -> None:
    base = RunConfig(forecaster=ForecasterConfig(horizon=3), walk_forward=WalkForward(purge=3))
    points = Grid(("sign",), horizons=(1, 7)).points(base)
    assert {one.walk_forward.purge for one in points} == {7}
    assert {one.forecaster.horizon for one in points} == {1, 7}
    alone = Grid(("kelly",), {"kelly": {"fraction": (0.5,)}}, (5,)).points(base)
    assert alone == (replace(base, policy=PolicyConfig("kelly", {"fraction": 0.5})),)


def test_the_file_of_a_policy_holds_for_that_policy() -> None:
    base = RunConfig(policy=PolicyConfig("rank", {"share": 0.4, "band": 0.2}))
    points = Grid(("rank", "sign"), costs_bps=(5,)).points(base)
    assert [dict(one.policy.parameters) for one in points] == [{"share": 0.4, "band": 0.2}, {}]


def test_a_point_is_a_file_that_reads_back_to_itself() -> None:
    base = RunConfig(
        policy=PolicyConfig("blend", {"parts": ["sign", "rank"], "band": "cost"}),
        walk_forward=WalkForward(test_start="2006-01-03", max_train=900),
    )
    for point in (base, *Grid(costs_bps=(1e-5, 20)).points(base)):
        again = RunConfig.from_mapping(tomllib.loads(to_toml(point.to_mapping())))
        assert fingerprint(again.to_mapping()) == fingerprint(point.to_mapping())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policies": ()}, "one or more different values of 'policies'"),
        ({"costs_bps": (5, 5.0)}, "different values of 'costs_bps'"),
        ({"knobs": {"kelly": {"fraction": ()}}}, "'kelly.fraction'"),
        ({"policies": ("sign",), "knobs": {"kelly": {"fraction": (1,)}}}, "'kelly' is varied"),
    ],
)
def test_empty_and_repeated_values_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Grid(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policies": ("kely",)}, "did you mean 'kelly'"),
        ({"knobs": {"kelly": {"fracton": (0.5,)}}}, "did you mean 'fraction'"),
        ({"knobs": {"probability": {"threshold": (0.2,)}}}, "'threshold' parameter of Probability"),
        ({"costs_bps": (-1,)}, "'cost_bps' parameter of Costs"),
        ({"horizons": (0,)}, "horizon"),
    ],
)
def test_a_point_that_breaks_a_rule_is_named_before_anything_runs(
    options: dict, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Grid(**options).points(RunConfig())


# ------------------------------------------------------------------------------ the sweep


@pytest.fixture(scope="module")
def places(
    small_run: BacktestOutcome, gates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Places:
    """A passed gate and the small run's forecasts; empty reports."""
    return Places(gates.parent.parent, tmp_path_factory.mktemp("sweep"))


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

    monkeypatch.setattr("quantseq.pipeline.evaluate.fit_network", refuse)


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
        METRICS["sharpe"](returns_of(outcome)[first["returns_file"].split("#")[0]], periods=252)
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
    table, lines = describe_sweep(outcome.result)
    assert len(table) == 9
    assert [line.split(":")[0] for line in lines[:3]] == ["0 bps", "5 bps", "20 bps"]
    assert lines[3].startswith("Break-even cost of the best: ")
    assert "nan" not in f"{table}{lines}{sentence}"


def test_the_documented_keys_are_all_there_are(outcome: SweepOutcome) -> None:
    text = (ROOT / "docs/json.md").read_text(encoding="utf-8").split("## `sweep`")[1]
    found = outcome.to_json()
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
    calls, append = [], ledger.append

    def killed(path: Path, *entries: Any) -> Any:
        calls.append(len(entries))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return append(path, *entries)

    monkeypatch.setattr(ledger, "append", killed)
    with pytest.raises(KeyboardInterrupt, match="the same command goes on from there"):
        sweep(small_panel, grid=GRID, config=SMALL, places=elsewhere)
    folder = elsewhere.reports / outcome.folder.name
    kept = {path: path.stat().st_mtime_ns for path in (folder / "points").iterdir()}
    entered = len(ledger.read(elsewhere.ledger).entries)
    assert 0 < entered < len(kept) < POINTS  # killed between the files and their lines
    assert not (folder / "result.json").exists()
    monkeypatch.setattr(ledger, "append", append)
    again = sweep(small_panel, grid=GRID, config=SMALL, places=elsewhere)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    record = ledger.read(elsewhere.ledger)
    assert len(record.entries) == len({one["returns_file"] for one in record.entries}) == POINTS
    assert again.result["sweep"] == outcome.result["sweep"]


def level(count: int, *, bps: float = 5.0) -> tuple[list[Any], np.ndarray]:
    """Points of noise, best first, and what was held beside them."""
    days = pd.Series(np.arange("2020-01-01", "2020-10-27", dtype="datetime64[D]").astype("M8[s]"))
    rng, held = np.random.default_rng(7), np.random.default_rng(0).normal(0.0005, 0.01, len(days))
    found = []
    for number in range(count):
        net = rng.normal(0, 0.01, len(days))
        policy = PolicyConfig("kelly", {"fraction": (number + 1) / 100})
        config = RunConfig(policy=policy, costs=Costs(cost_bps=bps))
        earned = pd.DataFrame({"session": days, "net": net, "turnover": 1.0})
        point = module._Point(config, earned, f"{number}.parquet")
        found.append((module._row(point, held), point))
    return sorted(found, key=lambda one: one[0]["sharpe"], reverse=True), held


def test_a_level_tests_its_own_points() -> None:
    points, held = level(6)
    config = RunConfig(seed=3)
    found = module._level(points, held, config)
    matrix = np.column_stack([point.net for _, point in points])
    assert found["pbo"] == overfitting(matrix).pbo
    assert found["spa_p"] == spa(matrix, held, seed=3)
    assert found["best"] == label(points[0][1].config)
    assert found["sharpe"] == max(row["sharpe"] for row, _ in points)
    assert math.isnan(module._level(points[:1], held, config)["pbo"])


@pytest.mark.parametrize(
    ("pbo", "p", "words"),
    [
        (0.5, 0.2, ["is a coin toss or worse", "in 50% of 70 halves (PBO)", "does not beat"]),
        (0.1, 0.01, ["is better than a coin toss", "beats buy-and-hold", "(SPA p = 0.010)"]),
        (math.nan, math.nan, ["Sharpe −0.50."]),
    ],
)
def test_the_sentence_names_the_odds(pbo: float, p: float, words: list[str]) -> None:
    here = {"points": 3, "cost_bps": 5, "sharpe": -0.5, "pbo": pbo, "spa_p": p, "halves": 70}
    best = RunConfig(policy=PolicyConfig("kelly", {"fraction": 0.05}))
    found = module._sentence(best, here, 12)
    assert found.startswith("Best of 3 points at 5 bps (12 in all): kelly fraction=0.05, horizon 5")
    for word in words:
        assert word in found
    assert "nan" not in found


# ------------------------------------------------------------------------------ the ledger


@pytest.fixture
def kept(tmp_path: Path) -> Places:
    """Two runs and a copy of the first, with their returns, and a placebo."""
    found = Places(tmp_path / "data", tmp_path / "reports")
    for name, seed in (("run-a", 0), ("run-b", 1), ("run-c", 0)):
        net = np.random.default_rng(seed).normal(0, 0.01, 50)
        (found.reports / name).mkdir(parents=True)
        pd.DataFrame({"net": net}).to_parquet(found.reports / name / "net.parquet")
        entry = {
            "run_id": name,
            "sharpe": float(net.mean() / net.std(ddof=1)),
            "returns_sha256": ledger.returns_hash(net),
            **({"periods": 365} if name == "run-a" else {}),
            "returns_file": f"{name}/net.parquet#net",
        }
        head = ledger.append(found.ledger, entry)[0]["hash"]
        write_json(found.reports / name / "result.json", {"verdict": {"ledger_head": head}})
    ledger.append(found.ledger, {"kind": "placebo", "sharpe": None, "returns_sha256": "x"})
    return found


def test_it_lists_what_counts_and_what_is_kept(kept: Places) -> None:
    found = list_trials(kept)
    assert [row["counts"] for row in found["trials"]] == [
        "yes",
        "yes",
        "no: line 1 again",
        "no: placebo",
    ]
    assert [row["returns"] for row in found["trials"]] == ["kept", "kept", "kept", "missing"]
    assert found["n_trials"] == 2
    first, second = (row["sharpe"] for row in found["trials"][:2])
    assert found["trial_sd"] == pytest.approx(np.std([first, second], ddof=1))
    assert found["trials"][0]["sharpe_annual"] == pytest.approx(first * np.sqrt(365))
    assert found["trials"][1]["sharpe_annual"] is None  # the line does not say of which year
    assert found["intact"]
    assert found["sentence"] == "2 distinct trials in 4 lines. The chain is intact."


def test_the_table_has_a_line_for_each(kept: Places) -> None:
    rows = describe_trials(list_trials(kept))
    assert [row["line"] for row in rows] == [1, 2, 3, 4]
    assert rows[1]["Sharpe"] == rows[3]["run"] == rows[0]["span"] == "—"
    assert re.fullmatch(r"[+−]\d+\.\d\d", rows[0]["Sharpe"])


def test_damage_is_said(kept: Places) -> None:
    lines = kept.ledger.read_text().splitlines(keepends=True)
    pd.DataFrame({"net": np.zeros(50)}).to_parquet(kept.reports / "run-b" / "net.parquet")
    kept.ledger.write_text("".join(lines[:2]) + '{"half')
    found = list_trials(kept)
    assert not found["intact"]
    assert "that run-c saw as the last is gone" in found["fault"]
    assert found["torn"] == [3]
    assert "Torn, as a killed process leaves them: line 3. " in found["sentence"]
    assert "no longer those that were scored: line 2. " in found["sentence"]
    assert found["sentence"].endswith("cut off the end, or the file was replaced.")
    edited = lines[1].replace('"run-b"', '"run-x"')
    kept.ledger.write_text("".join([lines[0], edited, *lines[2:]]))
    assert list_trials(kept)["fault"] == "line 2 does not match its own hash: it was edited"
    kept.ledger.write_text("dear diary\n")
    found = list_trials(kept)
    assert not found["intact"]
    assert "is no ledger of quantseq: line 1 is none of its lines" in found["sentence"]
    assert "Torn" not in found["sentence"]


def test_nothing_is_an_empty_ledger(tmp_path: Path) -> None:
    found = list_trials(Places(tmp_path, tmp_path))
    assert found["trials"] == []
    assert found["trial_sd"] is None
    assert found["sentence"] == "0 distinct trials in 0 lines. The chain is intact."


def test_the_documented_keys_of_trials_are_all_there_are(kept: Places) -> None:
    found = list_trials(kept)
    text = (ROOT / "docs/json.md").read_text(encoding="utf-8").split("## `trials`")[1]
    words = set(re.findall(r"`([a-z0-9_]+)", text.split("\n## ")[0]))
    assert {*found, *found["trials"][0]} <= words
    json.dumps(found, allow_nan=False)
