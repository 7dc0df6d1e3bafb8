"""Training on prices as the commands do it: gate, states to resume from, and what is written."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from quantseq.config import Places
from quantseq.errors import ConfigError, GateError, NotEnoughDataError
from quantseq.files import write_json
from quantseq.forecasting.model_folder import load_forecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Panel
from quantseq.pipeline.backtesting import backtest
from quantseq.pipeline.demo import demo
from quantseq.pipeline.evaluating import evaluate
from quantseq.pipeline.training import pass_gate, train_price
from quantseq.progress import Bar, Progress
from quantseq.seq2seq.gate import GateRecord, gate_fingerprint

CONFIG = ForecasterConfig(members=2, epochs=2, horizon=2)


def test_a_pass_is_remembered(gates: Path) -> None:
    record = pass_gate(ForecasterConfig(), Places(gates.parent.parent))
    assert record.passed
    assert record.was_cached
    assert record.score >= record.bar


@pytest.mark.parametrize("command", ["train", "backtest", "evaluate", "demo"])
def test_nobody_uses_an_architecture_that_has_failed_the_gate(
    command: str, sample: Panel, tmp_path: Path
) -> None:
    places, architecture = Places(tmp_path, tmp_path / "reports"), ForecasterConfig().architecture()
    mark = gate_fingerprint(architecture)
    failed = GateRecord(False, 0.42, 0.995, 0.0, "2026-01-01", 0, 400, 1.0, mark)
    write_json(places.gates / f"{mark}.json", asdict(failed))
    calls = {
        "train": lambda: train_price(sample, out=tmp_path / "model", places=places),
        "backtest": lambda: backtest(sample, places=places),
        "evaluate": lambda: evaluate(sample, places=places),
        "demo": lambda: demo(places=places),
    }
    with pytest.raises(GateError, match=r"42\.00%"):
        calls[command]()
    assert not (tmp_path / "model").exists()
    assert not list((tmp_path / "reports").glob("*/report.html"))


class Interrupts(Progress):
    """Presses Ctrl-C in the middle of the second network."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    def bar(self, title: str, total: int, *, unit: str = "it", done: int = 0):
        class Pressing:
            count = 0

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *_: object) -> None: ...

            def step(self, count: int = 1, **figures: float | str) -> None:
                self.count += count
                if title == "network 2 of 2" and self.count == 5:
                    raise KeyboardInterrupt

        return Pressing()


@pytest.mark.slow
def test_an_interrupted_training_goes_on_to_the_same_bits(
    small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    places = Places(gates.parent.parent)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_price(small_panel, out=whole, config=CONFIG, places=places)
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        train_price(small_panel, out=broken, config=CONFIG, places=places, progress=Interrupts())
    assert not broken.exists()
    assert (tmp_path / "broken.state" / "member-1").is_dir()
    with pytest.raises(ConfigError, match="another seed"):
        train_price(small_panel, out=broken, config=CONFIG, places=places, seed=1, resume=True)
    trained: list[int] = []

    class Counts(Progress):
        def bar(self, title: str, total: int, *, unit: str = "it", done: int = 0):
            trained.append(title == "network 1 of 2")
            return super().bar(title, total, unit=unit, done=done)

    train_price(
        small_panel, out=broken, config=CONFIG, places=places, resume=True, progress=Counts()
    )
    assert not any(trained), "the finished network is not trained again"
    assert not (tmp_path / "broken.state").exists()
    cutoffs = small_panel.sessions[-3:]
    first, second = (
        load_forecaster(folder).predict(small_panel, cutoffs, horizon=2, num_paths=10)
        for folder in (whole, broken)
    )
    np.testing.assert_array_equal(first.density.probs, second.density.probs)
    np.testing.assert_array_equal(first.paths, second.paths)


def test_too_few_sessions_are_named(small_panel: Panel, tmp_path: Path) -> None:
    with pytest.raises(NotEnoughDataError, match="too few to train on"):
        train_price(small_panel.until("2003-09-30"), out=tmp_path / "m")
    assert not any(tmp_path.iterdir())
