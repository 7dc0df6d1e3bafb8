"""The study keeps what is finished, mixes no versions, and counts alike however many processes."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from quantseq.errors import ConfigError
from quantseq.files import read_json, write_json
from quantseq.pipeline import study
from quantseq.pipeline.study import describe, study_copy
from quantseq.seq2seq.gate import BAR
from quantseq.seq2seq.proof.study import CASES, StudyCase, StudyRun

FIGURES = {"exact_match.svg", "exact_match.png", "loss.svg", "loss.png"}


def invented(case: StudyCase, *, seed: int, batches: int) -> StudyRun:
    """A training that took no time: machines with attention master copying at the second look."""
    top = 0.5 if case.attention == "none" else 1.0 - 0.001 * seed
    return StudyRun(
        case.name, seed, 7, [0, 1, 2], [0.0, 1.0 + seed, 3.0], [0.0, top, top], [2.3, 1.0, 0.5]
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Trainings that were done, by kind and seed; each is invented, and nothing is drawn."""
    done: list[tuple[str, int]] = []

    def run(case: StudyCase, *, seed: int, batches: int) -> StudyRun:
        done.append((case.name, seed))
        return invented(case, seed=seed, batches=batches)

    monkeypatch.setattr(study, "run_case", run)
    monkeypatch.setattr(study, "write_picture", lambda *parts, **options: None)
    return done


def test_what_is_known_is_drawn(tmp_path: Path) -> None:
    groups = {
        case: [invented(case, seed=seed, batches=2) for seed in range(2)] for case in study.CASES
    }
    study._write(tmp_path, groups, seed=0, batches=2)
    assert {path.name for path in tmp_path.iterdir()} > FIGURES
    text = (tmp_path / "exact_match.svg").read_text()
    for words in ("no attention", "Luong attention", "bidirectional GRU", "median of 2 seeds"):
        assert words in text


def test_every_kind_and_seed_is_trained_once(calls: list[tuple[str, int]], tmp_path: Path) -> None:
    result = study_copy(out=tmp_path, seeds=3, batches=2, seed=5)
    assert sorted(calls) == sorted((case.name, seed) for case in CASES for seed in (5, 6, 7))
    assert read_json(tmp_path / "study.json") == result
    assert result["seeds"] == [5, 6, 7]
    table = pd.read_csv(tmp_path / "table.csv")
    assert len(table) == 12
    assert len(pd.read_csv(tmp_path / "curves.csv")) == 12 * 3 * 3
    again = study_copy(out=tmp_path, seeds=3, batches=2, seed=5)
    assert len(calls) == 36
    assert again == result


def test_the_table_says_when_copying_was_mastered(
    calls: list[tuple[str, int]], tmp_path: Path
) -> None:
    result = study_copy(out=tmp_path, seeds=3, batches=2)
    by_kind = {(row["encoder"], row["attention"], row["cell"]): row for row in result["table"]}
    plain, luong = by_kind["forward", "none", "lstm"], by_kind["forward", "luong", "lstm"]
    assert (plain["exact_match"], plain["mastered"]) == (0.5, 0)
    assert plain["batches_to_mastery"] is plain["seconds_to_mastery"] is None
    assert (luong["exact_match_low"], luong["exact_match"], luong["exact_match_high"]) == (
        0.998,
        0.999,
        1.0,
    )
    assert luong["exact_match_low"] >= BAR
    assert (luong["batches_to_mastery"], luong["seconds_to_mastery"]) == (1, 2.0)
    assert luong["mastered"] == 3
    shown = describe(result)
    assert len(shown) == 12
    assert shown[0]["at batch"] == "-"
    assert {row["mastered of 3"] for row in shown} == {"0", "3"}


def test_a_study_that_was_stopped_goes_on(
    calls: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = study_copy(out=tmp_path / "whole", seeds=1, batches=2)
    calls.clear()
    plain = study.run_case

    def stop(case: StudyCase, *, seed: int, batches: int) -> StudyRun:
        if len(calls) == 5:
            raise KeyboardInterrupt
        return plain(case, seed=seed, batches=batches)

    with monkeypatch.context() as ctrl_c:
        ctrl_c.setattr(study, "run_case", stop)
        with pytest.raises(KeyboardInterrupt, match="5 of 12 trainings are finished"):
            study_copy(out=tmp_path / "a", seeds=1, batches=2)
    assert not (tmp_path / "a" / "study.json").exists()
    resumed = study_copy(out=tmp_path / "a", seeds=1, batches=2)
    assert len(calls) == 12
    assert {**resumed, "folder": ""} == {**whole, "folder": ""}
    for name in ("table.csv", "curves.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_stale_and_damaged_results_are_not_used(
    calls: list[tuple[str, int]], tmp_path: Path
) -> None:
    study_copy(out=tmp_path, seeds=1, batches=2)
    first, second, third, *_ = sorted((tmp_path / "runs").iterdir())
    write_json(first, {**read_json(first), "fingerprint": "of another code"})
    second.write_text(second.read_text()[:40])
    write_json(third, {**read_json(third), "run": {"case": "x"}})
    calls.clear()
    study_copy(out=tmp_path, seeds=1, batches=2)
    assert len(calls) == 3


def test_studies_of_different_length_do_not_replace_each_other(
    calls: list[tuple[str, int]], tmp_path: Path
) -> None:
    for batches in (2, 3, 2, 3):
        study_copy(out=tmp_path, seeds=1, batches=batches)
    assert len(calls) == 24


@pytest.mark.parametrize("name", ["seeds", "batches", "jobs"])
def test_nothing_to_do_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' .* at least 1"):
        study_copy(out=tmp_path, **{name: 0})


@pytest.mark.slow
def test_the_numbers_are_the_same_for_any_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "CASES", CASES[:2])
    curves = []
    for jobs in (1, 2):
        study_copy(out=tmp_path / str(jobs), seeds=1, batches=3, jobs=jobs)
        curves.append(pd.read_csv(tmp_path / str(jobs) / "curves.csv").drop(columns="seconds"))
    pd.testing.assert_frame_equal(*curves, check_exact=True)
    kept = [
        StudyRun(**read_json(path)["run"])
        for jobs in "12"
        for path in sorted((tmp_path / jobs / "runs").iterdir())
    ]
    for one, two in zip(kept[:2], kept[2:], strict=True):
        assert replace(one, seconds=two.seconds) == two
