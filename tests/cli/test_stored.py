"""What is stored, from the door: listed, shown, checked and imported, and errors by exit code."""

import glob
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantseq.cli import app
from quantseq.market.bars import Panel
from quantseq.market.store import Store
from tests.cli.test_cli import assert_one_line
from tests.market.conftest import build_intraday
from tests.pipeline.test_data import spoiled


def quantseq(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command in this process."""
    given = [str(word) for word in words]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, given)
    return subprocess.CompletedProcess(given, done.exit_code, done.stdout, done.stderr)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(small_panel: Panel, tmp_path: Path) -> Path:
    """IBM sound, MSFT with a glitch, BAD damaged."""
    store = Store(tmp_path / "data")
    store.write(small_panel["IBM"])
    store.write(spoiled(small_panel["MSFT"]))
    store.path("BAD").write_bytes(b"PAR1 no")
    return tmp_path / "data"


def test_list_names_a_damaged_file_and_goes_on(data: Path, tmp_path: Path) -> None:
    result = quantseq("data", "list", "--data-dir", data, "--json", tmp_path / "l.json")
    assert result.returncode == 0, result.stderr
    assert "BAD.parquet" in result.stdout
    rows = {row["symbol"]: row for row in json.loads((tmp_path / "l.json").read_text())["symbols"]}
    assert rows["BAD"]["rows"] is None
    assert rows["BAD"]["source"].startswith("damaged: ")
    assert rows["IBM"]["rows"] == len(Store(data).read("IBM"))


def test_events_are_imported_listed_and_removed_with_the_bars(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "earnings.csv"
    path.write_text("symbol,date,timing\nIBM,2012-01-19,amc\nIBM,2012-04-17,\n,2012-04-17,\n")
    words = ("data", "import-events", path, "--data-dir", data, "--json", tmp_path / "e.json")
    result = quantseq(*words)
    assert result.returncode == 0, result.stderr
    assert "Left out 1: no symbol (line 4)." in result.stdout
    told = json.loads((tmp_path / "e.json").read_text())
    assert told["left_out"] == {"no symbol": ["line 4"]}
    assert told["symbols"] == [
        {
            "symbol": "IBM",
            "status": "new",
            "events": 2,
            "first": "2012-01-19",
            "last": "2012-04-17",
            "backup": None,
        }
    ]
    quantseq("data", "list", "--data-dir", data, "--json", tmp_path / "l.json")
    rows = {row["symbol"]: row for row in json.loads((tmp_path / "l.json").read_text())["symbols"]}
    assert (rows["IBM"]["events"], rows["MSFT"]["events"]) == (2, 0)
    shown = quantseq("data", "show", "IBM", "--data-dir", data)
    assert "scheduled events  2" in shown.stdout
    path.write_text("symbol,date\nIBM,2012-01-20\n")
    assert_one_line(quantseq(*words), "lacks 1 stored events of IBM")
    replaced = quantseq(*words, "--replace")
    assert ".backup" in replaced.stdout
    path.write_text("symbol,date\nIBM,soon\n")
    assert_one_line(quantseq(*words), "line 2")
    removed = quantseq("data", "rm", "IBM", "--data-dir", data)
    assert "Removed IBM (1d, events)." in removed.stdout
    path.write_text("symbol,date\nZZZ,2012-01-20\n")
    assert "no daily prices are stored of ZZZ." in quantseq(*words).stdout
    removed = quantseq("data", "rm", "ZZZ", "--data-dir", data)
    assert "Removed ZZZ (events)." in removed.stdout
    assert quantseq("data", "rm", "ZZZ", "--data-dir", data).returncode != 0


def test_list_and_rm_know_every_interval_and_rm_keeps_backups(data: Path, tmp_path: Path) -> None:
    hours = Store(data, interval="1h")
    hours.write(build_intraday("IBM"))
    kept = hours.back_up("IBM")
    result = quantseq("data", "list", "--data-dir", data, "--json", tmp_path / "l.json")
    rows = json.loads((tmp_path / "l.json").read_text())["symbols"]
    assert [(r["symbol"], r["interval"]) for r in rows if r["symbol"] == "IBM"] == [
        ("IBM", "1d"),
        ("IBM", "1h"),
    ]
    result = quantseq("data", "rm", "IBM", "--data-dir", data)
    assert "Removed IBM (1d, 1h)." in result.stdout
    assert str(kept) in result.stdout
    assert kept.exists()
    assert "IBM" not in hours
    assert "IBM" not in Store(data)
    assert_one_line(quantseq("data", "rm", "IBM", "--data-dir", data), "IBM")
    assert_one_line(quantseq("data", "rm", "MSFT", "NOPE", "--data-dir", data), "NOPE")
    assert "MSFT" in Store(data)  # all or nothing


def test_check_leaves_with_three_when_there_are_errors(data: Path, tmp_path: Path) -> None:
    result = quantseq("data", "check", "--data-dir", data, "--json", tmp_path / "c.json")
    assert result.returncode == 3
    assert_one_line(result, "BAD (file)", "MSFT (digit_glitch on ")
    found = json.loads((tmp_path / "c.json").read_text())["findings"]
    assert {(row["symbol"], row["rule"]) for row in found} >= {
        ("BAD", "file"),
        ("MSFT", "digit_glitch"),
    }
    assert all(row["first"] == (row["sessions"] or [""])[0] for row in found)
    assert quantseq("data", "check", "IBM", "--data-dir", data).returncode == 0


def test_show_summarises_and_draws(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "ibm.png"
    result = quantseq("data", "show", "IBM", "--data-dir", data, "--out", out)
    assert result.returncode == 0, result.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "last close" in result.stdout
    assert_one_line(quantseq("data", "show", "IBN", "--data-dir", data), "Did you mean IBM")


def test_a_file_is_checked_whole_before_it_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        "date,open,high,low,close,volume\n"
        "2024-01-02,10,12,9,11,1000\n2024-01-03,11,13,10,x,2000\n"
        "2024-01-04,11,13,10,12,2000\n2024-01-04,11,13,10,13,2000\n"
    )
    result = quantseq("data", "check", "--file", path)
    assert result.returncode == 3
    assert "unreadable" in result.stdout
    assert "duplicate" in result.stdout
    assert_one_line(quantseq("data", "import", path), "line 5", "more than once")
    path.write_text(path.read_text().replace("2024-01-04,11,13,10,13,2000\n", ""))
    result = quantseq("data", "import", path, "--dry-run", "--data-dir", tmp_path / "data")
    assert "2024-01-03 (line 3)" in result.stdout
    assert "Nothing was stored" in result.stdout
    assert not (tmp_path / "data").exists()
    assert_one_line(quantseq("data", "check", "AAPL", "--file", path), "--file")
    assert_one_line(quantseq("data", "check", "--timezone", "Asia/Tokyo"), "--file")


def test_bad_data_stops_a_training_and_a_backtest(data: Path, tmp_path: Path) -> None:
    Store(data).remove("BAD")
    words = ("--data-dir", data, "--quiet")
    assert_one_line(
        quantseq("train", "--task", "price", *words), "1 of 2", "MSFT", "--allow-bad-data"
    )
    result = quantseq("backtest", "IBM", "MSFT", *words, "--reports-dir", tmp_path / "r")
    assert_one_line(result, "MSFT (digit_glitch on ")
    result = quantseq("train", "--task", "copy", "--allow-bad-data", *words)
    assert_one_line(result, "--allow-bad-data belongs to --task price")


def test_an_import_says_that_there_are_errors(small_panel: Panel, tmp_path: Path) -> None:
    for bars, said in ((small_panel["IBM"], False), (spoiled(small_panel["MSFT"]), True)):
        path = tmp_path / f"{bars.symbol}.csv"
        bars.to_frame().to_csv(path, index_label="date")
        result = quantseq("data", "import", path, "--data-dir", tmp_path / "data")
        assert result.returncode == 0, result.stderr
        assert ("in the prices: MSFT (digit_glitch on " in result.stdout) == said
        assert ("`quantseq data check MSFT` lists them." in result.stdout) == said


def test_the_picture_has_the_name_that_people_read(small_panel: Panel, tmp_path: Path) -> None:
    for symbol, name in (("שלום", "שלום"), ("A/B:c?^", "A_B_c_^")):
        Store(tmp_path / "data").write(replace(small_panel["IBM"], symbol=symbol))
        result = quantseq("data", "show", symbol, "--data-dir", tmp_path / "data")
        assert result.returncode == 0, result.stderr
        assert len(list(tmp_path.glob(f"{glob.escape(name)}-*.png"))) == 1


def test_more_batches_than_anybody_can_train_are_refused(tmp_path: Path) -> None:
    result = quantseq("train", "--task", "copy", "--batches", 99999999999999999999)
    assert result.returncode == 2
    assert "--batches" in result.stderr
