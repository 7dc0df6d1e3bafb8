"""The flat optimiser is torch's Adam on the separate weights."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from quantseq.seq2seq.learning.loss import sequence_loss
from quantseq.seq2seq.learning.optimiser import FlatOptimiser, Optimiser
from tests.seq2seq.conftest import config_of, machine, random_batch

CONFIG = config_of(bidirectional=True, attention="bahdanau")


def test_the_gradient_is_shortened_to_the_clip_norm() -> None:
    model, batch = machine(CONFIG), random_batch(CONFIG)
    with FlatOptimiser(model, "adam", weight_decay=0.0) as optimiser:
        sequence_loss(model(batch), batch).backward()  # type: ignore[no-untyped-call]
        before = optimiser.gradient.clone()
        optimiser.step(learning_rate=0.0, clip_norm=None)
        assert torch.equal(optimiser.gradient, before)
        optimiser.step(learning_rate=0.0, clip_norm=1e-2)
        assert float(optimiser.gradient.norm()) == pytest.approx(1e-2, rel=1e-3)
        optimiser.step(learning_rate=0.0, clip_norm=5.0)
        assert float(optimiser.gradient.norm()) == pytest.approx(1e-2, rel=1e-3)


@pytest.mark.parametrize("clip", [None, 1e-3])
@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_it_is_torchs(kind: Optimiser, clip: float | None) -> None:
    ours, batch = machine(CONFIG), random_batch(CONFIG)
    theirs = copy.deepcopy(ours)
    named = dict(theirs.named_parameters())
    plain = [name for name in named if "bias" in name or "score" in name]
    maker = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
    expected = maker(
        [
            {"params": [value for name, value in named.items() if name not in plain]},
            {"params": [named[name] for name in plain], "weight_decay": 0.0},
        ],
        lr=1e-2,
        weight_decay=0.1,
    )
    with FlatOptimiser(ours, kind, weight_decay=0.1) as optimiser:
        for _ in range(5):
            optimiser.clear()
            sequence_loss(ours(batch), batch).backward()  # type: ignore[no-untyped-call]
            optimiser.step(learning_rate=1e-2, clip_norm=clip)
            expected.zero_grad()
            sequence_loss(theirs(batch), batch).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(theirs.parameters(), clip or 1e9)
            expected.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_afterwards_weights_stand_alone() -> None:
    model = machine(CONFIG)
    with FlatOptimiser(model, "adam", weight_decay=0.0) as optimiser:
        optimiser.weights.add_(0.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimiser.weights.zero_()
    for parameter, value in zip(model.parameters(), before, strict=True):
        assert parameter.grad is None
        assert torch.equal(parameter, value)


def test_the_state_goes_on_where_it_was() -> None:
    batch, ends = random_batch(CONFIG), []
    for interrupted in (False, True):
        model = machine(CONFIG)
        state: dict[str, torch.Tensor] = {}
        for session in ((5,), (2, 3))[interrupted]:
            with FlatOptimiser(model, "adamw", weight_decay=0.1) as optimiser:
                if state:
                    optimiser.load(state)
                for _ in range(session):
                    optimiser.clear()
                    sequence_loss(model(batch), batch).backward()  # type: ignore[no-untyped-call]
                    optimiser.step(learning_rate=1e-2, clip_norm=1.0)
                state = {name: value.clone() for name, value in optimiser.state().items()}
        ends.append(state["weights"])
    assert torch.equal(*ends)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_the_kernel_is_torchs_to_the_bit(kind: Optimiser) -> None:
    model, batch = machine(CONFIG), random_batch(CONFIG)
    maker = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
    with FlatOptimiser(model, kind, weight_decay=0.1) as optimiser:
        theirs = [nn.Parameter(group.weights.clone()) for group in optimiser._groups]
        groups = [
            {"params": [value], "weight_decay": decay}
            for value, decay in zip(theirs, (0.1, 0.0), strict=True)
        ]
        expected = maker(groups, lr=1e-2, fused=True)
        for _ in range(3):
            optimiser.clear()
            sequence_loss(model(batch), batch).backward()  # type: ignore[no-untyped-call]
            for value, group in zip(theirs, optimiser._groups, strict=True):
                value.grad = group.gradient.clone()
            optimiser.step(learning_rate=1e-2, clip_norm=None)
            expected.step()
        assert torch.equal(torch.cat(theirs), optimiser.weights)


def test_training_leaves_torchs_compiler_alone() -> None:
    code = (
        "import sys, torch; from torch import nn; from quantseq.seq2seq.learning.optimiser import FlatOptimiser\n"
        "model = nn.Linear(2, 2)\n"
        "with FlatOptimiser(model, 'adamw', weight_decay=0.1) as optimiser:\n"
        "    model(torch.ones(1, 2)).sum().backward()\n"
        "    optimiser.step(learning_rate=1e-2, clip_norm=1.0)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
