"""Beam search finds what exhaustive enumeration finds."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.search import beam
from quantseq.seq2seq.tokens import EOS, Batch
from tests.seq2seq.conftest import config_of, machine, random_batch


def enumerate_answers(
    model: Seq2Seq, batch: Batch, steps: int, min_length: int, penalty: float
) -> list[tuple[float, tuple[int, ...]]]:
    """Every answer of at most `steps` ids, best first: those that end, and those cut off."""
    size, found = model.config.vocab_size, []
    others = [token for token in range(size) if token != EOS]
    answers = [
        (*ids, EOS) for length in range(min_length, steps) for ids in product(others, repeat=length)
    ]
    answers += list(product(others, repeat=steps))
    with torch.no_grad():
        memory = model.encode(batch)
        for answer in answers:
            state, given, score = memory.state, torch.tensor([EOS]), 0.0
            for t, token in enumerate(answer):
                logits, state = model.decode_step(given, state, memory)
                if t < min_length:
                    logits[:, EOS] = -torch.inf
                score += float(torch.log_softmax(logits, dim=1)[0, token])
                given = torch.tensor([token])
            found.append((score / len(answer) ** penalty, answer))
    return sorted(found, reverse=True)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from(["none", "bahdanau", "luong"]),
    st.sampled_from([0.0, 0.6, 1.0]),
    st.integers(0, 2),
)
def test_a_wide_beam_is_exhaustive(
    seed: int, attention: str, penalty: float, min_length: int
) -> None:
    config = config_of(vocab_size=4, attention=attention)
    model, batch = machine(config, seed=seed), random_batch(config, (3,), seed=seed)
    expected = enumerate_answers(model, batch, 3, min_length, penalty)
    width = len(expected)
    found = beam(
        model,
        batch,
        width=width,
        n_best=width,
        max_length=3,
        length_penalty=penalty,
        min_length=min_length,
    )
    assert found.scores is not None
    answers = [
        (*ids[:length], EOS) if length < 3 else tuple(ids)
        for ids, length in zip(found.ids[0].tolist(), found.lengths[0].tolist(), strict=True)
    ]
    scores = {ids: score for score, ids in expected}
    assert set(answers) == set(scores)
    assert found.scores[0].tolist() == pytest.approx([scores[ids] for ids in answers], abs=1e-4)
    assert found.scores[0].tolist() == sorted(found.scores[0].tolist(), reverse=True)
    torch.testing.assert_close(
        found.log_probs.sum(dim=-1)[0],
        found.scores[0] * torch.tensor([len(ids) for ids in answers]) ** penalty,
        rtol=1e-4,
        atol=1e-4,
    )


def test_wider_is_never_worse_here_and_mates_change_nothing() -> None:
    config = config_of(bidirectional=True, attention="bahdanau", hidden_size=8)
    model, batch = machine(config), random_batch(config, (4, 1, 6, 3, 2))
    narrow = beam(model, batch, width=1, length=4)
    wide = beam(model, batch, width=50, length=4, n_best=3)
    assert narrow.scores is not None
    assert wide.scores is not None
    assert (wide.scores[:, 0] >= narrow.scores[:, 0] - 1e-6).all()
    for row in range(5):
        alone = beam(model, batch.rows(torch.tensor([row])), width=50, length=4, n_best=3)
        assert alone.scores is not None
        assert torch.equal(alone.ids[0], wide.ids[row])
        assert torch.equal(alone.scores[0], wide.scores[row])


def test_fewer_answers_than_places_leave_the_rest_impossible() -> None:
    config = config_of(vocab_size=3)
    model, batch = machine(config), random_batch(config)
    found = beam(model, batch, width=6, n_best=6, length=1)
    assert found.scores is not None
    assert found.scores.isfinite().sum(dim=1).tolist() == [2] * 4


@pytest.mark.parametrize(
    "asked", [{"width": 0}, {"width": 2, "n_best": 3}, {"width": 2, "length_penalty": -1.0}]
)
def test_bad_parameters_are_refused(asked: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        beam(machine(config_of()), random_batch(config_of()), max_length=3, **asked)
