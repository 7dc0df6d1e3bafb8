import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quantseq.errors import ConfigError, GateError, NotEnoughDataError, StorageError
from quantseq.files import Places, lock, seal, write_json
from quantseq.forecasting.model_folder import load_forecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Panel
from quantseq.pipeline.backtest import backtest, demo
from quantseq.pipeline.evaluate import evaluate
from quantseq.pipeline.train import (
    TrainingOutcome,
    _milestone_lines,
    describe_training,
    pass_gate,
    step_bars,
    train_price,
    train_toy,
)
from quantseq.progress import Progress
from quantseq.seq2seq import copy_task
from quantseq.seq2seq.copy_task import GateRecord, Milestone, gate_fingerprint
from quantseq.seq2seq.tokens import EOS
from quantseq.seq2seq.training import StepReport
from tests.report_folders import toy_folder

pytestmark = pytest.mark.slow

CONFIG = ForecasterConfig(members=2, epochs=2, horizon=2)


def test_a_pass_is_remembered(gates: Path) -> None:
    record = pass_gate(ForecasterConfig(), Places(gates.parent.parent))
    assert record.passed
    assert record.was_cached
    assert record.score >= record.bar


@pytest.mark.parametrize("command", ["train", "backtest", "evaluate", "demo"])
def test_nobody_uses_an_architecture_that_has_failed_the_gate(
    command: str, sample: Panel, tmp_path: Path
) -> None:
    places, architecture = Places(tmp_path, tmp_path / "reports"), ForecasterConfig().architecture()
    mark = gate_fingerprint(architecture)
    failed = GateRecord(False, 0.42, 0.995, 0.0, "2026-01-01", 0, 400, 1.0, mark)
    write_json(places.gates / f"{mark}.json", seal(asdict(failed)))
    calls = {
        "train": lambda: train_price(sample, out=tmp_path / "model", places=places),
        "backtest": lambda: backtest(sample, places=places),
        "evaluate": lambda: evaluate(sample, places=places),
        "demo": lambda: demo(places=places),
    }
    with pytest.raises(GateError, match=r"42\.00%"):
        calls[command]()
    assert not (tmp_path / "model").exists()
    assert not list((tmp_path / "reports").glob("*/report.html"))


class Interrupts(Progress):
    """Presses Ctrl-C at a step of the bar whose title ends so."""

    def __init__(self, title: str, step: int) -> None:
        super().__init__(quiet=True)
        self.title, self.step = title, step

    @contextmanager
    def bar(
        self, title: str, total: int, *, unit: str = "it", done: int = 0
    ) -> Iterator[SimpleNamespace]:
        count = itertools.count(1)

        def step(*_: object, **__: object) -> None:
            if next(count) == self.step and title.endswith(self.title):
                raise KeyboardInterrupt

        yield SimpleNamespace(step=step)


def test_an_interrupted_training_goes_on_to_the_same_bits(
    small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    places = Places(gates.parent.parent)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    presses = Interrupts("network 2 of 2", 5)
    train_price(small_panel, out=whole, config=CONFIG, places=places)
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        train_price(small_panel, out=broken, config=CONFIG, places=places, progress=presses)
    assert not broken.exists()
    assert (tmp_path / "broken.state" / "member-1").is_dir()
    with pytest.raises(ConfigError, match="another seed"):
        train_price(small_panel, out=broken, config=CONFIG, places=places, seed=1, resume=True)
    trained: list[int] = []

    class Counts(Progress):
        def bar(self, title: str, total: int, *, unit: str = "it", done: int = 0):
            trained.append(title == "network 1 of 2")
            return super().bar(title, total, unit=unit, done=done)

    train_price(
        small_panel, out=broken, config=CONFIG, places=places, resume=True, progress=Counts()
    )
    assert not any(trained), "the finished network is not trained again"
    assert not (tmp_path / "broken.state").exists()
    cutoffs = small_panel.sessions[-3:]
    first, second = (
        load_forecaster(folder).predict(small_panel, cutoffs, horizon=2, num_paths=10)
        for folder in (whole, broken)
    )
    np.testing.assert_array_equal(first.density.probs, second.density.probs)
    np.testing.assert_array_equal(first.paths, second.paths)


def test_too_few_sessions_are_named(small_panel: Panel, tmp_path: Path) -> None:
    with pytest.raises(NotEnoughDataError, match="too few to train on"):
        train_price(small_panel.until("2003-09-30"), out=tmp_path / "m")
    assert not any(tmp_path.iterdir())


PICTURES = {f"{name}.{kind}" for name in ("loss", "accuracy") for kind in ("svg", "png")}
MAP = {"attention.svg", "attention.png"}


class Hears(Progress):
    """Keeps what is told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, list[str]]:
    """A sorter after two batches, its folder, and what was told."""
    hears, out = Hears(), tmp_path_factory.mktemp("sort")
    return train_toy("attention", out=out, toy="sort", batches=2, progress=hears), out, hears.lines


def test_a_toy_is_trained_told_and_drawn(trained: tuple[Any, Path, list[str]]) -> None:
    metrics, folder, told = trained
    assert metrics == json.loads((folder / "metrics.json").read_text())
    assert metrics["task"] == "sort"
    assert {path.name for path in folder.glob("*.*g")} == PICTURES | MAP
    assert metrics.report == folder / "report.html"
    assert list(metrics.figures()) == ["loss", "accuracy", "attention"]
    for one in json.loads((folder / "samples.json").read_text())["samples"]:
        assert one["answer"] == [*sorted(one["input"]), EOS]
    assert told[0] == "batch 0"
    assert sum("input  " in line for line in told) == 3
    text = "\n".join(describe_training(metrics))
    assert text.startswith(f"loss {metrics['final_loss']:.4f} after 200 examples (batch_size=100)")
    for words in ("token accuracy", "exact match", "edit distance", "length 3:", "length 9:"):
        assert words in text


def test_pictures_are_the_same_every_time_and_do_not_outlive_their_model(
    trained: tuple[Any, Path, list[str]], tmp_path: Path
) -> None:
    train_toy("attention", out=tmp_path, toy="sort", batches=2)
    for picture in PICTURES | MAP:
        assert (tmp_path / picture).read_bytes() == (trained[1] / picture).read_bytes()
    train_toy("seed", out=tmp_path, batches=1)
    assert {path.name for path in tmp_path.glob("*.*g")} == PICTURES


def test_figures_go_where_they_are_asked_for(tmp_path: Path) -> None:
    train_toy("seed", out=tmp_path / "model", batches=1, figures=tmp_path / "figures")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == PICTURES
    assert not list((tmp_path / "model").glob("*.*g"))


def test_a_milestone_reads_like_the_tutorial() -> None:
    sample = {"input": [5, 6], "teacher_forced": [5, 6, 1], "free_running": [5, 5, 1]}
    stone = Milestone(1000, 0.25, False, 0.75, 0.5, [sample])
    assert _milestone_lines(stone) == [
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
    monkeypatch.setattr(copy_task, "_MILESTONE", 5)
    hears, presses = Hears(), Interrupts("seed", 8)
    presses.tell = hears.tell  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        train_toy("seed", out=tmp_path / "a", batches=12, progress=presses)
    resumed = train_toy("seed", out=tmp_path / "a", batches=12, resume=True, progress=hears)
    assert [line for line in hears.lines if line.startswith("batch")] == [
        "batch 0",
        "batch 5",
        "batch 10",
    ]
    train_toy("seed", out=tmp_path / "b", batches=12)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert first == second
    assert (tmp_path / "a/loss.svg").read_bytes() == (tmp_path / "b/loss.svg").read_bytes()
    assert resumed["batches"] == 12


def test_the_bar_counts_from_where_a_resumed_training_stands() -> None:
    begun: list[int] = []
    seen: list[int] = []

    class Listening(Progress):
        @contextmanager
        def bar(
            self, title: str, total: int, *, unit: str = "it", done: int = 0
        ) -> Iterator[SimpleNamespace]:
            begun.append(done)
            yield SimpleNamespace(step=lambda count, **_: seen.append(count))

    with step_bars(Listening(quiet=True), lambda _: "x") as step:
        for number in (7, 8):
            step(0, StepReport(number, 10, 1.0, learning_rate=0.1, examples=1, seconds=0.0))
    assert (begun, seen) == ([7], [1, 1])


def test_it_is_its_metrics_and_shows_them_escaped(tmp_path: Path) -> None:
    outcome = TrainingOutcome({"task": "<b>", "share": 0.25, "more": [1]}, tmp_path)
    assert json.loads(json.dumps(outcome)) == {"task": "<b>", "share": 0.25, "more": [1]}
    text = outcome._repr_html_()
    assert "<b>" not in text
    assert "0.25" in text
    assert str(tmp_path) in text
    assert outcome.figures() == {}


def test_a_toy_has_figures(tmp_path: Path) -> None:
    outcome = TrainingOutcome({}, toy_folder(tmp_path), tmp_path / "report.html")
    assert list(outcome.figures()) == ["loss", "accuracy", "attention"]
    assert outcome.figures()["loss"].frame.iloc[0, 0] == 2.3


def test_a_picture_of_somebody_in_a_toys_folder_is_refused(tmp_path: Path) -> None:
    train_toy("seed", out=tmp_path, batches=1)
    (tmp_path / "attention.svg").write_text("<svg>mine</svg>")
    with pytest.raises(StorageError, match=r"attention\.svg' was not written by quantseq"):
        train_toy("seed", out=tmp_path, batches=1)
    assert (tmp_path / "attention.svg").read_text() == "<svg>mine</svg>"
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "loss.png").write_bytes(b"\x89PNG mine")
    with pytest.raises(StorageError, match=r"loss\.png' was not written by quantseq"):
        train_toy("seed", out=tmp_path / "new", batches=1, figures=tmp_path / "slides")


def test_a_toy_lands_in_no_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StorageError, match="was not written by quantseq"):
        train_toy("seed", out=tmp_path, batches=1)
    (tmp_path / "milestones.json").write_text('{"of": "my life"}')
    with pytest.raises(StorageError, match=r"milestones\.json' was not written by quantseq"):
        train_toy("seed", out=tmp_path, batches=1)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.safetensors").write_text("mine")
    with pytest.raises(StorageError, match="was not written by quantseq"):
        train_toy("seed", out=tmp_path, batches=1)
    assert (tmp_path / "state" / "state.safetensors").read_text() == "mine"
    assert not (tmp_path.parent / f".{tmp_path.name}.lock").exists()


def test_two_trainings_do_not_share_a_folder(tmp_path: Path, small_panel: Panel) -> None:
    with lock(tmp_path / ".model.lock"):
        for train in (
            lambda: train_toy("seed", out=tmp_path / "model", batches=1),
            lambda: train_price(small_panel, out=tmp_path / "model", places=Places(tmp_path / "d")),
        ):
            with pytest.raises(StorageError, match=r"Another quantseq process holds .*--out"):
                train()
    train_toy("seed", out=tmp_path / "model", batches=1)


@pytest.mark.parametrize("name", ["model", "model.state"])
def test_a_thesis_is_in_nobodys_way(tmp_path: Path, small_panel: Panel, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.tex").write_text("mine")
    with pytest.raises(StorageError, match=f"{name}' was not written by quantseq"):
        train_price(small_panel, out=tmp_path / "model", places=Places(tmp_path / "d"))
    assert (tmp_path / name / "thesis.tex").read_text() == "mine"
