"""Training is exact: same seed same bits, stopped and resumed or not."""

import multiprocessing
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from quantseq.errors import ConfigError, ModelFileError, TrainingError
from quantseq.seq2seq import training
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.proof.toys import EVALUATION, ToySource
from quantseq.seq2seq.tokens import PAD, Batch
from quantseq.seq2seq.training import (
    StepReport,
    TrainConfig,
    TrainingHistory,
    evaluate_loss,
    fit,
)
from tests.seq2seq.conftest import EVERY_CONFIG, config_of, elsewhere, name_of, random_batch

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


def test_resuming_on_other_data_is_refused(tmp_path: Path) -> None:
    train(checkpoint=tmp_path)
    other = replace(SOURCE, seed=1)
    with pytest.raises(ModelFileError, match="data"):
        fit(
            Seq2Seq(CONFIG),
            other,
            PLAN,
            seed=0,
            validation=VALIDATION,
            checkpoint=tmp_path,
            resume=True,
        )
    with pytest.raises(ModelFileError, match="data"):
        fit(
            Seq2Seq(CONFIG),
            SOURCE,
            PLAN,
            seed=0,
            validation=VALIDATION[:1],
            checkpoint=tmp_path,
            resume=True,
        )


def test_a_new_fit_replaces_an_old_state_at_once(tmp_path: Path) -> None:
    train(seed=1, checkpoint=tmp_path)
    with pytest.raises(StopError):
        train(checkpoint=tmp_path, on_step=stop_at(0))
    resumed, history = train(checkpoint=tmp_path, resume=True)
    expected, whole = train()
    assert torch.equal(weights(resumed), weights(expected))
    assert timeless(history) == timeless(whole)


@pytest.mark.parametrize("config", EVERY_CONFIG, ids=name_of)
def test_every_architecture_resumes_to_the_same_bits(config: Seq2SeqConfig, tmp_path: Path) -> None:
    config = replace(config, dropout=0.2)

    @dataclass
    class Batches:
        def batch(self, step: int) -> Batch:
            return random_batch(config, seed=step)

    plan = replace(PLAN, steps=4, scheduled_sampling="inverse_sigmoid", validate_every=2)
    kwargs: dict[str, Any] = {"seed": 0, "validation": [random_batch(config, seed=99)]}
    straight, resumed = Seq2Seq(config), Seq2Seq(config)
    history = fit(straight, Batches(), plan, **kwargs)
    with pytest.raises(KeyboardInterrupt):
        fit(
            Seq2Seq(config),
            Batches(),
            plan,
            checkpoint=tmp_path,
            on_step=stop_at(1, KeyboardInterrupt),
            **kwargs,
        )
    whole = fit(resumed, Batches(), plan, checkpoint=tmp_path, resume=True, **kwargs)
    assert torch.equal(weights(resumed), weights(straight))
    assert timeless(whole) == timeless(history)


KILLED = replace(
    PLAN,
    steps=30,
    learning_rate=0.1,
    schedule="plateau",
    scheduled_sampling="inverse_sigmoid",
    ordinal_width=0.7,
    validate_every=2,
    plateau_patience=1,
    patience=8,
    checkpoint_every=1,
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_sigkill_at_any_moment_then_resume_gives_the_same_bits(tmp_path: Path) -> None:
    began = time.perf_counter()
    expected, history = train(KILLED, checkpoint=tmp_path / "straight")
    duration = time.perf_counter() - began
    random, folder = Random(0), tmp_path / "killed"
    fork, killed = multiprocessing.get_context("fork"), 0
    for _ in range(12):  # a state is written at every step, so that many a kill meets a write
        kwargs = {"checkpoint": folder, "resume": True}
        child = fork.Process(target=train, args=(KILLED,), kwargs=kwargs)
        child.start()
        child.join(random.uniform(0.0, 0.4) * duration)
        child.kill()
        child.join()
        killed += child.exitcode == -signal.SIGKILL
    assert killed >= 3
    model, whole = train(KILLED, checkpoint=folder, resume=True)
    assert torch.equal(weights(model), weights(expected))
    assert timeless(whole) == timeless(history)


def test_a_fit_happens_where_the_model_is(tmp_path: Path) -> None:
    expected, _ = train()
    with elsewhere():
        with pytest.raises(KeyboardInterrupt):
            train(checkpoint=tmp_path, on_step=stop_at(5, KeyboardInterrupt))
        model, _ = train(checkpoint=tmp_path, resume=True)
    assert torch.equal(weights(model), weights(expected))


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


@pytest.mark.parametrize(
    ("plan", "words"),
    [(replace(PLAN, schedule="plateau"), "plateau"), (replace(PLAN, patience=3), "patience")],
)
def test_what_looks_at_validation_needs_some(plan: TrainConfig, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fit(Seq2Seq(CONFIG), SOURCE, plan, seed=0)


def test_a_validation_loss_that_is_no_number_is_a_named_error() -> None:
    model = Seq2Seq(CONFIG)
    with torch.no_grad():
        model.decoder.bias.fill_(torch.nan)
    with pytest.raises(TrainingError, match="validation loss after 0 steps"):
        fit(model, SOURCE, PLAN, seed=0, validation=VALIDATION)
    with pytest.raises(ConfigError, match="at least one batch"):
        evaluate_loss(model, [])
