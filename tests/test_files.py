"""A reader sees the old file or the new one; equal content has equal hashes."""

import errno
import hashlib
import json
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq import files
from quantseq.errors import ConfigError, CorruptFileError, StorageError
from quantseq.files import parse_json, parse_toml, read_json, read_parquet

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
LAW = settings(deadline=None, max_examples=30)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.txt"
    files.write_text(path, "old")
    files.write_text(path, "new ü")
    assert path.read_bytes() == "new ü".encode()
    assert names(path.parent) == ["x.txt"]


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    files.write_text(path, "old")

    def fail(error: BaseException) -> None:
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(StorageError, match=r"Cannot write .*No space left"):
        fail(OSError(errno.ENOSPC, "No space left on device"))
    for error in (KeyboardInterrupt(), ZeroDivisionError()):
        with pytest.raises(type(error)):
            fail(error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


def test_until_the_end_a_reader_sees_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    files.write_text(path, "old")
    with files.atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == path.suffix
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "x", "x")
        with files.atomic_folder(tmp_path / "folder", ["y"]) as temporary:
            (temporary / "y").touch()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


def test_long_names_fit(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 240 + ".json")
    files.write_json(path, [1])
    assert files.read_json(path) == [1]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: files.write_text(path, "x"),
        lambda path: files.write_json(path, 1),
        lambda path: files.make_folder(path),
        lambda path: files.atomic_folder(path, ["x"]).__enter__(),
        lambda path: files.lock(path).__enter__(),
    ],
)
def test_an_impossible_folder_is_named(tmp_path: Path, write) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"Cannot write '.*file.*The folder must be writable"):
        write(tmp_path / "file" / "deeper" / "x")


def test_folder_is_replaced_as_a_whole_but_for_what_somebody_put_into_it(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for text in ("1", "2"):
        with files.atomic_folder(target, ["mark"], ["part-*"]) as temporary:
            (temporary / "mark").write_text(text)
            (temporary / f"part-{text}").write_text(text)
            assert not (target / f"part-{text}").exists()
        (target / "notes.txt").write_text("mine")
        (target / "mine").mkdir(exist_ok=True)
        (target / "mine" / "more.txt").write_text("mine")
        (target / f"nowhere-{text}").symlink_to("nothing")
    assert names(target) == ["mark", "mine", "notes.txt", "nowhere-1", "nowhere-2", "part-2"]
    assert (target / "mine" / "more.txt").read_text() == "mine"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("act", [files.remove_ours, files.check_ours])
def test_what_is_not_ours_is_left_as_it_is(tmp_path: Path, act) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("thesis", "file"):
        with pytest.raises(StorageError, match=f"{name}' was not written by quantseq"):
            act(tmp_path / name, "mark")
        with pytest.raises(StorageError, match="Give a new or empty folder"):
            files.atomic_folder(tmp_path / name, ["mark"]).__enter__()
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "mine"
    assert names(tmp_path) == ["file", "thesis"]


def test_leftovers_of_a_killed_process_are_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".quantseq-abcd_123.tmp.safetensors").touch()
    assert files.check_ours(tmp_path, "mark") == tmp_path
    assert files.check_ours(tmp_path / "new", "mark") == tmp_path / "new"


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with files.atomic_folder(target, ["one"]) as temporary:
        (temporary / "one").touch()

    def fail() -> None:
        with files.atomic_folder(target, ["one"]) as temporary:
            (temporary / "two").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(target) == ["one"]
    assert names(tmp_path) == ["model"]


@given(JSON)
@LAW
def test_json_round_trip(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "x.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


def test_json_has_no_nan_and_knows_numpy() -> None:
    value = {
        1: np.float64("nan"),
        "b": [np.inf, -np.inf, np.int64(3)],
        "c": np.array([1.5, np.nan]),
    }
    assert json.loads(files.to_json(value)) == {"1": None, "b": [None, None, 3], "c": [1.5, None]}
    assert files.to_json(1).endswith("\n")


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe"])
def test_bad_json_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"Cannot read '.*x\.json' as JSON"):
        files.read_json(path)


def test_lock_keeps_others_out_and_lets_them_in_later(tmp_path: Path) -> None:
    path = tmp_path / "deep" / ".lock"
    with files.lock(path), pytest.raises(StorageError, match="Another quantseq process"):
        files.lock(path, timeout=0.05).__enter__()
    with pytest.raises(ZeroDivisionError), files.lock(path):
        raise ZeroDivisionError
    entered = threading.Event()
    with files.lock(path):
        other = threading.Thread(target=lambda: _enter(path, entered))
        other.start()
        assert not entered.wait(0.1)
    other.join()
    assert entered.is_set()


def _enter(path: Path, entered: threading.Event) -> None:
    with files.lock(path):
        entered.set()


def test_hashes(tmp_path: Path) -> None:
    expected = hashlib.sha256(b"abc").hexdigest()
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256_bytes(b"abc") == expected
    assert files.sha256_file(tmp_path / "x") == expected


@given(JSON, JSON)
@LAW
def test_fingerprints_differ_exactly_where_the_json_differs(left: object, right: object) -> None:
    same = json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    assert (files.fingerprint(left) == files.fingerprint(right)) == same


def test_fingerprint_ignores_the_order_of_keys_and_refuses_objects() -> None:
    assert files.fingerprint({"a": 1, "b": 2}) == files.fingerprint({"b": 2, "a": 1})
    with pytest.raises(ConfigError, match="Only JSON values"):
        files.fingerprint({"a": object()})


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[" * 65 + "]" * 65,
        "NaN",
        "[-Infinity]",
        "1e999",
        "9" * 400,
        "9" * 5_000,
        "",
    ],
    ids=lambda text: text[:12],
)
def test_json_of_strangers_is_refused_where_it_is_absurd(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(CorruptFileError):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 100_000, "a = " + "[" * 70 + "]" * 70, "a = \x00", "a"]
)
def test_toml_of_strangers_is_refused_where_it_is_absurd(text: str) -> None:
    with pytest.raises(ValueError):
        parse_toml(text)


def test_parquet_of_strangers_is_refused_where_it_is_none_or_absurd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    path.mkdir()
    with pytest.raises(CorruptFileError):
        read_parquet(path)
    with pytest.raises(CorruptFileError):
        read_parquet(tmp_path / "none.parquet")
    path = tmp_path / "b.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(CorruptFileError):
        read_parquet(path)
    pd.DataFrame({"a": np.zeros(1_000), "b": 1}).to_parquet(path)
    assert list(read_parquet(path, ["a"])) == ["a"]
    with pytest.raises(CorruptFileError):
        read_parquet(path, ["c"])
    monkeypatch.setattr("quantseq.files._MOST_CELLS", 1_500)
    with pytest.raises(CorruptFileError, match="1,000 rows of 2 columns"):
        read_parquet(path)
