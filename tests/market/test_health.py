from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import BarsError
from quantseq.market.bars import DATE_DTYPE, FIELDS, PRICES, Bars
from quantseq.market.health import (
    SESSIONS_SHOWN,
    SPLIT_RATIOS,
    Finding,
    RawBars,
    check_bars,
    clean,
    describe_left_out,
    screen,
    typical_move,
)
from quantseq.market.sources import SAMPLE_SYMBOLS, SampleSource
from tests.market.conftest import LAW, any_bars, findings, scaled, sound


def test_a_finding_counts_all_and_names_the_first_few() -> None:
    bars = sound(80)
    volume = bars.volume.copy()
    volume[40:71] = 0.0
    found = {one.rule: one for one in check_bars(replace(bars, volume=volume))}["zero_volume"]
    shown = tuple(str(day) for day in bars.sessions[40 : 40 + SESSIONS_SHOWN])
    assert found == Finding("zero_volume", "warning", 31, shown, found.message)


@given(st.floats(0.001, 1000.0), st.integers(0, 5))
@LAW
def test_the_currency_changes_no_finding(factor: float, seed: int) -> None:
    bars = scaled(sound(), slice(seed, 20 + seed), 12.0)
    assert findings(scaled(bars, slice(None), factor)) == findings(bars)


@pytest.mark.parametrize(("excess", "expected"), [(1e-8, None), (1e-4, "warning"), (0.05, "error")])
def test_ohlc(excess: float, expected: str | None) -> None:
    bars = sound()
    high = bars.high.copy()
    high[7] = bars.close[7] * (1 - excess)
    low = bars.low.copy()
    low[9] = bars.open[9] * (1 + excess)
    found = findings(replace(bars, high=high, low=low))
    assert found == ({} if expected is None else {"ohlc": (expected, 2)})


@pytest.mark.parametrize("factor", [10.0, 0.1, 100.0, 0.01])
@pytest.mark.parametrize("length", [1, 12])
def test_digit_glitches_that_revert(factor: float, length: int) -> None:
    found = findings(scaled(sound(), slice(20, 20 + length), factor))
    assert found["digit_glitch"] == ("error", length)


def test_digit_glitch_within_a_bar() -> None:
    bars = sound()
    high = bars.high.copy()
    high[7] *= 10
    assert findings(replace(bars, high=high)) == {"digit_glitch": ("error", 1)}


def test_a_change_of_scale_that_stays_is_a_jump_not_a_glitch() -> None:
    assert findings(scaled(sound(), slice(20, None), 100.0)) == {"jump": ("error", 1)}


@pytest.mark.parametrize("factor", [4.0, 25.0, 10_000.0])
def test_leaps_that_come_back(factor: float) -> None:
    found = findings(scaled(sound(), slice(20, 23), factor))
    assert ("digit_glitch" in found) == (factor > 8), "a quadrupling may be a market's"


def test_a_glitch_that_takes_longer_than_sixty_sessions_is_two_jumps() -> None:
    assert findings(scaled(sound(200), slice(20, 90), 100.0)) == {"jump": ("error", 2)}


@pytest.mark.parametrize("ratio", SPLIT_RATIOS)
@pytest.mark.parametrize("up", [False, True])
def test_gaps_by_the_ratio_of_a_split(ratio: float, up: bool) -> None:
    found = findings(scaled(sound(), slice(30, None), ratio if up else 1 / ratio))
    assert ("suspected_split" in found) == (ratio >= 2 or not up)


@pytest.mark.parametrize("factor", [0.55, 0.46, 0.62])
def test_a_gap_by_no_round_ratio_is_no_split(factor: float) -> None:
    assert "suspected_split" not in findings(scaled(sound(), slice(30, None), factor))


def test_an_ordinary_day_is_that_of_days_that_moved() -> None:
    moves = np.random.default_rng(0).normal(0, 0.02, 2001)
    assert typical_move(moves) == pytest.approx(0.02, rel=0.1)
    moves[::2] = 0
    assert typical_move(moves) == pytest.approx(0.02, rel=0.1)
    moves[7] = 9.0
    assert typical_move(moves) == pytest.approx(0.02, rel=0.1)
    assert typical_move(np.zeros(9)) == 0.02


@pytest.mark.parametrize(
    ("factor", "found"), [(0.48, True), (1.6, True), (0.6, False), (1.4, False)]
)
def test_jumps(factor: float, found: bool) -> None:
    expected = {"jump": ("warning", 1)} if found else {}
    assert findings(scaled(sound(), slice(30, None), factor)) == expected


def test_stale_runs_and_zero_volume() -> None:
    bars = sound()
    fields = {name: getattr(bars, name).copy() for name in PRICES}
    for values in fields.values():
        values[10:13] = values[9]  # four equal bars are not yet a run
        values[30:36] = values[29]
    volume = bars.volume.copy()
    volume[[3, 31]] = 0
    found = findings(replace(bars, **fields, volume=volume))
    assert found == {"stale": ("warning", 6), "zero_volume": ("warning", 2)}


def test_a_series_without_any_volume_is_no_finding() -> None:
    assert findings(replace(sound(), volume=np.zeros(60))) == {}


def test_forward_filled_weekends() -> None:
    weekdays = sound(30)
    days = np.arange(weekdays.sessions[0], weekdays.sessions[-1] + 1)
    rows = np.searchsorted(weekdays.sessions, days, side="right") - 1
    names = FIELDS
    filled = replace(
        weekdays, sessions=days, **{name: getattr(weekdays, name)[rows] for name in names}
    )
    assert findings(filled) == {"forward_filled": ("error", 12)}


def paying(
    amounts: dict[int, float],
    *,
    recorded: dict[int, float] | None = None,
    adjusted: dict[int, float] | None = None,
    n: int = 240,
    rounding: int | None = None,
) -> Bars:
    """Bars whose closes fall by `amounts` on their sessions.

    What is recorded, and what the adjusted close takes out, are the same unless they are given.
    """
    bars = sound(n)
    for at, amount in sorted(amounts.items()):
        bars = scaled(bars, slice(at, None), 1 - amount / bars.close[at - 1])
    factor = np.ones(n)
    for at, amount in (amounts if adjusted is None else adjusted).items():
        factor[:at] *= 1 - amount / bars.close[at - 1]
    dividends = np.zeros(n)
    for at, amount in (amounts if recorded is None else recorded).items():
        dividends[at] = amount
    close = bars.close * factor
    adj_close = close if rounding is None else close.round(rounding)
    return replace(bars, dividends=dividends, adj_close=adj_close)


QUARTERLY = {60: 0.5, 120: 0.5, 180: 0.5}


@given(
    st.dictionaries(st.sampled_from([30, 90, 150, 210]), st.floats(0.3, 15.0), min_size=1),
    st.sampled_from([None, 2]),
)
@LAW
def test_what_three_records_agree_on_is_no_finding(
    amounts: dict[int, float], rounding: int | None
) -> None:
    assert findings(paying(amounts, rounding=rounding)) == {}


@given(st.integers(1, 20))
@LAW
def test_raw_prices_with_split_and_dividend_on_record_are_no_finding(ratio: int) -> None:
    bars = paying({60: 0.5, 90: 0.4})
    splits = np.zeros(240)
    splits[90] = ratio
    raw = scaled(bars, slice(90), float(ratio))
    raw = replace(raw, splits=splits, adj_close=bars.adj_close)
    dividends = raw.dividends.copy()
    dividends[60] *= ratio
    dividends[90] *= ratio  # declared on the old shares
    assert findings(replace(raw, dividends=dividends)) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"adjusted": {}}, ("error", 3)),
        ({"adjusted": {60: 0.5, 120: 0.5}}, ("warning", 1)),
        ({"adjusted": {60: 0.5, 120: 0.005, 180: 0.5}}, ("warning", 1)),
        ({"adjusted": {60: 0.5, 120: 4.0, 180: 0.5}}, ("error", 1)),
        ({"recorded": {60: 0.5, 120: 50.0, 180: 0.5}}, ("error", 1)),
    ],
)
def test_adjusted_closes_that_take_another_dividend(
    change: dict[str, dict[int, float]], expected: tuple[str, int]
) -> None:
    amounts = {60: 2.0, 120: 2.0, 180: 2.0} if change == {"adjusted": {}} else QUARTERLY
    assert findings(paying(amounts, **change))["dividend_adjustment"] == expected


def test_gains_that_are_counted_twice() -> None:
    bars = paying({120: 8.0}, adjusted={120: 15.0})
    assert findings(bars)["dividend_adjustment"] == ("error", 1)


def test_a_dividend_that_nobody_recorded() -> None:
    bars = paying(QUARTERLY, recorded={60: 0.5, 180: 0.5})
    assert findings(bars) == {"unrecorded_adjustment": ("warning", 1)}
    assert findings(paying(QUARTERLY, recorded={})) == {}, "this file records no events at all"


@pytest.mark.parametrize(("gap", "found"), [(1, True), (3, True), (20, False)])
def test_the_same_dividend_twice(gap: int, found: bool) -> None:
    amounts = {60: 2.0, 120: 2.0, 180: 2.0}
    twice = {**amounts, 120 + gap: 1.95}
    rules = findings(paying(amounts, recorded=twice, adjusted=twice))
    assert rules == ({"dividend_duplicate": ("error", 1)} if found else {})
    small = {at: amount / 10 for at, amount in twice.items()}
    rules = findings(paying(QUARTERLY, recorded=small, adjusted=small))
    assert rules.get("dividend_duplicate") == (("warning", 1) if found else None)


def test_who_pays_every_week_pays_no_duplicates() -> None:
    weekly = dict.fromkeys(range(5, 240, 5), 0.2)
    assert "dividend_duplicate" not in findings(paying(weekly))


@pytest.mark.parametrize("claimed", [20.0, 150.0])
def test_a_dividend_that_the_price_did_not_feel(claimed: float) -> None:
    adjusted = {120: min(claimed, 60.0)}
    found = findings(paying({120: claimed / 100}, recorded={120: claimed}, adjusted=adjusted))
    assert found["dividend_size"] == ("error", 1)


def test_a_large_dividend_that_was_paid_is_no_finding() -> None:
    assert findings(paying({120: 35.0})) == {}


def test_pence_for_pounds() -> None:
    amounts = dict.fromkeys(range(30, 240, 25), 2.0)
    tiny = dict.fromkeys(amounts, 0.02)
    found = findings(paying(amounts, recorded=tiny, adjusted=tiny))
    assert found == {"dividend_size": ("error", len(amounts))}
    assert findings(paying(tiny)) == {}, "a payer of little, whose price did not fall by more"
    one = {**amounts, 105: 0.02}
    assert findings(paying(amounts, recorded=one, adjusted=one))["dividend_size"][1] == 1


def test_splits() -> None:
    splits = np.zeros(60)
    splits[30] = 2.0
    raw = scaled(sound(), slice(30, None), 0.5)
    recorded = replace(raw, splits=splits)
    assert findings(recorded) == {"unadjusted_split": ("error", 1)}
    assert findings(raw)["suspected_split"] == ("warning", 1)
    assert findings(replace(sound(), splits=splits)) == {}
    adjusted = replace(recorded, adj_close=sound().close)
    assert findings(adjusted) == {}


def test_a_ten_for_one_split_and_back_is_no_glitch() -> None:
    splits = np.zeros(60)
    splits[[20, 40]] = 10.0, 0.1
    bars = scaled(sound(), slice(20, 40), 0.1)
    assert findings(replace(bars, splits=splits, adj_close=sound().close)) == {}


@pytest.mark.parametrize("days", [-12, -3, 0, 3, 12])
@pytest.mark.parametrize("ratio", [5.0, 0.1, 0.47])
def test_prices_that_are_split_on_the_wrong_day(days: int, ratio: float) -> None:
    splits = np.zeros(60)
    splits[30] = ratio
    bars = replace(scaled(sound(), slice(30 + days), ratio), splits=splits)
    assert findings(bars)["unadjusted_split"] == ("error", 1)


@pytest.mark.parametrize("ratio", [4.0, 0.25])
def test_one_day_that_missed_the_split(ratio: float) -> None:
    splits = np.zeros(60)
    splits[30] = ratio
    bars = replace(scaled(sound(), 26, ratio), splits=splits)
    assert findings(bars)["unadjusted_split"] == ("error", 2)


def test_a_large_move_far_from_a_split_is_a_jump() -> None:
    splits = np.zeros(60)
    splits[5] = 2.0
    assert findings(replace(scaled(sound(), slice(40, None), 0.45), splits=splits)) == {
        "jump": ("warning", 1)
    }


def test_sound_bars_have_no_findings() -> None:
    assert findings(sound()) == {}
    assert check_bars(sound().until("1999-01-01")) == ()


@pytest.mark.parametrize("symbol", SAMPLE_SYMBOLS)
def test_the_sample_is_sound(symbol: str) -> None:
    found = check_bars(SampleSource().fetch(symbol))
    assert not [finding for finding in found if finding.severity == "error"]
    assert [f.sessions for f in found] == ([("2000-09-29",)] if symbol == "AAPL" else [])


def test_calendar_of_new_york() -> None:
    bars = SampleSource().fetch("IBM", start="2012-01-01", end="2012-12-31")
    rows = np.flatnonzero(bars.sessions != np.datetime64("2012-03-14"))
    names = ("open", "high", "low", "close", "adj_close", "volume", "dividends", "splits")
    sessions = bars.sessions[rows].copy()
    holiday = int(np.searchsorted(sessions, np.datetime64("2012-07-05")))
    sessions[holiday] = np.datetime64("2012-07-04")
    moved = replace(bars, sessions=sessions, **{name: getattr(bars, name)[rows] for name in names})
    by_rule = {finding.rule: finding for finding in check_bars(moved)}
    assert by_rule["missing_session"].sessions == ("2012-03-14", "2012-07-05")
    assert by_rule["extra_session"].sessions == ("2012-07-04",)


def test_bars_outside_the_calendar_do_not_crash() -> None:
    for start in ("1925-01-05", "2150-01-05", "1949-12-01"):
        assert findings(sound(start=start, timezone="America/New_York")).keys() <= {
            "missing_session",
            "extra_session",
        }


def test_without_a_calendar_the_check_says_so() -> None:
    (note,) = check_bars(sound(timezone=""))
    assert (note.rule, note.severity, note.count) == ("calendar", "warning", 0)
    assert "time zone unknown" in note.message


def test_errors_come_first_and_only_a_few_sessions_are_named() -> None:
    bars = replace(sound(), volume=np.where(np.arange(60) % 2, 0.0, 1.0))
    found = check_bars(scaled(bars, slice(20, 40), 100.0))
    assert [f.severity for f in found] == sorted(f.severity for f in found)
    assert found[0].severity == "error"
    assert all(len(f.sessions) <= SESSIONS_SHOWN for f in found)
    assert {f.rule: f.count for f in found}["zero_volume"] == 30


def raw(bars: Bars, **changes: Any) -> RawBars:
    """Sound bars as raw columns; `changes` replace single cells: (row, value) by field."""
    sessions = bars.sessions.copy()
    values = {name: getattr(bars, name).copy() for name in FIELDS}
    for name, (row, value) in changes.items():
        (sessions if name == "sessions" else values[name])[row] = value
    places = tuple(f"line {row + 2}" for row in range(len(bars)))
    return RawBars(bars.symbol, sessions, values, places, timezone=bars.timezone)


def rules(given: RawBars) -> dict[str, tuple[str, int]]:
    return {f.rule: (f.severity, f.count) for f in screen(given) if f.rule != "calendar"}


@given(any_bars())
@LAW
def test_what_bars_accept_has_only_the_findings_of_check(bars: Bars) -> None:
    assert screen(raw(bars)) == check_bars(bars)


@given(st.permutations(range(30)))
@LAW
def test_the_order_of_rows_changes_no_other_finding(order: list[int]) -> None:
    bars = scaled(sound(30), slice(10, 12), 100.0)
    plain = raw(bars)
    mixed = RawBars(
        bars.symbol,
        plain.sessions[order],
        {name: values[order] for name, values in plain.columns.items()},
        plain.places,
        timezone=bars.timezone,
    )
    found = rules(mixed)
    ordered = order in (sorted(order), sorted(order, reverse=True))
    assert ("order" in found) == (not ordered)
    found.pop("order", None)
    assert found == rules(plain)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sessions": (5, np.datetime64("NaT"))}, {"date": ("warning", 1)}),
        ({"sessions": (5, np.datetime64("1500-01-01"))}, {"date": ("warning", 1)}),
        ({"close": (5, np.nan)}, {"nan": ("warning", 1)}),
        ({"volume": (5, np.inf)}, {"nan": ("warning", 1)}),
        ({"low": (5, 0.0)}, {"price": ("warning", 1)}),
        ({"adj_close": (5, -3.0)}, {"price": ("warning", 1)}),
        ({"volume": (5, -1.0)}, {"negative": ("warning", 1)}),
        ({"splits": (5, -1.0)}, {"negative": ("warning", 1)}),
    ],
)
def test_each_fault_is_found_once(change: dict[str, Any], expected: dict[str, Any]) -> None:
    assert rules(raw(sound(), **change)) == expected


def test_duplicates_and_empty_rows() -> None:
    bars = sound()
    twice = raw(bars, sessions=(5, bars.sessions[4]))
    assert rules(twice) == {"duplicate": ("error", 1)}
    (first,) = [one for one in screen(twice) if one.rule == "duplicate"]
    assert first.sessions == (f"{bars.sessions[4]} (line 7)",)
    gap = raw(bars)
    for name in ("open", "high", "low", "close", "adj_close", "volume"):
        gap.columns[name][9] = np.nan
    assert rules(gap) == {"empty": ("warning", 1)}


def test_many_faults_at_once_are_all_there() -> None:
    bars = scaled(sound(), slice(20, 25), 100.0)
    spoiled = raw(bars, close=(3, np.nan), low=(7, -1.0), sessions=(50, bars.sessions[49]))
    found = rules(spoiled)
    assert found == {
        "nan": ("warning", 1),
        "price": ("warning", 1),
        "duplicate": ("error", 1),
        "digit_glitch": ("error", 5),
    }


def test_nothing_usable_is_still_an_answer() -> None:
    nothing = RawBars(
        "X",
        np.array(["NaT"], DATE_DTYPE),
        {name: np.array([np.nan]) for name in ("open", "high", "low", "close", "volume")},
        ("line 2",),
        (("line 2", "the date 'x' is not a date"),),
    )
    assert [one.rule for one in screen(nothing)] == ["unreadable"]


def spoiled(bars: Bars, rows: int, name: str = "open", value: float = 0.0) -> RawBars:
    """Raw bars of which the first `rows` have no good price of one kind."""
    return raw(bars, **{name: (slice(0, rows), value)})


def test_few_rows_without_use_are_left_out_and_counted() -> None:
    bars = sound()
    found = clean(spoiled(bars, 2))
    assert found.sessions.tolist() == bars.sessions[2:].tolist()
    (where,) = found.provenance["left_out"].values()
    assert where == [f"{bars.sessions[0]} (line 2)", f"{bars.sessions[1]} (line 3)"]
    assert "2 left out, prices that are zero or negative" in describe_left_out(found)
    (told,) = [one for one in check_bars(found) if one.rule == "left_out"]
    assert (told.severity, told.count) == ("warning", 2)


def test_more_rows_without_use_are_asked_about() -> None:
    bars = sound()
    first = str(bars.sessions[6])
    with pytest.raises(
        BarsError, match=rf"open is 0.*6 of 60 rows.*--keep-closes.*--start {first}"
    ):
        clean(spoiled(bars, 6))
    assert len(clean(spoiled(bars, 6), allow_gaps=True)) == len(bars) - 6
    assert len(clean(spoiled(bars, 6).since(first))) == len(bars) - 6
    kept = clean(spoiled(bars, 6), keep_closes=True)
    assert kept.open[:6].tolist() == bars.close[:6].tolist()
    assert len(kept.provenance["closes_only"]) == 6
    assert "closes_only" in {one.rule for one in check_bars(kept)}
    with pytest.raises(
        BarsError, match="--allow-gaps, or begin"
    ):  # without a close nothing is kept
        clean(spoiled(bars, 6, "close"))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "close", "volume", "dividends"]),
            st.integers(0, 29),
            st.sampled_from([np.nan, 0.0, -1.0, np.inf]),
        ),
        max_size=12,
    ),
    st.permutations(range(30)),
    st.booleans(),
)
@LAW
def test_check_and_import_are_one_reader(
    faults: list[tuple[str, int, float]], order: list[int], mixed: bool
) -> None:
    given = raw(sound(30))
    for name, row, value in faults:
        given.columns[name][row] = value
    if mixed:
        given = replace(
            given,
            sessions=given.sessions[order],
            columns={name: values[order] for name, values in given.columns.items()},
        )
    own = {"unreadable", "date", "nan", "price", "negative", "order", "duplicate", "empty"}
    refused = any(one.rule in own and one.severity == "error" for one in screen(given))
    try:
        bars = clean(given)
    except BarsError:
        assert refused
        return
    assert not refused
    left_out = sum(len(rows) for rows in bars.provenance.get("left_out", {}).values())
    assert len(bars) + left_out == 30
