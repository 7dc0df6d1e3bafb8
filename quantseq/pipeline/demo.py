"""The whole line on the bundled real prices, small enough to watch."""

from quantseq.config import RunConfig
from quantseq.evaluation.walkforward import WalkForward
from quantseq.files import Places
from quantseq.pipeline.backtest import BacktestOutcome, backtest
from quantseq.pipeline.data import sample_panel
from quantseq.progress import SILENT, Progress

MIN_TRAIN = 1260  # five years before the first validation block


def demo(
    *,
    places: Places = Places(),
    seed: int = 0,
    jobs: int = 2,
    command: str = "quantseq demo",
    progress: Progress = SILENT,
) -> BacktestOutcome:
    """Gate, tokens, walk-forward training, forecasts, positions, costs and report, offline: a `backtest`."""
    panel = sample_panel()
    progress.say(
        f"Bundled real prices: {', '.join(panel)}, daily, {panel.sessions[0]} to "
        f"{panel.sessions[-1]} (public domain)."
    )
    return backtest(
        panel,
        config=RunConfig(seed=seed, walk_forward=WalkForward(min_train=MIN_TRAIN)),
        places=places,
        jobs=jobs,
        command=command,
        title="Demo: seq2seq forecasts on four bundled stocks",
        progress=progress,
    )
