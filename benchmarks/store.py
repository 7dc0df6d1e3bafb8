"""Time the store: write, load a panel, list, and the memory that loading takes.

Run: python benchmarks/store.py [--symbols 1000] [--rows 5000] [--panel 60]

Each time stands beside a plain reference of the same run: pandas to_parquet without provenance, hashes,
fsync and lock, and pandas read_parquet into one frame.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from quantseq.market.bars import Bars
from quantseq.market.store import Store

GROWTH = """
import sys
from pathlib import Path
from quantseq.market.store import Store

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

store = Store(Path(sys.argv[1]))
store.panel(sys.argv[2:3])
before = peak()
panel = store.panel(sys.argv[2:])
returns = panel.matrix("log_returns")
print(peak() - before)
"""
"""Loads a panel with returns in a fresh process and prints by how many bytes its peak grew (Linux)."""


def make(symbol: str, rows: int, seed: int) -> Bars:
    """Wandering prices, rounded to cents as exchanges print them."""
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows))), 2).clip(0.01)
    days = np.busday_offset("2000-01-03", np.arange(rows), roll="forward")
    return Bars(
        symbol,
        days,
        open=np.round(close * rng.uniform(0.995, 1.005, rows), 2).clip(0.01),
        high=np.round(close * 1.01, 2).clip(0.01),
        low=np.round(close * 0.99, 2).clip(0.01),
        close=close,
        adj_close=close * 0.9,
        volume=rng.integers(1e5, 1e8, rows).astype(float),
        dividends=np.zeros(rows),
        splits=np.zeros(rows),
        provenance={"source": "benchmark"},
    )


def seconds(call: object) -> tuple[float, object]:
    """Wall time of a call, and what it gave."""
    begun = time.perf_counter()
    result = call()
    return time.perf_counter() - begun, result


def command(*words: str) -> float:
    """Wall time of the best of three runs of a command."""
    line = [sys.executable, "-m", "quantseq", *words]
    return min(
        seconds(lambda: subprocess.run(line, check=True, capture_output=True))[0] for _ in range(3)
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--panel", type=int, default=60)
    asked = parser.parse_args()
    names = [f"S{number:05d}" for number in range(asked.symbols)]
    made = [make(name, asked.rows, seed) for seed, name in enumerate(names)]
    with tempfile.TemporaryDirectory() as folder:
        store, plain = Store(Path(folder)), Path(folder) / "plain"
        plain.mkdir()

        def write() -> None:
            for bars in made:
                store.write(bars)

        def write_plainly() -> None:
            for bars in made:
                bars.to_frame().to_parquet(plain / f"{bars.symbol}.parquet", compression="zstd")

        ours, theirs = seconds(write)[0], seconds(write_plainly)[0]
        what = f"write {asked.symbols:,} symbols x {asked.rows:,} rows"
        print(f"{what:<48} {ours:7.2f} s   plain {theirs:6.2f} s")

        chosen = names[: asked.panel]

        def load() -> np.ndarray:
            return store.panel(chosen).matrix("log_returns")

        def load_plainly() -> pd.DataFrame:
            frames = [pd.read_parquet(plain / f"{name}.parquet")["adj_close"] for name in chosen]
            return np.log(pd.concat(frames, axis=1)).diff()

        ours = min(seconds(load)[0] for _ in range(3))
        theirs = min(seconds(load_plainly)[0] for _ in range(3))
        print(f"{f'panel of {asked.panel} with returns':<48} {ours:7.2f} s   plain {theirs:6.2f} s")

        frame = sum(bars.to_frame().memory_usage(index=True).sum() for bars in made[: asked.panel])
        line = [sys.executable, "-c", GROWTH, folder, *chosen]
        grown = int(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
        print(f"{'memory at the peak of loading it':<48} {grown / frame:7.2f} x its frame")
        took = seconds(lambda: list(Store(Path(folder)).infos()))[0]
        print(f"{f'headers of {asked.symbols:,} symbols':<48} {took:7.2f} s")
        listed = command("data", "list", "--data-dir", folder)
        print(f"{f'quantseq data list of {asked.symbols:,} symbols':<48} {listed:7.2f} s")
        print(f"{'quantseq --help':<48} {command('--help'):7.2f} s")


if __name__ == "__main__":
    main()
