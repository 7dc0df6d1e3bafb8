"""The fetch command as a user meets it: batches, exit codes, going on, and Yahoo through a proxy."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from typer.testing import CliRunner, Result

from quantseq import __version__, errors
from quantseq.cli import app
from quantseq.market.events import EventStore
from quantseq.market.store import Store
from tests.market.conftest import (
    ReplayHandler,
    Reply,
    Yahoo,
    chart,
    earnings_page,
    good,
    refusal,
    serving,
    stamp,
)
from tests.tiny_source import asked, install

COMMAND = [sys.executable, "-m", "quantseq"]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with another package's source, and where commands run."""
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tiny_source_package", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fetch(*words: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["fetch", *words, "--rate", "1e6"])


def tiny_fetch(*words: str) -> Result:
    return fetch(*words, "--source", "tiny")


CODES = {
    "MISS": errors.SymbolNotFoundError,
    "NONE": errors.NoDataError,
    "DOWN": errors.SourceUnavailableError,
    "LIMIT": errors.RateLimitedError,
    "STRANGE": errors.BadResponseError,
    "BROKEN": errors.BarsError,
}


@pytest.mark.parametrize("symbol", CODES)
@pytest.mark.usefixtures("tiny")
def test_every_failure_has_its_code(symbol: str) -> None:
    kind = CODES[symbol]
    for words in ([symbol], ["GOOD", symbol], [symbol, "GOOD", f"{symbol}2"]):
        result = tiny_fetch(*words)
        assert result.exit_code == kind.exit_code, result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
        assert f"error: {'' if len(words) == 1 else f'{len(words) - 1} of'}" in result.stderr
    text = " ".join(fetch("--help").stdout.split())
    assert kind in (errors.BarsError,) or f"{kind.exit_code} " in text.partition("Exit codes:")[2]


def test_failures_of_different_kinds_share_one_code(tiny: Path) -> None:
    result = tiny_fetch("GOOD", "MISS", "NONE", "--json", "out.json")
    assert result.exit_code == errors.BatchError.exit_code == 8
    assert "2 of 3 symbols failed. First: MISS: no." in result.stderr
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:4]] == [
        ["GOOD", "new"],
        ["MISS", "failed"],
        ["NONE", "failed"],
    ]
    assert result.stdout.splitlines()[4] == "1 new, 0 updated, 0 unchanged, 2 failed"
    found = json.loads(Path("out.json").read_text())
    assert found["counts"] == {"new": 1, "updated": 0, "unchanged": 0, "failed": 2}
    assert found["left"] == []
    assert found["symbols"][1] == {
        "symbol": "MISS",
        "status": "failed",
        "rows": 0,
        "first": "",
        "last": "",
        "why": "MISS: no.",
        "error": "SymbolNotFoundError",
        "exit_code": 31,
        "drift": False,
        "backup": None,
        "events": None,
    }
    assert set(found["symbols"][0]) == set(found["symbols"][1])


def test_the_documented_keys_are_there(tiny: Path) -> None:
    tiny_fetch("GOOD", "--json", "out.json")
    text = (Path(__file__).parents[2] / "docs/json.md").read_text().partition("## `fetch`")[2]
    text = text.partition("\n## ")[0]
    found = json.loads(Path("out.json").read_text())
    assert found.pop("quantseq") == __version__  # as in every file
    for key in (*found, *found["symbols"][0], *found["counts"]):
        assert f"`{key}" in text, key


def test_quiet_says_nothing_but_errors(tiny: Path) -> None:
    result = tiny_fetch("GOOD", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    result = tiny_fetch("GOOD", "MISS", "--quiet")
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")


def test_symbols_from_a_file(tiny: Path) -> None:
    Path("symbols.txt").write_text("\ufeff# mine\n^GSPC  BRK-B # two\n\nEURUSD=X,A\n", "utf-8")
    result = tiny_fetch("B", "A", "--file", "symbols.txt")
    assert result.exit_code == 0, result.stderr
    assert asked(tiny) == ["B", "A", "^GSPC", "BRK-B", "EURUSD=X"]
    for name, text in [("none.txt", None), ("empty.txt", "# nothing\n")]:
        if text is not None:
            Path(name).write_text(text)
        assert tiny_fetch("--file", name).exit_code == errors.ConfigError.exit_code


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["AAPL", "--interval", "2h"], "one of 1d, 1wk, 1h, 5m"),
        (["AAPL", "--interval", "1h", "--source", "sample"], "daily bars only"),
        (
            ["AAPL", "--source", "nowhere"],
            "yahoo, sample, broken, escaping, gone, leaving, nothing, tiny",
        ),
        (["AAPL", "--rate", "0"], "'rate' parameter"),
        (["AAPL", "--rate", "nan"], "'rate' parameter"),
        ([], "No symbols were named"),
    ],
)
def test_wrong_options_are_one_line(tiny: Path, words: list[str], expected: str) -> None:
    result = CliRunner().invoke(app, ["fetch", *words])
    assert result.exit_code == errors.ConfigError.exit_code
    assert expected in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


RANGE = ("--start", "2020-01-10", "--end", "2020-01-30")
"""What is stored up to an end in the past is not asked for again."""


def test_repeated_rate_limits_stop_the_batch_and_the_same_command_goes_on(tiny: Path) -> None:
    symbols = ["A", "LIMIT1", "LIMIT2", "LIMIT3", "B", "C"]
    result = tiny_fetch(*symbols, *RANGE, "--json", "out.json")
    assert result.exit_code == errors.RateLimitedError.exit_code
    assert result.stderr.strip().endswith("The same command goes on with what is left.")
    assert asked(tiny) == symbols[:4]
    assert json.loads(Path("out.json").read_text())["left"] == symbols[1:]
    assert tiny_fetch("OTHER").exit_code == 0  # another batch in between disturbs nothing

    (tiny / "awake").touch()
    result = tiny_fetch(*symbols, *RANGE, "--json", "out.json")
    assert result.exit_code == 0, result.stderr
    assert asked(tiny)[5:] == symbols[1:]
    assert str(Store("data").read("C").sessions[0]) == "2020-01-10"
    counts = json.loads(Path("out.json").read_text())["counts"]
    assert counts == {"new": 5, "updated": 0, "unchanged": 1, "failed": 0}


def test_ctrl_c_tells_what_was_done_and_the_same_command_goes_on(tiny: Path) -> None:
    words = ["A", "CTRLC", "B", "--data-dir", "mine"]
    result = tiny_fetch(*words, "--json", "out.json")
    assert result.exit_code == 130
    assert result.stderr.strip() == (
        "interrupted: 1 of 3 symbols are done; the same command goes on from there."
    )
    assert "A" in result.stdout
    assert json.loads(Path("out.json").read_text())["left"] == ["CTRLC", "B"]
    (tiny / "awake").touch()
    assert tiny_fetch(*words).exit_code == 0
    assert Store("mine").symbols() == ("A", "B", "CTRLC")


@pytest.mark.slow
def test_a_killed_batch_goes_on(tiny: Path) -> None:
    words = ["A", "B", "SLOW", "C", "--source", "tiny", *RANGE]
    env = {**os.environ, "PYTHONPATH": f"{tiny}:{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen(
        [*COMMAND, "fetch", *words, "--rate", "1e6"], env=env, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while "SLOW" not in asked(tiny) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert Store("data").symbols() == ("A", "B")
    (tiny / "awake").touch()
    assert fetch(*words).exit_code == 0
    assert asked(tiny) == ["A", "B", "SLOW", "SLOW", "C"]
    assert Store("data").symbols() == ("A", "B", "C", "SLOW")


class ProxyHandler(ReplayHandler):
    """Answers CONNECT and then plays whatever host was asked for."""

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        tls: ssl.SSLContext = self.server.state.tls  # type: ignore[attr-defined]
        with tls.wrap_socket(self.connection, server_side=True) as secure:
            ReplayHandler(secure, self.client_address, self.server)  # type: ignore[arg-type]


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[Yahoo, dict[str, str]]]:
    """Yahoo behind a proxy on loopback with a throw-away certificate, and the environment for it."""
    authority = trustme.CA()
    hosts = ["fc", "guce", "consent", "finance", "query1.finance", "query2.finance"]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(f"{host}.yahoo.com" for host in hosts)).configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serving(ProxyHandler) as state:
        state.tls = tls  # type: ignore[attr-defined]
        env = {
            **{
                name: os.environ[name]
                for name in ("PATH", "HOME", "PYTHONPATH")
                if name in os.environ
            },
            "HTTPS_PROXY": f"http://127.0.0.1:{state.port}",
            "CURL_CA_BUNDLE": str(tmp_path / "ca.pem"),
            "REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem"),
            "COLUMNS": "200",
        }
        yield state, env


DAYS = [f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 9, 10, 11, 12, 16, 17, 18, 19, 22)]


def history(days: list[str], query: dict[str, str], **events: Any) -> Reply:
    """Those of `days` that are asked for."""
    rows = range(len(days))
    if "period1" in query:
        first, last = int(query["period1"]), int(query["period2"])
        rows = range(*(sum(stamp(day) < bound for day in days) for bound in (first, last)))
    close: list[float | None] = [100.0 + row for row in rows]
    volume = [1000 + row for row in rows]
    return good(
        chart([days[row] for row in rows], close=close, volume=volume, exchange="NMS", **events)
    )


@pytest.mark.slow
def test_the_installed_command_talks_to_yahoo(
    proxied: tuple[Yahoo, dict[str, str]], tmp_path: Path
) -> None:
    """Black box: nothing but the environment is changed; real client, TLS, CONNECT proxy."""
    yahoo, env = proxied
    days = DAYS[:12]
    events: dict[str, Any] = {}

    def answer(symbol: str, query: dict[str, str]) -> Reply:
        if "offset" in query:
            return earnings_page("January 24, 2024 at 4 PM EST")
        if symbol == "MSTF":
            return refusal(404, "No data found, symbol may be delisted")
        return history(days, query, **events)

    yahoo.answer = answer

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "fetch", *words, "--rate", "1000", "--json", "out.json"]
        return subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )

    def rows() -> list[dict[str, Any]]:
        found = json.loads((tmp_path / "out.json").read_text())["symbols"]
        assert isinstance(found, list)
        return found

    result = run("MSFT", "^GSPC", "EURUSD=X", "MSTF")
    assert "Traceback" not in result.stderr
    assert [(row["symbol"], row["status"], row["rows"]) for row in rows()] == [
        ("MSFT", "new", 12),
        ("^GSPC", "new", 12),
        ("EURUSD=X", "new", 12),
        ("MSTF", "failed", 0),
    ]
    assert result.returncode == errors.SymbolNotFoundError.exit_code, result.stderr
    assert "Stored are MSFT" in result.stdout
    bars = Store(tmp_path / "data").read("MSFT")
    assert bars.sessions.astype(str).tolist() == days
    assert (bars.provenance["exchange"], bars.timezone) == ("NMS", "America/New_York")

    days = DAYS
    dividend = {"amount": 0.75, "date": stamp(DAYS[13])}
    events = {"events": {"dividends": {"a": dividend}}}
    yahoo.asked.clear()
    result = run("MSFT")
    assert result.returncode == 0, result.stderr
    assert "vintage drift: a dividend of 0.75 on 2024-01-22 is new" in rows()[0]["why"]
    assert rows()[0]["drift"] is True
    assert (tmp_path / "data/bars/1d" / rows()[0]["backup"]).is_file()
    starts = [int(query["period1"]) for _, query in yahoo.asked if "period1" in query]
    assert starts[0] == stamp(DAYS[2]) - 34_200  # ten sessions back, then everything
    assert len(starts) == 2
    assert starts[1] < 0
    assert len(Store(tmp_path / "data").read("MSFT")) == 14

    result = run("MSFT", "--events")
    assert result.returncode == 0, result.stderr
    assert rows()[0]["events"] == 1
    kept = EventStore(tmp_path / "data").read("MSFT")
    assert kept is not None
    assert (str(kept.dates[0]), kept.timings[0]) == ("2024-01-24", "after-close")


def test_a_source_without_events_says_so(tiny: Path) -> None:
    result = tiny_fetch("GOOD", "--events")
    assert result.exit_code == errors.ConfigError.exit_code
    assert "has no events" in result.stderr
    assert not (tiny / "data").exists()


def test_a_source_that_leaves_is_one_that_failed(tiny: Path) -> None:
    """``SystemExit`` while it is made, and what is no ``Exception`` while it is asked."""
    for name, error in (("leaving", errors.ConfigError), ("escaping", errors.BadResponseError)):
        result = CliRunner().invoke(app, ["fetch", "A", "B", "--source", name])
        assert result.exit_code == error.exit_code
        assert len(result.stderr.splitlines()) == 1
