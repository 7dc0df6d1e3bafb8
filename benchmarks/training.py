"""Training speed: LSTM-64 on both sides with attention, 64 + 5 steps, batch 256, against plain PyTorch.

Run ``python benchmarks/training.py [--pairs 5] [--batches 20]``. Plain PyTorch is what one writes first and
looks back before every step; ours, by default, looks back once for all steps, which is its advantage here. One
thread, each side in a process of its own, turn about; the ratio of each pair is what counts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import torch
from plain import PlainAttentive
from torch import nn

from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.tokens import EOS, Batch
from quantseq.seq2seq.training import TrainConfig, fit, set_threads

ROWS, TOKENS, STEPS, VOCABULARY, HIDDEN = 256, 64, 5, 66, 64


@dataclass(frozen=True)
class Windows:
    """Random windows, as many as batches are asked for."""

    def batch(self, step: int) -> Batch:
        """Source of 64 ids, target of 5."""
        generator = torch.Generator().manual_seed(step)
        source = torch.randint(2, VOCABULARY, (TOKENS, ROWS), generator=generator)
        target = torch.randint(2, VOCABULARY, (STEPS, ROWS), generator=generator)
        start = torch.full((1, ROWS), EOS)
        return Batch(
            source=source,
            source_lengths=torch.full((ROWS,), TOKENS),
            target_in=torch.cat((start, target[:-1])),
            target_out=target,
            target_lengths=torch.full((ROWS,), STEPS),
        )


def plain_training(batches: int) -> float:
    """Windows per second of the plain loop."""
    torch.manual_seed(0)
    model = PlainAttentive(VOCABULARY, HIDDEN, bidirectional=False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    source = Windows()
    began = time.perf_counter()
    for step in range(batches):
        batch = source.batch(step)
        optimiser.zero_grad()
        logits = model(batch.source, batch.target_in)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch.target_out.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        loss.item()
    return batches * ROWS / (time.perf_counter() - began)


def our_training(batches: int) -> float:
    """Windows per second of `fit`."""
    model = Seq2Seq(
        Seq2SeqConfig(
            vocab_size=VOCABULARY,
            embedding_size=HIDDEN,
            hidden_size=HIDDEN,
            bidirectional=False,
        )
    )
    history = fit(model, Windows(), TrainConfig(steps=batches), seed=0)
    return batches * ROWS / history.seconds


def in_a_process(side: str, batches: int) -> float:
    """Windows per second of one side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--batches", str(batches)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--side", choices=["ours", "plain"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side == "ours":
        set_threads(1)
        our_training(3)
        print(our_training(arguments.batches))
        return
    if arguments.side == "plain":
        torch.set_num_threads(1)
        plain_training(3)
        print(plain_training(arguments.batches))
        return
    pairs = [
        (in_a_process("ours", arguments.batches), in_a_process("plain", arguments.batches))
        for _ in range(arguments.pairs)
    ]
    result = {
        "our_windows_per_second": [round(ours) for ours, _ in pairs],
        "plain_windows_per_second": [round(plain) for _, plain in pairs],
        "ratio": round(statistics.median(ours / plain for ours, plain in pairs), 2),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
