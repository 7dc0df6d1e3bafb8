"""Attention is its formula, whatever trick computes it."""

import torch
from torch import Tensor

from quantseq.seq2seq.network.attention import Bahdanau, Luong, attend

B, Q, S, H, M, A = 3, 4, 5, 6, 7, 2


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def additive(scale: float = 1.0) -> Bahdanau:
    attention = Bahdanau(H, M, A)
    with torch.no_grad():
        for seed, parameter in enumerate(attention.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=seed, scale=scale))
    return attention


def plain_weights(attention: Bahdanau, queries: Tensor, values: Tensor) -> Tensor:
    """Bahdanau et al., equation by equation."""
    rows = []
    for b in range(B):
        for query in queries[b]:
            scores = [
                attention.score @ torch.tanh(attention.query(query) + attention.key(value))
                for value in values[b]
            ]
            rows.append(torch.softmax(torch.stack(scores), dim=0))
    return torch.stack(rows).view(B, Q, S)


def test_additive_weights_are_the_formula() -> None:
    attention, queries, values = additive(), draw(B, Q, H, seed=8), draw(B, S, M, seed=9)
    scores = attention.scores(queries, attention.keys(values))
    _, weights = attend(scores, values, None)
    torch.testing.assert_close(weights, plain_weights(attention, queries, values))


def test_additive_gradients_are_those_of_the_formula() -> None:
    attention, queries, values = additive(), draw(B, Q, H, seed=8), draw(B, S, M, seed=9)
    target = draw(B, Q, S, seed=10)
    gradients = []
    for weights in (
        attend(attention.scores(queries, attention.keys(values)), values, None)[1],
        plain_weights(attention, queries, values),
    ):
        loss = (weights * target).sum()
        gradients.append(torch.autograd.grad(loss, list(attention.parameters())))
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-6)


def test_enormous_queries_and_keys_stay_finite() -> None:
    attention, queries, values = additive(300.0), draw(B, Q, H, seed=8), draw(B, S, M, seed=9)
    scores = attention.scores(queries, attention.keys(values))
    scores.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(scores).all()
    for parameter in attention.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_multiplicative_scores_are_the_formula() -> None:
    attention = Luong(H, M)
    queries, values = draw(B, Q, H, seed=8), draw(B, S, M, seed=9)
    expected = torch.einsum("bqh,hm,bsm->bqs", queries, attention.key.weight, values)
    torch.testing.assert_close(attention.scores(queries, attention.keys(values)), expected)


def test_padding_gets_no_weight() -> None:
    scores, values = draw(B, Q, S), draw(B, S, M)
    blocked = torch.arange(S) >= torch.tensor([5, 1, 3]).unsqueeze(1)
    context, weights = attend(scores, values, blocked)
    assert (weights.masked_select(blocked.unsqueeze(1)) == 0).all()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(B, Q))
    torch.testing.assert_close(context[1], values[1, :1].expand(Q, M))
