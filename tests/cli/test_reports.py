"""Commands about finished runs, as a user meets them."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from quantseq.cli import app
from quantseq.pipeline.backtest import BacktestOutcome
from tests.report_folders import evaluation


@pytest.fixture
def reports(small_run: BacktestOutcome, tmp_path: Path) -> Path:
    """A reports folder with two copies of a run, and their ledger."""
    root = tmp_path / "reports"
    shutil.copytree(small_run.folder, root / "one")
    shutil.copytree(small_run.folder, root / "two")
    shutil.copy(small_run.folder.parent / "ledger.jsonl", root)
    return root


def quantseq(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_run_is_verified_and_a_changed_digit_leaves_with_71(reports: Path) -> None:
    done = quantseq("verify", reports / "one")
    assert done.exit_code == 0, done.output
    assert "Verified: everything printed is what the data give." in done.output
    assert re.search(r"Checked 7 files, \d+ figures, 1 ledger lines, [\d,]+ lines", done.output)
    path = reports / "one" / "report.html"
    text = path.read_text(encoding="utf-8")
    changed = re.sub(r'("strategy.sharpe">.)\d', r"\g<1>8", text)
    path.write_text(changed, encoding="utf-8")
    out = reports / "found.json"
    failed = quantseq("verify", path, "--json", out)
    assert failed.exit_code == 71
    assert re.search(r"strategy.sharpe: printed '.8\.", failed.output)
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("error: ")
    content = json.loads(out.read_text())
    assert not content["passed"]
    assert {one["name"] for one in content["differences"]} == {"strategy.sharpe"}
    path.write_text(text.replace("No edge over", "An edge over"), encoding="utf-8")
    flipped = quantseq("verify", path)
    assert flipped.exit_code == 71
    assert "claim: printed" in flipped.output


def test_the_newest_run_is_the_default_and_rendered_to_the_same_bytes(reports: Path) -> None:
    shown, before = reports / "figures", (reports / "one" / "report.html").read_bytes()
    done = quantseq("report", "--reports-dir", reports, "--figures", shown)
    assert done.exit_code == 0, done.output
    named = re.search(r"Report: .*(one|two)/report\.html", done.output)
    assert named
    assert (reports / named[1] / "report.html").read_bytes() == before
    assert {"equity.svg", "equity.png", "drawdown.svg"} <= {path.name for path in shown.iterdir()}


def test_the_index_is_written_and_takes_no_run(reports: Path) -> None:
    done = quantseq("report", "--index", "--reports-dir", reports)
    assert done.exit_code == 0, done.output
    assert (reports / "index.html").is_file()
    refused = quantseq("report", reports / "one", "--index")
    assert refused.exit_code == 2
    assert "--index is about all runs" in refused.stderr


def test_runs_are_compared(reports: Path) -> None:
    out = reports / "comparison.json"
    pair = (reports / "one", reports / "two")
    done = quantseq("compare", *pair, "--reports-dir", reports, "--json", out)
    assert done.exit_code == 0, done.output
    assert (reports / "comparison.html").is_file()
    assert "2 runs, " in done.output
    content = json.loads(out.read_text())
    assert content["runs"] == ["one", "two"]
    assert content["against_first"]["two"]["sharpe_difference"] == 0
    folders = [evaluation().save(reports / name) for name in ("evaluation", "evaluation-2")]
    both = quantseq("compare", *folders, "--reports-dir", reports)
    assert both.exit_code == 0, both.output
    assert "neither a session nor" in quantseq("compare", reports / "one", folders[0]).stderr
    assert quantseq("report", "--index", "--reports-dir", reports).exit_code == 0
    assert "evaluation" in (reports / "index.html").read_text(encoding="utf-8")
    lone = quantseq("compare", reports / "one")
    assert lone.exit_code == 2
    assert "two or more different run folders" in lone.stderr


def test_files_of_somebody_are_not_replaced_by_results(
    small_run: BacktestOutcome, tmp_path: Path
) -> None:
    folder = tmp_path / "reports" / "run"
    shutil.copytree(small_run.folder, folder)
    for name in ("thesis.txt", "page.html", "equity.svg", "index.html"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "package.json").write_text('{"name": "mine"}')
    shutil.copy(tmp_path / "index.html", tmp_path / "reports" / "index.html")
    for words in (
        ("verify", folder, "--json", tmp_path / "package.json"),
        ("verify", folder, "--json", tmp_path / "thesis.txt"),
        ("compare", folder, small_run.folder, "--out", tmp_path / "page.html"),
        ("report", folder, "--figures", tmp_path),
        ("report", "--index", "--reports-dir", tmp_path / "reports"),
        ("forecast", "IBM", "--csv", tmp_path / "thesis.txt"),
    ):
        result = quantseq(*words)
        assert result.exit_code == 3, words
        assert "was not written by quantseq" in result.stderr, words
    for name in ("thesis.txt", "page.html", "equity.svg", "reports/index.html"):
        assert (tmp_path / name).read_text() == "mine"
    assert (tmp_path / "package.json").read_text() == '{"name": "mine"}'
    for _ in range(2):  # ours are
        for words in (
            ("verify", folder, "--json", tmp_path / "new.json"),
            ("report", folder, "--figures", tmp_path / "new"),
            ("compare", folder, small_run.folder, "--out", tmp_path / "new.html"),
        ):
            assert quantseq(*words).exit_code == 0, words


def test_a_damaged_run_is_named_and_the_index_goes_on(
    small_run: BacktestOutcome, tmp_path: Path
) -> None:
    for name in ("sound", "broken"):
        shutil.copytree(small_run.folder, tmp_path / name)
    path = tmp_path / "broken" / "scores.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for words in (
        ("report", tmp_path / "broken"),
        ("compare", tmp_path / "broken", small_run.folder),
    ):
        result = quantseq(*words)
        assert result.exit_code == 7, words
        assert "scores.parquet" in result.stderr
    assert quantseq("verify", tmp_path / "broken").exit_code == 71
    assert quantseq("report", "--index", "--reports-dir", tmp_path).exit_code == 0
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "scores.parquet in" in page
    assert "sound/report.html" in page
