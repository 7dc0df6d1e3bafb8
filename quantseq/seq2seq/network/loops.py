"""The recurrences over time, with their gradients written out.

Owns the forward and backward loops of LSTM and GRU over preallocated buffers. Does not own a weight.

Why by hand: one operation of an automatic-differentiation graph costs microseconds, and a small
layer over 64 steps has a thousand of them. Everything that does not depend on the previous step is
therefore computed for all steps at once, before or after the loop: the input projection, the local
derivatives of the gates, the weight gradients. The equations are those of Hochreiter and
Schmidhuber (1997) with forget gates, and of Cho et al. (2014) with the reset gate applied after the
product. The tests compare both with `torch.nn.LSTM`, `torch.nn.GRU` and numerical gradients.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from quantseq.seq2seq.network.workspace import Lease


def lstm_loop(
    gates: Float[Tensor, "S D B G"],
    weight: Float[Tensor, "D H G"],
    hidden: Float[Tensor, "D B H"],
    cell: Float[Tensor, "D B H"],
    mask: Bool[Tensor, "S D B 1"] | None,
    scale: Float[Tensor, " G"],
) -> tuple[Float[Tensor, "S D B H"], Float[Tensor, "D B H"], Float[Tensor, "D B H"]]:
    """Run an LSTM over all steps.

    Parameters
    ----------
    gates : (S, D, B, 4H) float
        Projected inputs, each direction in its own order of time, candidate scaled by two.
    weight : (D, H, 4H) float
        Recurrent weights.
    hidden, cell : (D, B, H) float
        Initial state.
    mask : (S, D, B, 1) bool, optional
        Where a step is valid.
    scale : (4H,) float
        Two for the candidate, one for the other gates.

    Returns
    -------
    outputs : (S, D, B, H) float
        Hidden states.
    hidden, cell : (D, B, H) float
        Last state.
    """
    result: tuple[Tensor, Tensor, Tensor] = _LSTMLoop.apply(
        gates, weight, hidden, cell, mask, scale
    )  # type: ignore[no-untyped-call]
    return result


def lstm_step(
    gates: Float[Tensor, "R G"], cell: Float[Tensor, "R H"]
) -> tuple[Float[Tensor, "R H"], Float[Tensor, "R H"]]:
    """Take one LSTM step from scaled sums of inputs (R, 4H); gives hidden and cell (R, H)."""
    result: tuple[Tensor, Tensor] = _LSTMStep.apply(gates, cell)  # type: ignore[no-untyped-call]
    return result


def gru_loop(
    gates: Float[Tensor, "S D B G"],
    weight: Float[Tensor, "D H G"],
    bias: Float[Tensor, "D H"],
    hidden: Float[Tensor, "D B H"],
    mask: Bool[Tensor, "S D B 1"] | None,
) -> tuple[Float[Tensor, "S D B H"], Float[Tensor, "D B H"]]:
    """Run a GRU over all steps; shapes as in `lstm_loop` with three gates, bias (D, H)."""
    result: tuple[Tensor, Tensor] = _GRULoop.apply(gates, weight, bias, hidden, mask)  # type: ignore[no-untyped-call]
    return result


def _gates(joined: Tensor, count: int) -> Tensor:
    """View (..., count * H) as (..., count, H)."""
    return joined.view(*joined.shape[:-1], count, -1)


class _LSTMBuffers:
    """Memory of one LSTM pass and its steps, cut once."""

    def __init__(self, steps: int, directions: int, size: int, width: int, like: Tensor) -> None:
        shape = (steps, directions, size, width)
        self.active = like.new_empty((*shape[:3], 4 * width))  # activated gates
        self.local = torch.empty_like(self.active)  # local derivatives, then gradients
        self.hiddens = like.new_empty((steps + 1, *shape[1:]))  # [0] is the initial state
        self.cells = torch.empty_like(self.hiddens)  # twice the cell state
        self.squashed = like.new_empty(shape)  # its sigmoid
        self.through = like.new_empty(shape)  # derivative of the cell state by the hidden state
        self.gates = [step.unbind(-2) for step in _gates(self.active, 4).unbind(0)]
        self.grads = [step.unbind(-2) for step in _gates(self.local, 4).unbind(0)]
        self.steps = list(
            zip(self.active.unbind(0), self.local.unbind(0), self.squashed.unbind(0), strict=True)
        )
        self.states = list(zip(self.hiddens.unbind(0), self.cells.unbind(0), strict=True))
        self.throughs = self.through.unbind(0)


class _LSTMLoop(torch.autograd.Function):
    """The LSTM loop: gates (S, D, B, 4H), weight (D, H, 4H), state (D, B, H), mask (S, D, B, 1)."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        weight: Tensor,
        hidden: Tensor,
        cell: Tensor,
        mask: Tensor | None,
        scale: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        steps, directions, size, width = gates.shape
        shape = (steps, directions, size, width // 4)
        lease = Lease(
            ("lstm", shape, gates.dtype, gates.device), lambda: _LSTMBuffers(*shape, like=gates)
        )
        buffers = lease.buffers
        h, c = buffers.states[0]
        h.copy_(hidden)
        torch.add(cell, cell, out=c)
        doubled = weight * scale
        partial = _partial_steps(mask, gates.dtype)
        for t, given in enumerate(gates.unbind(0)):
            after, _, squashed = buffers.steps[t]
            i, f, g, o = buffers.gates[t]
            new_h, new_c = buffers.states[t + 1]
            torch.baddbmm(given, h, doubled, out=after).sigmoid_()
            torch.mul(f, c, out=new_c).addcmul_(i, g, value=4.0).sub_(i, alpha=2.0)
            if t in partial:
                go, stay = partial[t]
                new_c.mul_(go).addcmul_(c, stay)
            torch.sigmoid(new_c, out=squashed)
            torch.neg(o, out=new_h).addcmul_(o, squashed, value=2.0)  # o tanh(c)
            if t in partial:
                new_h.mul_(go).addcmul_(h, stay)
            h, c = new_h, new_c
        ctx.save_for_backward(doubled, scale)
        ctx.lease, ctx.partial = lease, partial
        return buffers.hiddens[1:].clone(), h.clone(), 0.5 * c

    @staticmethod
    @once_differentiable  # type: ignore[misc, untyped-decorator, unused-ignore]
    def backward(
        ctx: Any, grad_outputs: Tensor, grad_hidden: Tensor, grad_cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, None, None]:
        doubled, scale = ctx.saved_tensors
        buffers: _LSTMBuffers = ctx.lease.buffers
        partial = ctx.partial
        steps = grad_outputs.shape[0]
        given = grad_outputs.unbind(0)
        transposed = doubled.transpose(1, 2)
        dh = given[-1] + grad_hidden
        dc = grad_cell.clone()
        for start, stop in _blocks(steps, buffers.active[0].numel()):
            lstm_local(
                buffers.active[start:stop],
                buffers.cells[start:stop],
                buffers.squashed[start:stop],
                buffers.local[start:stop],
                buffers.through[start:stop],
            )
            for t in range(stop - 1, start - 1, -1):
                if t in partial:
                    go, stay = partial[t]
                    kept_h, kept_c = dh * stay, dc * stay
                    dh, dc = dh * go, dc * go
                grad_i, grad_f, grad_g, grad_o = buffers.grads[t]
                dc.addcmul_(dh, buffers.throughs[t], value=4.0)
                grad_i.mul_(dc)
                grad_f.mul_(dc)
                grad_g.mul_(dc)
                grad_o.mul_(dh)
                dc.mul_(buffers.gates[t][1])
                _, grads, _ = buffers.steps[t]
                if t > 0:
                    dh = torch.baddbmm(given[t - 1], grads, transposed)
                elif ctx.needs_input_grad[2]:
                    dh = torch.bmm(grads, transposed)
                if t in partial:
                    dh.add_(kept_h)
                    dc.add_(kept_c)
        grad_weight = _weight_gradient(buffers.hiddens[:-1], buffers.local).mul_(scale)
        return buffers.local.clone(), grad_weight, dh, dc, None, None


def lstm_local(
    active: Tensor, cells: Tensor, squashed: Tensor, local: Tensor, through: Tensor
) -> None:
    """Write the local derivatives of some steps: of the state by each gate, and of c by h over 4.

    `active` and `local` are (..., 4H), the others (..., H); `cells` is 2 c and `squashed`
    its sigmoid.
    """
    i, _, g, o = _gates(active, 4).unbind(-2)
    torch.addcmul(active, active, active, value=-1.0, out=local)  # s' = s - s * s
    local_i, local_f, local_g, local_o = _gates(local, 4).unbind(-2)
    local_i.addcmul_(local_i, g, value=-2.0).neg_()  # times 2 g - 1
    local_f.mul_(cells).mul_(0.5)
    local_g.mul_(i)
    local_g.add_(local_g)
    local_o.addcmul_(local_o, squashed, value=-2.0).neg_()
    # 1 - tanh(c)^2 = 4 (s - s * s); the 4 is left to whoever multiplies
    torch.addcmul(squashed, squashed, squashed, value=-1.0, out=through)
    through.mul_(o)


BLOCK = 1 << 17
"""Elements that stay in the processor's cache between two operations."""


def _blocks(steps: int, elements: int) -> list[tuple[int, int]]:
    """Cut `steps` into ranges of at most `BLOCK` elements (at least one step), last range first."""
    length = max(1, BLOCK // max(elements, 1))
    return [(max(0, stop - length), stop) for stop in range(steps, 0, -length)]


def _partial_steps(mask: Tensor | None, dtype: torch.dtype) -> dict[int, tuple[Tensor, Tensor]]:
    """Steps at which some rows are over: 1 where valid, and 1 where not, as numbers."""
    if mask is None:
        return {}
    whole = mask.flatten(1).all(dim=1).tolist()
    go = mask.to(dtype)
    stay = 1.0 - go
    return {t: (go[t], stay[t]) for t, every in enumerate(whole) if not every}


def _weight_gradient(hiddens: Tensor, grads: Tensor) -> Tensor:
    """Sum over steps and rows of the outer products: (S, D, B, H), (S, D, B, G) -> (D, H, G)."""
    _, directions, _, size = hiddens.shape
    width = grads.shape[-1]
    if directions == 1:
        return (hiddens.reshape(-1, size).t() @ grads.reshape(-1, width)).unsqueeze(0)
    return torch.stack(
        [
            hiddens[:, d].reshape(-1, size).t() @ grads[:, d].reshape(-1, width)
            for d in range(directions)
        ]
    )


class _LSTMStep(torch.autograd.Function):
    """One LSTM step from its summed inputs: gates (R, 4H), cell (R, H)."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        active = torch.sigmoid(gates)
        i, f, g, o = active.chunk(4, dim=1)
        new = torch.mul(f, cell).addcmul_(i, g, value=2.0).sub_(i)
        squashed = torch.add(new, new).sigmoid_()
        ctx.save_for_backward(active, cell, squashed)
        return torch.neg(o).addcmul_(o, squashed, value=2.0), new

    @staticmethod
    @once_differentiable  # type: ignore[misc, untyped-decorator, unused-ignore]
    def backward(ctx: Any, dh: Tensor, dc: Tensor) -> tuple[Tensor, Tensor]:
        active, cell, squashed = ctx.saved_tensors
        grads, through = torch.empty_like(active), torch.empty_like(cell)
        lstm_local(active, cell + cell, squashed, grads, through)
        dc = torch.addcmul(dc, dh, through, value=4.0)
        for grad in grads.chunk(4, dim=1)[:3]:
            grad.mul_(dc)
        grads.chunk(4, dim=1)[3].mul_(dh)
        return grads, dc * active.chunk(4, dim=1)[1]


class _GRULoop(torch.autograd.Function):
    """The GRU loop: gates (S, D, B, 3H), weight (D, H, 3H), bias (D, H), state (D, B, H)."""

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, hidden: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        steps, directions, size, width = gates.shape
        h = width // 3
        recurrent = torch.empty_like(gates)  # hidden @ weight
        active = gates.new_empty((steps, directions, size, 2 * h))  # reset, update
        candidates = gates.new_empty((steps, directions, size, h))
        hiddens = gates.new_empty((steps + 1, directions, size, h))
        hiddens[0] = hidden
        hs, us = hiddens.unbind(0), recurrent.unbind(0)
        xs, xn = gates[..., : 2 * h].unbind(0), gates[..., 2 * h :].unbind(0)
        ru, un = recurrent[..., : 2 * h].unbind(0), recurrent[..., 2 * h :].unbind(0)
        rz, ns = active.unbind(0), candidates.unbind(0)
        resets, updates = (gate.unbind(0) for gate in _gates(active, 2).unbind(-2))
        shift = bias.unsqueeze(1)
        partial = _partial_steps(mask, gates.dtype)
        for t in range(steps):
            torch.bmm(hs[t], weight, out=us[t])
            un[t].add_(shift)
            torch.add(xs[t], ru[t], out=rz[t])
            rz[t].sigmoid_()
            torch.addcmul(xn[t], resets[t], un[t], out=ns[t])
            ns[t].tanh_()
            torch.lerp(ns[t], hs[t], updates[t], out=hs[t + 1])
            if t in partial:
                go, stay = partial[t]
                hs[t + 1].mul_(go).addcmul_(hs[t], stay)
        ctx.save_for_backward(weight, recurrent, active, candidates, hiddens)
        ctx.partial = partial
        return hiddens[1:], hs[steps].clone()

    @staticmethod
    @once_differentiable  # type: ignore[misc, untyped-decorator, unused-ignore]
    def backward(
        ctx: Any, grad_outputs: Tensor, grad_hidden: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        weight, recurrent, active, candidates, hiddens = ctx.saved_tensors
        partial = ctx.partial
        steps, _, _, h = candidates.shape
        grads, grad_inputs = torch.empty_like(recurrent), torch.empty_like(recurrent)
        grad_steps, out_steps = grads.unbind(0), grad_outputs.unbind(0)
        update_steps = active[..., h:].unbind(0)
        transposed = weight.transpose(1, 2)
        dh = grad_outputs[steps - 1] + grad_hidden
        for start, stop in _blocks(steps, recurrent[0].numel()):
            local, candidate = _gru_local(
                recurrent[start:stop],
                active[start:stop],
                candidates[start:stop],
                hiddens[start:stop],
                grads[start:stop],
            )
            local_r, local_z, local_u = (gate.unbind(0) for gate in local)
            candidate_steps = candidate.unbind(0)
            for t in range(stop - 1, start - 1, -1):
                k = t - start
                if t in partial:
                    go, stay = partial[t]
                    kept = dh * stay
                    dh = dh * go
                local_r[k].mul_(dh)
                local_z[k].mul_(dh)
                local_u[k].mul_(dh)
                candidate_steps[k].mul_(dh)
                dh.mul_(update_steps[t])
                if t in partial:
                    dh.add_(kept)
                if t > 0:
                    dh.add_(out_steps[t - 1])
                dh = torch.baddbmm(dh, grad_steps[t], transposed)
            grad_inputs[start:stop, ..., : 2 * h] = grads[start:stop, ..., : 2 * h]
            grad_inputs[start:stop, ..., 2 * h :] = candidate  # not behind the reset gate
        grad_weight = _weight_gradient(hiddens[:-1], grads)
        return grad_inputs, grad_weight, grads[..., 2 * h :].sum(dim=(0, 2)), dh, None


def _gru_local(
    recurrent: Tensor, active: Tensor, candidates: Tensor, hiddens: Tensor, out: Tensor
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Local derivatives of some steps: of h by reset, update, recurrent and input candidate."""
    reset, update = _gates(active, 2).unbind(-2)
    local_r, local_z, local_u = _gates(out, 3).unbind(-2)
    candidate = (1.0 - update) * (1.0 - candidates * candidates)
    torch.mul(candidate, reset, out=local_u)
    torch.addcmul(reset, reset, reset, value=-1.0, out=local_r)
    local_r.mul_(candidate).mul_(recurrent[..., 2 * update.shape[-1] :])
    torch.addcmul(update, update, update, value=-1.0, out=local_z)
    local_z.mul_(hiddens - candidates)
    return (local_r, local_z, local_u), candidate
