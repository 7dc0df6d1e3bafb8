"""Cutting the backward loop into blocks, and one step of its own, change nothing."""

import pytest
import torch
from torch import Tensor

from quantseq.seq2seq.network import loops

S, B, H = 6, 4, 3
SCALE = torch.tensor([1.0, 1.0, 2.0, 1.0], dtype=torch.float64).repeat_interleave(H)
MASK = (torch.arange(S).unsqueeze(1) < torch.tensor([6, 2, 5, 1])).view(S, 1, B, 1)


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def lstm_gradients() -> list[Tensor]:
    leaves = [draw(S, 1, B, 4 * H), draw(1, H, 4 * H), draw(1, B, H), draw(1, B, H)]
    outputs, hidden, cell = loops.lstm_loop(*leaves, MASK, SCALE)
    (outputs.sin().sum() + hidden.sum() + 2 * cell.sum()).backward()  # type: ignore[no-untyped-call]
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


def gru_gradients() -> list[Tensor]:
    leaves = [draw(S, 1, B, 3 * H), draw(1, H, 3 * H), draw(1, H), draw(1, B, H)]
    outputs, hidden = loops.gru_loop(*leaves, MASK)
    (outputs.sin().sum() + hidden.sum()).backward()  # type: ignore[no-untyped-call]
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


@pytest.mark.parametrize("gradients", [lstm_gradients, gru_gradients])
@pytest.mark.parametrize("block", [1, 100])
def test_blocks_change_nothing(
    gradients: "type[list[Tensor]]", block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gradients()
    monkeypatch.setattr(loops, "BLOCK", block)
    for mine, expected in zip(gradients(), whole, strict=True):
        assert torch.equal(mine, expected)


def test_one_step_has_the_numerical_gradient() -> None:
    assert torch.autograd.gradcheck(loops.lstm_step, (draw(B, 4 * H), draw(B, H)))


def test_a_second_backward_is_the_same() -> None:
    gates, weight = draw(S, 1, B, 4 * H), draw(1, H, 4 * H)
    outputs, _, _ = loops.lstm_loop(gates, weight, draw(1, B, H), draw(1, B, H), None, SCALE)
    loss = outputs.sum()
    (first,) = torch.autograd.grad(loss, [weight], retain_graph=True)
    (second,) = torch.autograd.grad(loss, [weight])
    assert torch.equal(first, second)
