"""Every kind of machine once, trained alike, looked at on the way."""

import doctest
from dataclasses import replace

import pytest

from quantseq.errors import ConfigError
from quantseq.seq2seq import gate
from quantseq.seq2seq.proof import study
from quantseq.seq2seq.proof.study import CASES, looks_at, run_case, run_fingerprint


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(study).failed == 0


def test_the_twelve_kinds_are_all_there() -> None:
    assert len({case.name for case in CASES}) == len(CASES) == 12
    for case in CASES:
        config = case.architecture
        assert (config.embedding_size, config.hidden_size, config.layers) == (20, 20, 1)
        assert (config.cell, config.bidirectional) == (case.cell, case.bidirectional)
        assert config.attention == case.attention
        assert not config.through_padding


@pytest.mark.parametrize("batches", [1, 39, 40, 41, 81, 2000])
def test_looks_begin_at_0_and_end_with_the_last_batch(batches: int) -> None:
    looks = looks_at(batches)
    assert looks[0] == 0
    assert looks[-1] == batches
    assert len(looks) <= study.LOOKS + 2
    assert looks == sorted(set(looks))


def test_a_run_is_the_same_every_time_but_for_the_clock() -> None:
    first, second = (run_case(CASES[3], seed=4, batches=3) for _ in range(2))
    assert replace(first, seconds=second.seconds) == second
    assert first.batches == [0, 1, 2, 3]
    assert first.seconds[0] == 0.0
    assert first.seconds == sorted(first.seconds)
    assert first.loss[-1] < first.loss[0]
    other = run_case(CASES[3], seed=5, batches=3)
    assert other.loss != first.loss


def test_looking_is_not_charged_to_training(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(study.time, "perf_counter", lambda: clock[0])
    plain = study.free_running

    def slow(*parts: object) -> object:
        clock[0] += 100.0
        return plain(*parts)

    monkeypatch.setattr(study, "free_running", slow)
    assert run_case(CASES[0], seed=0, batches=2).seconds == [0.0, 0.0, 0.0]


def test_the_fingerprint_follows_all_that_numbers_depend_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = run_fingerprint(CASES[0], seed=0, batches=10)
    assert mark == run_fingerprint(CASES[0], seed=0, batches=10)
    assert mark != run_fingerprint(CASES[1], seed=0, batches=10)
    assert mark != run_fingerprint(CASES[0], seed=1, batches=10)
    assert mark != run_fingerprint(CASES[0], seed=0, batches=11)
    monkeypatch.setattr(gate, "sha256_file", lambda path: "other code")
    assert mark != run_fingerprint(CASES[0], seed=0, batches=10)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1 batch"):
        run_case(CASES[0], seed=0, batches=0)


@pytest.mark.slow
def test_attention_learns_what_none_does_not_yet_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "LOOKS", 1)
    by_name = {case.name: case for case in CASES}
    ends = {
        name: run_case(by_name[name], seed=0, batches=300).exact_match[-1]
        for name in ("lstm-bidirectional-none", "lstm-bidirectional-luong")
    }
    assert ends["lstm-bidirectional-luong"] > 0.8 > 0.5 > ends["lstm-bidirectional-none"]
