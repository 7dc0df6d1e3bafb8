"""What evaluation costs beside its baselines: ``python benchmarks/evaluation.py [--panel FILE]``.

Fits of the forecaster and of GJR-GARCH by arch, turn about on one thread, and one whole evaluation with
all baselines from nothing. Without a panel file the four bundled stocks are used.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from arch import arch_model

from quantseq.config import RunConfig
from quantseq.files import Places
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.market.bars import Panel
from quantseq.market.readers import read_panel
from quantseq.pipeline.data import sample_panel
from quantseq.pipeline.evaluate import Split, evaluate
from quantseq.pipeline.train import pass_gate
from quantseq.seq2seq.training import set_threads


def seconds(work: Callable[[], object]) -> float:
    """Time of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def fit_gjr(panel: Panel) -> None:
    """GJR-GARCH(1,1,1) with a skewed t for every symbol, by arch alone."""
    for bars in panel.values():
        returns = bars.log_returns()[1:]
        model = arch_model(returns / returns.std(), p=1, o=1, q=1, dist="skewt", rescale=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(disp="off")


def main() -> None:
    """Time fits in pairs, then everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panel", type=Path)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--train-until", default="2007-12-31")
    parser.add_argument("--validate-until", default="2009-12-31")
    given = parser.parse_args()
    set_threads(1)
    panel = sample_panel() if given.panel is None else read_panel(given.panel)
    train, past = panel.until(given.train_until), panel.until(given.validate_until)
    after = past.sessions[past.sessions > train.sessions[-1]][5]
    pairs = []
    for _ in range(given.pairs):
        ours = seconds(
            lambda: Seq2SeqForecaster.fit(past, train_until=train.sessions[-1], validate_from=after)
        )
        pairs.append((ours, seconds(lambda: fit_gjr(train))))
    ours, theirs = (statistics.median(part) for part in zip(*pairs, strict=True))
    print(f"{f'fit the forecaster, {len(panel)} symbols':44}{ours:10.1f} s")
    print(f"{'fit GJR-GARCH-skewt by arch':44}{theirs:10.1f} s")
    print(f"{'ratio':44}{ours / theirs:10.1f}")
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder) / "data", Path(folder) / "reports")
        config, split = RunConfig(), Split(given.train_until, given.validate_until)
        pass_gate(config.forecaster, places)
        whole = seconds(
            lambda: evaluate(panel, config=config, split=split, places=places, jobs=given.jobs)
        )
        again = seconds(
            lambda: evaluate(panel, config=config, split=split, places=places, jobs=given.jobs)
        )
    print(f"{f'evaluate with all baselines, {given.jobs} jobs':44}{whole:10.1f} s")
    print(f"{'the same from finished parts':44}{again:10.1f} s")


if __name__ == "__main__":
    main()
