"""One recurrent layer, LSTM or GRU, in one or two directions.

Owns the layer's weights and how inputs reach its gates. Does not know what its inputs mean or who
reads its outputs.

Gate order is (input, forget, candidate, output) for LSTM and (reset, update, candidate) for GRU. The
LSTM candidate is computed as ``tanh(z) = 2 sigmoid(2 z) - 1``, so that one call of the much cheaper
sigmoid serves all four gates.
"""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from quantseq.seq2seq.network.loops import gru_loop, lstm_loop, lstm_step

Cell = Literal["lstm", "gru"]
CELLS: tuple[Cell, ...] = ("lstm", "gru")

GATES = {"lstm": 4, "gru": 3}


class Recurrence(nn.Module):
    """A recurrent layer over time with D = 1 or 2 directions.

    Parameters
    ----------
    cell : 'lstm' | 'gru'
        Kind of cell.
    input_size, hidden_size : int
        Features per step going in, and coming out per direction.
    directions : int
        1: forward only. 2: forward and backward, outputs side by side.
    """

    def __init__(
        self, cell: Cell, input_size: int, hidden_size: int, *, directions: int = 1
    ) -> None:
        super().__init__()
        self.cell = cell
        self.hidden_size = hidden_size
        self.directions = directions
        width = GATES[cell] * hidden_size
        self.weight_input = nn.Parameter(torch.zeros(directions, input_size, width))
        self.weight_hidden = nn.Parameter(torch.zeros(directions, hidden_size, width))
        self.bias = nn.Parameter(torch.zeros(directions, width))
        self.bias_candidate = (
            nn.Parameter(torch.zeros(directions, hidden_size)) if cell == "gru" else None
        )
        scale = torch.ones(width)
        if cell == "lstm":
            scale[2 * hidden_size : 3 * hidden_size] = 2.0
        self.register_buffer("scale", scale, persistent=False)
        self.scale: Tensor

    def forward(
        self,
        x: Float[Tensor, "S B I"],
        state: tuple[Float[Tensor, "D B H"], Float[Tensor, "D B H"] | None] | None,
        mask: Bool[Tensor, "S B"] | None,
    ) -> tuple[
        Float[Tensor, "S B {self.directions*self.hidden_size}"],
        Float[Tensor, "D B H"],
        Float[Tensor, "D B H"] | None,
    ]:
        """Run over all steps.

        Parameters
        ----------
        x : (S, B, I) float
            Inputs.
        state : pair of (D, B, H) float, optional
            Initial hidden state and, for LSTM, cell state. By default zero.
        mask : (S, B) bool, optional
            True where a step is valid. An invalid step passes the state on unchanged, so that the
            backward direction begins at a sequence's last valid step. By default all are valid.

        Returns
        -------
        outputs : (S, B, D * H) float
            Hidden state at every step; at invalid steps, the state carried there.
        hidden, cell : (D, B, H) float
            State after the last step of each direction; `cell` is None for GRU.
        """
        steps = x.shape[0]
        both = self.directions == 2
        x = torch.stack((x, x.flip(0)), dim=1).flatten(0, 1) if both else x
        weight = (self.weight_input * self.scale).repeat(steps, 1, 1)
        bias = (self.bias * self.scale).unsqueeze(1).repeat(steps, 1, 1)
        gates = torch.baddbmm(bias, x, weight)
        return self.run(gates.view(steps, self.directions, *gates.shape[1:]), state, mask)

    def look_up(
        self,
        ids: Int[Tensor, "S B"],
        embedding: Float[Tensor, "V E"],
        state: tuple[Float[Tensor, "D B H"], Float[Tensor, "D B H"] | None] | None,
        mask: Bool[Tensor, "S B"] | None,
    ) -> tuple[
        Float[Tensor, "S B {self.directions*self.hidden_size}"],
        Float[Tensor, "D B H"],
        Float[Tensor, "D B H"] | None,
    ]:
        """Run over the embeddings of `ids` (S, B), projecting each row of `embedding` only once.

        A vocabulary is shorter than a batch is wide: the projected embedding is a small table, and
        the inputs of all steps are rows of it.
        """
        both = self.directions == 2
        ids = torch.stack((ids, ids.flip(0)), dim=1) if both else ids.unsqueeze(1)
        gates = look_up_gates(ids, embedding, self.weight_input, self.bias, self.scale)
        return self.run(gates, state, mask)

    def run(
        self,
        gates: Float[Tensor, "S D B G"],
        state: tuple[Float[Tensor, "D B H"], Float[Tensor, "D B H"] | None] | None,
        mask: Bool[Tensor, "S B"] | None,
    ) -> tuple[
        Float[Tensor, "S B {self.directions*self.hidden_size}"],
        Float[Tensor, "D B H"],
        Float[Tensor, "D B H"] | None,
    ]:
        """Run over all steps of projected inputs (S, D, B, G), each direction in its own order."""
        steps, _, size, _ = gates.shape
        if state is None:
            zeros = gates.new_zeros(self.directions, size, self.hidden_size)
            state = (zeros, zeros if self.cell == "lstm" else None)
        masks = None if mask is None else mask.view(steps, 1, size, 1)
        if masks is not None and self.directions == 2:
            masks = torch.cat((masks, masks.flip(0)), dim=1)
        hidden, memory = state
        weight = self.weight_hidden
        if memory is not None:
            outputs, hidden, memory = lstm_loop(gates, weight, hidden, memory, masks, self.scale)
        else:
            assert self.bias_candidate is not None
            outputs, hidden = gru_loop(gates, weight, self.bias_candidate, hidden, masks)
        if self.directions == 2:
            outputs = torch.cat((outputs[:, 0], outputs[:, 1].flip(0)), dim=-1)
        else:
            outputs = outputs.squeeze(1)
        return outputs, hidden, memory

    def step(
        self,
        x: Float[Tensor, "R I"],
        hidden: Float[Tensor, "R H"],
        memory: Float[Tensor, "R H"] | None,
    ) -> tuple[Float[Tensor, "R H"], Float[Tensor, "R H"] | None]:
        """Take one step of a forward layer.

        Parameters
        ----------
        x : (R, I) float
            Inputs.
        hidden, memory : (R, H) float
            State before the step; `memory` is None for GRU.

        Returns
        -------
        hidden, memory : (R, H) float
            State after the step.
        """
        projected = torch.addmm(self.bias[0], x, self.weight_input[0])
        if memory is not None:
            gates = torch.addmm(projected, hidden, self.weight_hidden[0])
            return lstm_step(gates * self.scale, memory)
        assert self.bias_candidate is not None
        recurrent = hidden @ self.weight_hidden[0]
        size = self.hidden_size
        reset, update = torch.sigmoid(projected[:, : 2 * size] + recurrent[:, : 2 * size]).chunk(
            2, dim=1
        )
        candidate = torch.tanh(
            projected[:, 2 * size :] + reset * (recurrent[:, 2 * size :] + self.bias_candidate[0])
        )
        return torch.lerp(candidate, hidden, update), None


def look_up_gates(
    ids: Int[Tensor, "S D B"],
    embedding: Float[Tensor, "V E"],
    weight: Float[Tensor, "D E G"],
    bias: Float[Tensor, "D G"],
    scale: Float[Tensor, " G"],
) -> Float[Tensor, "S D B G"]:
    """Project each row of an embedding once, and look the projections up.

    Parameters
    ----------
    ids : (S, D, B) int64
        Rows of the embedding.
    embedding : (V, E) float
        Inputs.
    weight : (D, E, G) float
        Projection of each direction.
    bias : (D, G) float
        Of each direction.
    scale : (G,) float
        Multiplies the projections.

    Returns
    -------
    (S, D, B, G) float
        Scaled projections.
    """
    gates: Tensor = _LookUp.apply(ids, embedding, weight, bias, scale)  # type: ignore[no-untyped-call]
    return gates


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, ids: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor, scale: Tensor
    ) -> Tensor:
        directions, vocabulary = weight.shape[0], embedding.shape[0]
        if directions == 2:
            ids = ids + ids.new_tensor([[0], [vocabulary]])
        rows = ids.reshape(-1)
        spread = embedding.unsqueeze(0).expand(directions, -1, -1)
        table = torch.baddbmm(bias.unsqueeze(1), spread, weight).mul_(scale)
        ctx.save_for_backward(rows, embedding, weight, scale)
        return table.view(directions * vocabulary, -1).index_select(0, rows).view(*ids.shape, -1)

    @staticmethod
    @once_differentiable  # type: ignore[misc, untyped-decorator, unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor, Tensor, None]:
        rows, embedding, weight, scale = ctx.saved_tensors
        directions, _, width = weight.shape
        table = grad.new_zeros(directions * embedding.shape[0], width)
        table.index_add_(0, rows, grad.reshape(-1, width)).mul_(scale)
        tables = table.view(directions, -1, width)
        grad_embedding = torch.bmm(tables, weight.transpose(1, 2)).sum(dim=0)
        spread = embedding.t().expand(directions, embedding.shape[1], embedding.shape[0])
        return None, grad_embedding, torch.bmm(spread, tables), tables.sum(dim=1), None
