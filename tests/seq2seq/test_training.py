"""Training is exact: same seed same bits, stopped and resumed or not."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from quantseq.errors import ConfigError, ModelFileError, TrainingError
from quantseq.seq2seq import training
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.tokens import PAD, Batch
from quantseq.seq2seq.toys import EVALUATION, ToySource
from quantseq.seq2seq.training import (
    StepReport,
    TrainConfig,
    TrainingHistory,
    evaluate_loss,
    fit,
    set_threads,
)
from tests.seq2seq.conftest import config_of

CONFIG = config_of(vocab_size=10, bidirectional=True, attention="bahdanau", dropout=0.3)
SOURCE = ToySource(batch_size=12)
VALIDATION = [replace(SOURCE, stream=EVALUATION).batch(step) for step in range(2)]
PLAN = TrainConfig(
    steps=12,
    learning_rate=1e-2,
    schedule="one_cycle",
    weight_decay=0.1,
    label_smoothing=0.05,
    scheduled_sampling="linear",
    validate_every=4,
    checkpoint_every=5,
)


def train(
    plan: TrainConfig = PLAN, *, seed: int = 0, **kwargs: Any
) -> tuple[Seq2Seq, TrainingHistory]:
    model = Seq2Seq(CONFIG)
    history = fit(model, SOURCE, plan, seed=seed, validation=VALIDATION, **kwargs)
    return model, history


def weights(model: Seq2Seq) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def timeless(history: TrainingHistory) -> TrainingHistory:
    return replace(history, seconds=0.0)


class StopError(Exception):
    """Raised in the middle of a fit."""


def stop_at(step: int, error: type[BaseException] = StopError) -> Any:
    def told(report: StepReport) -> None:
        if report.step == step:
            raise error

    return told


def test_same_seed_same_bits_and_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    model, history = train()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(123)
    again, same_history = train()
    assert torch.equal(weights(again), weights(model))
    assert timeless(same_history) == timeless(history)
    other, _ = train(seed=1)
    assert not torch.equal(weights(other), weights(model))


ROUGH = replace(PLAN, steps=20, learning_rate=1.0, validate_every=2, scheduled_sampling="none")
PLANS = {
    "one_cycle": PLAN,
    "plateau": replace(ROUGH, schedule="plateau", plateau_patience=2),
    "past_its_best": replace(ROUGH, schedule="constant"),
}


@pytest.mark.parametrize(
    ("name", "step"),
    [
        *((name, step) for name in ("one_cycle", "past_its_best") for step in (0, 6, 11)),
        ("past_its_best", 18),
        *(("plateau", step) for step in range(1, 19, 2)),
    ],
)
def test_resuming_gives_the_same_bits(name: str, step: int, tmp_path: Path) -> None:
    plan, rates = PLANS[name], set()
    model, history = train(plan, on_step=lambda report: rates.add(report.learning_rate))
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        train(plan, checkpoint=tmp_path, on_step=stop_at(step, KeyboardInterrupt))
    resumed, whole = train(plan, checkpoint=tmp_path, resume=True)
    assert torch.equal(weights(resumed), weights(model))
    assert timeless(whole) == timeless(history)
    assert len(rates) > 1 or name == "past_its_best"
    assert history.best_step != history.validation_steps[-1] or name != "past_its_best"


def test_resuming_after_a_crash_goes_back_to_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        train(checkpoint=tmp_path, on_step=stop_at(8))
    seen: list[int] = []
    resumed, _ = train(
        checkpoint=tmp_path, resume=True, on_step=lambda report: seen.append(report.step)
    )
    assert seen == list(range(5, 12))
    assert torch.equal(weights(resumed), weights(train()[0]))


def test_resuming_a_finished_fit_changes_nothing(tmp_path: Path) -> None:
    model, history = train(checkpoint=tmp_path)
    again, same_history = train(checkpoint=tmp_path, resume=True, on_step=stop_at(0))
    assert torch.equal(weights(again), weights(model))
    assert timeless(same_history) == timeless(history)


def test_resuming_from_nothing_starts_at_the_beginning(tmp_path: Path) -> None:
    model, _ = train(checkpoint=tmp_path / "none", resume=True)
    assert torch.equal(weights(model), weights(train()[0]))


def test_the_state_of_another_fit_is_refused(tmp_path: Path) -> None:
    train(checkpoint=tmp_path)
    with pytest.raises(ModelFileError, match="another"):
        train(seed=1, checkpoint=tmp_path, resume=True)


CHILD = """
import sys
from pathlib import Path
from tests.seq2seq.test_training import set_threads, train
set_threads(1)
print("go", flush=True)
train(checkpoint=Path(sys.argv[1]), resume=True, on_step=lambda report: print(report.step, flush=True))
"""


@pytest.mark.slow
def test_sigkill_at_any_moment_then_resume_gives_the_same_bits(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    for line in ("5", "9"):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert child.stdout is not None
        for said in child.stdout:
            if said.strip() == line:
                break
        child.kill()
        child.wait()
        child.stdout.close()
    model, _ = train(checkpoint=tmp_path, resume=True)
    assert torch.equal(weights(model), weights(train()[0]))


def test_ctrl_c_ends_after_the_step_and_saves(tmp_path: Path) -> None:
    seen: list[int] = []

    def told(report: StepReport) -> None:
        seen.append(report.step)
        if report.step == 2:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="3 of 12 steps"):
        train(checkpoint=tmp_path, on_step=told)
    assert signal.getsignal(signal.SIGINT) is handler
    assert seen == [0, 1, 2]
    assert torch.equal(weights(train(checkpoint=tmp_path, resume=True)[0]), weights(train()[0]))


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    def told(report: StepReport) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=tmp_path, on_step=told)


def test_without_a_folder_ctrl_c_says_so() -> None:
    with pytest.raises(KeyboardInterrupt, match="no checkpoint folder"):
        train(on_step=stop_at(2, KeyboardInterrupt))


def test_a_thread_may_train() -> None:
    found: list[Seq2Seq] = []
    thread = threading.Thread(target=lambda: found.append(train()[0]))
    thread.start()
    thread.join()
    assert torch.equal(weights(found[0]), weights(train()[0]))


def test_the_best_validation_is_kept() -> None:
    model, history = train(PLANS["past_its_best"])
    assert history.validation_steps == list(range(0, 21, 2))
    assert history.best_loss == min(history.validation_losses)
    best = history.validation_losses.index(history.best_loss)
    assert history.best_step == history.validation_steps[best]
    assert 0 < history.best_step < 20
    assert evaluate_loss(model, VALIDATION) == history.best_loss


def test_patience_ends_training_early() -> None:
    plan = replace(
        PLAN, steps=300, learning_rate=1.0, schedule="constant", validate_every=2, patience=3
    )
    _, history = train(plan)
    assert history.stopped_early
    assert history.best_step is not None
    assert history.validation_steps[-1] == history.best_step + 6
    assert history.steps[-1] == history.validation_steps[-1] - 1


def test_a_plateau_lowers_the_rate() -> None:
    plan = replace(
        PLAN, steps=40, learning_rate=1.0, schedule="plateau", validate_every=2, plateau_patience=2
    )
    rates: list[float] = []
    train(plan, on_step=lambda report: rates.append(report.learning_rate))
    assert rates == sorted(rates, reverse=True)
    assert set(rates) <= {0.5**k for k in range(10)}
    assert len(set(rates)) > 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label_smoothing": 0.1},
        {"ordinal_width": 1.0},
        {"scheduled_sampling": "free"},
        {"optimiser": "adam"},
    ],
    ids=str,
)
def test_it_learns(changes: dict[str, Any]) -> None:
    values: dict[str, Any] = {"steps": 120, "learning_rate": 1e-2, **changes}
    model, before = Seq2Seq(replace(CONFIG, dropout=0.0, hidden_size=16)), evaluate_loss
    start = before(model, VALIDATION)
    history = fit(model, ToySource(length_from=1, length_to=3), TrainConfig(**values), seed=0)
    assert start == pytest.approx(2.4, abs=0.3)
    assert history.losses[-1] < 0.7 * history.losses[0]


def test_reports_and_history_agree() -> None:
    reports: list[StepReport] = []
    _, history = train(on_step=reports.append)
    assert [report.step for report in reports] == history.steps == list(range(12))
    assert [report.loss for report in reports] == history.losses
    told = [r.validation_loss for r in reports if r.validation_loss is not None]
    assert told == history.validation_losses[1:]
    assert reports[-1].examples == history.examples == 144
    assert reports[-1].best_loss == history.best_loss
    assert 0 < reports[0].seconds <= reports[-1].seconds <= history.seconds


def test_a_long_history_is_thinned_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "HISTORY_POINTS", 5)
    _, history = train()
    assert history.steps == [0, 3, 6, 9, 11]


@pytest.mark.parametrize("mode", [True, False])
def test_the_callers_mode_comes_back(mode: bool) -> None:
    model = Seq2Seq(CONFIG).train(mode)
    fit(model, SOURCE, PLAN, seed=0)
    assert model.training is mode
    evaluate_loss(model, VALIDATION)
    assert model.training is mode


def test_validation_does_not_change_training() -> None:
    plan = replace(PLAN, scheduled_sampling="none")
    _, with_validation = train(plan)
    model = Seq2Seq(CONFIG)
    assert fit(model, SOURCE, plan, seed=0).losses == with_validation.losses


def test_validation_loss_is_per_token_over_all_batches() -> None:
    model = Seq2Seq(CONFIG)
    by_batch = [evaluate_loss(model, [batch]) for batch in VALIDATION]
    tokens = [int(batch.target_lengths.sum()) for batch in VALIDATION]
    expected = sum(a * b for a, b in zip(by_batch, tokens, strict=True)) / sum(tokens)
    assert evaluate_loss(model, VALIDATION) == pytest.approx(expected)


@dataclass
class Broken:
    """A source whose third batch teaches what the model can never emit."""

    def batch(self, step: int) -> Batch:
        batch = SOURCE.batch(step)
        return batch if step < 2 else replace(batch, target_out=torch.zeros_like(batch.target_out))


def test_an_infinite_loss_is_a_named_error() -> None:
    model = Seq2Seq(replace(CONFIG, never_emit=(PAD,)))
    with pytest.raises(TrainingError, match="batch 2"):
        fit(model, Broken(), PLAN, seed=0)


def test_an_unmasked_loss_needs_padding() -> None:
    model = Seq2Seq(replace(CONFIG, never_emit=(PAD,)))
    with pytest.raises(ConfigError, match="masked_loss"):
        fit(model, SOURCE, replace(PLAN, masked_loss=False), seed=0)


def test_threads_are_set_in_one_place() -> None:
    set_threads(1)
    assert torch.get_num_threads() == 1


def test_a_fit_is_not_slow() -> None:
    began = time.process_time()
    train(replace(PLAN, steps=50))
    assert time.process_time() - began < 20
