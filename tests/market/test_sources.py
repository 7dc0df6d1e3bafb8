"""The sample, the user's files and installed packages as sources."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quantseq.errors import (
    BarsError,
    ConfigError,
    CorruptFileError,
    NoDataError,
    SymbolNotFoundError,
)
from quantseq.market.protocol import Pace, Source
from quantseq.market.sources import (
    SAMPLE_SYMBOLS,
    CsvSource,
    SampleSource,
    make_source,
    source_names,
)
from quantseq.market.yahoo import YahooSource
from tests.market.conftest import build_bars
from tests.tiny_source import asked, install


@pytest.mark.parametrize("source", [YahooSource(), SampleSource(), CsvSource("x.csv")])
def test_every_source_checks_the_range_first(source: Source) -> None:
    with pytest.raises(BarsError, match="reversed"):
        source.fetch("AAPL", start="2024-01-02", end="2024-01-01")
    with pytest.raises(BarsError, match="is not a date"):
        source.fetch("AAPL", start="yesterday")


@pytest.mark.parametrize("symbol", SAMPLE_SYMBOLS)
def test_sample(symbol: str) -> None:
    bars = SampleSource().fetch(symbol.lower())
    assert bars.symbol == symbol
    assert bars.sessions[-1] == np.datetime64("2013-03-01")
    assert bars.timezone == "America/New_York"
    assert bars.provenance["source"] == "sample"
    assert "Quandl WIKI" in bars.provenance["attribution"]
    assert not bars.splits.any()
    assert np.nanmax(np.abs(bars.log_returns())) < 0.74  # splits are gone from total returns
    assert bars.volume.min() > 0


def test_sample_prices_are_raw_until_adjusted() -> None:
    bars = SampleSource().fetch("AAPL", start="2005-02-25", end="2005-02-28")
    assert bars.close[1] / bars.close[0] == pytest.approx(0.5, abs=0.05)  # the 2:1 split
    assert bars.adjusted().close[1] / bars.adjusted().close[0] == pytest.approx(1, abs=0.05)


def test_sample_refuses() -> None:
    with pytest.raises(SymbolNotFoundError, match="holds AAPL, GOOG, IBM, MSFT"):
        SampleSource().fetch("TSLA")
    with pytest.raises(NoDataError, match="it has 2000-03-01 to 2013-03-01"):
        SampleSource().fetch("AAPL", start="2020-01-01")
    with pytest.raises(ConfigError):
        SampleSource().fetch("AAPL", interval="1wk")


def test_csv_source(tmp_path: Path) -> None:
    build_bars("A").to_frame().to_csv(tmp_path / "A.csv")
    build_bars("B").to_frame().to_parquet(tmp_path / "B.parquet")
    (tmp_path / "notes.txt").write_text("not prices")
    folder = CsvSource(tmp_path, timezone="Europe/Paris")
    assert folder.symbols == ("A", "B")
    bars = folder.fetch("B", start="2020-01-03")
    assert len(bars) == 6
    assert bars.timezone == "Europe/Paris"
    assert (bars.provenance["source"], bars.provenance["file"]) == ("csv", "B.parquet")
    with pytest.raises(SymbolNotFoundError, match=r"has no file C\.csv"):
        folder.fetch("C")
    single = CsvSource(tmp_path / "A.csv")
    assert single.symbols == ("A",)
    assert single.fetch("MINE").symbol == "MINE"
    with pytest.raises(CorruptFileError, match="There is no file"):
        CsvSource(tmp_path / "gone.csv").fetch("A")


def test_make_source() -> None:
    assert make_source("yahoo").name == "yahoo"
    assert make_source("sample").name == "sample"
    with pytest.raises(ConfigError, match=r"no source 'yaho'\. Choose one of yahoo, sample"):
        make_source("yaho")
    with pytest.raises(ConfigError, match="rate must be"):
        make_source("sample", rate=0)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with another package's sources."""
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tiny_source_package", raising=False)
    return tmp_path


def test_an_installed_source_is_found_by_its_entry_point(installed: Path) -> None:
    assert source_names() == ("yahoo", "sample", "broken", "gone", "nothing", "tiny")
    source = make_source("tiny", rate=1000)
    assert source.name == "tiny"  # as it was installed, whatever it calls itself
    bars = source.fetch("X", start="2020-01-05", end=None)
    assert len(bars) == 26
    assert asked(installed) == ["X"]


@pytest.mark.usefixtures("installed")
def test_an_installed_source_is_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setitem(Pace.__init__.__kwdefaults__, "sleep", slept.append)
    source = make_source("tiny", rate=0.01)
    for _ in range(2):
        source.fetch("X")
    assert slept == [pytest.approx(100, abs=10)]


@pytest.mark.usefixtures("installed")
def test_what_is_installed_badly_is_named() -> None:
    for name, words in [
        ("broken", r"'broken' of the package 'tiny-source' cannot be made \(RuntimeError: no lic"),
        ("gone", r"'gone' of the package 'tiny-source' cannot be made \(AttributeError"),
        ("nothing", r"'nothing' of the package 'tiny-source' is none: it needs fetch"),
    ]:
        with pytest.raises(ConfigError, match=words):
            make_source(name)
    with pytest.raises(ConfigError, match="Choose one of yahoo, sample, broken, gone, nothing, t"):
        make_source("tini")
    assert isinstance(make_source("yahoo"), YahooSource)  # our names cannot be taken


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, quantseq.market.sources, quantseq.market.fetching, quantseq.market.health;"
        "print([m for m in ('yfinance', 'curl_cffi', 'torch', 'exchange_calendars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
