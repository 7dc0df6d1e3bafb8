"""The commands about many trials as a user meets them: results, files, errors in one line, Ctrl-C."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from quantseq.cli import app
from quantseq.market.bars import Panel
from quantseq.market.store import Store
from quantseq.pipeline.backtest import BacktestOutcome
from quantseq.trading import ledger
from tests.cli.test_cli import started, until

SMALL = """
seed = 7
num_paths = 20
[forecaster]
members = 1
epochs = 1
horizon = 3
[walk_forward]
test_size = 150
validation_size = 120
min_train = 500
"""
GRID = ("--policies", "sign,vol_target,probability", "--thresholds", "0.5,0.52")


@pytest.fixture(scope="module")
def home(
    small_run: BacktestOutcome,
    small_panel: Panel,
    gates: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, ...]:
    """Options of a folder with two stocks, a passed gate, the small run's forecasts and configuration."""
    root = tmp_path_factory.mktemp("home")
    shutil.copytree(gates.parent.parent, root / "data")
    for bars in small_panel.values():
        Store(root / "data").write(bars)
    (root / "small.toml").write_text(SMALL)
    return (
        *("--data-dir", str(root / "data"), "--config", str(root / "small.toml")),
        *("--jobs", "1"),
    )


def typed(*words: object) -> Any:
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.mark.slow
def test_a_sweep_and_its_trials(home: tuple[str, ...], tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    words = ("sweep", "IBM", "MSFT", *GRID, "--costs-bps", "0,5", *home, "--reports-dir", reports)
    result = typed(*words, "--json", tmp_path / "s.json")
    assert result.exit_code == 0, result.stderr
    assert "Traceback" not in result.stderr
    found = json.loads((tmp_path / "s.json").read_text())
    folder = Path(found["folder"])
    assert {path.name for path in folder.iterdir()} == {
        *("manifest.json", "result.json", "points.csv", "best.toml", "points", "SHA256SUMS"),
    }
    assert len(found["sweep"]["points"]) == 2 * (1 + 3 + 2)
    assert len((folder / "points.csv").read_text().splitlines()) == 13
    assert found["manifest"]["run_id"] == folder.name
    lines = result.stdout.splitlines()
    assert found["sweep"]["sentence"] in lines
    assert found["verdict"]["sentence"] in lines
    assert any(line.startswith("at 5 bps") for line in lines)
    again = typed(*words)
    assert again.exit_code == 0
    assert "is finished; its result stands" in again.stderr
    assert again.stdout == result.stdout

    listed = typed("trials", "--reports-dir", reports, "--json", tmp_path / "t.json")
    assert listed.exit_code == 0, listed.stderr
    assert "sign, 5 bps, horizon 3" in listed.stdout
    assert listed.stdout.splitlines()[-1].endswith("The chain is intact.")
    ledgers = json.loads((tmp_path / "t.json").read_text())
    assert ledgers["n_trials"] == found["verdict"]["n_trials"]
    path = reports / "ledger.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    damaged = typed("trials", "--reports-dir", reports, "--quiet")
    assert damaged.exit_code == 7
    assert damaged.stderr.startswith("error: ")
    assert f"the line that {folder.name} saw as the last is gone" in damaged.stderr

    alone = typed(
        *("backtest", "IBM", "MSFT", *home[:2], "--config", folder / "best.toml", "--quiet"),
        *("--reports-dir", reports, "--jobs", 1, "--json", tmp_path / "b.json"),
    )
    assert alone.exit_code == 0, alone.stderr
    run = json.loads((tmp_path / "b.json").read_text())
    assert run["metrics"]["strategy"]["sharpe"] == found["metrics"]["strategy"]["sharpe"]
    assert not run["verdict"]["edge"]
    assert "is gone" in run["verdict"]["ledger"]


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_scored(home: tuple[str, ...], tmp_path: Path) -> None:
    values = ",".join(f"{0.01 + k / 1000:.3f}" for k in range(400))
    words = [
        *("sweep", "IBM", "MSFT", "--policies", "kelly", "--vary", f"kelly.fraction={values}"),
        *("--costs-bps", "0,5,10", *home, "--reports-dir", str(tmp_path)),
    ]
    process = started(*words)
    until(process, lambda: len(list(tmp_path.glob("*/points/[!.]*.parquet"))) > 32)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "the same command goes on from there" in err.splitlines()[-1]
    record = ledger.read(tmp_path / "ledger.jsonl")
    assert len(record.entries) >= 32
    assert {ledger.check_returns(tmp_path, one) for one in record.entries} == {"kept"}
    assert not list(tmp_path.glob("*/result.json"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ["No symbols were named"]),
        (("IBM", "--policies", "kely"), ["kely", "did you mean 'kelly'"]),
        (("IBM", "--policies", ","), ["different values of 'policies'"]),
        (("IBM", "--thresholds", "0.2"), ["'threshold'", "0.2"]),
        (("IBM", "--thresholds", "x"), ["'threshold'", "'x'"]),
        (("IBM", "--policies", "sign", "--thresholds", "0.6"), ["'probability' is varied"]),
        (("IBM", "--vary", "kelly=3"), ["--vary must look like", "kelly=3"]),
        (("IBM", "--vary", "kelly.fracton=0.5"), ["fracton", "fraction"]),
        (("IBM", *("--vary", "kelly.fraction=0.1") * 2), ["kelly.fraction is varied twice"]),
        (("IBM", "--horizons", "1", "--set", "forecaster.horizon=2"), ["given twice"]),
        (("IBM", "--costs-bps", "0,-5"), ["'cost_bps'", "-5"]),
        (("IBM", "--costs-bps", "cheap"), ["--costs-bps", "cheap"]),
        (("IBM", "--horizons", "0"), ["horizon", "0"]),
        (("IBM", "--horizons", "2.5"), ["--horizons whole numbers", "2.5"]),
        (("IBM", "--model", "nowhere"), ["nowhere"]),
        (("IBM", "--horizons", "3", "--model", "nowhere"), ["--horizons was settled"]),
        (("NOPE",), ["NOPE"]),
    ],
)
def test_errors_are_one_line_and_come_before_any_work(
    words: tuple[str, ...], expected: list[str], tmp_path: Path
) -> None:
    places = ("--data-dir", tmp_path / "data", "--reports-dir", tmp_path / "reports")
    result = typed("sweep", *words, *places)
    assert result.exit_code in range(2, 100), result.output
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    for word in expected:
        assert word in result.stderr
    assert not (tmp_path / "reports").exists()


def test_an_empty_ledger_is_no_error(tmp_path: Path) -> None:
    result = typed("trials", "--reports-dir", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == "0 distinct trials in 0 lines. The chain is intact.\n"
