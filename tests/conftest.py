"""Shared ground of the suite: one torch thread, real prices, and one small run for everybody."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

# Every shape and type in the signatures of these modules can be checked at every call; `pytest_runtest_setup`
# says for which tests. The hook sees only what is imported after it, hence its place.
CHECKED = "copy_task decoding layers model tokens training"
install_import_hook(
    [f"quantseq.seq2seq.{name}" for name in CHECKED.split()],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",  # an int is a float
)

from quantseq.config import RunConfig
from quantseq.evaluation.walkforward import WalkForward
from quantseq.files import Places, lock
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Panel
from quantseq.pipeline.backtest import BacktestOutcome, backtest
from quantseq.pipeline.data import sample_panel

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever wants a trained network is slow."""
    for item in items:
        if {"small_run", "gates"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check shapes where the room itself is tested; trainings that only use it are a third faster without."""
    inside = "tests/seq2seq/" in item.path.as_posix()
    slow = item.get_closest_marker("slow") is not None
    jaxtyping_config.update("jaxtyping_disable", slow or not inside)


SMALL = RunConfig(
    forecaster=ForecasterConfig(members=1, epochs=1, horizon=3),
    walk_forward=WalkForward(test_size=150, validation_size=120, min_train=500, purge=3),
    num_paths=20,
    seed=7,
)
"""A configuration that runs in seconds; every part is the real one."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sample() -> Panel:
    """The bundled real prices."""
    return sample_panel()


@pytest.fixture(scope="session")
def small_panel(sample: Panel) -> Panel:
    """Two real stocks over four years."""
    return sample.select(["IBM", "MSFT"]).between("2003-01-01", "2006-12-31")


@pytest.fixture(scope="session")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of a data folder, shared by all workers, in which the price architecture has passed the gate."""
    from quantseq.pipeline.train import pass_gate

    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    places = Places(root / "shared")
    with lock(root / "shared.lock", timeout=300):  # whoever comes second finds the record
        pass_gate(ForecasterConfig(), places)
    return places.gates


@pytest.fixture
def with_gate(gates: Path) -> Callable[[Path], None]:
    """Put the record of the passed gate into another data folder."""

    def install(data: Path) -> None:
        target = Places(data).gates
        target.mkdir(parents=True, exist_ok=True)
        for record in gates.iterdir():
            (target / record.name).write_bytes(record.read_bytes())

    return install


@pytest.fixture(scope="session")
def small_run(
    small_panel: Panel, gates: Path, tmp_path_factory: pytest.TempPathFactory
) -> BacktestOutcome:
    """One walk-forward backtest, shared by every test that only looks at it."""
    places = Places(gates.parent.parent, tmp_path_factory.mktemp("run") / "reports")
    words = "quantseq backtest IBM MSFT"
    with lock(places.data.with_suffix(".lock"), timeout=300):  # ... and its folds in the cache
        return backtest(small_panel, config=SMALL, places=places, command=words)
