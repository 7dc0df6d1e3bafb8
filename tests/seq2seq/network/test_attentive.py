"""The attentive loop is the step repeated, and so is its gradient."""

import pytest
import torch
from torch import Tensor

from quantseq.seq2seq.network.attentive import attentive_loop
from tests.seq2seq.conftest import config_of, machine, random_batch

T, B, H, M, A, S = 3, 4, 3, 5, 2, 6
BLOCKED = torch.arange(S) >= torch.tensor([6, 3, 1, 4]).unsqueeze(1)


@pytest.mark.parametrize("blocked", [None, BLOCKED], ids=["whole", "padded"])
def test_gradients_are_the_numerical_ones(blocked: Tensor | None) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        values = 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    leaves = [
        *(draw(*shape) for shape in ((T, B, 4 * H), (M, 4 * H), (H, 4 * H), (H, A), (B, S, A))),
        *(draw(*shape) for shape in ((A,), (B, S, M), (B, H), (B, H))),
    ]

    def run(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        gates, context, hidden, query, keys, score, values, h, c = leaves
        return attentive_loop(
            gates, context, hidden, query, keys.exp(), score, values, blocked, h, c
        )

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


def test_it_is_the_step_repeated_with_its_gradient() -> None:
    config = config_of(bidirectional=True, attention="bahdanau", condition_streams=(3,))
    model, batch = machine(config), random_batch(config)
    everyone = torch.ones(batch.target_in.shape[0], dtype=torch.bool)
    gradients = []
    for teacher in (None, everyone):  # with a teacher the model goes step by step
        model.zero_grad()
        logits = model(batch, teacher=teacher)
        logits.square().sum().backward()  # type: ignore[no-untyped-call]
        gradients.append([logits.detach(), *(p.grad.clone() for p in model.parameters())])
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)
