"""Names and footers say what is stored, quickly, and a damaged file hides no other."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given

from quantseq.errors import CorruptFileError
from quantseq.market.bars import Bars
from quantseq.market.catalogue import HEADER, SEAL, Catalogue, StoredInfo, _footer
from quantseq.market.store import Store
from tests.market.conftest import LAW, any_bars, build_bars


@given(any_bars())
@LAW
def test_the_footer_is_what_pyarrow_reads(bars: Bars) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.write(bars)
        path = store.path(bars.symbol)
        known = pq.read_metadata(path).metadata
        assert _footer(path) == {key: known[key] for key in (HEADER, SEAL)}
        info = Catalogue(Path(folder)).info(bars.symbol)
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
    found = dict(Catalogue(tmp_path).infos())
    assert list(found) == ["A", "B", "C", "D"]
    assert isinstance(found["A"], StoredInfo)
    assert isinstance(found["D"], StoredInfo)
    for symbol in ("B", "C"):
        assert isinstance(found[symbol], CorruptFileError)
        assert f"{symbol}.parquet" in str(found[symbol])


def test_listing_imports_no_heavy_package(tmp_path: Path) -> None:
    Store(tmp_path).write(build_bars())
    code = (
        "import sys; from quantseq.cli.stored import list_; from pathlib import Path; "
        "list_(Path(sys.argv[1])); "
        "print(sorted({'torch', 'pandas', 'numpy', 'pyarrow', 'yfinance'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "AAPL" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
