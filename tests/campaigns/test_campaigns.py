"""Short versions of the kill and flip campaigns; ``docs/reliability.md`` has the long ones."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from quantseq.files import Places
from quantseq.market.store import Store
from quantseq.pipeline.backtest import BacktestOutcome
from quantseq.pipeline.data import fetch

HERE = Path(__file__).parent


def script(name: str) -> ModuleType:
    """A campaign, as `python tests/campaigns/NAME.py` runs it."""
    spec = importlib.util.spec_from_file_location(f"campaign_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_killed_import_loses_nothing_and_goes_on() -> None:
    kill = script("kill")
    tally = kill.campaign(["import"], 3, seed=0, tell=lambda _: None)["import"]
    assert not tally.faults, tally.said


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(kind: signal.Signals, tmp_path: Path) -> None:
    kill = script("kill")
    code = (
        "import time\nfrom joblib import delayed\nfrom quantseq.progress import interruptible, parallel\n"
        "with interruptible():\n    parallel(2)(delayed(time.sleep)(60) for _ in range(2))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        env=kill.environment(),
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    late = time.monotonic() + 30
    while len(kill.processes_of(child.pid)) < 4 and time.monotonic() < late:  # two of them workers
        time.sleep(0.05)
    time.sleep(1)
    os.kill(child.pid, kind)
    late = time.monotonic() + kill.PATIENCE
    while kill.processes_of(child.pid) and time.monotonic() < late:
        child.poll()
        time.sleep(0.05)
    assert not kill.processes_of(child.pid)
    child.wait()


def test_a_flipped_bit_of_a_run_folder_is_never_silent(small_run: BacktestOutcome) -> None:
    flip = script("flip")
    files = [
        one for one in sorted(small_run.folder.iterdir()) if one.suffix in ("", ".json", ".parquet")
    ]
    kinds = {"run": flip.Kind(files, lambda _: flip._run(small_run.folder))}
    counts = flip.campaign(kinds, 20, seed=0, tell=lambda _: None)["run"]
    assert counts == {"refused": 20}


def test_a_flipped_bit_of_stored_bars_is_never_silent(tmp_path: Path) -> None:
    flip, places = script("flip"), Places(tmp_path)
    fetch(["IBM"], source="sample", places=places, end="2001-01-01")
    path = Store(places.data).path("IBM")
    kinds = {"bars": flip.Kind([path], lambda _: Store(places.data).read("IBM").sha256)}
    counts = flip.campaign(kinds, 60, seed=0, tell=lambda _: None)["bars"]
    assert counts["refused"] > 30  # the others say the same: Parquet has unused bytes
    assert not counts["silent"] + counts["traceback"]


def test_a_flipped_bit_of_a_kept_part_is_never_silent(
    small_run: BacktestOutcome, gates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip, cache = script("flip"), gates.parent.parent / "cache"
    files = sorted(one for one in cache.rglob("*") if one.is_file())

    def read(say: Callable[[str], None]) -> str:
        return str(flip._part(cache, say))

    counts = flip.campaign({"parts": flip.Kind(files, read)}, 20, seed=0, tell=lambda _: None)[
        "parts"
    ]
    assert counts["made again"] == 20
