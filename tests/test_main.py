"""The process outlives its streams, and every character gets out of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CODE = """
import sys
from quantseq import __main__, cli
def app(**how):
    print("the verdict: −1.5 σ, 日 → \\x41")
    if {fails}:
        raise SystemExit(7)
    if {stops}:
        raise KeyboardInterrupt
    open("kept", "w").write("kept")
cli.app = app
sys.exit(__main__.main())
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run the process with a command that prints a verdict and then writes a file."""

    def start(
        redirect: str = "", *, fails: bool = False, stops: bool = False, **env: str
    ) -> subprocess.CompletedProcess[bytes]:
        (tmp_path / "run.py").write_text(CODE.format(fails=fails, stops=stops))
        return subprocess.run(
            f"{sys.executable} run.py {redirect}",
            shell=True,
            executable="/bin/bash",
            cwd=tmp_path,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **env},
        )

    return start


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", "the verdict: −1.5 σ, 日 → A"),
        ("cp1252", r"the verdict: -1.5 \u03c3, \u65e5 -> A"),
        ("ascii", r"the verdict: -1.5 \u03c3, \u65e5 -> A"),
        ("latin-1", r"the verdict: -1.5 \u03c3, \u65e5 -> A"),
    ],
)
def test_every_character_gets_out(run: Any, encoding: str, said: str) -> None:
    done = run(PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding) == said + "\n"


@pytest.mark.parametrize(
    "redirect", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "| true", "2>/dev/full"]
)
def test_a_stream_that_is_gone_stops_nothing(run: Any, redirect: str, tmp_path: Path) -> None:
    done = run(redirect)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_full_disk_below_stdout_is_said_after_the_work(run: Any, tmp_path: Path) -> None:
    done = run("> /dev/full")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines() == [
        "error: Cannot print: No space left on device. What was asked for is done, but not all of it is shown."
    ]
    assert (tmp_path / "kept").exists()
    assert run("> /dev/full", fails=True).returncode == 7


def test_an_interrupt_is_one_line_wherever_it_comes(run: Any) -> None:
    done = run(stops=True)
    assert done.returncode in (130, -signal.SIGINT)
    assert done.stderr.decode() == "interrupted: Nothing was overwritten.\n"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.6, 1.0])
def test_ctrl_c_in_the_first_second_is_no_traceback(seconds: float, tmp_path: Path) -> None:
    (tmp_path / "IBM.csv").write_text("Date,Open,High,Low,Close,Volume\n2020-01-02,1,1,1,1,1\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "quantseq", "backtest", "--panel", "IBM.csv"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 1, err
