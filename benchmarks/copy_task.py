"""The tutorial's 3,001 batches against a straightforward PyTorch loop, and the time to master copying.

Run ``python benchmarks/copy_task.py [--batches 3001] [--pairs 3]``. Both sides train the same model
(one LSTM of 20 each way, shared embedding, unmasked loss, Adam) on one thread, turn about, so that a
busy machine slows both; the ratio of each pair is what counts.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from quantseq.seq2seq.copy_task import PRESETS, CopySource, train_copy
from quantseq.seq2seq.mastery import free_running
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.toys import EVALUATION
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


def plain_pad(sequences: list[list[int]]) -> Tensor:
    """Time-major matrix from lists, element by element."""
    matrix = [[0] * len(sequences) for _ in range(max(map(len, sequences)))]
    for column, sequence in enumerate(sequences):
        for row, token in enumerate(sequence):
            matrix[row][column] = token
    return torch.tensor(matrix)


def plain_training(batches: int) -> float:
    """Seconds that the plain loop takes."""
    torch.manual_seed(0)
    draw = random.Random(0)
    model = PlainSeq2Seq()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_of = nn.CrossEntropyLoss()
    began = time.perf_counter()
    for _ in range(batches):
        sequences = [[draw.randint(2, 9) for _ in range(draw.randint(3, 8))] for _ in range(100)]
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
    plan = preset.training.__class__(**{**vars(preset.training), "steps": batches})
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


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=3001)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    set_threads(1)
    plain_training(50)
    our_training(50)
    pairs = [
        (our_training(arguments.batches), plain_training(arguments.batches))
        for _ in range(arguments.pairs)
    ]
    with tempfile.TemporaryDirectory() as folder:
        strong = train_copy("strong", seed=0, out=Path(folder)).metrics
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
