"""The hand-written layers are torch's layers, and respect lengths."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from quantseq.seq2seq.network.recurrence import CELLS, Cell, Recurrence

S, B, IN, H = 7, 5, 3, 4
LENGTHS = torch.tensor([7, 1, 4, 6, 2])
MASK = torch.arange(S).unsqueeze(1) < LENGTHS

every_layer = pytest.mark.parametrize(
    ("cell", "directions"), [(cell, directions) for cell in CELLS for directions in (1, 2)]
)


def pair(cell: Cell, directions: int) -> tuple[Recurrence, nn.LSTM | nn.GRU]:
    """Our layer with torch's weights, in double precision."""
    torch.manual_seed(0)
    maker = nn.LSTM if cell == "lstm" else nn.GRU
    theirs = maker(IN, H, bidirectional=directions == 2).double()
    ours = Recurrence(cell, IN, H, directions=directions).double()
    with torch.no_grad():
        for d, suffix in enumerate(("", "_reverse")[:directions]):
            into = theirs.get_parameter(f"weight_ih_l0{suffix}").t()
            over = theirs.get_parameter(f"weight_hh_l0{suffix}").t()
            bias_in = theirs.get_parameter(f"bias_ih_l0{suffix}")
            bias_over = theirs.get_parameter(f"bias_hh_l0{suffix}")
            ours.weight_input[d] = into
            ours.weight_hidden[d] = over
            if ours.bias_candidate is None:
                ours.bias[d] = bias_in + bias_over
            else:
                ours.bias[d] = bias_in
                ours.bias[d, : 2 * H] += bias_over[: 2 * H]
                ours.bias_candidate[d] = bias_over[2 * H :]
    return ours, theirs


def inputs(directions: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, h, c = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((S, B, IN), (directions, B, H), (directions, B, H))
    )
    return x, h, c


@every_layer
def test_outputs_states_and_gradients_are_torchs(cell: Cell, directions: int) -> None:
    ours, theirs = pair(cell, directions)
    results = []
    for layer in (ours, theirs):
        x, h, c = inputs(directions)
        state = (h, c) if cell == "lstm" else h
        if isinstance(layer, Recurrence):
            outputs, hidden, memory = layer(x, (h, c if cell == "lstm" else None), MASK)
            valid = MASK.unsqueeze(-1)
            outputs = torch.where(valid, outputs, torch.zeros((), dtype=outputs.dtype))
        else:
            packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
            answer, state = layer(packed, state)
            outputs, _ = pad_packed_sequence(answer, total_length=S)
            hidden, memory = state if cell == "lstm" else (state, None)
        found = [outputs, hidden] + ([] if memory is None else [memory])
        loss = sum((value**2 * (k + 1)).sum() for k, value in enumerate(found))
        assert isinstance(loss, Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        weight = (
            layer.weight_hidden.grad[0]
            if isinstance(layer, Recurrence)
            else layer.weight_hh_l0.grad.t()
        )
        found += [x.grad, h.grad, weight] + ([c.grad] if cell == "lstm" else [])
        results.append(found)
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected)


@every_layer
def test_gradients_are_the_numerical_ones(cell: Cell, directions: int) -> None:
    layer, _ = pair(cell, directions)
    x, h, c = inputs(directions)

    def run(x: Tensor, h: Tensor, c: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        outputs, hidden, memory = layer(x, (h, c if cell == "lstm" else None), MASK)
        return (outputs, hidden) if memory is None else (outputs, hidden, memory)

    assert torch.autograd.gradcheck(run, (x, h, c, *layer.parameters()), fast_mode=True)


@every_layer
def test_a_looked_up_row_is_a_projected_embedding(cell: Cell, directions: int) -> None:
    layer, _ = pair(cell, directions)
    embedding = torch.randn(9, IN, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ids = torch.randint(0, 9, (S, B), generator=torch.Generator().manual_seed(3))
    looked_up = layer.look_up(ids, embedding, None, MASK)
    plain = layer(embedding[ids], None, MASK)
    for mine, expected in zip(looked_up, plain, strict=True):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_steps_are_the_whole_run(cell: Cell) -> None:
    layer, _ = pair(cell, 1)
    x, h, c = inputs(1)
    outputs, _, _ = layer(x, (h, c if cell == "lstm" else None), None)
    hidden, memory = h[0], c[0] if cell == "lstm" else None
    for t in range(S):
        hidden, memory = layer.step(x[t], hidden, memory)
        torch.testing.assert_close(hidden, outputs[t])


@every_layer
def test_invalid_steps_pass_the_state_on(cell: Cell, directions: int) -> None:
    layer, _ = pair(cell, directions)
    x, _, _ = inputs(directions)
    outputs, _, _ = layer(x, None, MASK)
    garbage = torch.where(MASK.unsqueeze(-1), x, torch.full((), 1e3, dtype=x.dtype))
    again, _, _ = layer(garbage, None, MASK)
    assert torch.equal(again, outputs)
    assert torch.equal(outputs[1:, 1, :H], outputs[:1, 1, :H].expand(S - 1, H))
