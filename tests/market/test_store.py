import errno
import re
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quantseq.errors import (
    ConfigError,
    CorruptFileError,
    IntervalError,
    NoDataError,
    StorageError,
    SymbolNotFoundError,
)
from quantseq.market.bars import INTERVALS, Bars
from quantseq.market.store import (
    Store,
    StoredInfo,
    file_name,
    symbol_of,
)
from tests.market.conftest import LAW, any_bars, assert_same_bars, build_bars, build_intraday


@given(any_bars())
@LAW
def test_the_header_is_read_without_the_prices(bars: Bars) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.write(bars)
        info = Store(Path(folder)).info(bars.symbol)
        assert (info.symbol, info.rows, info.sha256) == (bars.symbol, len(bars), bars.sha256)
        assert info.provenance == bars.provenance


def test_a_damaged_file_is_named_and_hides_no_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for symbol in ("A", "B", "C", "D"):
        store.write(build_bars(symbol))
    store.path("B").write_bytes(b"PAR1 no")
    store.path("C").write_bytes(store.path("C").read_bytes()[:-400])
    (store.folder / "%FF.parquet").write_bytes(b"not UTF-8")
    (store.folder / "notes.parquet").write_bytes(b"not ours")
    found = dict(Store(tmp_path).infos())
    assert list(found) == ["A", "B", "C", "D"]
    assert isinstance(found["A"], StoredInfo)
    assert isinstance(found["D"], StoredInfo)
    for symbol in ("B", "C"):
        assert isinstance(found[symbol], CorruptFileError)
        assert f"{symbol}.parquet" in str(found[symbol])


def test_listing_imports_no_heavy_package(tmp_path: Path) -> None:
    Store(tmp_path).write(build_bars())
    code = (
        "import sys; from quantseq.cli import app; "
        "app(['data', 'list', '--data-dir', sys.argv[1]], standalone_mode=False); "
        "print(sorted({'torch', 'yfinance', 'matplotlib', 'arch', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "AAPL" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@given(st.text(st.characters()))
@example("../x")
@example("")
@example("%")
@example("CON")
@example("con.txt")
@example("A" * 160 + ".X")
@example("é" * 200)
@example("\udc80 lone surrogate")
@LAW
def test_any_symbol_has_a_safe_reversible_name(symbol: str) -> None:
    name = file_name(symbol)
    assert symbol_of(name) == symbol
    assert name == name.upper(), "names must differ where case does not count"
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.%~/")
    for part in name.split("/"):
        assert part
        assert not part.startswith(".")
        assert len(part) < 200
        assert part.split(".")[0] not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("AAPL", "AAPL"),
        ("BRK-B", "BRK-B"),
        ("BRK-b", "BRK-%62"),
        ("^GSPC", "%5EGSPC"),
        ("EURUSD=X", "EURUSD%3DX"),
        ("0700.HK", "0700.HK"),
        ("../x", "%2E.%2F%78"),
        ("CON", "%43ON"),
        ("CONN", "CONN"),
    ],
)
def test_names_stay_readable(symbol: str, name: str) -> None:
    assert file_name(symbol) == name


@given(st.sampled_from(INTERVALS).flatmap(any_bars))
@LAW
def test_any_bars_survive_bit_for_bit(bars: Bars) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), interval=bars.interval)
        store.write(bars)
        back = store.read(bars.symbol)
        assert_same_bars(back, bars)
        assert back.provenance == bars.provenance
        assert store.symbols() == (bars.symbol,)
        assert bars.symbol in store
        inside = Path(folder).resolve()
        assert store.path(bars.symbol).resolve().is_relative_to(inside)


def test_symbols_that_look_alike_do_not_collide(tmp_path: Path) -> None:
    store = Store(tmp_path)
    symbols = (
        "BRK-B",
        "BRK-b",
        "brk-b",
        "^GSPC",
        "%5EGSPC",
        "../x",
        "NUL",
        "com1.x",
        "BTC/USD",
        "C:\\x",
        "é",
        "日経225" * 20,  # longer than the name of one file
        "日経225" * 19,
    )
    for number, symbol in enumerate(symbols):
        store.write(build_bars(symbol, n=number + 1))
    assert store.symbols() == tuple(sorted(symbols))
    for number, symbol in enumerate(symbols):
        assert len(store.read(symbol)) == number + 1


def test_a_name_is_stored_and_found_composed_whatever_is_typed(tmp_path: Path) -> None:
    store, typed = Store(tmp_path), "Cafe\u0301"  # as macOS writes the é of file names
    store.write(build_bars(f" {typed} "))
    assert store.symbols() == ("Café",)
    assert typed in store
    assert store.read(typed).symbol == store.info(typed).symbol == "Café"
    with pytest.raises(ConfigError, match="5,000 characters, more than 100"):
        store.path("a" * 5000)


def test_a_file_whose_symbol_nobody_can_address_is_named_and_the_others_are_listed(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    store.write(build_bars("AAPL"))
    store.path("AAPL").with_name("A%2CB.parquet").write_bytes(store.path("AAPL").read_bytes())
    (_, bad), (_, good) = store.infos()
    assert "a comma" in str(bad)
    assert isinstance(good, StoredInfo)


def test_layout_and_provenance(tmp_path: Path) -> None:
    store = Store(tmp_path)
    bars = build_bars(timezone="America/New_York", provenance={"source": "test", "currency": "USD"})
    store.write(bars)
    path = tmp_path / "bars" / "1d" / "AAPL.parquet"
    assert store.path("AAPL") == path
    table = pq.read_table(path)
    assert table.column_names[0] == "date"
    assert pq.ParquetFile(path).metadata.row_group(0).column(1).compression == "ZSTD"
    info = store.info("AAPL")
    assert (info.symbol, info.rows, info.first, info.last) == (
        "AAPL",
        8,
        "2020-01-01",
        "2020-01-10",
    )
    assert (info.timezone, info.sha256) == ("America/New_York", bars.sha256)
    assert info.provenance == {"source": "test", "currency": "USD"}


def test_another_interval_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one of 1d, 1wk, 1h, 5m\. Got '2h'"):
        Store(tmp_path, interval="2h")
    with pytest.raises(IntervalError, match="'1h' cannot be kept among those of '1d'"):
        Store(tmp_path).write(build_intraday(interval="1h"))


def test_intraday_files_say_that_their_moments_are_utc(tmp_path: Path) -> None:
    store = Store(tmp_path, interval="1h")
    bars = build_intraday(interval="1h")
    store.write(bars)
    column = pq.read_table(store.path("AAPL"))["date"]
    assert str(column.type) == "timestamp[ms, tz=UTC]"
    assert bars.to_frame().index.tz is not None
    assert_same_bars(
        Bars.from_frame("AAPL", bars.to_frame(), timezone=bars.timezone, interval="1h"), bars
    )


def test_a_backup_is_kept_beside_the_file_and_is_no_symbol(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(build_bars())
    before = store.path("AAPL").read_bytes()
    kept = {store.back_up("AAPL"), store.back_up("AAPL")}
    assert len(kept) == 2
    assert {path.read_bytes() for path in kept} == {before}
    assert store.symbols() == ("AAPL",)
    with pytest.raises(SymbolNotFoundError):
        store.back_up("MSFT")


def test_nothing_never_replaces_something(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(build_bars())
    with pytest.raises(NoDataError, match="nothing never replaces something"):
        store.write(build_bars().until("1999-01-01"))
    assert_same_bars(store.read("AAPL"), build_bars())


def test_unknown_symbol_has_near_names_and_a_remedy(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(SymbolNotFoundError, match=r"No bars of 'AAPL' .* quantseq fetch AAPL"):
        store.read("AAPL")
    for symbol in ("AAPL", "MSFT"):
        store.write(build_bars(symbol))
    for call in (store.read, store.info, store.remove):
        with pytest.raises(SymbolNotFoundError, match=r"Did you mean AAPL\?"):
            call("aapl")


def test_looking_creates_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    assert store.symbols() == ()
    for call in (store.read, store.info, store.remove):
        with pytest.raises(SymbolNotFoundError):
            call("AAPL")
    with pytest.raises(NoDataError, match="quantseq fetch"):
        store.panel()
    assert not (tmp_path / "data").exists()


def test_panel(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for symbol in ("MSFT", "AAPL", "IBM"):
        store.write(build_bars(symbol))
    assert store.panel().symbols == ("AAPL", "IBM", "MSFT")
    assert store.panel(["MSFT", "AAPL"]).symbols == ("MSFT", "AAPL")
    with pytest.raises(SymbolNotFoundError, match="'GOOG'"):
        store.panel(["AAPL", "GOOG"])
    with pytest.raises(NoDataError):
        store.panel([])


def test_remove(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(build_bars())
    store.remove("AAPL")
    assert store.symbols() == ()


@given(st.integers(0, 10_000), st.integers(1, 255), st.booleans())
@LAW
def test_damage_is_named_and_stays_alone(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int, cut: bool
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    good, bad = build_bars("GOOD"), build_bars("BAD", adj_close=np.linspace(1, 3, 8))
    store.write(good)
    store.write(bad)
    path = store.path("BAD")
    data = bytearray(path.read_bytes())
    at %= len(data)
    if cut:
        del data[at:]
    else:
        data[at] ^= flip
    path.write_bytes(data)
    message = ""
    try:
        assert_same_bars(store.read("BAD"), bad)  # some bytes do not matter
    except CorruptFileError as error:
        message = str(error)
    if message:
        assert message.startswith(f"{str(path)!r} cannot be read back: ")
        assert message.endswith("Get the bars again with: quantseq fetch BAD")
    assert_same_bars(store.read("GOOD"), good)
    assert store.symbols() == ("BAD", "GOOD")
    store.remove("BAD")
    assert store.symbols() == ("GOOD",)


def test_a_changed_header_is_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(build_bars(timezone="Etc/Test"))
    path = store.path("AAPL")
    path.write_bytes(path.read_bytes().replace(b"Etc/Test", b"Etc/Best"))
    for call in (store.read, store.info):
        with pytest.raises(CorruptFileError, match="header does not match its SHA-256"):
            call("AAPL")


def test_a_foreign_or_misnamed_file_is_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(build_bars("AAPL"))
    store.path("AAPL").rename(store.path("MSFT"))
    with pytest.raises(CorruptFileError, match="it holds 'AAPL' instead of 'MSFT'"):
        store.read("MSFT")
    build_bars().to_frame().to_parquet(store.path("MSFT"))
    for call in (store.read, store.info):
        with pytest.raises(CorruptFileError, match="was not written by quantseq"):
            call("MSFT")


def test_update_sees_what_is_stored_and_keeps_damage_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    seen: list[Bars | None] = []

    def extend(old: Bars | None) -> Bars:
        seen.append(old)
        return build_bars(n=len(old) + 1 if old else 1)

    assert len(store.update("AAPL", extend)) == 1
    assert len(store.update("AAPL", extend)) == 2
    assert seen[0] is None
    store.path("AAPL").write_bytes(b"rubbish")
    assert len(store.update("AAPL", extend)) == 1
    assert seen[2] is None
    assert store.symbols() == ("AAPL",)
    assert [path.read_bytes() for path in store.backups("AAPL")] == [b"rubbish"]


def test_update_that_fails_or_changes_nothing_touches_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(build_bars())
    before = store.path("AAPL").stat().st_mtime_ns

    def same(old: Bars | None) -> Bars:
        assert old is not None
        return old

    def fail(old: Bars | None) -> Bars:
        raise NoDataError("no")

    store.update("AAPL", same)
    with pytest.raises(NoDataError):
        store.update("AAPL", fail)
    assert store.path("AAPL").stat().st_mtime_ns == before


def test_two_writers_do_not_interleave(tmp_path: Path) -> None:
    def count() -> None:
        for _ in range(10):
            Store(tmp_path).update("AAPL", lambda old: build_bars(n=len(old) + 1 if old else 1))

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Store(tmp_path).read("AAPL")) == 30


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.write(build_bars())

    def full(table: object, where: Path, **options: object) -> None:
        where.write_bytes(b"half a fi")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StorageError, match="No space left"):
        store.write(replace(build_bars(), volume=np.zeros(8)))
    assert_same_bars(store.read("AAPL"), build_bars())
    assert sorted(path.name for path in store.folder.iterdir()) == [".lock", "AAPL.parquet"]


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"Cannot write '.*file/bars/1d'"):
        Store(tmp_path / "file").write(build_bars())


KILLER = """
import os, random, signal, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from quantseq.market.bars import FIELDS, Bars
from quantseq.market.store import Store

def bars(value):
    n = 3000
    fields = {name: np.full(n, value) for name in FIELDS}
    return Bars("AAPL", np.arange(n).astype("datetime64[D]"), **fields)

store = Store(Path(sys.argv[1]))
one, two = bars(1.0), bars(2.0)
store.write(one)
begun = time.perf_counter()
store.write(two)
store.write(one)
pair = time.perf_counter() - begun  # so that a slow machine is killed at every moment too
seen, rng = set(), random.Random(0)
for _ in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        while True:
            store.write(two)
            store.write(one)
    time.sleep(rng.uniform(0, 3 * pair))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert store.symbols() == ("AAPL",)
    seen.add(store.read("AAPL").sha256)
assert seen <= {one.sha256, two.sha256}
print(len(seen))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_sigkill_at_any_moment_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLER, str(tmp_path), "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2"


COUNTER = """
import sys
from pathlib import Path
from quantseq.market.store import Store
from tests.market.conftest import build_bars

store = Store(Path(sys.argv[1]))
for _ in range(8):
    store.update("AAPL", lambda old: build_bars(n=len(old) + 1 if old else 1))
"""


@pytest.mark.slow
def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    both = [
        subprocess.Popen([sys.executable, "-c", COUNTER, str(tmp_path)], cwd=root) for _ in range(2)
    ]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert len(Store(tmp_path).read("AAPL")) == 16


def test_duckdb_reads_the_folder(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs the extra: pip install 'quantseq[duckdb]'")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    query = re.search(r"```sql\n(.*?)```", readme, re.S)
    assert query
    store = Store(tmp_path / "data")
    for symbol in ("AAPL", "^GSPC"):
        store.write(build_bars(symbol, n=30))
    text = query.group(1).replace("data/", f"{tmp_path}/data/")
    with duckdb.connect() as connection:
        rows = connection.execute(text).fetchall()
    assert [row[0] for row in rows] == ["%5EGSPC", "AAPL"]
    assert rows[1][1] == 30
    assert rows[1][2] == store.read("AAPL").close[-1]


def test_remove_keeps_what_is_no_file_of_ours(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for act in (store.remove, lambda symbol: store.write(build_bars(symbol))):
        store.folder.mkdir(parents=True, exist_ok=True)
        store.path("AAPL").write_bytes(b"a thesis in Parquet")
        act("AAPL")
    assert [one.read_bytes() for one in store.backups("AAPL")] == [b"a thesis in Parquet"] * 2
    assert len(store.read("AAPL")) == 8
