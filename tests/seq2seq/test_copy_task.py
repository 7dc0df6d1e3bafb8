"""The toys are right by definition, presets say honestly how well they do, the gate stops broken machines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError, GateError, ModelFileError
from quantseq.files import read_json
from quantseq.seq2seq import copy_task, model
from quantseq.seq2seq.checkpoint import load_model
from quantseq.seq2seq.copy_task import (
    BAR,
    EVALUATION,
    PRESETS,
    TOYS,
    CopySource,
    Milestone,
    Toy,
    _read_record,
    closing_line,
    edit_distances,
    ensure_gate,
    exact_match,
    free_running,
    free_running_ids,
    gate_config,
    gate_fingerprint,
    padding_gap,
    share_by_length,
    teacher_forced_ids,
    train_preset,
)
from quantseq.seq2seq.layers import Memory
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.tokens import EOS, PAD, Batch, teacher_forcing
from quantseq.seq2seq.tokens import batch as pad
from quantseq.seq2seq.training import StepReport
from tests.seq2seq.conftest import config_of, machine


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure on fewer sequences where nothing is asked about mastery."""
    monkeypatch.setattr(copy_task, "FRESH_SEQUENCES", 100)


ANSWER = {"copy": list, "reverse": lambda ids: ids[::-1], "sort": sorted}


@settings(max_examples=30)
@given(st.sampled_from(TOYS), st.integers(0, 99), st.integers(1, 5), st.integers(0, 6))
def test_targets_are_the_task(toy: Toy, seed: int, shortest: int, more: int) -> None:
    source = CopySource(
        toy=toy, seed=seed, batch_size=7, length_from=shortest, length_to=shortest + more
    )
    batch = source.batch(3)
    columns = zip(batch.source.t().tolist(), batch.source_lengths.tolist(), strict=True)
    sequences = [column[:length] for column, length in columns]
    assert all(shortest <= len(sequence) <= shortest + more for sequence in sequences)
    assert all(2 <= token < 10 for sequence in sequences for token in sequence)
    expected = teacher_forcing([ANSWER[toy](s) for s in sequences], sources=sequences)
    for name in ("source", "source_lengths", "target_in", "target_out", "target_lengths"):
        assert torch.equal(getattr(batch, name), getattr(expected, name)), name


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    source = CopySource(seed=4)
    assert torch.equal(source.batch(9).source, CopySource(seed=4).batch(9).source)
    for other in (source.batch(8), replace(source, stream=EVALUATION).batch(9)):
        assert not torch.equal(other.source, source.batch(9).source)


def test_numbers_beside_the_ids_are_zero() -> None:
    batch = CopySource(channels=3, condition_size=2).batch(0)
    assert batch.channels is not None
    assert batch.condition is not None
    assert batch.channels.shape == (*batch.source.shape, 3)
    assert batch.condition.shape == (1, 100, 2)
    assert not batch.channels.any()


def test_all_lengths_and_ids_come_up_evenly() -> None:
    batch = CopySource(batch_size=60_000).batch(0)
    matrix, lengths = batch.source.numpy(), batch.source_lengths.numpy()
    assert np.bincount(lengths)[3:] / 60_000 == pytest.approx([1 / 6] * 6, abs=0.01)
    ids = np.bincount(matrix[matrix != PAD])
    assert (ids[2:] / ids.sum()) == pytest.approx([1 / 8] * 8, abs=0.01)


@pytest.mark.parametrize(
    "changes", [{"length_from": 9}, {"vocab_upper": 2}, {"batch_size": 0}], ids=str
)
def test_impossible_ranges_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        CopySource(**changes)


@pytest.mark.usefixtures("unchecked")
def test_unknown_toys_and_seeds_are_refused() -> None:
    with pytest.raises(ConfigError, match="toy"):
        CopySource(toy="shuffle")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seed"):
        CopySource(seed=-1)


words = st.lists(st.integers(2, 4), max_size=5)


def slow_distance(a: list[int], b: list[int]) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(
        slow_distance(a[1:], b[1:]) + (a[0] != b[0]),
        slow_distance(a[1:], b) + 1,
        slow_distance(a, b[1:]) + 1,
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=4))
def test_edit_distance_is_the_recursion(pairs: list[tuple[list[int], list[int]]]) -> None:
    answers, _ = pad([[*a, EOS] for a, _ in pairs])
    truth, _ = pad([[*b, EOS] for _, b in pairs])
    expected = [slow_distance(a, b) for a, b in pairs]
    assert edit_distances(answers, truth).tolist() == expected


def test_without_eos_all_ids_count() -> None:
    assert edit_distances(np.array([[2], [3], [4]]), np.array([[2], [EOS], [0]])).tolist() == [2]


def test_an_answer_is_right_as_a_whole_or_not_at_all() -> None:
    batch = teacher_forcing([[5, 6], [5, 6], [5, 6], [7]])
    answers = torch.tensor([[5, 6, EOS, 0], [5, 6, 0, 0], [5, 6, 7, EOS], [7, EOS, 0, 0]]).t()
    assert exact_match(answers, batch).tolist() == [True, False, False, True]
    longer = torch.cat((answers, torch.tensor([[0, 0, 0, 9]])))
    assert exact_match(longer, batch).tolist() == [True, False, False, False]


def test_share_by_length_reads_the_source() -> None:
    batch = teacher_forcing([[5, 6], [5, 6], [7]])
    assert share_by_length(torch.tensor([True, False, True]), batch) == {"1": 1.0, "2": 0.5}


def test_free_running_feeds_on_itself() -> None:
    model, batch = machine(config_of()).train(), teacher_forcing([[5, 6], [3]])
    ids = free_running_ids(model, batch)
    assert ids.shape == (batch.target_out.shape[0] + 1, 2)
    assert model.training
    assert torch.equal(free_running(model, batch), exact_match(ids, batch))
    forced = teacher_forced_ids(model, batch)
    assert forced.shape == batch.target_out.shape
    assert torch.equal(forced[0], ids[0])


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_writes_a_model_folder(preset: str, tmp_path: Path) -> None:
    stones: list[Milestone] = []
    result = train_preset(preset, seed=1, out=tmp_path, batches=3, on_milestone=stones.append)
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


@pytest.mark.usefixtures("quick")
def test_the_closing_line_is_the_tutorials(tmp_path: Path) -> None:
    result = train_preset("seed", seed=0, out=tmp_path, batches=2)
    loss = result.metrics["final_loss"]
    assert closing_line(result.metrics) == f"loss {loss:.4f} after 200 examples (batch_size=100)"


@pytest.mark.usefixtures("quick")
def test_the_attention_map_covers_source_and_target(tmp_path: Path) -> None:
    train_preset("attention", seed=0, out=tmp_path, batches=1)
    heat = read_json(tmp_path / "attention.json")
    assert len(heat["source"]) == 8
    assert heat["target"] == [*heat["source"], 1]
    assert [len(row) for row in heat["weights"]] == [8] * 9


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_stopped_training_resumes_with_its_milestones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_task, "_MILESTONE", 10)

    def stop(report: StepReport) -> None:
        if report.step == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_preset("seed", seed=0, out=tmp_path / "a", batches=23, on_step=stop)
    resumed = train_preset("seed", seed=0, out=tmp_path / "a", batches=23, resume=True)
    whole = train_preset("seed", seed=0, out=tmp_path / "b", batches=23)
    assert list(whole.metrics["loss_at"]) == ["0", "10", "20"]
    assert resumed.milestones == whole.milestones
    assert resumed.history.losses == whole.history.losses
    for mine, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_milestone_is_told_once_over_all_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_task, "_MILESTONE", 10)
    told: list[int] = []

    def train(batches: int, *, until: int, resume: bool) -> None:
        def stop(report: StepReport) -> None:
            if report.step == until:
                raise KeyboardInterrupt

        train_preset(
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


@pytest.mark.usefixtures("quick")
def test_a_state_of_another_toy_is_refused(tmp_path: Path) -> None:
    train_preset("seed", seed=0, out=tmp_path, batches=2)
    with pytest.raises(ModelFileError, match=r"'task': 'copy'.*'task': 'sort'"):
        train_preset("seed", seed=0, out=tmp_path, batches=2, toy="sort", resume=True)
    (tmp_path / "milestones.json").write_text("[]")
    with pytest.raises(ModelFileError, match="which training"):
        train_preset("seed", seed=0, out=tmp_path, batches=2, resume=True)


@pytest.mark.usefixtures("quick")
def test_a_new_training_leaves_nothing_of_the_old_one_to_resume(tmp_path: Path) -> None:
    train_preset("attention", seed=0, out=tmp_path, batches=2)

    def stop(report: StepReport) -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        train_preset("seed", seed=1, out=tmp_path, batches=2, on_step=stop)
    resumed = train_preset("seed", seed=1, out=tmp_path, batches=2, resume=True)
    assert resumed.metrics["seed"] == 1
    assert not (tmp_path / "attention.json").exists()


@pytest.mark.usefixtures("quick")
def test_milestones_measure_both_ways(tmp_path: Path) -> None:
    (stone,) = train_preset("seed", seed=0, out=tmp_path, batches=1).milestones
    assert (stone.masked, stone.exact_match) == (False, 0.0)
    assert stone.free_running_loss == pytest.approx(2.3, abs=0.3)
    assert stone.free_running_loss != stone.loss
    for sample in stone.samples:
        assert len(sample["teacher_forced"]) == len(sample["input"]) + 1


@pytest.mark.usefixtures("quick")
def test_other_toys_train_under_the_same_door(tmp_path: Path) -> None:
    result = train_preset("attention", seed=0, out=tmp_path, batches=2, toy="sort")
    assert result.metrics["task"] == "sort"
    heat = read_json(tmp_path / "attention.json")
    assert heat["target"] == [*sorted(heat["source"]), 1]


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="strong"):
        train_preset("huge", seed=0, out=tmp_path)


@pytest.mark.slow
def test_strong_solves_the_task(tmp_path: Path) -> None:
    metrics = train_preset("strong", seed=11, out=tmp_path, batches=300).metrics
    assert metrics["exact_match"] >= 0.995
    assert metrics["token_accuracy"] >= 0.999
    assert metrics["edit_distance"] <= 0.01


PRICES = Seq2SeqConfig(
    vocab_size=26,
    embedding_size=16,
    hidden_size=32,
    channels=3,
    condition_size=140,
    never_emit=(PAD, EOS),
    zero_projection=True,
    dropout=0.4,
)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt, long enough for a working machine and no longer."""
    monkeypatch.setattr(copy_task, "_ATTEMPTS", (300,))


def test_the_gates_architecture_keeps_all_but_the_vocabulary() -> None:
    small = gate_config(PRICES)
    assert (small.vocab_size, small.never_emit, small.dropout) == (10, (), 0.0)
    assert replace(small, vocab_size=26, never_emit=(PAD, EOS), dropout=0.4) == PRICES


def test_the_fingerprint_follows_code_and_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = gate_fingerprint(PRICES)
    assert mark == gate_fingerprint(replace(PRICES, vocab_size=66, dropout=0.1))
    assert mark != gate_fingerprint(replace(PRICES, hidden_size=33))
    monkeypatch.setattr(copy_task, "sha256_file", lambda path: "other code")
    assert mark != gate_fingerprint(PRICES)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_the_price_architecture_passes_and_is_remembered(tmp_path: Path) -> None:
    steps: list[int] = []
    record = ensure_gate(PRICES, folder=tmp_path, on_step=lambda report: steps.append(report.step))
    assert record.passed
    assert record.score >= BAR
    assert steps == list(range(300))
    path = tmp_path / f"{record.fingerprint}.json"
    assert _read_record(path, print) == record
    again = ensure_gate(PRICES, folder=tmp_path, on_step=lambda report: pytest.fail("ran again"))
    assert again == replace(record, was_cached=True)


def ignore_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder sees nothing of the source."""
    plain = Seq2Seq.encode

    def encode(self: Seq2Seq, batch: Batch) -> Memory:
        memory = plain(self, batch)
        state = memory.state._map(torch.zeros_like)
        return replace(memory, values=0.0 * memory.values, state=state)

    monkeypatch.setattr(Seq2Seq, "encode", encode)


def shift_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training is fed the very id it should answer."""
    plain = CopySource.batch

    def batch(self: CopySource, step: int) -> Batch:
        right = plain(self, step)
        if self.stream != copy_task.TRAINING:
            return right
        return replace(right, target_in=right.target_out)

    monkeypatch.setattr(CopySource, "batch", batch)


def leak_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody masks padding."""
    monkeypatch.setattr(model, "padding_of", lambda batch: None)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("sabotage", [ignore_state, shift_target, leak_padding])
def test_a_broken_machine_fails(
    sabotage: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(copy_task, "_ATTEMPTS", (100 if sabotage is not leak_padding else 20,))
    sabotage(monkeypatch)
    with pytest.raises(GateError, match="has not mastered"):
        ensure_gate(PRICES, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    record = _read_record(path, print)
    assert not record.passed
    if sabotage is leak_padding:
        assert record.padding_gap > 1e-3
    else:
        assert record.score < 0.05


def fake(monkeypatch: pytest.MonkeyPatch, outcomes: list[tuple[float, float]]) -> list[int]:
    """Attempts that end as told after all their batches; gives the seeds they were made with."""
    seeds: list[int] = []

    def attempt(
        config: Seq2SeqConfig, seed: int, batches: int, *_: Any
    ) -> tuple[float, float, int]:
        seeds.append(seed)
        return *outcomes[len(seeds) - 1], batches

    monkeypatch.setattr(copy_task, "_attempt", attempt)
    return seeds


def test_a_failed_attempt_gets_another_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seeds = fake(monkeypatch, [(0.9, 0.0), (0.999, 0.0)])
    record = ensure_gate(PRICES, folder=tmp_path, seed=5)
    assert seeds == [5, 6]
    assert (record.seed, record.score) == (6, 0.999)


def test_a_leak_gets_no_second_attempt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seeds = fake(monkeypatch, [(1.0, 0.1), (1.0, 0.0)])
    with pytest.raises(GateError):
        ensure_gate(PRICES, folder=tmp_path)
    assert seeds == [0]


def test_a_failure_is_remembered_and_refused_from_its_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake(monkeypatch, [(0.1, 0.0), (0.3, 0.0), (0.2, 0.0)])
    with pytest.raises(GateError, match=r"has not mastered .* 30\.00% after 1500 batches"):
        ensure_gate(PRICES, folder=tmp_path)
    seeds = fake(monkeypatch, [(1.0, 0.0)])
    (path,) = tmp_path.iterdir()
    record = _read_record(path, print)
    assert (record.passed, record.cut_by_time, record.seed) == (False, False, 1)
    with pytest.raises(GateError, match=f"has not mastered .* Record of {record.date[:10]}"):
        ensure_gate(PRICES, folder=tmp_path, seed=9)
    assert seeds == []
    path.unlink()
    assert ensure_gate(PRICES, folder=tmp_path).passed


def test_time_ends_the_attempts_and_is_named_as_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(copy_task, "_TIME_LIMIT", -1.0)
    seeds = fake(monkeypatch, [(0.1, 0.0), (1.0, 0.0)])
    with pytest.raises(GateError, match="ran out of time") as refusal:
        ensure_gate(PRICES, folder=tmp_path)
    assert "not mastered" not in str(refusal.value)
    assert seeds == [0]
    (path,) = tmp_path.iterdir()
    assert _read_record(path, print).cut_by_time


def test_a_gate_that_ran_out_of_time_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as slow:
        slow.setattr(copy_task, "_TIME_LIMIT", -1.0)
        fake(slow, [(0.1, 0.0)])
        with pytest.raises(GateError):
            ensure_gate(PRICES, folder=tmp_path)
    fake(monkeypatch, [(1.0, 0.0)])
    assert ensure_gate(PRICES, folder=tmp_path).passed


def test_a_leak_on_a_slow_machine_is_still_a_leak(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(copy_task, "_TIME_LIMIT", -1.0)
    fake(monkeypatch, [(1.0, 0.1)])
    with pytest.raises(GateError, match="has not mastered"):
        ensure_gate(PRICES, folder=tmp_path)


def test_mastery_reached_on_a_slow_machine_is_a_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(copy_task, "_TIME_LIMIT", -1.0)
    fake(monkeypatch, [(1.0, 0.0)])
    record = ensure_gate(PRICES, folder=tmp_path)
    assert (record.passed, record.cut_by_time) == (True, False)


def test_the_time_limit_cuts_a_running_attempt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(copy_task, "_TIME_LIMIT", -1.0)
    steps: list[int] = []
    with pytest.raises(GateError, match="after 1 batches"):
        ensure_gate(PRICES, folder=tmp_path, on_step=lambda report: steps.append(report.step))
    assert steps == [0]


def test_without_attention_the_bar_is_lower(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake(monkeypatch, [(0.7, 0.0)])
    record = ensure_gate(replace(PRICES, attention="none"), folder=tmp_path)
    assert (record.passed, record.bar) == (True, 0.5)


def test_padding_gap_sees_what_padding_moves() -> None:
    batch = CopySource(batch_size=9).batch(0)
    assert padding_gap(machine(config_of(vocab_size=10, attention="luong")), batch) < 1e-5
    leaky = machine(config_of(vocab_size=10, through_padding=True))
    assert padding_gap(leaky, batch) > 1e-3


def test_a_damaged_record_is_made_again_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seeds = fake(monkeypatch, [(1.0, 0.0), (1.0, 0.0)])
    ensure_gate(PRICES, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace("1.0", "0.9", 1))
    said: list[str] = []
    assert not ensure_gate(PRICES, folder=tmp_path, say=said.append).was_cached
    assert len(seeds) == 2
    assert "is damaged; the gate runs again" in said[0]
    assert ensure_gate(PRICES, folder=tmp_path, say=said.append).was_cached
    assert len(said) == 1
