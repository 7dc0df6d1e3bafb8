"""The tutorial's 3,001 batches against a straightforward PyTorch loop, and the time to master copying.

Run ``python benchmarks/copy_task.py [--batches 3001] [--pairs 3]``. Both sides train the same model
(one LSTM of 20 each way, shared embedding, unmasked loss, Adam) on one thread, each in a process of its
own, turn about, so that a busy machine slows both; the ratio of each pair is what counts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from quantseq.seq2seq.copy_task import (
    EVALUATION,
    PRESETS,
    CopySource,
    free_running,
    train_preset,
)
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.training import StepReport, fit, set_threads


class PlainSeq2Seq(nn.Module):
    """What one writes first: two `nn.LSTM`, teacher forcing, no lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 20)
        self.encoder = nn.LSTM(20, 20)
        self.decoder = nn.LSTM(20, 20)
        self.projection = nn.Linear(20, 10)

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        """Logits (T, B, 10) for time-major ids."""
        _, state = self.encoder(self.embedding(source))
        outputs, _ = self.decoder(self.embedding(target_in), state)
        logits: Tensor = self.projection(outputs)
        return logits


def plain_sequences(draw: np.random.RandomState) -> list[list[int]]:
    """One batch of lists, drawn sequence by sequence as the tutorial's helper does."""
    return [draw.randint(low=2, high=10, size=draw.randint(3, 9)).tolist() for _ in range(100)]


def plain_pad(sequences: list[list[int]]) -> Tensor:
    """Time-major matrix from lists, element by element as the tutorial's helper does."""
    matrix = np.zeros((len(sequences), max(map(len, sequences))), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        for column, token in enumerate(sequence):
            matrix[row, column] = token
    return torch.from_numpy(matrix.swapaxes(0, 1).copy())


def plain_training(batches: int) -> float:
    """Seconds that the plain loop takes."""
    torch.manual_seed(0)
    draw = np.random.RandomState(0)
    model = PlainSeq2Seq()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_of = nn.CrossEntropyLoss()
    began = time.perf_counter()
    for _ in range(batches):
        sequences = plain_sequences(draw)
        source = plain_pad(sequences)
        target_in = plain_pad([[1, *sequence] for sequence in sequences])
        target_out = plain_pad([[*sequence, 1] for sequence in sequences])
        optimiser.zero_grad()
        logits = model(source, target_in)
        loss = loss_of(logits.view(-1, 10), target_out.view(-1))
        loss.backward()
        optimiser.step()
        loss.item()
    return time.perf_counter() - began


def our_training(batches: int) -> float:
    """Seconds that preset `seed` takes."""
    preset = PRESETS["seed"]
    plan = replace(preset.training, steps=batches)
    model = Seq2Seq(preset.config)
    return fit(model, CopySource(), plan, seed=0).seconds


class MasteredError(Exception):
    """Raised when the bar is reached."""


def seconds_to_mastery(seed: int = 0) -> float | None:
    """Training seconds until preset `strong` copies 99.5 % of 2,000 fresh sequences exactly."""
    preset = PRESETS["strong"]
    model = Seq2Seq(preset.config, seed=seed)
    fresh = CopySource(seed=seed, batch_size=2000, stream=EVALUATION).batch(0)
    spent = 0.0
    checked = time.perf_counter()

    def check(report: StepReport) -> None:
        nonlocal spent, checked
        if report.step % 50 == 49:
            spent += time.perf_counter() - checked
            if float(free_running(model, fresh).double().mean()) >= 0.995:
                raise MasteredError
            checked = time.perf_counter()

    try:
        fit(model, CopySource(seed=seed), preset.training, seed=seed, on_step=check)
    except MasteredError:
        return spent
    return None


def measure(side: str, batches: int) -> float:
    """Seconds of one side, after a warm-up."""
    if side == "ours":
        set_threads(1)
        our_training(50)
        return our_training(batches)
    torch.set_num_threads(1)
    plain_training(50)
    return plain_training(batches)


def in_a_process(side: str, batches: int) -> float:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--batches", str(batches)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=3001)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--side", choices=["ours", "plain"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(measure(arguments.side, arguments.batches))
        return
    pairs = [
        (in_a_process("ours", arguments.batches), in_a_process("plain", arguments.batches))
        for _ in range(arguments.pairs)
    ]
    set_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        strong = train_preset("strong", seed=0, out=Path(folder)).metrics
    result = {
        "batches": arguments.batches,
        "ours_seconds": [round(ours, 2) for ours, _ in pairs],
        "plain_seconds": [round(plain, 2) for _, plain in pairs],
        "ratio": round(statistics.median(ours / plain for ours, plain in pairs), 3),
        "strong_seconds": round(strong["seconds"], 2),
        "strong_exact_match": strong["exact_match"],
        "strong_seconds_to_mastery": seconds_to_mastery(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
