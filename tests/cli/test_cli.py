"""The door as a user meets it: help, results, errors in one line, files."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from quantseq import __version__
from quantseq.cli import app
from quantseq.errors import BarsError
from quantseq.market.bars import Panel
from quantseq.market.store import Store

COMMANDS = [
    [],
    ["demo"],
    ["fetch"],
    ["train"],
    ["forecast"],
    ["backtest"],
    ["evaluate"],
    ["audit"],
    ["report"],
    ["sweep"],
    ["trials"],
    ["verify"],
    ["compare"],
    ["data"],
    ["data", "import"],
    ["data", "list"],
    ["data", "show"],
    ["data", "check"],
    ["data", "rm"],
]


def quantseq(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, for which it has no other door than a user's."""
    given = [str(word) for word in words]
    with contextlib.chdir(cwd or Path.cwd()):
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(given, done.exit_code, done.stdout, done.stderr)


def started(*words: object) -> subprocess.Popen[str]:
    """Start a command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "quantseq", *map(str, words)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def assert_one_line(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """A failure is one line on standard error that starts with ``error:``."""
    assert result.returncode not in (0, 1), result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def stored(small_panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two stocks."""
    root = tmp_path_factory.mktemp("stored")
    for bars in small_panel.values():
        Store(root).write(bars)
    return root


@pytest.mark.slow
def test_the_installed_command_answers_and_fails_in_one_line(tmp_path: Path) -> None:
    process = started("--help")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "Usage:" in out
    process = started("report", tmp_path / "nowhere")
    out, err = process.communicate()
    assert_one_line(subprocess.CompletedProcess([], process.returncode, out, err), "nowhere")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(words: list[str]) -> None:
    result = quantseq(*words, "--help")
    assert result.returncode == 0
    assert "Usage:" in result.stdout
    if words not in ([], ["data"]):
        assert "Example" in result.stdout


def test_the_list_of_commands_is_complete() -> None:
    for group in ([], ["data"]):
        text = quantseq(*group, "--help").stdout.split("Commands:")[1]
        names = re.findall(r"^  (\w+)  ", text, re.M)
        assert names
        assert {(*group, name) for name in names} <= {tuple(words) for words in COMMANDS}


def test_the_sample_is_fetched_listed_checked_and_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    result = quantseq(
        "fetch", "AAPL,IBM", "--source", "sample", "--data-dir", data, "--json", tmp_path / "f.json"
    )
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "f.json").read_text())["symbols"]
    assert [(row["symbol"], row["status"], row["rows"]) for row in rows] == [
        ("AAPL", "new", 3270),
        ("IBM", "new", 3270),
    ]
    assert "AAPL" in quantseq("data", "list", "--data-dir", data).stdout
    assert "2000-09-29" in quantseq("data", "check", "--data-dir", data).stdout
    assert quantseq("data", "rm", "AAPL", "--data-dir", data).returncode == 0
    assert Store(data).symbols() == ("IBM",)


def test_own_prices_are_imported(tmp_path: Path, small_panel: Panel) -> None:
    frame = small_panel["IBM"].to_frame().drop(columns=["dividends", "splits"])
    frame.to_csv(tmp_path / "mine.csv")
    data = tmp_path / "data"
    assert quantseq("data", "import", tmp_path / "mine.csv", "--data-dir", data).returncode == 0
    np.testing.assert_array_equal(Store(data).read("mine").close, small_panel["IBM"].close)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fetch", "NOPE", "--source", "sample"], ["NOPE", "AAPL, GOOG, IBM, MSFT"]),
        (["fetch", "AAPL", "--source", "nowhere"], ["nowhere", "yahoo"]),
        (["fetch", "AAPL", "--source", "sample", "--start", "2020-01-01"], ["AAPL"]),
        (
            ["fetch", "AAPL", "--source", "sample", "--start", "2012-01-01", "--end", "2011-01-01"],
            ["reversed"],
        ),
        (["train", "--task", "price"], ["quantseq fetch"]),
        (["train", "--task", "price", "--symbols", "all"], ["quantseq fetch"]),
        (["train", "--task", "prices"], ["price, copy, reverse, sort"]),
        (["train", "--task", "copy", "--preset", "stron"], ["strong"]),
        (["forecast"], ["No symbols"]),
        (["forecast", "AAPL"], ["quantseq fetch"]),
        (["backtest"], ["No symbols"]),
        (["backtest", "AAPL"], ["quantseq fetch"]),
        (["backtest", "--panel", "none.csv"], ["none.csv"]),
        (["evaluate"], ["No symbols"]),
        (["evaluate", "AAPL"], ["quantseq fetch"]),
        (["evaluate", "AAPL", "--train-until", "2007-01-01"], ["--validate-until"]),
        (
            [
                "evaluate",
                "A",
                "--train-until",
                "2006-01-01",
                "--validate-until",
                "2007-01-01",
                "--set",
                "walk_forward.test_size=5",
            ],
            ["walk_forward.test_size", "one or the other"],
        ),
        (["report", "nowhere"], ["nowhere"]),
        (["data", "import", "none.csv"], ["none.csv"]),
        (["data", "rm", "AAPL"], ["AAPL"]),
        (["fetch", ",", "--source", "sample"], ["No symbols"]),
        (["train", "--task", "copy", "--symbols", "AAPL"], ["--task price"]),
        (["train", "--task", "sort", "--horizon", "2"], ["--task price"]),
        (["train", "--task", "price", "--preset", "seed"], ["--task copy"]),
        (["train", "--task", "price", "--figures", "f"], ["--task copy"]),
        (["train", "--task", "price", "--set", "costs.cost_bps=1"], ["decides nothing"]),
        (["evaluate", "AAPL", "--set", "policy.name=sign"], ["decides nothing"]),
        (["fetch", "IBM", "--source", "sample", "--json", "/proc/x/y.json"], ["/proc/x"]),
    ],
)
def test_what_goes_wrong_is_one_line(words: list[str], expected: list[str], tmp_path: Path) -> None:
    assert_one_line(quantseq(*words, cwd=tmp_path), *expected)


def test_an_evaluation_is_printed_written_and_continued(
    stored: Path, with_gate: Callable[[Path], None], tmp_path: Path
) -> None:
    with_gate(stored)
    (tmp_path / "small.toml").write_text("[forecaster]\nmembers = 1\nepochs = 1\nhorizon = 2\n")
    words = (
        *("evaluate", "IBM", "MSFT", "--baselines", "ewma-t,bootstrap", "--paths", 20),
        *("--train-until", "2005-03-31", "--validate-until", "2005-12-30"),
        *("--config", tmp_path / "small.toml", "--data-dir", stored, "--jobs", 1),
        *("--json", tmp_path / "e.json", "--out", tmp_path / "out", "--figures", tmp_path / "pics"),
    )
    first = quantseq(*words, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "better than ewma-t: " in first.stdout
    found = json.loads((tmp_path / "e.json").read_text())
    assert list(found["models"]) == ["seq2seq", "bootstrap", "ewma-t", "har-pooled-t"]
    assert found["models"]["bootstrap"]["log_score"] is None
    assert {"pit.png", "fan-worst.svg"} <= {path.name for path in (tmp_path / "pics").iterdir()}
    page = tmp_path / "out" / "report.html"
    assert f"Report: {page}" in first.stdout
    before = page.read_bytes()
    assert quantseq("report", page.parent).returncode == 0
    assert page.read_bytes() == before
    assert len(list((stored / "cache").glob("*.scores"))) == 4
    assert quantseq(*words, cwd=tmp_path).stdout == first.stdout


def test_a_failed_fetch_leaves_what_is_stored(stored: Path) -> None:
    before = Store(stored).path("IBM").read_bytes()
    result = quantseq(
        "fetch", "IBM", "--source", "sample", "--interval", "5m", "--data-dir", stored
    )
    assert_one_line(result, "sample", "5m")
    assert Store(stored).path("IBM").read_bytes() == before


BAD_PANELS = {
    "nan": (lambda f: f.assign(close=f["close"].where(f.index % 15 != 5)), "close"),
    "negative": (lambda f: f.assign(close=f["close"].where(f.index % 15 != 5, -1.0)), "close"),
    "duplicate": (
        lambda f: pd.concat([f, f.iloc[[7]].assign(low=1.0)]).sort_values("date"),
        "more than once",
    ),
    "unsorted": (lambda f: f.iloc[[3, 1, 2, 0, *range(4, len(f))]], "order"),
    "no column": (lambda f: f.drop(columns="open"), "open"),
}


@pytest.mark.parametrize("fault", BAD_PANELS)
def test_a_bad_panel_is_one_line(fault: str, tmp_path: Path, small_panel: Panel) -> None:
    spoil, word = BAD_PANELS[fault]
    frame = (
        small_panel["IBM"]
        .to_frame()
        .reset_index()[["date", "open", "high", "low", "close", "volume"]]
    )
    spoil(frame.assign(symbol="IBM")).to_csv(tmp_path / "bad.csv", index=False)
    result = quantseq("backtest", "--panel", tmp_path / "bad.csv", cwd=tmp_path)
    assert_one_line(result, word)
    assert not (tmp_path / "reports").exists()


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = quantseq(
        "fetch", "IBM", "--source", "sample", "--data-dir", tmp_path / "file" / "data"
    )
    assert_one_line(result, "file")


def test_a_corrupt_parquet_is_one_line(tmp_path: Path, small_panel: Panel) -> None:
    Store(tmp_path).write(small_panel["IBM"])
    Store(tmp_path).path("IBM").write_bytes(b"PAR1 not really")
    assert_one_line(quantseq("train", "--task", "price", "--data-dir", tmp_path), "IBM")


@pytest.mark.slow
def test_train_then_forecast(
    stored: Path, tmp_path: Path, with_gate: Callable[[Path], None]
) -> None:
    with_gate(stored)
    out, metrics = tmp_path / "model", tmp_path / "m.json"
    result = quantseq(
        *("train", "--task", "price", "--symbols", "IBM,MSFT", "--horizon", 2, "--quiet"),
        *("--set", "forecaster.epochs=1", "--set", "forecaster.members=1"),
        *("--data-dir", stored, "--out", out, "--json", metrics),
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == result.stdout == ""
    kept = json.loads((out / "metrics.json").read_text())
    assert json.loads(metrics.read_text()) == {"quantseq": __version__, **kept}
    assert json.loads(metrics.read_text())["gate"]["passed"] is True

    words = ("forecast", "IBM", "--model", out, "--data-dir", stored, "--reports-dir", tmp_path)
    result = quantseq(*words, "--horizon", 2, "--csv", tmp_path / "f.csv", "--json", tmp_path / "f")
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "f").read_text())["forecasts"]
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[0]["q05"] < rows[0]["q50"] < rows[0]["q95"]
    assert rows[0]["price_q50"] == pytest.approx(rows[0]["last_close"] * np.exp(rows[0]["q50"]))
    assert len(pd.read_csv(tmp_path / "f.csv")) == 2
    assert [path.read_bytes()[:4] for path in tmp_path.glob("*.png")] == [b"\x89PNG"]

    assert rows[0]["es_99"] > rows[0]["var_99"] > rows[0]["var_95"] > 0
    words = (*words, "--horizon", 2)
    assert_one_line(quantseq(*words[:-2], "--horizon", 9), "1 to 2 steps")
    assert_one_line(quantseq(*words, "--cutoff", "2005-01-03"), "has seen data")
    assert_one_line(
        quantseq(
            *(
                "backtest",
                "IBM",
                "--model",
                out,
                "--data-dir",
                stored,
                "--test-start",
                "2005-01-03",
            ),
            *("--reports-dir", tmp_path / "reports", "--quiet"),
        ),
        "has seen data",
    )
    weights = next(out.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    assert_one_line(quantseq(*words), "model")


@pytest.mark.slow
def test_the_copy_task_writes_its_metrics(tmp_path: Path) -> None:
    out, metrics = tmp_path / "model", tmp_path / "m.json"
    result = quantseq(
        *("train", "--task", "copy", "--preset", "attention", "--batches", 150, "--quiet"),
        *("--out", out, "--json", metrics),
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(metrics.read_text())
    assert {"loss_at", "exact_match", "exact_match_by_length", "token_accuracy"} <= set(found)
    kept = json.loads((out / "metrics.json").read_text())
    assert found == {"quantseq": __version__, **kept}
    assert not list(out.rglob("*.pt")) + list(out.rglob("*.pkl"))


def until(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    """Wait for something that a running command brings about."""
    for _ in range(600):
        if there():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    pytest.fail("waited in vain")


@pytest.mark.slow
def test_a_killed_toy_training_resumes_to_the_same_bits_and_says_nothing_twice(
    tmp_path: Path,
) -> None:
    words = ("train", "--task", "reverse", "--preset", "seed", "--batches", 601, "--out")
    whole = quantseq(*words, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    process = started(*words, tmp_path / "killed")
    until(process, (tmp_path / "killed/state/state.safetensors").exists)
    process.kill()
    first, _ = process.communicate()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    second = quantseq(*words, tmp_path / "killed", "--resume")
    assert second.returncode == 0, second.stderr
    told = first + second.stdout
    assert re.findall(r"^batch (\d+)$", told, re.M) == ["0"]
    assert told.replace(str(tmp_path / "killed"), str(tmp_path / "whole")) == whole.stdout
    for name in ("model.safetensors", "milestones.json", "loss.svg", "accuracy.svg"):
        one, two = ((tmp_path / kind / name).read_bytes() for kind in ("whole", "killed"))
        assert one == two, name


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    words = ["train", "--task", "copy", "--preset", "attention", "--out", str(tmp_path / "m")]
    process = started(*words, "--batches", 100000)
    until(process, lambda: any(tmp_path.rglob("state*")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RecursionError("too deep"), 1, r"error: This was not foreseen.*RecursionError.*too deep"),
        (
            SystemExit("out"),
            1,
            r"error: This was not foreseen.*SystemExit in test_cli.py, line \d+: out",
        ),
        (BaseException("\x1b[31m"), 1, r"error: This was not foreseen.*\\x1b\[31m"),
        (MemoryError(), 1, "error: There is not enough memory"),
        (OSError(36, "File name too long", "x" * 9_000), 3, "error: Cannot use 'xxx"),
        (
            ModuleNotFoundError("No module named 'torch'"),
            1,
            "error: The installation is broken: No module",
        ),
        (BarsError("\x1b[2J\u202e\nclose" + "x" * 9_000), 3, r"error: \\x1b\[2J\\u202e close"),
        (KeyboardInterrupt("Half is kept."), 130, "interrupted: Half is kept."),
    ],
    ids=lambda one: type(one).__name__,
)
def test_whatever_a_command_raises_is_one_bounded_line(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("quantseq.pipeline.data.list_", fail)
    done = quantseq("data", "list")
    assert done.returncode == code
    assert re.match(said, done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert len(done.stderr) < 1_200


@pytest.mark.parametrize(
    "words", [["data", "list", "--\x1b[31m"], ["data", "\u202e" * 5_000], ["\x1b]0;"]]
)
def test_wrong_words_are_shown_escaped_and_bounded(words: list[str]) -> None:
    done = quantseq(*words)
    assert done.returncode == 2
    assert len(done.stderr) < 1_500
    assert not set(done.stderr) & set("\x1b\u202e")


def test_what_is_printed_shows_control_characters(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        rows = [{"symbol": "A\x1b[31m\u202e", "rows": 1}]
        patch.setattr("quantseq.pipeline.data.list_", lambda **_: rows)
        done = quantseq("data", "list", "--data-dir", tmp_path)
    assert r"A\x1b[31m\u202e" in done.stdout


def test_a_figure_that_cannot_be_kept_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = quantseq("data", "list", "--json", tmp_path / "file" / "a.json")
    assert_one_line(result, "file")
