"""The toy tasks as the commands do them: what is told, written and drawn."""

import json
from pathlib import Path

import pytest

from quantseq.pipeline import toys
from quantseq.pipeline.toys import describe, milestone_lines, train_copy
from quantseq.progress import Progress
from quantseq.seq2seq.copy_task import Milestone
from quantseq.seq2seq.proof import milestones
from quantseq.seq2seq.tokens import EOS

PICTURES = {f"{name}.{kind}" for name in ("loss", "accuracy") for kind in ("svg", "png")}
MAP = {"attention.svg", "attention.png"}


class Hears(Progress):
    """Keeps what is told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("toy", ["copy", "reverse", "sort"])
def test_a_toy_is_trained_told_and_drawn(toy: str, tmp_path: Path) -> None:
    hears = Hears()
    metrics = train_copy("attention", out=tmp_path, toy=toy, batches=2, progress=hears)
    assert metrics == json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["task"] == toy
    assert {path.name for path in tmp_path.glob("*.*g")} == PICTURES | MAP
    assert metrics.report == tmp_path / "report.html"
    assert list(metrics.figures()) == ["loss", "accuracy", "attention"]
    samples = json.loads((tmp_path / "samples.json").read_text())["samples"]
    for one in samples:
        plain = {"copy": one["input"], "reverse": one["input"][::-1], "sort": sorted(one["input"])}
        assert one["answer"] == [*plain[toy], EOS]
    assert hears.lines[0] == "batch 0"
    assert sum("input  " in line for line in hears.lines) == 3
    text = "\n".join(describe(metrics))
    assert text.startswith(f"loss {metrics['final_loss']:.4f} after 200 examples (batch_size=100)")
    for words in ("token accuracy", "exact match", "edit distance", "length 3:", "length 9:"):
        assert words in text


def test_pictures_of_an_older_model_do_not_stay(tmp_path: Path) -> None:
    train_copy("attention", out=tmp_path, batches=1)
    train_copy("seed", out=tmp_path, batches=1)
    assert {path.name for path in tmp_path.glob("*.*g")} == PICTURES


def test_figures_go_where_they_are_asked_for(tmp_path: Path) -> None:
    train_copy("seed", out=tmp_path / "model", batches=1, figures=tmp_path / "figures")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == PICTURES
    assert not list((tmp_path / "model").glob("*.*g"))


def test_the_pictures_are_the_same_every_time(tmp_path: Path) -> None:
    for name in "ab":
        train_copy("attention", out=tmp_path / name, batches=1)
    for picture in PICTURES | MAP:
        first, second = ((tmp_path / name / picture).read_bytes() for name in "ab")
        assert first == second


def test_a_milestone_reads_like_the_tutorial() -> None:
    sample = {"input": [5, 6], "teacher_forced": [5, 6, 1], "free_running": [5, 5, 1]}
    stone = Milestone(1000, 0.25, False, 0.75, 0.5, [sample])
    assert milestone_lines(stone) == [
        "batch 1000",
        "  loss: 0.2500 teacher-forced, padding included",
        "        0.7500 free-running, padding left out",
        "  exact match: 50.0% free-running",
        "  sample 1:",
        "    input                     > 5 6",
        "    predicted, teacher-forced > 5 6 EOS",
        "    predicted, free-running   > 5 5 EOS",
    ]


def test_an_interrupted_toy_goes_on_without_repeating_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milestones, "MILESTONE", 5)
    hears = Hears()
    plain = toys.StepBars.only

    def press(self: toys.StepBars, report: object) -> None:
        plain(self, report)
        if report.step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as ctrl_c:
        ctrl_c.setattr(toys.StepBars, "only", press)
        with pytest.raises(KeyboardInterrupt, match="--resume"):
            train_copy("seed", out=tmp_path / "a", batches=12, progress=hears)
    resumed = train_copy("seed", out=tmp_path / "a", batches=12, resume=True, progress=hears)
    assert [line for line in hears.lines if line.startswith("batch")] == [
        "batch 0",
        "batch 5",
        "batch 10",
    ]
    train_copy("seed", out=tmp_path / "b", batches=12)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert first == second
    assert (tmp_path / "a/loss.svg").read_bytes() == (tmp_path / "b/loss.svg").read_bytes()
    assert resumed["batches"] == 12
