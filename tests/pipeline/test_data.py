"""Findings of many symbols are put together in one line, and errors stop what would use the prices."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantseq.config import RunConfig
from quantseq.errors import BarsError, ConfigError, NoDataError
from quantseq.files import Places
from quantseq.market.bars import PRICES, Bars, Panel
from quantseq.market.readers import Reading
from quantseq.market.sources import SampleSource
from quantseq.market.store import Store
from quantseq.pipeline.backtest import backtest
from quantseq.pipeline.data import (
    _NAMED,
    ImportOutcome,
    alike,
    as_rows,
    check,
    describe_errors,
    describe_events,
    errors_only,
    findings,
    import_,
    import_events,
    refuse_errors,
    resolve_panel,
    sample_panel,
    summarise,
    usable,
)
from quantseq.pipeline.train import train_price
from tests.prices import simulate_bars


def spoiled(bars: Bars, symbol: str | None = None) -> Bars:
    """A week a hundred times too large."""
    fields = {}
    for name in PRICES:
        fields[name] = getattr(bars, name).copy()
        fields[name][100:105] *= 100
    return replace(bars, symbol=symbol or bars.symbol, **fields)


def test_the_sample_is_good_enough_to_train_on() -> None:
    found = findings(sample_panel())
    assert errors_only(found) == {}
    assert refuse_errors(sample_panel()) == found


def test_sixty_symbols_are_refused_in_one_line(small_panel: Panel) -> None:
    good = small_panel["IBM"]
    panel = Panel(
        spoiled(good, f"S{i:02d}") if i % 3 == 0 else replace(good, symbol=f"S{i:02d}")
        for i in range(60)
    )
    with pytest.raises(BarsError) as caught:
        refuse_errors(panel)
    message = str(caught.value)
    assert message.startswith("20 of 60 symbols have errors in their prices: S00 (digit_glitch on ")
    assert f"and {20 - _NAMED} more symbols" in message
    assert "--allow-bad-data" in message
    assert "\n" not in message
    assert refuse_errors(panel, allow_bad_data=True) == findings(panel)


def test_training_and_backtest_refuse_before_they_compute(
    small_panel: Panel, tmp_path: Path
) -> None:
    panel = Panel([spoiled(small_panel["IBM"]), small_panel["MSFT"]])
    places = Places(tmp_path / "data", tmp_path / "reports")
    with pytest.raises(BarsError, match=r"1 of 2 symbols .* IBM \(digit_glitch on"):
        train_price(panel, out=tmp_path / "model", places=places)
    with pytest.raises(BarsError, match="IBM"):
        backtest(panel, config=RunConfig(), places=places)
    assert not (tmp_path / "model").exists()
    assert not list((tmp_path / "reports").iterdir())


def test_a_damaged_file_is_a_finding_and_the_others_are_checked(
    small_panel: Panel, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    with pytest.raises(NoDataError, match="quantseq fetch"):
        check(places=Places(tmp_path))
    store.write(small_panel["IBM"])
    store.write(spoiled(small_panel["MSFT"]))
    store.path("IBM").write_bytes(b"PAR1")
    found = check(places=Places(tmp_path))
    assert [one.rule for one in found["IBM"]] == ["file"]
    assert [one.rule for one in errors_only(found)["MSFT"]] == ["digit_glitch"]
    assert describe_errors(found).startswith("IBM (file); MSFT (digit_glitch on ")
    assert list(check(["MSFT"], places=Places(tmp_path))) == ["MSFT"]


def test_all_faults_of_a_file_are_counted(small_panel: Panel, tmp_path: Path) -> None:
    frame = spoiled(small_panel["IBM"]).to_frame()
    frame.iloc[3, frame.columns.get_loc("close")] = np.nan
    frame.iloc[7, frame.columns.get_loc("low")] = -1.0
    path = tmp_path / "x.csv"
    frame.to_csv(path)
    rules = {one.rule for one in check(file=path)["x"]}
    assert {"nan", "price", "digit_glitch"} <= rules


PRICES_FILE = "date,open,high,low,close,volume\n" + "".join(
    f"2024-01-{day:02},10,12,9,11,1000\n" for day in (2, 3, 4, 5, 8, 9, 10, 11)
)


def imported(tmp_path: Path, text: str, name: str = "ACME.csv", **how: Any) -> ImportOutcome:
    path = tmp_path / name
    path.write_text(text)
    (outcome,) = import_(path, places=Places(tmp_path / "data"), **how)
    return outcome


def test_an_import_never_loses_a_session_unasked(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    assert imported(tmp_path, PRICES_FILE).status == "new"
    assert imported(tmp_path, PRICES_FILE).status == "unchanged"
    before = store.path("ACME").read_bytes()
    fewer = PRICES_FILE.replace("2024-01-05,10,12,9,11,1000\n", "")
    with pytest.raises(
        ConfigError, match=r"lacks 1 of the 8 stored sessions.*2024-01-05.*--replace"
    ):
        imported(tmp_path, fewer)
    assert imported(tmp_path, fewer, replace_=True, dry_run=True).status == "replaced"
    assert store.path("ACME").read_bytes() == before
    assert store.backups("ACME") == ()
    replaced = imported(tmp_path, fewer, replace_=True)
    assert (replaced.status, len(store.read("ACME"))) == ("replaced", 7)
    assert store.path("ACME").with_name(replaced.backup).read_bytes() == before
    more = imported(tmp_path, PRICES_FILE)
    assert (more.status, len(store.backups("ACME"))) == ("replaced", 2)


def test_bars_of_another_length_are_asked_about(tmp_path: Path) -> None:
    weeks = "date,open,high,low,close,volume\n" + "".join(
        f"{day},10,12,9,11,1000\n" for day in np.arange("2024-01-05", "2024-03-01", 7, "M8[D]")
    )
    imported(tmp_path, PRICES_FILE)
    with pytest.raises(ConfigError, match="holds 1wk bars of ACME, which is stored as 1d bars"):
        imported(tmp_path, weeks)
    kept = imported(tmp_path, weeks, how=Reading(interval="1wk"))
    assert (kept.status, kept.bars.interval) == ("new", "1wk")
    assert len(Store(tmp_path / "data").read("ACME")) == 8
    assert len(Store(tmp_path / "data", interval="1wk").read("ACME")) == 8


def test_another_spelling_of_a_stored_symbol_is_asked_about(tmp_path: Path) -> None:
    imported(tmp_path, PRICES_FILE)
    with pytest.raises(ConfigError, match="--symbol ACME or --symbol acme"):
        imported(tmp_path, PRICES_FILE, "acme.csv")
    assert imported(tmp_path, PRICES_FILE, "acme.csv", symbol="ACME").status == "unchanged"
    assert imported(tmp_path, PRICES_FILE, "acme.csv", symbol="acme").status == "new"


def test_a_file_with_one_bad_symbol_stores_nothing(tmp_path: Path) -> None:
    rows = PRICES_FILE.replace("2024", "A,2024").replace("date", "symbol,date")
    bad = PRICES_FILE.partition("\n")[2].replace("2024", "B,2024").replace("11,", "0,")
    path = tmp_path / "two.csv"
    path.write_text(rows + bad)
    with pytest.raises(BarsError, match=r"B in two\.csv"):
        import_(path, places=Places(tmp_path / "data"))
    assert not (tmp_path / "data").exists()
    assert [
        one.bars.symbol for one in import_(path, symbol="A", places=Places(tmp_path / "data"))
    ] == ["A"]


def test_the_summary_names_span_source_and_extremes() -> None:
    facts = dict(summarise(sample_panel()["AAPL"]))
    assert facts["sessions"] == "3270, 2000-03-01 to 2013-03-01"
    assert facts["source"] == "sample"
    assert facts["worst day"] == "-51.87% on 2000-09-29"
    one = sample_panel()["AAPL"].until("2000-03-01")
    assert "worst day" not in dict(summarise(one))


def test_what_may_not_be_compared_on_is_left_out_and_named(small_panel: Panel) -> None:
    bars = small_panel["IBM"]
    closes = bars.close.copy()
    closes[300] *= 10
    peak = np.maximum(bars.high, closes)
    glitch = replace(bars, symbol="GLITCH", close=closes, adj_close=closes, high=peak)
    late = replace(bars.between(bars.sessions[200]), symbol="LATE")
    panel = Panel([bars, glitch, late])
    kept, found, told = usable(panel, until=bars.sessions[150])
    assert kept.symbols == ("IBM", "GLITCH")
    assert not errors_only(found)  # what comes later is not looked at
    start = late.sessions[0]
    assert told == [f"LATE was left out: its prices start on {start}, after {bars.sessions[150]}."]
    kept, found, told = usable(panel)
    assert kept.symbols == ("IBM", "LATE")
    assert list(errors_only(found)) == ["GLITCH"]
    assert "errors in its prices" in told[0]
    assert usable(panel, allow_bad_data=True) == (panel, found, [])
    with pytest.raises(BarsError, match="No symbol is left: GLITCH was left out"):
        usable(Panel([glitch]))
    with pytest.raises(NoDataError, match=f"LATE starts on {start}. Fetch earlier"):
        usable(Panel([late]), until=bars.sessions[150])


def test_symbols_of_unknown_exchange_are_one_line() -> None:
    panel = Panel(simulate_bars(f"S{at}", 50, timezone="") for at in range(500))
    rows = as_rows(findings(panel))
    told = [row for row in alike(rows) if row["rule"] == "calendar"]
    assert len([row for row in rows if row["rule"] == "calendar"]) == 500
    assert [row["symbol"] for row in told] == ["S0, S1, S2 and 497 more"]
    assert len(alike(rows)) == len(rows) - 499


def test_the_file_of_sessions_counts_in_every_check(tmp_path: Path) -> None:
    bars = SampleSource().fetch("IBM")
    Store(tmp_path).write(bars)
    (tmp_path / "sessions.toml").write_text('[XNYS]\ncancelled = ["2012-06-01"]\n')
    places = Places(tmp_path)
    for found in (check(places=places), findings(Panel([bars]), places)):
        extra = [one for one in found["IBM"] if one.rule == "extra_session"]
        assert extra[0].sessions == ("2012-06-01",)
    (tmp_path / "sessions.toml").write_text("[XNYZ]")
    with pytest.raises(ConfigError, match="XNYZ"):
        refuse_errors(Panel([bars]), places=places)


def test_a_misspelt_time_zone_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Europe/Berlin"):
        import_(tmp_path / "a.csv", how=Reading(timezone="Europe/Berlni"))
    with pytest.raises(ConfigError, match="Europe/Berlin"):
        check(file=tmp_path / "a.csv", how=Reading(timezone="Europe/Berlni"))


EVENTS_FILE = "date,open,high,low,close,adj close,volume,dividends,splits\n" + "".join(
    f"2024-01-{day:02},10,12,9,11,{10.5 if day < 5 else 11},1000,{0.5 * (day == 5)},{2 * (day == 9)}\n"
    for day in (2, 3, 4, 5, 8, 9, 10, 11)
)


def test_an_import_never_loses_events_or_volumes_unasked(tmp_path: Path) -> None:
    imported(tmp_path, EVENTS_FILE)
    before = Store(tmp_path / "data").path("ACME").read_bytes()
    with pytest.raises(
        ConfigError,
        match=r"all 1 dividends, all 1 splits, all 3 adjusted closes that differ.*--replace stores",
    ):
        imported(tmp_path, PRICES_FILE)
    with pytest.raises(ConfigError, match=r"ACME: all 8 volumes\. Nothing was stored; --replace"):
        imported(tmp_path, EVENTS_FILE.replace(",1000,", ",0,"), dry_run=True)
    assert Store(tmp_path / "data").path("ACME").read_bytes() == before
    assert imported(tmp_path, EVENTS_FILE.replace("0.5,", "0.6,")).status == "replaced"
    assert imported(tmp_path, PRICES_FILE, replace_=True).backup


def test_another_instrument_under_that_name_is_asked_about(tmp_path: Path) -> None:
    imported(tmp_path, PRICES_FILE)
    other = PRICES_FILE.replace(",11,1000", ",11.8,1000")
    with pytest.raises(
        ConfigError, match=r"another instrument.*on 8 of the 8 stored.*more than 5%.*--replace"
    ):
        imported(tmp_path, other)
    half = PRICES_FILE.replace(",11,1000", ",11.8,1000", 4)
    assert imported(tmp_path, half).status == "replaced"
    assert imported(tmp_path, other, replace_=True).status == "replaced"


def test_a_panel_is_told_of_stored_events_or_of_those_of_a_file(tmp_path: Path) -> None:
    places, bars = Places(tmp_path / "data"), simulate_bars("A", 60)
    for one in (bars, simulate_bars("B", 60), simulate_bars("^V", 60)):
        Store(places.data).write(one)
    path = tmp_path / "events.csv"
    days = [bars.sessions[20], bars.sessions[-1] + 5, bars.sessions[-1] + 60]
    path.write_text("symbol,date\n" + "".join(f"A,{day}\n" for day in days))
    assert resolve_panel(["A", "B"], places=places).events == {}
    kept, left_out = import_events(path, places=places)
    assert (len(kept[0].events), left_out) == (3, {})
    panel = resolve_panel(["A", "B"], places=places, covariate="^V")
    assert panel.events["A"].dates.tolist() == [one.tolist() for one in days[:2]]
    assert describe_events(panel) == [
        f"Scheduled events: 2 of 1 of 2 symbols were known by {bars.sessions[-1]}, 1 of them still to come.",
        "Covariate: ^V, as of the day before each session.",
    ]
    late = resolve_panel(["A", "B"], places=places, notice=0)
    assert late.events["A"].dates.tolist() == [days[0].tolist()]
    assert describe_events(resolve_panel(["B"], places=places)) == []
    prices = tmp_path / "prices.csv"
    bars.to_frame().assign(symbol="A").reset_index().to_csv(prices, index=False)
    assert resolve_panel([], panel=prices, places=places).events == {}
    told = resolve_panel([], panel=prices, places=places, events=path)
    assert told.events["A"].sha256 == panel.events["A"].sha256
    with pytest.raises(NoDataError, match=r"holds no events of B\. Its symbols are A"):
        resolve_panel(["B"], places=places, events=path)
    path.write_text(f"symbol,date\nA,{days[1]}\n")
    with pytest.raises(ConfigError, match="lacks 1 stored events of A"):
        import_events(path, places=places)
    assert import_events(path, places=places, replace_=True)[0][0].lost == 1
