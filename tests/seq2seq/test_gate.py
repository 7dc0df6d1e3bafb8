"""The gate lets working machines through and stops broken ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from quantseq.errors import GateError
from quantseq.files import read_json, write_json
from quantseq.seq2seq import gate
from quantseq.seq2seq.gate import (
    BAR,
    code_hashes,
    ensure_gate,
    gate_config,
    gate_fingerprint,
    padding_gap,
    read_record,
)
from quantseq.seq2seq.model import Seq2SeqConfig
from quantseq.seq2seq.network import attention, decoder, encoder
from quantseq.seq2seq.proof import toys
from quantseq.seq2seq.proof.toys import ToySource
from quantseq.seq2seq.tokens import EOS, PAD, Batch
from tests.seq2seq.conftest import config_of, machine

PRICES = Seq2SeqConfig(
    vocab_size=26,
    embedding_size=16,
    hidden_size=32,
    source_streams=(26, 26, 26),
    condition_streams=(16, 16, 16),
    never_emit=(PAD, EOS),
    zero_projection=True,
    dropout=0.4,
)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt, long enough for a working machine and no longer."""
    monkeypatch.setattr(gate, "ATTEMPTS", (300,))


def test_the_gates_architecture_keeps_all_but_the_vocabulary() -> None:
    small = gate_config(PRICES)
    assert (small.vocab_size, small.never_emit, small.dropout) == (10, (), 0.0)
    assert replace(small, vocab_size=26, never_emit=(PAD, EOS), dropout=0.4) == PRICES


def test_the_fingerprint_follows_code_and_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = gate_fingerprint(PRICES)
    assert mark == gate_fingerprint(replace(PRICES, vocab_size=66, dropout=0.1))
    assert mark != gate_fingerprint(replace(PRICES, hidden_size=33))
    assert {"gate.py", "proof/toys.py", "network/loops.py"} <= set(code_hashes())
    monkeypatch.setattr(gate, "sha256_file", lambda path: "other code")
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
    assert read_record(path) == record
    again = ensure_gate(PRICES, folder=tmp_path, on_step=lambda report: pytest.fail("ran again"))
    assert again == replace(record, was_cached=True)


def ignore_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder sees nothing of the source."""

    def hand_over(state: torch.Tensor, *_: Any) -> torch.Tensor:
        return torch.zeros(state.shape[1], PRICES.state_size)

    monkeypatch.setattr(encoder.Encoder, "_hand_over", staticmethod(hand_over))
    plain = attention.attend

    def attend(scores: torch.Tensor, values: torch.Tensor, blocked: Any) -> Any:
        return plain(scores, 0.0 * values, blocked)

    monkeypatch.setattr(decoder, "attend", attend)
    loop = decoder.attentive_loop
    monkeypatch.setattr(
        decoder,
        "attentive_loop",
        lambda *parts: loop(*parts[:6], 0.0 * parts[6], *parts[7:]),
    )


def shift_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training is fed the very id it should answer."""
    plain = ToySource.batch

    def batch(self: ToySource, step: int) -> Batch:
        right = plain(self, step)
        if self.stream != toys.TRAINING:
            return right
        return replace(right, target_in=right.target_out)

    monkeypatch.setattr(ToySource, "batch", batch)


def leak_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody masks padding."""
    monkeypatch.setattr(encoder, "validity", lambda batch: None)
    monkeypatch.setattr(decoder, "validity", lambda batch: None)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("sabotage", [ignore_state, shift_target, leak_padding])
def test_a_broken_machine_fails(
    sabotage: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gate, "ATTEMPTS", (100 if sabotage is not leak_padding else 20,))
    sabotage(monkeypatch)
    with pytest.raises(GateError, match="has not mastered"):
        ensure_gate(PRICES, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    record = read_record(path)
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

    monkeypatch.setattr(gate, "_attempt", attempt)
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
    record = read_record(path)
    assert (record.passed, record.cut_by_time, record.seed) == (False, False, 1)
    with pytest.raises(GateError, match=f"has not mastered .* Record of {record.date[:10]}"):
        ensure_gate(PRICES, folder=tmp_path, seed=9)
    assert seeds == []
    path.unlink()
    assert ensure_gate(PRICES, folder=tmp_path).passed


def test_time_ends_the_attempts_and_is_named_as_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gate, "TIME_LIMIT", -1.0)
    seeds = fake(monkeypatch, [(0.1, 0.0), (1.0, 0.0)])
    with pytest.raises(GateError, match="ran out of time") as refusal:
        ensure_gate(PRICES, folder=tmp_path)
    assert "not mastered" not in str(refusal.value)
    assert seeds == [0]
    (path,) = tmp_path.iterdir()
    assert read_record(path).cut_by_time


def test_a_gate_that_ran_out_of_time_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as slow:
        slow.setattr(gate, "TIME_LIMIT", -1.0)
        fake(slow, [(0.1, 0.0)])
        with pytest.raises(GateError):
            ensure_gate(PRICES, folder=tmp_path)
    fake(monkeypatch, [(1.0, 0.0)])
    assert ensure_gate(PRICES, folder=tmp_path).passed


def test_a_leak_on_a_slow_machine_is_still_a_leak(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gate, "TIME_LIMIT", -1.0)
    fake(monkeypatch, [(1.0, 0.1)])
    with pytest.raises(GateError, match="has not mastered"):
        ensure_gate(PRICES, folder=tmp_path)


def test_mastery_reached_on_a_slow_machine_is_a_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gate, "TIME_LIMIT", -1.0)
    fake(monkeypatch, [(1.0, 0.0)])
    record = ensure_gate(PRICES, folder=tmp_path)
    assert (record.passed, record.cut_by_time) == (True, False)


def test_the_time_limit_cuts_a_running_attempt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gate, "TIME_LIMIT", -1.0)
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
    batch = ToySource(batch_size=9).batch(0)
    assert padding_gap(machine(config_of(vocab_size=10, attention="luong")), batch) < 1e-5
    leaky = machine(config_of(vocab_size=10, through_padding=True))
    assert padding_gap(leaky, batch) > 1e-3


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"passed": True})
    with pytest.raises(GateError, match="not a gate record"):
        read_record(tmp_path / "x.json")
    mark = gate_fingerprint(PRICES)
    write_json(tmp_path / f"{mark}.json", {"passed": True})
    with pytest.raises(GateError, match="not a gate record"):
        ensure_gate(PRICES, folder=tmp_path)
    assert read_json(tmp_path / f"{mark}.json") == {"passed": True}
