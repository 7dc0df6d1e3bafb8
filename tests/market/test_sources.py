import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import (
    BarsError,
    ConfigError,
    NoDataError,
    SymbolNotFoundError,
)
from quantseq.market.sources import (
    SAMPLE_SYMBOLS,
    Pace,
    SampleSource,
    Source,
    answer,
    make_source,
    source_names,
)
from quantseq.market.yahoo import YahooSource
from tests.market.conftest import LAW, build_bars
from tests.tiny_source import asked, install


@given(
    st.floats(0.01, 100),
    st.lists(st.tuples(st.floats(0, 200), st.integers(1, 3)), min_size=1, max_size=20),
)
@LAW
def test_never_more_than_the_rate(rate: float, calls: list[tuple[float, int]]) -> None:
    """Law: after a call that stands for `count` requests, `count / rate` seconds pass; no more."""
    time = 0.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal time
        slept.append(seconds)
        time += seconds

    pace = Pace(rate, sleep=sleep, clock=lambda: time)
    free = float("-inf")
    for idle, count in calls:
        time += idle
        due = max(time, free)
        pace(count)
        assert time == pytest.approx(due)
        free = time + count / rate
    assert all(seconds > 0 for seconds in slept)


def test_the_first_call_does_not_wait() -> None:
    Pace(1e-9, sleep=lambda _: pytest.fail("it waited"))()


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_is_above_0(rate: float) -> None:
    with pytest.raises(ConfigError, match="'rate' parameter"):
        Pace(rate)


def test_an_answer_is_cut_and_says_where_it_came_from() -> None:
    bars = answer(
        build_bars(n=8),
        "mine",
        {"currency": "EUR"},
        start="2020-01-03",
        end=None,
        packages=("numpy",),
    )
    assert len(bars) == 6
    facts = bars.provenance
    assert (facts["source"], facts["currency"], facts["interval"]) == ("mine", "EUR", "1d")
    assert (facts["start"], facts["end"]) == ("2020-01-03", None)
    assert set(facts["versions"]) == {"quantseq", "pandas", "numpy"}
    with pytest.raises(NoDataError, match="it has 2020-01-01 to 2020-01-10"):
        answer(build_bars(n=8), "mine", {}, start="2021-01-01", end=None)


@pytest.mark.parametrize("source", [YahooSource(), SampleSource()])
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


def test_make_source() -> None:
    assert make_source("yahoo").name == "yahoo"
    assert make_source("sample").name == "sample"
    with pytest.raises(ConfigError, match=r"no source 'yaho'\. Choose one of yahoo, sample"):
        make_source("yaho")
    with pytest.raises(ConfigError, match="'rate' parameter"):
        make_source("sample", rate=0)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with another package's sources."""
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tiny_source_package", raising=False)
    return tmp_path


def test_an_installed_source_is_found_by_its_entry_point(installed: Path) -> None:
    assert source_names() == (
        *("yahoo", "sample", "broken", "escaping", "gone", "leaving", "nothing", "tiny"),
    )
    source = make_source("tiny", rate=1000)
    assert source.name == "tiny"  # as it was installed, whatever it calls itself
    bars = source.fetch("X", start="2020-01-05", end=None)
    assert len(bars) == 26
    assert asked(installed) == ["X"]


@pytest.mark.usefixtures("installed")
def test_an_installed_source_is_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(Pace.__init__, "__defaults__", (slept.append, time.monotonic))
    source = make_source("tiny", rate=0.01)
    for _ in range(2):
        source.fetch("X")
    assert slept == [pytest.approx(100, abs=10)]


@pytest.mark.usefixtures("installed")
def test_what_is_installed_badly_is_named() -> None:
    for name, words in [
        ("broken", r"'broken' of the package 'tiny-source' cannot be made \(RuntimeError: no lic"),
        ("leaving", r"'leaving' of the package 'tiny-source' cannot be made \(SystemExit: no lic"),
        ("gone", r"'gone' of the package 'tiny-source' cannot be made \(AttributeError"),
        ("nothing", r"'nothing' of the package 'tiny-source' is none: it needs fetch"),
    ]:
        with pytest.raises(ConfigError, match=words):
            make_source(name)
    with pytest.raises(ConfigError, match="Choose one of yahoo, sample, broken, escaping, gone, l"):
        make_source("tini")
    assert isinstance(make_source("yahoo"), YahooSource)  # our names cannot be taken


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, quantseq.market.sources, quantseq.market.update, quantseq.market.health;"
        "print([m for m in ('yfinance', 'curl_cffi', 'torch', 'exchange_calendars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
