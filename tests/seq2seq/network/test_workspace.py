"""Borrowed buffers belong to one borrower at a time."""

import torch

from quantseq.seq2seq.decoding import greedy
from quantseq.seq2seq.learning.loss import sequence_loss
from quantseq.seq2seq.network import workspace
from quantseq.seq2seq.network.workspace import SHELF, Lease
from tests.seq2seq.conftest import config_of, machine, random_batch


def test_what_is_given_back_is_lent_again() -> None:
    first = Lease("k", lambda: torch.zeros(3))
    buffers = first.buffers
    other = Lease("k", lambda: torch.ones(3))
    assert other.buffers is not buffers
    del first
    again = Lease("k", lambda: torch.ones(3))
    assert again.buffers is buffers


def test_kinds_are_not_mixed() -> None:
    del_me = Lease(("k", 3), lambda: torch.zeros(3))
    del del_me
    assert Lease(("k", 4), lambda: torch.ones(4)).buffers.shape == (4,)


def test_the_shelf_is_short() -> None:
    leases = [Lease(("many", n), lambda: torch.zeros(1)) for n in range(3 * SHELF)]
    leases.clear()
    assert len(workspace._shelf) <= SHELF


def test_two_passes_at_once_do_not_touch() -> None:
    config = config_of(bidirectional=True, attention="bahdanau")
    model, batch, other = machine(config), random_batch(config), random_batch(config, seed=1)
    alone = torch.autograd.grad(sequence_loss(model(batch), batch), list(model.parameters()))
    loss = sequence_loss(model(batch), batch)
    sequence_loss(model(other), other).backward()  # type: ignore[no-untyped-call]
    model(other)
    for mine, expected in zip(
        torch.autograd.grad(loss, list(model.parameters())), alone, strict=True
    ):
        assert torch.equal(mine, expected)


def test_memory_outlives_the_pass_that_made_it() -> None:
    config = config_of(bidirectional=True, attention="luong")
    model, batch = machine(config), random_batch(config)
    values = model.encode(batch).values
    kept = values.detach().clone()
    model.encode(random_batch(config, seed=1))
    assert torch.equal(values, kept)


def test_training_goes_on_after_answering() -> None:
    config = config_of(bidirectional=True, attention="bahdanau")
    model = machine(config)
    batch = random_batch(config, (3,) * 128, (3,) * 128)
    greedy(model, batch, length=3)
    sequence_loss(model(batch), batch).backward()  # type: ignore[no-untyped-call]
