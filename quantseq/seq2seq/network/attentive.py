"""The attentive LSTM over known inputs, with its gradient written out.

Owns the loop in which every step first reads memory with the state before it (Bahdanau attention) and
then moves the state. It computes what `Decoder.step` computes step by step, several times faster: all
that does not depend on the step before is done for all steps at once (see `loops`). Does not own a
weight.
"""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from quantseq.seq2seq.network.loops import lstm_local
from quantseq.seq2seq.network.workspace import Lease

LIMIT = 80.0
"""Doubled queries are held within ± this, like the keys they meet."""


def attentive_loop(
    gates: Float[Tensor, "T B G"],
    weight_context: Float[Tensor, "M G"],
    weight_hidden: Float[Tensor, "H G"],
    weight_query: Float[Tensor, "H A"],
    keys: Float[Tensor, "B S A"],
    score: Float[Tensor, " A"],
    values: Float[Tensor, "B S M"],
    blocked: Bool[Tensor, "B S"] | None,
    hidden: Float[Tensor, "B H"],
    cell: Float[Tensor, "B H"],
) -> tuple[Float[Tensor, "T B H"], Float[Tensor, "T B M"]]:
    """Run an LSTM that reads memory before every step.

    Parameters
    ----------
    gates : (T, B, 4H) float
        Projected inputs, candidate scaled by two.
    weight_context : (M, 4H) float
        From context to gates, candidate scaled by two.
    weight_hidden : (H, 4H) float
        Recurrent weights, candidate scaled by two.
    weight_query : (H, A) float
        From state to twice the query.
    keys : (B, S, A) float
        Exponentials of twice the keys.
    score : (A,) float
        What ``1 / (1 + exp(2 q) exp(2 k))`` is weighed with.
    values : (B, S, M) float
        Memory.
    blocked : (B, S) bool, optional
        True at padding.
    hidden, cell : (B, H) float
        Initial state.

    Returns
    -------
    hiddens : (T, B, H) float
        State after each step.
    contexts : (T, B, M) float
        What was read before each step.
    """
    result: tuple[Tensor, Tensor] = _Attentive.apply(  # type: ignore[no-untyped-call]
        gates,
        weight_context,
        weight_hidden,
        weight_query,
        keys,
        score,
        values,
        blocked,
        hidden,
        cell,
    )
    return result


class _Buffers:
    """Memory of one pass and its steps, cut once."""

    def __init__(self, shape: tuple[int, ...], like: Tensor) -> None:
        steps, size, width, source, memory, meeting = shape
        self.active = like.new_empty((steps, size, 4 * width))  # activated gates
        self.local = torch.empty_like(self.active)  # local derivatives, then gradients
        self.hiddens = like.new_empty((steps + 1, size, width))  # [0] is the initial state
        self.cells = torch.empty_like(self.hiddens)  # twice the cell state
        self.squashed = like.new_empty((steps, size, width))  # its sigmoid
        self.through = torch.empty_like(self.squashed)
        self.queries = like.new_empty((steps, size, meeting))  # exponentials of twice the query
        self.inverse = like.new_empty((steps, size, source, meeting))
        self.weights = like.new_empty((steps, size, source))
        self.contexts = like.new_empty((steps, size, memory))
        self.grad_reads = torch.empty_like(self.contexts)
        self.grad_scores = torch.empty_like(self.weights)
        self.grad_queries = torch.empty_like(self.queries)
        self.scratch = like.new_empty((2, size, source, meeting))
        self.gates = [step.chunk(4, dim=-1) for step in self.active.unbind(0)]
        self.grads = [step.chunk(4, dim=-1) for step in self.local.unbind(0)]
        self.states = list(zip(self.hiddens.unbind(0), self.cells.unbind(0), strict=True))
        self.steps = list(
            zip(
                self.active.unbind(0),
                self.squashed.unbind(0),
                self.queries.unbind(0),
                self.queries.unsqueeze(2).unbind(0),
                self.inverse.unbind(0),
                self.weights.unbind(0),
                self.weights.unsqueeze(2).unbind(0),
                self.contexts.unbind(0),
                self.contexts.unsqueeze(2).unbind(0),
                strict=True,
            )
        )
        self.backs = list(
            zip(
                self.local.unbind(0),
                self.through.unbind(0),
                self.inverse.unbind(0),
                self.weights.unbind(0),
                self.queries.unsqueeze(2).unbind(0),
                self.grad_reads.unbind(0),
                self.grad_reads.unsqueeze(2).unbind(0),
                self.grad_scores.unbind(0),
                self.grad_scores.unsqueeze(-1).unbind(0),
                self.grad_queries.unbind(0),
                strict=True,
            )
        )


class _Attentive(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        weight_context: Tensor,
        weight_hidden: Tensor,
        weight_query: Tensor,
        keys: Tensor,
        score: Tensor,
        values: Tensor,
        blocked: Tensor | None,
        hidden: Tensor,
        cell: Tensor,
    ) -> tuple[Tensor, Tensor]:
        steps, size, width = gates.shape
        shape = (steps, size, width // 4, *values.shape[1:], keys.shape[2])
        lease = Lease(
            ("attentive", shape, gates.dtype, gates.device), lambda: _Buffers(shape, gates)
        )
        buffers = lease.buffers
        h, c = buffers.states[0]
        h.copy_(hidden)
        torch.add(cell, cell, out=c)
        floor = None
        if blocked is not None:
            floor = values.new_zeros(blocked.shape).masked_fill_(blocked, -torch.inf)
        for t, given in enumerate(gates.unbind(0)):
            after, squashed, query, query_wide, inverse, weight, weight_row, read, read_row = (
                buffers.steps[t]
            )
            i, f, g, o = buffers.gates[t]
            torch.mm(h, weight_query, out=query).clamp_(-LIMIT, LIMIT).exp_()
            torch.mul(keys, query_wide, out=inverse).add_(1.0).reciprocal_()
            scores = inverse @ score
            if floor is not None:
                scores.add_(floor)
            torch.softmax(scores, dim=-1, out=weight)
            torch.bmm(weight_row, values, out=read_row)
            torch.addmm(given, read, weight_context, out=after)
            after.addmm_(h, weight_hidden).sigmoid_()
            new_h, new_c = buffers.states[t + 1]
            torch.mul(f, c, out=new_c).addcmul_(i, g, value=4.0).sub_(i, alpha=2.0)
            torch.sigmoid(new_c, out=squashed)
            torch.neg(o, out=new_h).addcmul_(o, squashed, value=2.0)  # o tanh(c)
            h, c = new_h, new_c
        ctx.save_for_backward(weight_context, weight_hidden, weight_query, keys, score, values)
        ctx.lease = lease
        return buffers.hiddens[1:].clone(), buffers.contexts.clone()

    @staticmethod
    @once_differentiable  # type: ignore[misc, untyped-decorator, unused-ignore]
    def backward(
        ctx: Any, grad_hiddens: Tensor, grad_contexts: Tensor
    ) -> tuple[Tensor | None, ...]:
        weight_context, weight_hidden, weight_query, keys, score, values = ctx.saved_tensors
        buffers: _Buffers = ctx.lease.buffers
        steps, size, _ = grad_hiddens.shape
        lstm_local(
            buffers.active, buffers.cells[:-1], buffers.squashed, buffers.local, buffers.through
        )
        local, product = buffers.scratch
        grad_keys = torch.zeros_like(keys)
        # d(v / (1 + q k)) = -v (1 / (1 + q k))^2 d(q k), and dq = q d(log q) within the limit
        slopes = -score * buffers.queries
        edge = math.exp(LIMIT)
        slopes.masked_fill_((buffers.queries >= edge) | (buffers.queries <= 1.0 / edge), 0.0)
        to_context, to_hidden, to_state = weight_context.t(), weight_hidden.t(), weight_query.t()
        memory = values.transpose(1, 2)
        given_h, given_r, slope = grad_hiddens.unbind(0), grad_contexts.unbind(0), slopes.unbind(0)
        dh = given_h[-1].clone()
        dc = torch.zeros_like(dh)
        for t in range(steps - 1, -1, -1):
            grads, through, inverse, weight, query, read, read_row, scored, scored_wide, moved = (
                buffers.backs[t]
            )
            grad_i, grad_f, grad_g, grad_o = buffers.grads[t]
            dc.addcmul_(dh, through, value=4.0)
            grad_i.mul_(dc)
            grad_f.mul_(dc)
            grad_g.mul_(dc)
            grad_o.mul_(dh)
            dc.mul_(buffers.gates[t][1])
            torch.addmm(given_r[t], grads, to_context, out=read)
            grad_weight = torch.bmm(read_row, memory).squeeze(1)
            torch.ops.aten._softmax_backward_data.out(
                grad_weight, weight, -1, grads.dtype, grad_input=scored
            )
            torch.mul(inverse, inverse, out=local).mul_(scored_wide)
            torch.mul(local, keys, out=product)
            torch.sum(product, dim=1, out=moved).mul_(slope[t])
            grad_keys.addcmul_(local, query)
            dh = torch.mm(grads, to_hidden).addmm_(moved, to_state)
            if t > 0:
                dh.add_(given_h[t - 1])
        rows = steps * size
        flat, states = buffers.local.view(rows, -1), buffers.hiddens[:-1].view(rows, -1)
        return (
            buffers.local.clone(),
            buffers.contexts.view(rows, -1).t() @ flat,
            states.t() @ flat,
            states.t() @ buffers.grad_queries.view(rows, -1),
            grad_keys.mul_(-score),
            buffers.inverse.view(-1, score.shape[0]).t() @ buffers.grad_scores.view(-1),
            torch.bmm(buffers.weights.permute(1, 2, 0), buffers.grad_reads.transpose(0, 1)),
            None,
            dh,
            dc,
        )
