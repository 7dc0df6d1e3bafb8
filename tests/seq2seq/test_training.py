"""Training is exact: same seed same bits, stopped and resumed or not."""

import ctypes
import functools
import math
import multiprocessing
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
import torch

from quantseq.errors import ConfigError, ModelFileError, TrainingError
from quantseq.seq2seq import training
from quantseq.seq2seq.checkpoint import TrainingHistory
from quantseq.seq2seq.copy_task import EVALUATION, CopySource
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.tokens import PAD, Batch
from quantseq.seq2seq.training import (
    StepReport,
    TeacherSchedule,
    TrainConfig,
    evaluate_loss,
    fit,
    sequence_loss,
    set_threads,
    soft_targets,
    teacher_share,
)
from tests.seq2seq.conftest import (
    EVERY_CONFIG,
    VOCABULARY,
    config_of,
    elsewhere,
    machine,
    name_of,
    random_batch,
)

CONFIG = config_of(vocab_size=10, bidirectional=True, attention="luong", dropout=0.3)
SOURCE = CopySource(batch_size=12)
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


@functools.cache
def plain() -> tuple[Seq2Seq, TrainingHistory]:
    """The fit of `train`, by which others are measured."""
    return train()


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
    "past_its_best": replace(ROUGH, schedule="constant", learning_rate=0.1),
}


@functools.cache
def straight(name: str) -> tuple[Seq2Seq, TrainingHistory, set[float]]:
    """A fit that nobody stopped, and the learning rates that it went through."""
    rates: set[float] = set()
    return *train(PLANS[name], on_step=lambda report: rates.add(report.learning_rate)), rates


@pytest.mark.parametrize(
    ("name", "step"),
    [
        *(("one_cycle", step) for step in (0, 6, 11)),
        *(("past_its_best", step) for step in (6, 18)),
        *(("plateau", step) for step in (1, 9, 17)),
    ],
)
def test_resuming_gives_the_same_bits(name: str, step: int, tmp_path: Path) -> None:
    plan = PLANS[name]
    model, history, rates = straight(name)
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        train(plan, checkpoint=tmp_path, on_step=stop_at(step, KeyboardInterrupt))
    resumed, whole = train(plan, checkpoint=tmp_path, resume=True)
    assert torch.equal(weights(resumed), weights(model))
    assert timeless(whole) == timeless(history)
    assert len(rates) > 1 or name == "past_its_best"
    assert history.best_step != history.validation_steps[-1] or name != "past_its_best"


@pytest.mark.slow
def test_resuming_after_a_crash_goes_back_to_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        train(checkpoint=tmp_path, on_step=stop_at(8))
    seen: list[int] = []
    resumed, _ = train(
        checkpoint=tmp_path, resume=True, on_step=lambda report: seen.append(report.step)
    )
    assert seen == list(range(5, 12))
    assert torch.equal(weights(resumed), weights(plain()[0]))


def test_resuming_a_finished_fit_changes_nothing(tmp_path: Path) -> None:
    model, history = train(checkpoint=tmp_path)
    again, same_history = train(checkpoint=tmp_path, resume=True, on_step=stop_at(0))
    assert torch.equal(weights(again), weights(model))
    assert timeless(same_history) == timeless(history)


def test_resuming_from_nothing_starts_at_the_beginning(tmp_path: Path) -> None:
    model, _ = train(checkpoint=tmp_path / "none", resume=True)
    assert torch.equal(weights(model), weights(plain()[0]))


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


@pytest.mark.slow
def test_a_new_fit_replaces_an_old_state_at_once(tmp_path: Path) -> None:
    train(seed=1, checkpoint=tmp_path)
    with pytest.raises(StopError):
        train(checkpoint=tmp_path, on_step=stop_at(0))
    resumed, history = train(checkpoint=tmp_path, resume=True)
    expected, whole = plain()
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
    for _ in range(8):  # a state is written at every step, so that many a kill meets a write
        kwargs = {"checkpoint": folder, "resume": True}
        child = fork.Process(target=train, args=(KILLED,), kwargs=kwargs)
        child.start()
        child.join(random.uniform(0.0, 0.2) * duration)
        child.kill()
        child.join()
        killed += child.exitcode == -signal.SIGKILL
    assert killed >= 3
    model, whole = train(KILLED, checkpoint=folder, resume=True)
    assert torch.equal(weights(model), weights(expected))
    assert timeless(whole) == timeless(history)


def test_a_fit_happens_where_the_model_is(tmp_path: Path) -> None:
    expected, _ = plain()
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
    assert torch.equal(weights(train(checkpoint=tmp_path, resume=True)[0]), weights(plain()[0]))


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    def told(report: StepReport) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=tmp_path, on_step=told)


def test_a_training_in_the_background_ignores_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train(on_step=lambda _: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)


def test_without_a_folder_ctrl_c_says_so() -> None:
    with pytest.raises(KeyboardInterrupt, match="no checkpoint folder"):
        train(on_step=stop_at(2, KeyboardInterrupt))


def test_a_thread_may_train() -> None:
    found: list[Seq2Seq] = []
    thread = threading.Thread(target=lambda: found.append(train()[0]))
    thread.start()
    thread.join()
    assert torch.equal(weights(found[0]), weights(plain()[0]))


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label_smoothing": 0.1},
        {"ordinal_width": 1.0},
        {"scheduled_sampling": "free"},
    ],
    ids=str,
)
def test_it_learns(changes: dict[str, Any]) -> None:
    values: dict[str, Any] = {"steps": 120, "learning_rate": 1e-2, **changes}
    model, before = Seq2Seq(replace(CONFIG, dropout=0.0, hidden_size=16)), evaluate_loss
    start = before(model, VALIDATION)
    history = fit(model, CopySource(length_from=1, length_to=3), TrainConfig(**values), seed=0)
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
    monkeypatch.setattr(training, "_HISTORY_POINTS", 5)
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


BATCH = random_batch(config_of())
LOGITS = torch.randn(
    (*BATCH.target_out.shape, VOCABULARY), generator=torch.Generator().manual_seed(0)
)


def slow_loss(masked: bool) -> float:
    log_probs = torch.log_softmax(LOGITS, dim=-1)
    steps, size = BATCH.target_out.shape
    terms = [
        -float(log_probs[t, b, BATCH.target_out[t, b]])
        for t in range(steps)
        for b in range(size)
        if not masked or t < BATCH.target_lengths[b]
    ]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("masked", [True, False])
def test_it_is_the_mean_over_tokens(masked: bool) -> None:
    assert float(sequence_loss(LOGITS, BATCH, masked=masked)) == pytest.approx(slow_loss(masked))


def test_one_hot_soft_targets_change_nothing() -> None:
    soft = torch.eye(VOCABULARY)
    torch.testing.assert_close(
        sequence_loss(LOGITS, BATCH, soft=soft), sequence_loss(LOGITS, BATCH)
    )
    assert soft_targets(VOCABULARY) is None


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("width", [0.0, 1.5])
@pytest.mark.parametrize("never_emit", [(), (PAD, 1)])
def test_soft_targets_are_distributions(
    smoothing: float, width: float, never_emit: tuple[int, ...]
) -> None:
    soft = soft_targets(VOCABULARY, never_emit, label_smoothing=smoothing, ordinal_width=width)
    if soft is None:
        return
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(VOCABULARY))
    emitted = [i for i in range(VOCABULARY) if i not in never_emit]
    assert (soft[emitted].argmax(dim=1) == torch.tensor(emitted)).all()
    assert (soft[emitted][:, list(never_emit)] == 0).all()


def test_ordinal_mass_falls_with_distance() -> None:
    soft = soft_targets(9, ordinal_width=1.0)
    assert soft is not None
    assert soft[4, 4] > soft[4, 5] > soft[4, 6]
    assert soft[4, 5] == soft[4, 3]
    assert soft[4, 5] / soft[4, 4] == pytest.approx(math.exp(-0.5))
    assert soft[1].tolist() == [0, 1] + [0] * 7
    assert (soft[4:, :2] == 0).all()


def test_a_target_never_emitted_stays_infinitely_wrong() -> None:
    logits = LOGITS.clone()
    logits[..., 4] = -torch.inf
    assert (BATCH.target_out == 4).any()
    for width in (0.01, 1.5):
        soft = soft_targets(VOCABULARY, (4,), ordinal_width=width)
        assert soft is not None
        assert torch.isfinite(soft).all()
        assert sequence_loss(logits, BATCH, soft=soft).isinf()


def test_ids_never_emitted_leave_loss_and_gradient_finite() -> None:
    forbidden = torch.zeros(VOCABULARY)
    forbidden[:2] = -torch.inf
    logits = (LOGITS.clone() + forbidden).requires_grad_()
    for soft in (None, soft_targets(VOCABULARY, (0, 1), label_smoothing=0.1)):
        loss = sequence_loss(logits, BATCH, soft=soft)
        (gradient,) = torch.autograd.grad(loss, [logits])
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
        assert (gradient[..., :2] == 0).all()


def test_steps_are_torchs_adamw_with_a_clipped_gradient_and_free_biases() -> None:
    config = config_of(bidirectional=True, attention="bahdanau")
    batch, ours, theirs = random_batch(config), machine(config), machine(config)

    @dataclass
    class Same:
        def batch(self, step: int) -> Batch:
            return batch

    plan = TrainConfig(steps=4, learning_rate=1e-2, weight_decay=0.1, clip_norm=1e-3)
    fit(ours, Same(), plan, seed=0)
    named = dict(theirs.named_parameters())
    free = [name for name in named if "bias" in name or "score" in name]
    expected = torch.optim.AdamW(
        [
            {"params": [value for name, value in named.items() if name not in free]},
            {"params": [named[name] for name in free], "weight_decay": 0.0},
        ],
        lr=1e-2,
        weight_decay=0.1,
    )
    for _ in range(4):
        expected.zero_grad()
        sequence_loss(theirs(batch), batch).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1e-3)
        expected.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
        assert mine.grad is None


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 40])
def test_one_cycle_rises_and_falls(steps: int) -> None:
    rates: list[float] = []
    plan = TrainConfig(steps=steps, learning_rate=1e-2, schedule="one_cycle")
    fit(
        Seq2Seq(CONFIG),
        SOURCE,
        plan,
        seed=0,
        on_step=lambda report: rates.append(report.learning_rate),
    )
    assert all(0 < rate <= 1e-2 for rate in rates)
    assert rates[-1] == pytest.approx(4e-8)
    if steps == 40:
        peak = rates.index(max(rates))
        assert rates[0] == pytest.approx(4e-4)
        assert rates[peak] > 0.99e-2
        assert rates[:peak] == sorted(rates[:peak])
        assert rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.parametrize("kind", get_args(TeacherSchedule))
def test_the_teacher_only_falls_silent(kind: TeacherSchedule) -> None:
    shares = [teacher_share(kind, step, 100, floor=0.1) for step in range(100)]
    assert shares == sorted(shares, reverse=True)
    assert all(0 <= share <= 1 for share in shares)
    expected = {"none": (1, 1), "free": (0, 0)}.get(kind, (1, 0.1))
    assert (shares[0], shares[-1]) == pytest.approx(expected, abs=0.01)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"steps": 1.5},
        {"steps": True},
        {"validate_every": 2.0},
        {"patience": 1.5},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"weight_decay": -1.0},
        {"clip_norm": 0.0},
        {"schedule": "cosine"},
        {"plateau_factor": 1.0},
        {"plateau_patience": 0},
        {"label_smoothing": 1.0},
        {"ordinal_width": -0.1},
        {"scheduled_sampling": "always"},
        {"teacher_floor": 2.0},
        {"validate_every": 0},
        {"patience": 0},
        {"checkpoint_every": 0},
    ],
    ids=str,
)
def test_bad_values_are_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        TrainConfig(**{"steps": 10, **changes})


def first_draw(seed: int, step: int) -> float:
    training._seed_step(seed, step, torch.device("cpu"))
    return float(torch.rand((), dtype=torch.float64))


def test_same_seed_and_step_same_draws() -> None:
    with training._borrowed_random_state(torch.device("cpu")):
        assert first_draw(3, 5) == first_draw(3, 5)


def test_neighbouring_seeds_and_steps_have_little_in_common() -> None:
    with training._borrowed_random_state(torch.device("cpu")):
        draws = [first_draw(seed, step) for seed in range(40) for step in range(40)]
    assert len(set(draws)) == 1600
    table = torch.tensor(draws).view(40, 40)
    assert abs(float(table.mean()) - 0.5) < 0.03
    for one, other in ((table[1:], table[:-1]), (table[:, 1:], table[:, :-1])):
        pair = torch.stack((one.flatten(), other.flatten()))
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.1


def test_the_callers_random_state_comes_back() -> None:
    before = torch.get_rng_state()
    with training._borrowed_random_state(torch.device("cpu")):
        first_draw(0, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_are_set() -> None:
    try:
        set_threads(2)
        assert torch.get_num_threads() == 2
    finally:
        set_threads(1)
    assert torch.get_num_threads() == 1


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    set_threads(1)
    assert torch.get_num_threads() == 1
