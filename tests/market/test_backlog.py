"""What is left of a batch survives, and nothing is kept when nothing is left."""

from pathlib import Path

import pytest

from quantseq.errors import CorruptFileError
from quantseq.market.backlog import Backlog, Batch, pending

BATCH = Batch(("A", "^B", "ü/C"), "yahoo", start="2020-01-01")


def test_what_is_left_comes_back(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path, BATCH)
    assert pending(tmp_path) == []
    backlog.save()
    backlog.done("^B")
    assert pending(tmp_path)[0].left == ["A", "^B", "ü/C"]  # not saved yet
    backlog.save()
    (found,) = pending(tmp_path)
    assert (found.batch, found.left, found.path) == (BATCH, ["A", "ü/C"], backlog.path)
    for symbol in ("A", "ü/C"):
        found.done(symbol)
    found.save()
    assert not list((tmp_path / "fetches").iterdir())


def test_batches_do_not_disturb_each_other(tmp_path: Path) -> None:
    other = Backlog(tmp_path, Batch(("A",), "yahoo", full=True))
    for backlog in (Backlog(tmp_path, BATCH), other, Backlog(tmp_path, BATCH)):
        backlog.save()
    assert sorted(len(one.left) for one in pending(tmp_path)) == [1, 3]
    other.done("A")
    other.save()
    assert [one.batch for one in pending(tmp_path)] == [BATCH]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema": 2}', '{"schema": 1, "batch": {}}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    backlog = Backlog(tmp_path, BATCH)
    backlog.save()
    backlog.path.write_text(text)
    with pytest.raises(CorruptFileError, match=backlog.path.name):
        pending(tmp_path)
