"""Sampling speed: 100 paths of 5 steps for 256 sources of 64 tokens, against two plain ways.

Run ``python benchmarks/decoding.py [--rounds 3]``. *Naive* encodes every source once per path; *expand*
encodes once and copies the memory per path. Both are plain eager PyTorch (`plain.py`) of the same size,
in chunks of 16 sources so that they fit into memory. One thread; ratios within a round are what counts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from plain import PlainAttentive

from quantseq.seq2seq.decoding import sample
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.tokens import EOS, PAD, Batch
from quantseq.seq2seq.training import set_threads

SOURCES, TOKENS, PATHS, STEPS = 256, 64, 100, 5
VOCABULARY, HIDDEN = 66, 64


def random_batch(sources: int) -> Batch:
    """Sources of ids that stand for something."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, VOCABULARY, (TOKENS, sources), generator=generator)
    return Batch.of_source(ids, torch.full((sources,), TOKENS))


def machine(attention: str) -> Seq2Seq:
    """Our model, bidirectional."""
    config = Seq2SeqConfig.from_dict(
        {
            "vocab_size": VOCABULARY,
            "embedding_size": HIDDEN,
            "hidden_size": HIDDEN,
            "attention": attention,
            "never_emit": (PAD, EOS),
        }
    )
    return Seq2Seq(config)


def ours(model: Seq2Seq, batch: Batch) -> float:
    """Seconds."""
    generator = torch.Generator().manual_seed(1)
    began = time.perf_counter()
    sample(model, batch, num_paths=PATHS, length=STEPS, generator=generator)
    return time.perf_counter() - began


def plain(model: PlainAttentive, batch: Batch, *, encode_once: bool) -> float:
    """Seconds."""
    began = time.perf_counter()
    for chunk in batch.source.split(16, dim=1):
        model.sample(chunk, PATHS, STEPS, encode_once=encode_once)
    return time.perf_counter() - began


def memory(sources: int) -> float:
    """Peak megabytes of a fresh process that samples: torch, model, answers and all."""
    command = [sys.executable, __file__, "--memory", str(sources)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure_memory(sources: int) -> float:
    """The same in this process."""
    set_threads(1)
    ours(machine("luong"), random_batch(sources))
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(measure_memory(arguments.memory))
        return
    set_threads(1)
    batch = random_batch(SOURCES)
    reference = PlainAttentive(VOCABULARY, HIDDEN, bidirectional=True)
    model, additive = machine("luong"), machine("bahdanau")
    ours(model, batch)
    rounds = []
    for _ in range(arguments.rounds):
        # ours is short and naive is long: three of the one, spread over the round, meet the same machine
        first = ours(model, batch)
        expand = plain(reference, batch, encode_once=True)
        second = ours(model, batch)
        naive = plain(reference, batch, encode_once=False)
        third = ours(model, batch)
        rounds.append(
            {
                "ours": statistics.mean((first, second, third)),
                "expand": expand,
                "naive": naive,
                "ours_bahdanau": ours(additive, batch),
            }
        )
    work = SOURCES * PATHS * STEPS
    result = {
        "path_steps_per_second": {
            name: round(work / statistics.median(each[name] for each in rounds))
            for name in rounds[0]
        },
        "times_naive": round(statistics.median(r["naive"] / r["ours"] for r in rounds), 1),
        "times_expand": round(statistics.median(r["expand"] / r["ours"] for r in rounds), 1),
        "peak_megabytes_by_sources": {
            str(sources): round(memory(sources)) for sources in (1, 256, 4096)
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
