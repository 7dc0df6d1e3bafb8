"""Seconds that each stage of the line takes on the bundled prices: ``python benchmarks/line.py``.

Medians over a few runs on one torch thread; the copy gate and training run once.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from quantseq.config import RunConfig
from quantseq.evaluation.scores import naive_errors, score
from quantseq.files import Places
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.reference import Reference
from quantseq.forecasting.volatility import features
from quantseq.pipeline.backtest import backtest
from quantseq.pipeline.data import sample_panel
from quantseq.pipeline.train import pass_gate
from quantseq.reporting.render import render
from quantseq.seq2seq.training import set_threads
from quantseq.trading.backtest import buy_and_hold


def timed(name: str, work: Callable[[], object], *, runs: int = 5) -> None:
    """Print the median time of some work."""
    seconds = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    print(f"{name:48}{statistics.median(seconds):10.3f} s")


def main() -> None:
    """Time every stage."""
    set_threads(1)
    panel = sample_panel()
    past = panel.until("2009-12-31")
    timed("read the bundled sample", sample_panel)
    timed("features of 4 stocks x 3,270 sessions", lambda: features(panel))
    timed("fit the reference", lambda: Reference.fit(past, horizon=5))
    begun = time.perf_counter()
    model = Seq2SeqForecaster.fit(past, train_until="2007-12-31", validate_from="2008-01-10")
    print(f"{'fit the forecaster, 3 networks':48}{time.perf_counter() - begun:10.3f} s")
    cutoffs = panel.sessions[panel.sessions > past.sessions[-1]]
    timed(
        f"forecast 4 x {len(cutoffs)} cutoffs, 100 paths x 5 steps",
        lambda: model.predict(panel, cutoffs, horizon=5, num_paths=100, seed=0),
        runs=3,
    )
    forecasts = model.predict(panel, cutoffs, horizon=5, num_paths=0, seed=0)
    naive = naive_errors(past)
    timed("score them", lambda: score(forecasts, panel, naive), runs=3)
    timed("buy and hold", lambda: buy_and_hold(panel))
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder) / "data", Path(folder) / "reports")
        begun = time.perf_counter()
        pass_gate(model.config, places)
        print(f"{'copy gate':48}{time.perf_counter() - begun:10.3f} s")
        outcome = backtest(panel, model=model, config=RunConfig(), places=places)
        timed("render the report", lambda: render(outcome.run), runs=3)
        print(f"{'size of the report':48}{outcome.report.stat().st_size / 1024:10.0f} KiB")


if __name__ == "__main__":
    main()
