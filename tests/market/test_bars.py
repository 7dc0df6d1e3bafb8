import datetime
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import BarsError, ConfigError, IntervalError, NoDataError, SymbolNotFoundError
from quantseq.files import fingerprint
from quantseq.market.bars import (
    FIELDS,
    INTERVALS,
    PRICES,
    Bars,
    Events,
    Panel,
    as_date,
    check_interval,
    check_symbol,
    check_timezone,
    date_range,
    exchange_dates,
    find_fault,
    is_intraday,
    midnight,
    monday,
    require_daily,
)
from quantseq.market.health import check_bars
from tests.market.conftest import LAW, any_bars, assert_same_bars, build_bars, build_intraday


def test_known_intervals() -> None:
    assert [one for one in INTERVALS if is_intraday(one)] == ["1h", "5m"]
    assert check_interval("1wk") == "1wk"
    with pytest.raises(ConfigError, match=r"one of 1d, 1wk, 1h, 5m\. Got '1mo'"):
        check_interval("1mo")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        (" \u3000", "empty"),
        ("A,B", "comma"),
        ("-A", "dash"),
        ("A\nB", r"'A\\nB' .* U\+000A"),
        ("A\x1b[31m", r"U\+001B"),
        ("A\u202eB", r"U\+202E"),  # turns what follows around
        ("A\u200b", r"U\+200B"),
        ("\udcff", r"U\+DCFF"),  # a byte of a file's name that is no text
        ("A" * 101, "101 characters"),
    ],
)
def test_a_symbol_that_no_command_can_address_is_refused(name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot be the symbol of prices: .*{why}|{why}") as told:
        build_bars(name)
    assert str(told.value).isprintable()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" AAPL\u00a0", "AAPL"),
        ("Cafe\u0301", "Café"),
        ("日経225", "日経225"),
        ("שלום-תעשיות", "שלום-תעשיות"),
        ("شركة می\u200cخواهم", "شركة می\u200cخواهم"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("BTC/USD", "BTC/USD"),
        ("a b", "a b"),
    ],
)
def test_a_symbol_is_kept_composed_and_without_blanks_at_its_ends(typed: str, kept: str) -> None:
    assert check_symbol(typed) == build_bars(typed).symbol == kept


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("America/New_Yrok", "America/New_York"),
        ("tokyo", "Asia/Tokyo"),
        ("New York", "America/New_York"),
    ],
)
def test_a_misspelt_time_zone_is_refused_with_near_names(said: str, meant: str) -> None:
    assert check_timezone(meant) == meant
    assert check_timezone("") == ""
    with pytest.raises(ConfigError, match=f"no time zone '{said}'. Did you mean .*{meant}"):
        check_timezone(said)
    with pytest.raises(ConfigError, match=meant):
        Bars.from_frame("A", build_bars("A").to_frame(), timezone=said)
    with pytest.raises(ConfigError, match="Write it like"):
        check_timezone("\x1b" * 5000)


@given(st.dates(date(1700, 1, 1), date(2199, 1, 1)))
@LAW
def test_monday_is_a_monday_of_the_same_week(day: date) -> None:
    found = monday(np.datetime64(day, "D")).item()
    assert found.weekday() == 0
    assert 0 <= (day - found).days < 7


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC", "", "Africa/Cairo"])
@given(st.dates(date(1990, 1, 1), date(2030, 1, 1)))
@LAW
def test_midnight_is_the_first_moment_of_its_exchange_date(zone: str, day: date) -> None:
    at = midnight(np.datetime64(day, "D"), zone)
    moments = np.array([at, at + np.timedelta64(1, "h"), at - np.timedelta64(1, "s")])
    dates = exchange_dates(moments, zone)
    assert dates[0] == dates[1] == np.datetime64(day, "D")
    assert dates[2] <= dates[0]


@pytest.mark.parametrize(
    "door",
    [
        lambda bars: require_daily(bars.symbol, bars.interval),
        lambda bars: Panel([bars]),
        lambda bars: bars.until("2024-01-03"),
        check_bars,
    ],
)
@pytest.mark.parametrize("interval", ["1wk", "1h", "5m"])
def test_everything_behind_the_store_refuses_other_bars(interval: str, door: Any) -> None:
    monday_bars = build_bars("AAPL", sessions=np.datetime64("2024-01-01") + 7 * np.arange(8))
    bars: Bars = (
        Bars(**{**vars(monday_bars), "interval": interval})
        if interval == "1wk"
        else build_intraday("AAPL", interval=interval)
    )
    with pytest.raises(IntervalError, match=f"AAPL: these are bars of interval '{interval}'"):
        door(bars)


@given(any_bars(), st.integers(-130_000, 80_000))
@LAW
def test_until_keeps_exactly_what_is_known(bars: Bars, day: int) -> None:
    cutoff = np.datetime64(day, "D")
    known = bars.until(cutoff)
    keep = bars.sessions <= cutoff
    assert known.sessions.tolist() == bars.sessions[keep].tolist()
    assert known.close.tobytes() == bars.close[keep].tobytes()
    assert_same_bars(known.until(cutoff), known)


@given(any_bars(), st.integers(-130_000, 80_000), st.integers(0, 200_000))
@LAW
def test_between_includes_both_ends(bars: Bars, day: int, length: int) -> None:
    start = np.datetime64(day, "D")
    end = start + length if day + length < 84_000 else None
    cut = bars.between(start, end)
    keep = bars.sessions >= start
    if end is not None:
        keep &= bars.sessions <= end
    assert cut.sessions.tolist() == bars.sessions[keep].tolist()


@given(any_bars())
@LAW
def test_frame_round_trip(bars: Bars) -> None:
    back = Bars.from_frame(bars.symbol, bars.to_frame(), timezone=bars.timezone)
    assert_same_bars(back, bars)


def test_two_columns_of_one_name_are_refused() -> None:
    frame = build_bars(n=3).to_frame()[["open", "high", "low", "close", "close", "volume"]]
    with pytest.raises(BarsError, match="two columns are called 'close'"):
        Bars.from_frame("A", frame)


def test_sha256_depends_on_every_field() -> None:
    bars = build_bars()
    seen = {bars.sha256, build_bars("MSFT").sha256, build_bars(start="2020-01-02").sha256}
    for name in FIELDS:
        seen.add(build_bars(**{name: getattr(bars, name) * 1.5 + 1}).sha256)
    assert len(seen) == 3 + len(FIELDS)


def test_nobody_can_change_bars_afterwards() -> None:
    close = np.linspace(10, 17, 8)
    bars = build_bars(close=close)
    close[0] = 99.0  # the caller keeps a writeable array of their own
    assert bars.close[0] == 10.0
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 1.0
    with pytest.raises(AttributeError):
        bars.symbol = "X"  # type: ignore[misc]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_bad_value_is_named(name: str, value: float) -> None:
    values = getattr(build_bars(), name).copy()
    values[3] = value
    with pytest.raises(BarsError, match=rf"AAPL: {name} is .* on 2020-01-06"):
        build_bars(**{name: values})


@pytest.mark.parametrize("name", PRICES)
def test_zero_price_is_refused(name: str) -> None:
    values = getattr(build_bars(), name).copy()
    values[[2, 4]] = 0
    with pytest.raises(BarsError, match=rf"{name} is 0.0 on 2020-01-03 and on 1 other sessions"):
        build_bars(**{name: values})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda days: np.array([*days[:3], days[2], *days[4:]]), "2020-01-03 appears twice"),
        (lambda days: days[::-1], "2020-01-09 is out of order"),
        (lambda days: np.array([np.datetime64("NaT"), *days[1:]]), "NaT is not a date"),
        (
            lambda days: np.array([np.datetime64("0004-01-01"), *days[1:]]),
            "0004-01-01 is not a date",
        ),
        (lambda days: days[:-1], "shape"),
    ],
)
def test_bad_sessions_are_named(change, message: str) -> None:
    with pytest.raises(BarsError, match=message):
        build_bars(sessions=change(build_bars().sessions))


def test_find_fault_points_at_the_row() -> None:
    bars = build_bars()
    assert find_fault(bars.sessions, {"close": bars.close}) is None
    row, reason = find_fault(
        bars.sessions, {"close": np.where(bars.close == 102, -1, bars.close)}
    ) or (0, "")
    assert row == 2
    assert "close is -1.0 on 2020-01-03. It must be a price above 0" in reason


def test_adjusted_is_total_return_and_idempotent() -> None:
    bars = build_bars(adj_close=np.linspace(40, 54, 8))
    adjusted = bars.adjusted()
    assert adjusted.close.tobytes() == bars.adj_close.tobytes()
    np.testing.assert_allclose(adjusted.high / adjusted.close, bars.high / bars.close)
    assert adjusted.volume.tobytes() == bars.volume.tobytes()
    assert_same_bars(adjusted.adjusted(), adjusted)
    np.testing.assert_array_equal(adjusted.log_returns(), bars.log_returns())


def test_log_returns() -> None:
    returns = build_bars(n=3).log_returns()
    assert np.isnan(returns[0])
    np.testing.assert_allclose(returns[1:], np.log([101 / 100, 102 / 101]))
    assert len(build_bars(n=1).log_returns()) == 1


def test_empty_bars_are_allowed_and_say_so() -> None:
    empty = build_bars().until("1999-01-01")
    assert len(empty) == 0
    assert repr(empty) == "Bars('AAPL', 0 sessions, empty)"
    assert empty.log_returns().shape == (0,)


@pytest.mark.parametrize(
    "value",
    [
        "2020-01-02",
        datetime.date(2020, 1, 2),
        np.datetime64("2020-01-02"),
        pd.Timestamp("2020-01-02 23:00-05:00"),
    ],
)
def test_as_date(value: object) -> None:
    assert as_date(value) == np.datetime64("2020-01-02", "D")


@pytest.mark.parametrize(
    "value", ["soon", None, 7, 1.5, float("nan"), "99999-01-01", pd.NaT, object()]
)
def test_as_date_refuses(value: object) -> None:
    with pytest.raises(BarsError, match="is not a date"):
        as_date(value)


def test_date_range() -> None:
    assert date_range(None, None) == (None, None)
    assert date_range("2020-01-02", "2020-01-02")[0] == np.datetime64("2020-01-02")
    with pytest.raises(BarsError, match="reversed"):
        date_range("2020-01-02", "2020-01-01")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="volume"), r"columns \['volume'\] are missing"),
        (lambda f: f.assign(close="text"), "'close' holds something that is no number"),
        (lambda f: f.reset_index(drop=True), "the index holds no dates"),
        (lambda f: f.set_axis([f"day {i}" for i in range(len(f))]), "the index holds no dates"),
        (lambda f: f.astype("Float64").assign(open=pd.NA), "open is nan"),
    ],
)
def test_from_frame_refuses(change, message: str) -> None:
    with pytest.raises(BarsError, match=message):
        Bars.from_frame("AAPL", change(build_bars().to_frame()))


def test_from_frame_fills_in_what_is_optional() -> None:
    frame = build_bars().to_frame()[["close", "high", "low", "open", "volume"]]
    bars = Bars.from_frame("X", frame.tz_localize("Asia/Tokyo").reset_index())
    assert bars.adj_close.tobytes() == bars.close.tobytes()
    assert not bars.dividends.any()
    assert bars.sessions.tolist() == build_bars().sessions.tolist()


def test_panel_is_a_view_of_its_bars() -> None:
    one, two = build_bars("A", n=5), build_bars("B", n=4, start="2020-01-03")
    panel = Panel([two, one])
    assert panel.symbols == ("B", "A")
    assert list(panel) == ["B", "A"]
    assert panel["A"] is one
    assert "C" not in panel
    assert len(panel.sessions) == 6
    matrix = panel.matrix("close")
    assert matrix.shape == (6, 2)
    assert np.isnan(matrix[:2, 0]).all()
    assert matrix[2, 0] == 100.0
    np.testing.assert_array_equal(panel.matrix("log_returns")[1:5, 1], one.log_returns()[1:])
    assert panel.until("2020-01-02").symbols == ("A",)
    assert panel.between("2020-01-08").symbols == ("B",)
    assert panel.select(["A"]).symbols == ("A",)
    assert panel.adjusted().sha256 == panel.sha256
    assert panel.sha256 != panel.select(["A", "B"]).sha256
    assert repr(panel) == "Panel(2 symbols, 2020-01-01 to 2020-01-08)"


def test_panel_refuses() -> None:
    with pytest.raises(NoDataError, match="holds no symbols"):
        Panel([])
    with pytest.raises(BarsError, match="A appears twice"):
        Panel([build_bars("A"), build_bars("A")])
    with pytest.raises(NoDataError, match="A has no bars"):
        Panel([build_bars("A").until("1999-01-01")])
    with pytest.raises(NoDataError):
        Panel([build_bars("A")]).until("1999-01-01")
    with pytest.raises(SymbolNotFoundError, match="'B' is not in the panel"):
        Panel([build_bars("A")])["B"]


def test_a_panel_holds_nothing_that_was_known_later_than_its_bars() -> None:
    bars, other = build_bars("A", n=30), build_bars("B", n=30)
    days = bars.sessions[[5, 20, 29]]
    told = Events(
        days, np.full(3, "earnings"), np.full(3, "unknown"), np.full(3, "NaT", "datetime64[D]")
    )
    with pytest.raises(BarsError, match="nobody says since when"):
        Panel([bars], events={"A": told})
    events = told.assuming(7)
    assert (np.busday_count(events.known_on, days) == 7).all()
    panel = Panel(
        [bars, other], events={"A": events, "C": events}, covariate=build_bars("^V", n=40)
    )
    assert set(panel.events) == {"A"}
    assert len(panel.covariate or ()) == 30
    for day in range(30):
        for cut in (panel.until(bars.sessions[day]), panel.between(None, bars.sessions[day])):
            known = cut.events["A"].dates if cut.events else np.array([])
            assert known.tolist() == days[days <= bars.sessions[min(day + 7, 29)]].tolist()
            assert len(cut.covariate or ()) == day + 1
    for same in (panel.adjusted(), panel.select(["B", "A"])):
        assert same.events["A"].sha256 == panel.events["A"].sha256
    assert panel.select(["B"]).events == {}


def test_the_hash_of_a_panel_knows_its_events_and_its_covariate() -> None:
    bars = build_bars("A", n=30)
    known = np.full(1, bars.sessions[3])
    events = Events(bars.sessions[[9]], np.array(["earnings"]), np.array(["unknown"]), known)
    plain = Panel([bars])
    assert plain.sha256 == fingerprint([bars.sha256])  # as before there were events
    beside = build_bars("^V", n=30)
    moved = replace(events, timings=np.array(["after-close"]))
    later = replace(events, known_on=known + 1)
    several = [plain, Panel([bars], covariate=beside)]
    several += [Panel([bars], events={"A": one}) for one in (events, moved, later)]
    several += [Panel([bars], events={"A": events}, covariate=beside)]
    assert len({one.sha256 for one in several}) == len(several)
    assert several[2].until(bars.sessions[2]).sha256 == plain.until(bars.sessions[2]).sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timings": ["noon", "unknown"]}, "Got 'noon'"),
        ({"dates": ["2020-01-06", "NaT"]}, "is not a date of an event"),
        (
            {"dates": ["2020-01-06", "2020-01-06"]},
            "Two events of kind 'earnings' are on 2020-01-06",
        ),
        ({"known_on": ["2020-01-03", "2020-02-04"]}, "was known on 2020-02-04 only"),
    ],
)
def test_events_keep_their_rules(changes: dict[str, list[str]], message: str) -> None:
    columns: dict[str, Any] = {"dates": ["2020-01-06", "2020-02-03"], "kinds": ["earnings"] * 2}
    columns |= {"timings": ["unknown"] * 2, "known_on": ["2020-01-03", "NaT"]} | changes
    with pytest.raises(BarsError, match=message):
        Events(**{name: np.array(values) for name, values in columns.items()})
