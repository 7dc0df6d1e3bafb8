"""Seconds and kilobytes of the report: ``python benchmarks/report.py [--runs 5]``.

Ten years of four bundled stocks, forecast by one trained model, as `quantseq backtest --model` does; then
the same run with every symbol fifteen times, which is what a page of 60 symbols costs. The budget is 600 KB
and 4 s for the first, and at most 1.5 times as long for the second.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd

from quantseq.config import RunConfig
from quantseq.files import Places
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.pipeline.backtest import backtest
from quantseq.pipeline.data import sample_panel
from quantseq.pipeline.train import pass_gate
from quantseq.reporting.render import render
from quantseq.reporting.run import Run
from quantseq.seq2seq.training import set_threads

TIMES = 15


def ten_years(folder: Path) -> Run:
    """A real run from 2003 to 2013."""
    panel = sample_panel()
    past = panel.until("2003-02-28")
    model = Seq2SeqForecaster.fit(past, train_until="2002-03-28", validate_from="2002-04-08")
    places = Places(folder / "data", folder / "reports")
    pass_gate(model.config, places)
    return backtest(panel, model=model, config=RunConfig(), places=places).run


def widened(run: Run, times: int) -> Run:
    """The same run with every symbol several times, each with its share of the weight."""
    names = {symbol: [f"{symbol}.{copy}" for copy in range(times)] for symbol in run.symbols}
    closes = {f"close:{n}": run.equity[f"close:{s}"] for s, many in names.items() for n in many}
    kept = run.equity.drop(columns=[name for name in run.equity if name.startswith("close:")])

    def copied(frame: pd.DataFrame) -> pd.DataFrame:
        parts = [frame.assign(symbol=frame["symbol"] + f".{copy}") for copy in range(times)]
        return pd.concat(parts, ignore_index=True)

    data = {n: run.manifest["data"][s] for s, many in names.items() for n in many}
    symbols = [name for many in names.values() for name in many]
    weights = copied(run.weights)
    return replace(
        run,
        manifest={**run.manifest, "symbols": symbols, "data": data},
        scores=copied(run.scores),
        forecasts=copied(run.forecasts),
        weights=weights.assign(weight=weights["weight"] / times),
        equity=pd.concat([kept, pd.DataFrame(closes)], axis=1),
    )


def main() -> None:
    """Render both pages several times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    set_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        four = ten_years(Path(folder))
    both = {f"{len(four.symbols)} symbols": four, "60 symbols": widened(four, TIMES)}
    seconds: dict[str, list[float]] = {name: [] for name in both}
    sizes = {name: len(render(run).encode()) for name, run in both.items()}  # also loads fonts
    for _ in range(runs):  # turn about, so that both meet the same machine
        for name, run in both.items():
            begun = time.perf_counter()
            render(run)
            seconds[name].append(time.perf_counter() - begun)
    medians = [statistics.median(several) for several in seconds.values()]
    for (name, size), median in zip(sizes.items(), medians, strict=True):
        print(f"{name}, {len(four.equity)} sessions: {median:.2f} s, {size / 1000:.0f} KB")
    print(f"60 symbols take {medians[1] / medians[0]:.2f} times as long")


if __name__ == "__main__":
    main()
