"""How a decoder looks back: soft alignment between queries and the steps of a source.

Owns Bahdanau's additive and Luong's multiplicative attention. Does not know whether its Q queries are
the steps of a target, or sampled paths that share one source: memory is never copied per query.

Bahdanau's score ``v · tanh(q + k)`` needs a tanh for every query, step and feature. Here it is computed
from ``exp(2 q)`` and ``exp(2 k)``, one exponential per query and per key: since
``tanh(q + k) = 1 - 2 / (1 + exp(2 q) exp(2 k))``, and a constant added to all scores leaves the softmax
as it is, ``-2 v / (1 + exp(2 q) exp(2 k))`` gives the same weights.

References
----------
Bahdanau, Cho and Bengio (2015), "Neural machine translation by jointly learning to align and
translate". Luong, Pham and Manning (2015), "Effective approaches to attention-based neural machine
translation".
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from quantseq.seq2seq.network.workspace import Lease

LIMIT = 40.0
"""Queries and keys are held within ± this, so that no product of exponentials is 0 × inf."""


class Bahdanau(nn.Module):
    """Additive attention.

    Parameters
    ----------
    query_size, memory_size, size : int
        Features of a query, of a memory step, and of the space where they meet.
    """

    def __init__(self, query_size: int, memory_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(memory_size, size)
        self.score = nn.Parameter(torch.zeros(size))

    def keys(self, values: Float[Tensor, "B S M"]) -> Float[Tensor, "B S A"]:
        """Project memory once per source: (B, S, M) to (B, S, A)."""
        return torch.exp(2.0 * self.key(values).clamp(-LIMIT, LIMIT))

    def scores(
        self, queries: Float[Tensor, "B Q H"], keys: Float[Tensor, "B S A"]
    ) -> Float[Tensor, "B Q S"]:
        """Unnormalised log weights: queries (B, Q, H), keys (B, S, A) to (B, Q, S)."""
        projected = torch.exp(2.0 * self.query(queries).clamp(-LIMIT, LIMIT))
        scored: Tensor = _Additive.apply(projected, keys, -2.0 * self.score)  # type: ignore[no-untyped-call]
        return scored


class _Additive(torch.autograd.Function):
    """Sum of v / (1 + q k) over features: q (B, Q, A), k (B, S, A), v (A,) to (B, Q, S)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not any(ctx.needs_input_grad):
            return _additive_by_source(q, k, v)
        product = torch.mul(q.unsqueeze(2), k.unsqueeze(1))
        inverse = product.add_(1.0).reciprocal_()  # (B, Q, S, A)
        ctx.save_for_backward(q, k, v, inverse)
        return inverse @ v

    @staticmethod
    @once_differentiable  # type: ignore[misc, untyped-decorator, unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, inverse = ctx.saved_tensors
        size = v.shape[0]
        grad_v = grad.reshape(1, -1) @ inverse.view(-1, size)
        # d/dq = -v k / (1 + q k)^2: q and k may overflow, the product with the rest may not
        local = torch.mul(inverse, inverse).mul_(grad.unsqueeze(-1))
        grad_q = -v * (local * k.unsqueeze(1)).sum(dim=2)
        grad_k = -v * (local * q.unsqueeze(2)).sum(dim=1)
        return grad_q, grad_k, grad_v.view(-1)


def _additive_by_source(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same sum with nothing kept for a gradient: one source at a time stays in the cache."""
    size, queries, features = q.shape
    steps = k.shape[1]
    lease = Lease(
        ("additive", queries, steps, features, q.dtype, q.device),
        lambda: q.new_empty(queries, steps, features),
    )
    scratch, one = lease.buffers, q.new_ones(1)
    flat = scratch.view(-1, features)
    scores = q.new_empty(size, queries * steps)
    parts = zip(q.unsqueeze(2).unbind(0), k.unsqueeze(1).unbind(0), scores.unbind(0), strict=True)
    for query, key, score in parts:
        torch.addcmul(one, query, key, out=scratch).reciprocal_()
        torch.mv(flat, v, out=score)
    return scores.view(size, queries, steps)


class Luong(nn.Module):
    """Multiplicative attention in its general form.

    Parameters
    ----------
    query_size, memory_size : int
        Features of a query and of a memory step.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, values: Float[Tensor, "B S M"]) -> Float[Tensor, "B S A"]:
        """Project memory once per source: (B, S, M) to (B, S, H)."""
        projected: Tensor = self.key(values)
        return projected

    def scores(
        self, queries: Float[Tensor, "B Q H"], keys: Float[Tensor, "B S A"]
    ) -> Float[Tensor, "B Q S"]:
        """Unnormalised log weights: queries (B, Q, H), keys (B, S, H) to (B, Q, S)."""
        return torch.bmm(queries, keys.transpose(1, 2))


def attend(
    scores: Float[Tensor, "B Q S"],
    values: Float[Tensor, "B S M"],
    blocked: Bool[Tensor, "B S"] | None,
) -> tuple[Float[Tensor, "B Q M"], Float[Tensor, "B Q S"]]:
    """Read memory where the scores point.

    Parameters
    ----------
    scores : (B, Q, S) float
        Unnormalised log weights.
    values : (B, S, M) float
        Memory.
    blocked : (B, S) bool, optional
        True where a step is padding and gets no weight.

    Returns
    -------
    context : (B, Q, M) float
        Weighted memory.
    weights : (B, Q, S) float
        Weights, summing to one over valid steps.
    """
    if blocked is not None:
        scores = scores.masked_fill(blocked.unsqueeze(1), -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return torch.bmm(weights, values), weights
