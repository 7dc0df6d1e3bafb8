"""The loss is the mean of minus log p over target tokens, and soft targets are distributions."""

import math

import pytest
import torch

from quantseq.seq2seq.learning.loss import sequence_loss, soft_targets
from quantseq.seq2seq.tokens import PAD
from tests.seq2seq.conftest import VOCABULARY, config_of, random_batch

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
