"""The chain, the count, and what survives a kill."""

import json
import math
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from quantseq.errors import ConfigError, CorruptFileError, StorageError
from quantseq.files import lock, write_json
from quantseq.trading.ledger import (
    FIRST,
    Ledger,
    append,
    check_returns,
    kept_heads,
    read,
    returns_hash,
)


def entry(k: int, **more) -> dict:
    return {"returns_sha256": returns_hash([0.01 * k]), "sharpe": 0.01 * k, "command": "ü", **more}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "ledger.jsonl"


def fill(path: Path, n: int = 5) -> list[str]:
    for k in range(n):
        append(path, entry(k))
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def test_a_missing_file_is_an_empty_ledger(path):
    assert read(path) == Ledger()
    assert read(path).verify() is None
    assert read(path).n_trials() == 0
    assert read(path).head == FIRST


def test_what_is_written_is_read_and_holds(path):
    written = [append(path, entry(k))[0] for k in range(3)]
    found = read(path)
    assert list(found.entries) == written
    assert found.verify() is None
    assert found.head == written[-1]["hash"]
    assert [one["prev"] for one in written] == [FIRST, written[0]["hash"], written[1]["hash"]]
    assert found.trial_sharpes() == (0.0, 0.01, 0.02)
    assert found.lines == (1, 2, 3)


def test_appending_keeps_every_byte_before(path):
    fill(path, 2)
    before = path.read_bytes()
    append(path, entry(7))
    assert path.read_bytes().startswith(before)


def test_copies_placebos_and_audits_are_no_trials(path):
    for one in (
        entry(1),
        entry(1, command="again"),
        entry(2, kind="placebo"),
        entry(3, kind="audit"),
        entry(4, kind="trial"),
        entry(5, sharpe=math.nan),
    ):
        append(path, one)
    found = read(path)
    assert found.n_trials() == 3
    assert found.trial_sharpes() == (0.01, 0.04)
    assert json.loads(path.read_text().splitlines()[-1])["sharpe"] is None
    assert found.verify() is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda lines: [*lines[:2], lines[2].replace("0.02", "0.01"), *lines[3:]],
            "line 3.*edited",
        ),
        (lambda lines: lines[:1] + lines[2:], "line 2 does not follow"),
        (lambda lines: lines[1:], "line 1 does not follow"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "line 2 does not follow"),
        (lambda lines: [*lines[:3], lines[1], *lines[3:]], "line 4 does not follow"),
        (lambda lines: [*lines[:3], "garbage\n", lines[4]], "line 5 does not follow"),
        (lambda lines: [lines[0], '{"sharpe": 1}\n', *lines[1:]], "line 2 does not follow"),
    ],
)
def test_tampering_names_the_first_broken_line(path, change, words):
    path.write_text("".join(change(fill(path))), encoding="utf-8")
    found = read(path).verify()
    assert found is not None
    assert re.search(words, found)


def test_a_removed_line_cannot_be_bridged_by_relinking(path):
    lines = [json.loads(line) for line in fill(path)]
    lines[2]["prev"] = lines[0]["hash"]
    kept = [lines[0], *lines[2:]]
    path.write_text("".join(json.dumps(one) + "\n" for one in kept), encoding="utf-8")
    assert read(path).verify() == "line 2 does not match its own hash: it was edited"


def test_lines_cut_off_the_end_show_in_the_head(path):
    lines = fill(path)
    head = read(path).head
    path.write_text("".join(lines[:-1]), encoding="utf-8")
    assert read(path).verify() is None
    assert read(path).head != head


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_torn_last_line_is_reported_and_not_fatal(path, kept):
    fill(path, 3)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole[: -len(last)] + last[:kept])
    torn = read(path)
    assert torn.verify() is None
    lost = kept != -1  # all but the newline is still a whole record
    assert torn.torn == ((3,) if lost else ())
    assert torn.n_trials() == (2 if lost else 3)
    append(path, entry(8))
    again = read(path)
    assert again.verify() is None
    assert again.n_trials() == (3 if lost else 4)
    assert again.torn == torn.torn


MANY = """
import sys
from pathlib import Path
from quantseq.trading.ledger import append, returns_hash
for k in range(int(sys.argv[2]), int(sys.argv[2]) + 10):
    append(Path(sys.argv[1]), {"returns_sha256": returns_hash([k]), "sharpe": k})
"""


def test_two_processes_do_not_lose_a_line(path):
    workers = [
        subprocess.Popen([sys.executable, "-c", MANY, str(path), str(first)]) for first in (0, 10)
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert read(path).n_trials() == 20
    assert read(path).verify() is None


def test_an_append_waits_for_the_lock(path):
    worker = threading.Thread(target=append, args=(path, entry(1)))
    with lock(path.with_name("ledger.jsonl.lock")):
        worker.start()
        worker.join(0.3)
        assert worker.is_alive()
        assert not path.exists()
    worker.join(30)
    assert read(path).n_trials() == 1


def test_returns_hash_is_of_the_values():
    assert returns_hash([0.1, 0.2]) == returns_hash(np.array([0.1, 0.2]))
    assert returns_hash([0.1, 0.2]) == returns_hash(np.array([0.1, 9, 0.2])[::2])
    assert returns_hash([0.1, 0.2]) != returns_hash([0.2, 0.1])


def test_bad_entries_and_places_are_named(path, tmp_path):
    with pytest.raises(ConfigError, match="needs returns_sha256 and sharpe"):
        append(path, {"returns_sha256": "x"})
    with pytest.raises(ConfigError, match="the ledger's own"):
        append(path, entry(1, hash="x"))
    assert not path.exists()
    with pytest.raises(CorruptFileError, match="Cannot read the ledger"):
        read(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        append(tmp_path / "file" / "ledger.jsonl", entry(1))


def test_a_batch_is_one_chain_and_all_or_nothing(path):
    (first,) = append(path, entry(0))
    rest = append(path, *(entry(k) for k in (1, 2, 3)))
    found = read(path)
    assert found.verify() is None
    assert [first, *rest] == list(found.entries)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="needs returns_sha256 and sharpe"):
        append(path, entry(4), {"sharpe": 1})
    assert path.read_bytes() == before


def keep(reports: Path, name: str, head: str) -> None:
    write_json(reports / name / "result.json", {"verdict": {"dsr": 0.5, "ledger_head": head}})


def test_a_result_misses_the_line_it_saw(path):
    reports = path.parent
    lines = fill(path)
    for name, line in (("run-1", 2), ("run-2", 4)):
        keep(reports, name, json.loads(lines[line])["hash"])
    (reports / "other").mkdir()
    (reports / "other" / "result.json").write_bytes(b"\xff no json")
    heads = kept_heads(reports)
    assert list(heads) == ["run-1", "run-2"]
    assert read(path).verify(heads) is None
    path.write_text("".join(lines[:4]), encoding="utf-8")
    assert read(path).verify() is None
    assert "that run-2 saw as the last is gone" in (read(path).verify(heads) or "")
    path.unlink()
    fault = read(path).verify(heads)
    assert fault is not None
    assert "that run-1 saw (and 1 more results saw) as the last is gone" in fault
    fill(path, 2)  # a new file hides nothing
    assert "is gone" in (read(path).verify(heads) or "")


def test_a_result_that_saw_an_empty_ledger_misses_nothing(path):
    keep(path.parent, "run", FIRST)
    fill(path, 1)
    assert read(path).verify(kept_heads(path.parent)) is None


def test_every_line_says_whether_it_counts(path):
    fill(path, 2)
    append(path, entry(1))
    append(path, entry(3, kind="placebo"))
    append(path, {"returns_sha256": None, "sharpe": None})
    found = read(path)
    assert found.standing() == ("yes", "yes", "no: line 2 again", "no: placebo", "no: no returns")
    assert found.n_trials() == 2


def test_kept_returns_are_checked_against_their_hash(path):
    import pandas as pd

    reports, values = path.parent, np.array([0.01, -0.02])
    (reports / "run").mkdir(parents=True)
    pd.DataFrame({"net": values}).to_parquet(reports / "run" / "x.parquet")
    line = {"returns_sha256": returns_hash(values), "returns_file": "run/x.parquet#net"}
    assert check_returns(reports, line) == "kept"
    assert check_returns(reports, {**line, "returns_file": "run/x.parquet#gross"}) == "changed"
    assert check_returns(reports, {**line, "returns_file": "run/y.parquet#net"}) == "missing"
    assert check_returns(reports, {"returns_sha256": "0"}) == "missing"
    pd.DataFrame({"net": values * 1.01}).to_parquet(reports / "run" / "x.parquet")
    assert check_returns(reports, line) == "changed"
    (reports / "run" / "x.parquet").write_bytes(b"PAR1 no more")
    assert check_returns(reports, line) == "changed"


@pytest.mark.parametrize(
    "text",
    ["dear diary\n", "dear diary", '{"mine": 1}\n', '{\n "mine": 1\n}\n', "[1, 2]", '{"a": NaN}\n'],
)
def test_a_file_of_somebody_else_is_left_alone(path, text):
    path.parent.mkdir()
    path.write_text(text)
    assert read(path).foreign
    assert "does not begin with a line" in read(path).verify()
    with pytest.raises(StorageError, match=r"ledger\.jsonl' does not begin with a line"):
        append(path, entry(1))
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["", "\n", "{", '{"returns_sha256": "ab', '{"re\n{"retu'])
def test_a_first_line_that_a_kill_has_torn_is_ours(path, text):
    path.parent.mkdir()
    path.write_text(text)
    for k in (1, 2):
        append(path, entry(k))
        assert read(path).verify() is None
        assert read(path).n_trials() == k
