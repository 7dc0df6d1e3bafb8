"""A reader sees the old file or the new one; equal content has equal hashes."""

import ast
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


def test_what_is_sealed_shows_every_change(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    value = {"a": [1.5, None], "b": "ü"}
    files.write_json(path, files.seal(value))
    assert files.read_sealed(path) == value
    path.write_text(path.read_text().replace("1.5", "1.25"))
    with pytest.raises(CorruptFileError, match="does not match its own SHA-256"):
        files.read_sealed(path)
    files.write_json(path, value)
    with pytest.raises(CorruptFileError, match=r"x\.json"):
        files.read_sealed(path)


def test_sums_name_what_is_changed_missing_or_unknown(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    files.write_sums(tmp_path, files.sums_of(tmp_path, ["a", "b"]))
    files.check_sums(tmp_path, ["a", "b"])
    with pytest.raises(CorruptFileError, match="c in"):
        files.check_sums(tmp_path, ["a", "b", "c"])
    with pytest.raises(CorruptFileError, match=r"SHA256SUMS \('b'\)"):
        files.check_sums(tmp_path, ["a"])
    (tmp_path / "b").write_text("B")
    with pytest.raises(CorruptFileError, match=r"^b in"):
        files.check_sums(tmp_path, ["a", "b"])
    (tmp_path / files.SUMS).unlink()
    with pytest.raises(CorruptFileError, match=r"^a, b in"):
        files.check_sums(tmp_path, ["a", "b"])


def test_a_file_is_replaced_only_if_it_is_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert files.check_file(path, b"mark") == path
    for content in (b"", b"our mark is here"):
        path.write_bytes(content)
        assert files.check_file(path, b"other", b"mark") == path
    for content in (b"my thesis", b" " * 9000 + b"mark"):
        path.write_bytes(content)
        with pytest.raises(StorageError, match="was not written by quantseq for this"):
            files.check_file(path, b"mark")
    with pytest.raises(StorageError, match="was not written by quantseq for this"):
        files.check_file(tmp_path, b"mark")


def test_a_device_is_written_to_and_a_link_is_followed(tmp_path: Path) -> None:
    files.write_text(Path(os.devnull), "x")
    assert not Path(os.devnull).is_file()
    (tmp_path / "link").symlink_to("there")
    files.write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "x"


def test_what_a_killed_process_left_is_swept_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    (tmp_path / ".quantseq-abcd_123.tmp.json").touch()
    (tmp_path / ".quantseq-abcd_124.tmp").mkdir()
    (tmp_path / ".quantseq-abcd_124.tmp" / "x").touch()
    mine = [".quantseq-notes", ".x.abcd_123.tmp", ".quantseq-abcd_12.tmp"]
    for name in mine:
        (tmp_path / name).touch()
    with files.atomic_path(tmp_path / "x") as temporary:
        files._swept.clear()
        files.write_text(tmp_path / "y", "y")  # as another process does
        assert temporary.exists()
        temporary.write_text("x")
    assert names(tmp_path) == sorted([*mine, "x", "y"])


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES, errno.ENOTSUP])
def test_what_cannot_be_synced_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(Path, "chmod", lambda *_: refuse(0) if number == errno.EACCES else None)
    files.write_text(tmp_path / "x", "x")
    with files.atomic_folder(tmp_path / "folder", ["y"]) as temporary:
        (temporary / "y").touch()
    assert names(tmp_path) == ["folder", "x"]


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="No space left"):
        files.write_text(tmp_path / "x", "x")
    assert names(tmp_path) == []


def test_a_folder_of_ours_is_removed_but_for_what_somebody_put_there(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    for name in ("mark", "member-0/state", "member-1/state", "member-1/thesis.txt"):
        files.write_text(folder / name, "x")
    files.remove_ours(folder, "mark", "member-*/state")
    assert sorted(one.name for one in folder.rglob("*")) == ["member-1", "thesis.txt"]
    with pytest.raises(StorageError, match="was not written by quantseq"):
        files.remove_ours(folder, "mark", "member-*/state")
    (folder / "member-1" / "thesis.txt").unlink()
    (folder / "member-1").rmdir()
    files.remove_ours(folder, "mark", "member-*/state")
    assert names(tmp_path) == []


@pytest.mark.parametrize("swap", [True, False])
def test_an_older_folder_never_leaves_its_place_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: bool
) -> None:
    target = tmp_path / "model"

    def write(text: str) -> None:
        with files.atomic_folder(target, ["mark"]) as temporary:
            (temporary / "mark").write_text(text)

    write("old")
    if not swap:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    write("new")
    assert (target / "mark").read_text() == "new"
    target.rename(tmp_path / ".model.quantseq-old")  # killed between two renames
    with pytest.raises(ZeroDivisionError), files.atomic_folder(target, ["mark"]):
        raise ZeroDivisionError
    assert (target / "mark").read_text() == "new"
    assert names(tmp_path) == ["model"]


# Every place that removes, replaces or moves something on the disk, or writes without the means of `files`, and the
# test that shows that nothing of somebody else's goes with it.
REMOVES = {
    "files._discard rmtree": "test_what_a_killed_process_left_is_swept_and_what_is_in_use_is_not",
    "files._discard unlink": "test_what_a_killed_process_left_is_swept_and_what_is_in_use_is_not",
    "files.atomic_path replace": "test_a_failure_keeps_the_old_file",
    "files.write_bytes write_bytes": "test_a_device_is_written_to_and_a_link_is_followed",
    "files.remove_ours unlink": "test_a_folder_of_ours_is_removed_but_for_what_somebody_put_there",
    "files.remove_ours rmdir": "test_a_folder_of_ours_is_removed_but_for_what_somebody_put_there",
    "files.atomic_folder replace": "test_an_older_folder_never_leaves_its_place_for_nothing",
    "files.atomic_folder rmtree": "test_an_older_folder_never_leaves_its_place_for_nothing",
    "files._take_over copytree": "test_folder_is_replaced_as_a_whole_but_for_what_somebody_put_into_it",
    "files._take_over copy2": "test_folder_is_replaced_as_a_whole_but_for_what_somebody_put_into_it",
    "market.events.remove unlink": "test_what_is_stored_comes_back_and_is_sealed",
    "market.store.remove unlink": "test_remove_keeps_what_is_no_file_of_ours",
    "pipeline.train.train_toy unlink": "test_a_picture_of_somebody_in_a_toys_folder_is_refused",
    "seq2seq.copy_task.train_preset unlink": "test_a_toy_lands_in_no_folder_of_somebody_else",
    "reporting.run.rewrite copy2": "test_a_rewritten_run_keeps_its_tables_to_the_byte",
    "trading.ledger.append open": "test_appending_keeps_every_byte_before",
}
# Where an explicit file or a page goes: `check_file` looks at it first.
CHECKED = {
    "cli.commands.forecast_command": "test_files_of_somebody_are_not_replaced_by_results",
    "cli.options.save": "test_files_of_somebody_are_not_replaced_by_results",
    "reporting.charts.write_picture": "test_files_of_somebody_are_not_replaced_by_results",
    "reporting.page.write_page": "test_files_of_somebody_are_not_replaced_by_results",
}
# Files of a name of the house, in a folder that is made or checked by the house.
INSIDE = {
    "evaluation.run._keep": "the cache, named by fingerprints",
    "forecasting.forecasts.save": "a part of the cache",
    "forecasting.model_folder.save_forecaster": "atomic_folder",
    "forecasting.tokenizer.save": "in a fresh model folder",
    "market.events._back_up": "a dated name that is new",
    "market.events.keep": "_back_up keeps what is not ours",
    "market.store.back_up": "a dated name that is new",
    "market.store._replace": "_spare keeps what is not ours",
    "pipeline.sweep.sweep": "check_ours(folder, SUMS)",
    "pipeline.sweep._score": "the same folder",
    "pipeline.train._prepare_state": "check_ours by remove_ours",
    "pipeline.train.train_toy": "check_ours by train_preset",
    "reporting.run.rewrite": "atomic_folder",
    "reporting.run.save": "atomic_folder",
    "reporting.run.sign": "in a run folder",
    "reporting.toy_page.seal_toy": "in a toy's folder",
    "seq2seq.checkpoint.save_model": "in a folder that the caller has checked",
    "seq2seq.checkpoint._write": "in a folder that the caller has checked",
    "seq2seq.copy_task.train_preset": "check_ours",
    "seq2seq.copy_task.ensure_gate": "the gate's folder, named by fingerprint",
    "seq2seq.copy_task.reach": "check_ours by train_preset",
    "trading.ledger.append": "only where there is no file",
}
RAW = [
    "rmtree",
    "unlink",
    "rmdir",
    "remove",
    "removedirs",
    "rename",
    "renames",
    "replace",
    "move",
    "write_text",
    "write_bytes",
    "touch",
    "copy2",
    "copyfile",
    "copytree",
    "symlink_to",
]
MEANS = ["write_text", "write_bytes", "write_json", "write_sums", "atomic_path", "atomic_folder"]


def places(names: list[str], *, method: bool) -> set[str]:
    """Calls of these names in the package, as ``module.function name``."""
    root, found = Path(files.__file__).parent, set()
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for call in ast.walk(function):
                if (
                    not isinstance(call, ast.Call)
                    or isinstance(call.func, ast.Attribute) is not method
                ):
                    continue
                name = (
                    call.func.attr
                    if isinstance(call.func, ast.Attribute)
                    else getattr(call.func, "id", "")
                )
                text = name in ("replace", "rename") and (
                    len(call.args) != 1 or bool(call.keywords)
                )
                modes = [one.value for one in call.args if isinstance(one, ast.Constant)]
                if name == "open" and method and any(set(str(one)) & set("wax+") for one in modes):
                    found.add(f"{module}.{function.name} open")
                elif name in names and not text:
                    found.add(f"{module}.{function.name} {name}")
    return found


def test_every_place_that_removes_is_known_and_proved() -> None:
    data_frames = {
        "reporting.sections._placebos rename",
        "reporting.sections.coverage_figure rename",
    }
    of_store = {"pipeline.data.rm remove"}  # of bars and of events
    reads_back = {"files.atomic_path open"}  # to sync what was written
    found = places(RAW, method=True) - data_frames - of_store - reads_back
    assert found == set(REMOVES)
    texts = [one.read_text(encoding="utf-8") for one in Path(__file__).parent.rglob("test_*.py")]
    for proof in {*REMOVES.values(), *CHECKED.values()}:
        assert any(f"def {proof}(" in text for text in texts), proof


def test_every_place_that_writes_goes_through_the_means_of_the_house_and_is_known() -> None:
    found = {one.split()[0] for one in places(MEANS, method=False) if not one.startswith("files.")}
    assert found == {*CHECKED, *INSIDE}
