"""The presets train, and say honestly how well."""

from pathlib import Path

import pytest
import torch

from quantseq.errors import ConfigError, ModelFileError
from quantseq.files import read_json
from quantseq.seq2seq.checkpoint import load_model
from quantseq.seq2seq.copy_task import PRESETS, Milestone, train_copy
from quantseq.seq2seq.proof import milestones
from quantseq.seq2seq.training import StepReport


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_writes_a_model_folder(preset: str, tmp_path: Path) -> None:
    stones: list[Milestone] = []
    result = train_copy(preset, seed=1, out=tmp_path, batches=3, on_milestone=stones.append)
    assert read_json(tmp_path / "metrics.json") == result.metrics
    assert set(result.metrics) == {
        "task",
        "preset",
        "seed",
        "batches",
        "batch_size",
        "examples",
        "parameters",
        "loss_masked",
        "loss_at",
        "final_loss",
        "exact_match",
        "exact_match_by_length",
        "token_accuracy",
        "edit_distance",
        "longer_exact_match",
        "longer_exact_match_by_length",
        "seconds",
        "seconds_measuring",
    }
    assert list(result.metrics["exact_match_by_length"]) == ["3", "4", "5", "6", "7", "8"]
    assert list(result.metrics["longer_exact_match_by_length"]) == [str(n) for n in range(9, 17)]
    assert list(result.metrics["loss_at"]) == ["0"]
    assert result.metrics["loss_at"]["0"] == pytest.approx(2.3, abs=0.2)
    assert stones == result.milestones
    assert len(stones[0].samples) == 3
    model, meta, history = load_model(tmp_path)
    assert (meta["task"], meta["preset"], meta["seed"]) == ("copy", preset, 1)
    assert meta["trained_until"] is None
    assert len(meta["vocabulary"]) >= 12
    assert history == result.history
    for mine, other in zip(model.parameters(), result.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert (tmp_path / "attention.json").exists() == (model.config.attention != "none")


def test_the_closing_line_is_the_tutorials(tmp_path: Path) -> None:
    result = train_copy("seed", seed=0, out=tmp_path, batches=2)
    loss = result.metrics["final_loss"]
    assert result.closing_line == f"loss {loss:.4f} after 200 examples (batch_size=100)"


def test_the_attention_map_covers_source_and_target(tmp_path: Path) -> None:
    train_copy("attention", seed=0, out=tmp_path, batches=1)
    heat = read_json(tmp_path / "attention.json")
    assert len(heat["source"]) == 8
    assert heat["target"] == [*heat["source"], 1]
    assert [len(row) for row in heat["weights"]] == [8] * 9


def test_a_stopped_training_resumes_with_its_milestones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milestones, "MILESTONE", 10)

    def stop(report: StepReport) -> None:
        if report.step == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_copy("seed", seed=0, out=tmp_path / "a", batches=23, on_step=stop)
    resumed = train_copy("seed", seed=0, out=tmp_path / "a", batches=23, resume=True)
    whole = train_copy("seed", seed=0, out=tmp_path / "b", batches=23)
    assert list(whole.metrics["loss_at"]) == ["0", "10", "20"]
    assert resumed.milestones == whole.milestones
    assert resumed.history.losses == whole.history.losses
    for mine, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_milestone_is_told_once_over_all_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milestones, "MILESTONE", 10)
    told: list[int] = []

    def train(batches: int, *, until: int, resume: bool) -> None:
        def stop(report: StepReport) -> None:
            if report.step == until:
                raise KeyboardInterrupt

        train_copy(
            "seed",
            seed=0,
            out=tmp_path,
            batches=batches,
            resume=resume,
            on_step=stop,
            on_milestone=lambda stone: told.append(stone.batch),
        )

    with pytest.raises(KeyboardInterrupt):
        train(31, until=10, resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(31, until=25, resume=True)
    train(31, until=99, resume=True)
    assert told == [0, 10, 20, 30]


def test_a_state_of_another_toy_is_refused(tmp_path: Path) -> None:
    train_copy("seed", seed=0, out=tmp_path, batches=2)
    with pytest.raises(ModelFileError, match=r"'task': 'copy'.*'task': 'sort'"):
        train_copy("seed", seed=0, out=tmp_path, batches=2, toy="sort", resume=True)
    (tmp_path / "milestones.json").write_text("[]")
    with pytest.raises(ModelFileError, match="which training"):
        train_copy("seed", seed=0, out=tmp_path, batches=2, resume=True)


def test_a_new_training_leaves_nothing_of_the_old_one_to_resume(tmp_path: Path) -> None:
    train_copy("attention", seed=0, out=tmp_path, batches=2)

    def stop(report: StepReport) -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        train_copy("seed", seed=1, out=tmp_path, batches=2, on_step=stop)
    resumed = train_copy("seed", seed=1, out=tmp_path, batches=2, resume=True)
    assert resumed.metrics["seed"] == 1
    assert not (tmp_path / "attention.json").exists()


def test_milestones_measure_both_ways(tmp_path: Path) -> None:
    (stone,) = train_copy("seed", seed=0, out=tmp_path, batches=1).milestones
    assert (stone.masked, stone.exact_match) == (False, 0.0)
    assert stone.free_running_loss == pytest.approx(2.3, abs=0.3)
    assert stone.free_running_loss != stone.loss
    for sample in stone.samples:
        assert len(sample["teacher_forced"]) == len(sample["input"]) + 1


def test_other_toys_train_under_the_same_door(tmp_path: Path) -> None:
    result = train_copy("attention", seed=0, out=tmp_path, batches=2, toy="sort")
    assert result.metrics["task"] == "sort"
    heat = read_json(tmp_path / "attention.json")
    assert heat["target"] == [*sorted(heat["source"]), 1]


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="strong"):
        train_copy("huge", seed=0, out=tmp_path)


@pytest.mark.slow
def test_strong_solves_the_task(tmp_path: Path) -> None:
    metrics = train_copy("strong", seed=11, out=tmp_path, batches=300).metrics
    assert metrics["exact_match"] >= 0.995
    assert metrics["token_accuracy"] >= 0.999
    assert metrics["edit_distance"] <= 0.01


@pytest.mark.slow
def test_seed_reaches_the_published_losses(tmp_path: Path) -> None:
    metrics = train_copy("seed", seed=11, out=tmp_path).metrics
    assert metrics["loss_at"]["1000"] <= 0.40
    assert metrics["loss_at"]["2000"] <= 0.22
    assert metrics["loss_at"]["3000"] <= 0.16
    assert metrics["examples"] == 300_100
