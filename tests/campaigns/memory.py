"""Memory: the same command many times in one process, as a notebook or a server does; it must be flat after the second.

    python tests/campaigns/memory.py --count 10

It prints a Markdown table: after each round, what Python holds (objects, traced bytes), what the process holds, and how
many numbers of matplotlib's are open. Each round has a seed of its own, so that nothing is taken from the cache.
"""

import argparse
import gc
import resource
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from matplotlib import pyplot

sys.path.insert(0, str(Path(__file__).parents[2]))

from quantseq.config import RunConfig
from quantseq.evaluation.walkforward import WalkForward
from quantseq.files import Places
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Panel
from quantseq.pipeline.backtest import backtest
from quantseq.pipeline.data import sample_panel
from quantseq.pipeline.evaluate import evaluate

SMALL = RunConfig(
    forecaster=ForecasterConfig(members=1, epochs=1, horizon=2),
    walk_forward=WalkForward(test_size=150, validation_size=120, min_train=500, purge=2),
    num_paths=20,
)


class Held(NamedTuple):
    """What is held after a round."""

    objects: int
    traced: int  # bytes, 0 where nobody traces
    resident: int  # bytes
    figures: int


def held() -> Held:
    """What is held now."""
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0]
    pages = Path("/proc/self/statm").read_text().split()[1]
    resident = int(pages) * resource.getpagesize()
    return Held(len(gc.get_objects()), traced, resident, len(pyplot.get_fignums()))


def rounds(command: str, panel: Panel, places: Places, count: int) -> list[Held]:
    """Run a command `count` times, each with a seed of its own."""
    commands: dict[str, Callable[[RunConfig], object]] = {
        "backtest": lambda config: backtest(panel, config=config, places=places, jobs=1),
        "evaluate": lambda config: evaluate(
            panel, config=config, places=places, jobs=1, baselines="none"
        ),
    }
    found = []
    for seed in range(count):
        commands[command](replace(SMALL, seed=1000 + seed))
        found.append(held())
    return found


def main() -> None:
    """Run the campaign that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10, help="rounds of each command")
    count = parser.parse_args().count
    panel = sample_panel().select(["IBM", "MSFT"]).between("2003-01-01", "2005-12-31")
    tracemalloc.start()
    print(
        "| command | round | objects | Python, MB | process, MB | open figures |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder) / "data", Path(folder) / "reports")
        for command in ("backtest", "evaluate"):
            for number, one in enumerate(rounds(command, panel, places, count), start=1):
                sizes = f"{one.traced / 1e6:.1f} | {one.resident / 1e6:.0f}"
                print(
                    f"| {command} | {number} | {one.objects:,} | {sizes} | {one.figures} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
