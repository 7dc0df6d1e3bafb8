import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import BarsError, ConfigError, NoDataError, NotEnoughDataError
from quantseq.evaluation.scores import at_step, dates_of
from quantseq.files import Places
from quantseq.market.bars import Panel
from quantseq.pipeline import evaluate as module
from quantseq.pipeline.evaluate import (
    EvaluationOutcome,
    Split,
    describe_evaluation,
    evaluate,
)
from quantseq.pipeline.verify import verify
from tests.conftest import SMALL
from tests.forecasting.broken import glitch, only_closes

ROOT = Path(__file__).parents[2]
NAMES = ("hist-vol", "bootstrap", "ewma-t", "garch-t", "har-pooled-t")
SPLIT = Split("2005-03-31", "2005-12-30", "2006-06-30")


@pytest.fixture(scope="module")
def places(gates: Path, tmp_path_factory: pytest.TempPathFactory) -> Places:
    root = tmp_path_factory.mktemp("evaluate")
    target = Places(root / "data", root / "reports")
    target.gates.mkdir(parents=True)
    for record in gates.iterdir():
        (target.gates / record.name).write_bytes(record.read_bytes())
    return target


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """For evaluations whose page nobody reads: drawing it takes most of their time."""
    monkeypatch.setattr(module, "write_report", lambda folder, _: folder / "report.html")
    monkeypatch.setattr(module, "export_figures", lambda *_: [])


@pytest.fixture(scope="module")
def outcome(small_panel: Panel, places: Places) -> EvaluationOutcome:
    return evaluate(
        small_panel,
        config=SMALL,
        split=SPLIT,
        baselines=NAMES,
        null="garch",
        places=places,
        command="quantseq evaluate",
    )


def test_the_documented_keys_are_there(outcome: EvaluationOutcome) -> None:
    found = outcome.to_json() | json.loads((outcome.folder / "result.json").read_text())
    text = (ROOT / "docs/json.md").read_text(encoding="utf-8").split("## `evaluate`")[1]
    table = text.split("\n## ")[0]
    for cell in re.findall(r"^\| (`.*?`) \|", table, re.M):
        for key in re.findall(r"`([^`]+)`", cell):
            if key.startswith("."):
                key = f"models.NAME{key}"
            value = found
            if key in ("notes[]", "data_findings"):
                assert value[key.removesuffix("[]")] == []
                continue
            for name in key.replace("[]", ".0").replace("NAME", "hist-vol").split("."):
                value = value[int(name)] if name.isdigit() else value[name]
    for name in re.findall(r"`([a-z_0-9]+)`", table.split("`models.NAME` |")[1].split("|")[0]):
        assert name in found["models"]["seq2seq"], name


def test_json_has_the_shape_that_was_promised(outcome: EvaluationOutcome) -> None:
    found = json.loads((outcome.folder / "result.json").read_text())
    assert list(found["models"]) == ["seq2seq", *NAMES]
    for name, one in found["models"].items():
        for key in ("crps", "crps_cumulative", "coverage_50", "coverage_90", "pit_ks"):
            assert np.isfinite(one[key]), (name, key)
        assert (one["log_score"] is None) == (name == "bootstrap")
    steps = {(row["score"], row["step"]) for row in found["tests"] if row["baseline"] == "garch-t"}
    assert steps == {(s, h) for s in ("log_score", "crps") for h in (1, 2, 3)} | {
        ("crps", "cumulative")
    }
    for row in found["tests"]:
        assert {"model", "baseline", "score", "step", "t", "p", "n_days"} <= set(row)
        assert row["model"] == "seq2seq"
    assert found["null"]["kind"] == "garch"
    assert found["null"]["ok"] is True
    assert len(found["verdict"]) == len(NAMES)
    ours = found["details"]["seq2seq"]
    assert len(ours) == len(found["kept_weight"]) == 1
    assert ours[0]["shrinkage"]["weight"] == found["kept_weight"][0]
    assert {"trained_until", "recalibration", "zero_share", "data_hashes"} <= set(ours[0])
    assert outcome.result["manifest"]["command"] == "quantseq evaluate"


def test_the_fold_keeps_its_dates_and_the_purge_shortens_the_earlier_block(
    outcome: EvaluationOutcome, small_panel: Panel
) -> None:
    fold = outcome.result["folds"][0]
    days = small_panel.sessions
    assert fold["validation_start"] == str(days[days > np.datetime64("2005-03-31")][0])
    assert fold["test_start"] == str(days[days > np.datetime64("2005-12-30")][0])
    assert fold["test_end"] <= "2006-06-30"
    gap = (days > np.datetime64(fold["train_end"])) & (
        days < np.datetime64(fold["validation_start"])
    )
    assert gap.sum() == SMALL.walk_forward.purge


def test_the_table_of_scores_holds_every_row(outcome: EvaluationOutcome) -> None:
    frame = pd.read_parquet(outcome.folder / "scores.parquet")
    models = outcome.result["models"]
    assert len(frame) == 3 * len(models) * len(outcome.evaluation.forecasts["seq2seq"])
    first = frame[frame["step"] == 1].groupby("model")["log_score"]
    assert first.mean()["garch-t"] == pytest.approx(models["garch-t"]["log_score"], rel=1e-12)
    assert first.count()["bootstrap"] == 0
    assert verify(outcome.folder).passed
    assert {path.suffix for path in outcome.pictures} == {".svg", ".png"}
    assert all(path.exists() for path in outcome.pictures)


def test_the_page_is_written_from_the_folder(outcome: EvaluationOutcome) -> None:
    page = outcome.report.read_text(encoding="utf-8")
    assert outcome.report == outcome.folder / "report.html"
    assert outcome.result["manifest"]["run_id"] in page
    assert {path.stem for path in outcome.pictures} == set(outcome.figures())
    text = outcome._repr_html_()
    assert "seq2seq" in text
    assert str(outcome.report) in text


def test_the_gallery_shows_the_best_the_middle_and_the_worst(
    outcome: EvaluationOutcome, small_panel: Panel
) -> None:
    ours = outcome.evaluation.scores.query("model == 'seq2seq'")
    mean = ours["crps"].to_numpy().reshape(-1, 3).mean(axis=1)
    picked = {one["pick"]: one for one in outcome.result["gallery"]}
    assert list(picked) == ["best", "median", "worst"]
    assert picked["best"]["crps"] == np.nanmin(mean)
    assert picked["worst"]["crps"] == np.nanmax(mean)
    known = np.sort(mean[np.isfinite(mean)])
    assert picked["median"]["of"] == len(known)
    assert picked["median"]["crps"] == known[len(known) // 2]
    for one in picked.values():
        bars = small_panel[one["symbol"]]
        at = int(np.searchsorted(bars.sessions, np.datetime64(one["cutoff"])))
        assert one["dates"][-1] == one["cutoff"] == str(bars.sessions[at])
        assert one["closes"] == bars.adj_close[at - 39 : at + 1].tolist()
        np.testing.assert_allclose(one["realised"], bars.adj_close[at + 1 : at + 4])
        prices = np.array(one["prices"])
        assert prices.shape == (3, len(one["levels"]))
        assert (np.diff(prices, axis=1) >= 0).all()


def test_what_is_printed_names_every_model_and_the_verdict(outcome: EvaluationOutcome) -> None:
    lines = describe_evaluation(outcome.result)
    for name in ("seq2seq", *NAMES):
        assert any(line.startswith(name) for line in lines)
    text = "\n".join(lines)
    assert "better than its own reference (har-pooled-t): " in text
    assert "Null run, garch: " in text
    assert "nan" not in text


@pytest.mark.usefixtures("no_page")
def test_a_second_run_takes_every_part_and_changes_no_number(
    outcome: EvaluationOutcome, small_panel: Panel, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(module.Seq2SeqForecaster, "fit", never)
    again = evaluate(small_panel, config=SMALL, split=SPLIT, baselines=NAMES, places=places)
    assert again.folder != outcome.folder
    old, new = (one.result["models"] for one in (outcome, again))
    assert json.dumps(old, default=str) == json.dumps(new, default=str)
    assert again.result["null"] is None


def test_symbols_that_are_too_short_or_cannot_be_fitted_are_named(
    outcome: EvaluationOutcome, small_panel: Panel
) -> None:
    late = replace(small_panel["IBM"].between("2006-01-01"), symbol="LATE")
    told = {"seq2seq": [{}], "garch-t": [{"own_fits": 1, "pooled": ["MSFT"]}]}
    found = replace(outcome.evaluation, details=told)
    first, second = module._notes(Panel([*small_panel.values(), late]), found)
    assert first.startswith("LATE: too few sessions (251)")
    assert second == "garch-t could not be fitted to MSFT; pooled there."


@pytest.mark.usefixtures("no_page")
def test_a_price_that_stands_still_is_graded_for_no_model_and_named(
    outcome: EvaluationOutcome, small_panel: Panel, places: Places
) -> None:
    bars = small_panel["IBM"]
    close = bars.close.copy()
    dies = int(np.searchsorted(bars.sessions, np.datetime64("2006-01-31")))
    close[dies:] = close[dies]  # in the middle of the test
    dead = replace(only_closes(bars, close), symbol="DEAD")
    late = replace(bars.between("2006-07-03"), symbol="LATE")
    panel = Panel([*small_panel.values(), dead, late])
    options = {"config": SMALL, "split": SPLIT, "baselines": ("ewma-t",), "places": places}
    found = evaluate(panel, **options)  # type: ignore[arg-type]
    ours = at_step(found.evaluation.scores, "seq2seq")
    alive = dates_of(ours[ours["symbol"] == "DEAD"])
    assert np.datetime64("2006-01-31") < alive[-1] < np.datetime64("2006-05-01")
    for name in found.result["models"]:
        theirs = at_step(found.evaluation.scores, name)
        assert theirs[["symbol", "cutoff"]].to_numpy().tolist() == (
            ours[["symbol", "cutoff"]].to_numpy().tolist()
        )
    first, second = found.result["notes"]
    assert first == "LATE was left out: its prices start on 2006-07-03, after 2006-06-30."
    assert second.startswith(
        "DEAD: its price stood still, with more than 20 closes in a row or 90%"
    )
    assert second.endswith("to 2006-06-30; no model forecast it then.")
    for name in ("seq2seq", "har-pooled-t", "ewma-t"):
        alone, among = (
            at_step(one.evaluation.scores, name).query("symbol == 'IBM'")["log_score"].mean()
            for one in (outcome, found)
        )
        assert among == pytest.approx(alone, abs=0.2)


def test_broken_prices_are_left_out_or_told(
    outcome: EvaluationOutcome, small_panel: Panel, places: Places
) -> None:
    bars = small_panel["IBM"]
    panel = Panel([small_panel["MSFT"], glitch(bars, len(bars) - 300, 1000.0)])
    options = {"config": SMALL, "split": SPLIT, "baselines": "none", "places": places}
    for allowed in (False, True):
        found = evaluate(panel, allow_bad_data=allowed, **options)  # type: ignore[arg-type]
        rows = found.result["data_findings"]
        assert {"IBM"} == {row["symbol"] for row in rows if row["severity"] == "error"}
        assert found.result["manifest"]["allow_bad_data"] is allowed
        assert ("IBM" in found.evaluation.forecasts["seq2seq"].symbols) is allowed
        assert "Data health" in found.report.read_text()
    assert "found nothing implausible" in outcome.report.read_text()
    with pytest.raises(BarsError, match="No symbol is left: IBM was left out: errors"):
        evaluate(Panel([panel["IBM"]]), **options)  # type: ignore[arg-type]
    late = Panel([replace(bars.between("2006-07-03"), symbol="LATE")])
    with pytest.raises(NoDataError, match="known by 2006-06-30: LATE starts on 2006-07-03"):
        evaluate(late, **options)  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_page")
def test_a_rival_whose_training_block_is_too_short_is_left_out_by_name(
    small_panel: Panel, places: Places
) -> None:
    walk = replace(SMALL.walk_forward, test_size=200, min_train=400, max_train=400)
    found = evaluate(
        small_panel,
        config=replace(SMALL, walk_forward=walk),
        baselines="garch-t,ewma-t",
        places=places,
    )
    assert list(found.result["models"]) == ["seq2seq", "ewma-t", "har-pooled-t"]
    assert found.result["manifest"]["baselines"] == ["ewma-t", "har-pooled-t"]
    assert any(note.startswith("garch-t was skipped: ") for note in found.result["notes"])


@pytest.mark.usefixtures("no_page")
def test_walk_forward_evaluates_every_fold_without_rivals(
    small_panel: Panel, places: Places
) -> None:
    walk = replace(SMALL.walk_forward, test_size=200, refit_every=2, embargo=2)
    found = evaluate(
        small_panel, config=replace(SMALL, walk_forward=walk), baselines="none", places=places
    )
    assert len(found.result["folds"]) == 2
    assert list(found.result["models"]) == ["seq2seq", "har-pooled-t"]  # its own reference, always
    assert len(found.result["verdict"]) == 1
    assert found.result["models"]["seq2seq"]["skill_interval"] is not None
    assert describe_evaluation(found.result)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"baselines": "garch"}, ConfigError, "Did you mean 'garch-t'"),
        ({"null": "noise"}, ConfigError, "gbm, garch, permuted"),
        ({"split": Split("2007-01-01", "2006-01-01")}, ConfigError, "Swap"),
        ({"split": Split("2004-01-01", "2007-01-01")}, NotEnoughDataError, "empty block"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    options: dict[str, object],
    error: type[Exception],
    words: str,
    small_panel: Panel,
    places: Places,
) -> None:
    with pytest.raises(error, match=words):
        evaluate(small_panel, config=SMALL, places=places, **options)  # type: ignore[arg-type]


SIGN: dict[str, Any] = {"value": 0.51, "t": 1.2, "p": 0.2, "n_days": 250, "n_needed": 700.0}


def model(**changes: Any) -> dict[str, Any]:
    shown = dict.fromkeys(("log_score", "crps", "crps_cumulative", "pit_ks"), 0.01)
    signs = dict.fromkeys(("ic", "rank_ic", "hit_rate", "pesaran_timmermann"), SIGN)
    skill = {"skill_nats": 0.002, "skill_interval": [0.001, 0.003], "mcs_log_score": 0.5}
    sizes = {"coverage_90": 0.9, "n": 500, "n_days": 250, "by_step": [{}, {}]}
    return shown | signs | skill | sizes | changes


def result(**changes: Any) -> dict[str, Any]:
    test = {"baseline": "har-pooled-t", "score": "log_score", "step": 1, "t": -2.5}
    told = {
        "models": {"seq2seq": model(), "har-pooled-t": model(mcs_log_score=0.01)},
        "tests": [test],
        "verdict": ["better than its own reference (har-pooled-t): yes, t = −2.5"],
        "kept_weight": [0.25, 0.75],
        "details": {"seq2seq": [{}, {"recalibration": {"width": 0.1, "skew": 0.0}}]},
        "notes": ["D: its price stood still"],
        "null": None,
    }
    return told | changes


def test_models_days_skill_and_notes_are_printed() -> None:
    lines = describe_evaluation(result())
    assert [line.split()[0] for line in lines[1:3]] == ["seq2seq", "har-pooled-t"]
    assert "CRPS 2d" in lines[0]
    assert "−2.5" in lines[2]
    assert any(line.startswith("500 forecasts on 250 days;") for line in lines)
    assert "Skill over har-pooled-t: +0.0020 nats (95 % interval +0.0010 to +0.0030)." in lines
    assert "May be the best by log score (90 % confidence set): seq2seq." in lines
    told = [line.split(" 0.51")[0] for line in lines if line.startswith("Direction")]
    assert told == [f"Direction, {name}" for name in ("IC", "rank IC", "Pesaran-Timmermann")]
    assert lines[-1] == "D: its price stood still"


@pytest.mark.parametrize(
    ("kept_weight", "words"),
    [
        (
            [0.25, 0.75],
            "Validation kept 50% of the network, on average over 2 folds; the rest is the reference, "
            "recalibrated in 1 of 2 folds.",
        ),
        ([0.0], "Validation kept 0% of the network, on average over 1 fold;"),
        ([None], ""),
    ],
)
def test_how_much_of_the_network_was_kept_is_printed(kept_weight: list[Any], words: str) -> None:
    lines = [
        line
        for line in describe_evaluation(result(kept_weight=kept_weight))
        if "Validation kept" in line
    ]
    assert len(lines) == bool(words)
    assert all(line.startswith(words) for line in lines)


def test_a_hit_rate_of_one_and_the_same_call_is_told_as_such() -> None:
    unknown = SIGN | {"t": float("nan"), "p": float("nan")}
    models = {"seq2seq": model(pesaran_timmermann=unknown), "har-pooled-t": model()}
    (line,) = [one for one in describe_evaluation(result(models=models)) if "hit rate" in one]
    assert line.startswith("Direction, hit rate 0.5100 over 250 days: every call was the same")
    assert not [one for one in describe_evaluation(result()) if "hit rate" in one]


def test_the_null_run_is_the_last_line() -> None:
    assert (
        describe_evaluation(result(null={"sentence": "gbm: nothing"}))[-1]
        == "Null run, gbm: nothing."
    )


def test_nothing_is_printed_without_a_sign() -> None:
    told = describe_evaluation(
        result(models={"seq2seq": model(skill_nats=-1e-9, skill_interval=[-0.002, 1e-9])})
    )
    assert "Skill over har-pooled-t: 0.0000 nats (95 % interval −0.0020 to 0.0000)." in told
