"""Inputs are what was known at a close, finite whatever the prices, and the days to come are the calendar's."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.files import to_json
from quantseq.forecasting.inputs import (
    CHANNELS,
    CUT,
    NUM_DAYS,
    NUM_EVENTS,
    NUM_NUMBERS,
    QUARTER,
    REACTS,
    Measure,
    Numbers,
    inputs,
    next_sessions,
    score_of_scale,
)
from quantseq.market.bars import Bars, Events, Panel
from tests.prices import TOKYO, rewrite_after, simulate_bars, simulate_panel, with_events

law = settings(deadline=None, max_examples=15)
H = 3
PANEL = with_events(
    Panel(
        [
            *simulate_panel("AB", 420).values(),
            simulate_bars("C", 260, start="2015-05-01"),
            simulate_bars("T", 420, timezone=TOKYO),
        ]
    )
)
DATA = inputs(PANEL, horizon=H)


def test_shapes_are_as_promised_and_nothing_is_unknown() -> None:
    for symbol, one in DATA.items():
        n = len(PANEL[symbol])
        assert one.numbers.shape == (n, NUM_NUMBERS)
        assert one.channels.shape == (n, len(CHANNELS))
        assert one.days.shape[1:] == (H, NUM_DAYS)
        assert one.place.max() < len(one.days)
        assert one.events.shape == (n, H, NUM_EVENTS)
        for values in (one.numbers, one.channels, one.days, one.events):
            assert np.isfinite(values).all()


@given(st.integers(0, 418), st.integers(0, 99))
@law
def test_inputs_do_not_see_later_bars_that_are_rewritten(n: int, seed: int) -> None:
    cutoff = PANEL.sessions[n]
    other = inputs(rewrite_after(PANEL, cutoff, seed=seed), horizon=H)
    for symbol, one in DATA.items():
        keep, same = one.sessions <= cutoff, other[symbol].sessions <= cutoff
        for name in ("numbers", "channels", "events"):
            old, new = getattr(one, name)[keep], getattr(other[symbol], name)[same]
            assert old.tobytes() == new.tobytes(), name
        old, new = one.days[one.place[keep]], other[symbol].days[other[symbol].place[same]]
        assert old.tobytes() == new.tobytes()


def test_who_is_no_member_of_the_market_changes_no_bit_of_others() -> None:
    members = ("A", "B", "T")
    alone, other = (
        inputs(PANEL.select(members), horizon=H),
        inputs(PANEL, horizon=H, members=members),
    )
    for symbol in members:
        assert alone[symbol].numbers.tobytes() == other[symbol].numbers.tobytes()
    single = inputs(PANEL.select("C"), horizon=H, members=members)["C"]
    by_itself = inputs(PANEL.select("C"), horizon=H)["C"]
    assert single.numbers.tobytes() == by_itself.numbers.tobytes()


def test_a_prefix_gives_the_same_bits() -> None:
    cutoff = PANEL.sessions[300]
    short = inputs(PANEL.until(cutoff), horizon=H)
    for symbol, one in short.items():
        n = len(one.sessions)
        assert one.numbers.tobytes() == DATA[symbol].numbers[:n].tobytes()
        assert one.events.tobytes() == DATA[symbol].events[:n].tobytes()
        whole = DATA[symbol]
        assert one.days[one.place].tobytes() == whole.days[whole.place[:n]].tobytes()


def test_markets_that_close_apart_are_not_told_of_each_other() -> None:
    alone = inputs(Panel([PANEL["T"]], covariate=PANEL.covariate), horizon=H)["T"]
    assert alone.numbers.tobytes() == DATA["T"].numbers.tobytes()


def test_an_echo_comes_a_quarter_after_what_it_repeats() -> None:
    bars = simulate_bars("A", 420)
    loud = 200
    volume = bars.volume.copy()
    volume[loud] *= 50
    plain, changed = (
        inputs(Panel([b]), horizon=1)["A"] for b in (bars, replace(bars, volume=volume))
    )
    moved = np.flatnonzero((plain.numbers != changed.numbers).any(axis=1))
    assert moved[0] == loud
    away = moved[moved > loud + 100 - QUARTER + 26]
    assert {loud + QUARTER - 1, loud + 2 * QUARTER - 1} <= set(moved.tolist())
    assert (away <= loud + 4 * QUARTER + 30).all()


@pytest.mark.parametrize("kind", ["flat", "no volume", "closes", "glitch"])
def test_poor_prices_still_have_finite_numbers(kind: str) -> None:
    bars = simulate_bars("A", 300)
    prices = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "adj_close")}
    if kind == "flat":
        prices = dict.fromkeys(prices, np.full(300, 3.0))
    if kind == "closes":
        prices = dict.fromkeys(prices, bars.close)
    if kind == "glitch":
        factor = np.where(np.arange(300) == 200, 1e6, 1.0)
        prices = {name: values * factor for name, values in prices.items()}
    volume = np.zeros(300) if kind == "no volume" else bars.volume
    one = inputs(Panel([replace(bars, **prices, volume=volume)]), horizon=2)["A"]
    assert np.isfinite(one.numbers).all()
    assert np.abs(one.numbers).max() < 300


def test_the_calendar_of_an_exchange_knows_its_holidays() -> None:
    days = np.array(["2019-07-03", "2019-07-05"], dtype="datetime64[D]")
    found = next_sessions("XNYS", days, 2)
    assert found.astype(str).tolist() == [
        ["2019-07-03", "2019-07-05", "2019-07-08"],
        ["2019-07-05", "2019-07-08", "2019-07-09"],
    ]


def test_without_a_calendar_weekdays_follow_and_every_day_for_who_trades_at_weekends() -> None:
    friday = np.datetime64("2019-07-05")
    assert next_sessions(None, np.array([friday]), 1)[0, 1] == friday + 3
    week = np.arange("2019-06-29", "2019-07-06", dtype="datetime64[D]")
    assert next_sessions(None, week, 1)[-1, 1] == friday + 1
    assert (next_sessions("no such calendar", np.array([friday]), 1)[0, 1]) == friday + 3


def test_a_measure_cuts_and_standardises_what_it_was_fitted_on() -> None:
    values = np.random.default_rng(0).standard_t(3, (20_000, 2)).astype(np.float32)
    values[:, 1] = 7
    measure = Measure.fit(values)
    found = measure.apply(values)
    assert found[:, 0].mean() == pytest.approx(0, abs=1e-4)
    assert found[:, 0].std() == pytest.approx(1, abs=1e-4)
    assert (found[:, 1] == 0).all()
    assert np.mean(found[:, 0] == found[:, 0].max()) == pytest.approx(CUT, rel=0.1)
    assert measure.apply(values[5:6]).tobytes() == found[5:6].tobytes()
    again = Measure.from_json(json.loads(to_json(asdict(measure))))
    assert again.apply(values).tobytes() == found.tobytes()
    assert measure.part(slice(1)).apply(values[:, :1]).tobytes() == found[:, :1].tobytes()


@given(st.floats(0, 1e6), st.floats(2.1, 100))
@law
def test_the_score_of_the_scale_is_bounded(square: float, nu: float) -> None:
    found = score_of_scale(np.array([square]), nu)[0]
    assert -1 <= found <= nu + 1e-9


def told(bars: Bars, day: int, timing: str, *, notice: int = 2, horizon: int = 3) -> Numbers:
    """What is said of the event on the session of this number: (n, H, NUM_EVENTS)."""
    date = bars.sessions[[day]]
    events = Events(date, np.array(["earnings"]), np.array([timing]), date - np.timedelta64(notice))
    return inputs(Panel([bars], events={bars.symbol: events}), horizon=horizon)[bars.symbol].events


@pytest.mark.parametrize(("timing", "later"), [("before-open", 0), ("after-close", 1)])
def test_the_session_whose_return_holds_an_event_reacts(timing: str, later: int) -> None:
    bars, day = simulate_bars("A", 300, start="2016-01-04", timezone=""), 200  # a Monday
    found = told(bars, day, timing, notice=30)
    _, reacts, before, after = np.moveaxis(found, 2, 0)
    rows, steps = np.nonzero(reacts)
    assert (rows + 1 + steps == day + later).all()
    assert len(rows) == 3
    assert set(reacts[rows, steps]) == {1.0}
    for values, shift in ((before, -1), (after, 1)):
        rows, steps = np.nonzero(values)
        assert (rows + 1 + steps == day + later + shift).all()
        assert len(rows) == 3
    assert (found[:, :, 0] > 0).sum() == 3  # it widens these and no others


def test_an_event_of_unknown_timing_may_move_two_sessions_as_the_ones_before_did() -> None:
    bars = simulate_bars("A", 420, timezone="")
    plain = told(bars, 300, "unknown", notice=5)[299, :2, REACTS]
    np.testing.assert_allclose(plain, 0.5)
    factor = np.ones(420)
    days = np.arange(40, 360, 40)
    factor[days + 1] = 1.3  # it moves after the close of its day
    prices = {
        name: getattr(bars, name) * np.cumprod(factor) for name in ("open", "high", "low", "close")
    }
    bars = replace(bars, **prices, adj_close=prices["close"])
    n = len(days)
    events = Events(
        bars.sessions[days], np.full(n, "earnings"), np.full(n, "unknown"), bars.sessions[days - 5]
    )
    found = inputs(Panel([bars], events={"A": events}), horizon=2)["A"].events[:, :, REACTS]
    assert found[days[0] - 1].tolist() == [0.5, 0.5]
    assert found[days[-1] - 1, 0] < 0.1
    assert found[days[-1] - 1, 1] > 0.9


@pytest.mark.parametrize("notice", [0, 1, 4])
def test_an_event_is_told_of_only_once_it_is_known(notice: int) -> None:
    bars, day = simulate_bars("A", 300, start="2016-01-04", timezone=""), 204  # a Friday
    found = told(bars, day, "before-open", notice=notice)
    rows = np.flatnonzero(found.any(axis=(1, 2)))
    assert rows[0] == day - notice
    assert rows[-1] == day


def test_a_covariate_is_as_of_the_day_before() -> None:
    bars = simulate_bars("A", 300)
    level = np.where(np.arange(300) < 200, 10.0, 20.0)
    beside = replace(simulate_bars("V", 300), adj_close=level)
    plain, found = (
        inputs(Panel([bars], covariate=one), horizon=1)["A"].numbers for one in (None, beside)
    )
    apart = np.abs(plain - found) > 1e-6
    assert np.flatnonzero(apart.any(axis=1))[0] == 201
    change = found[201][apart[201]]
    assert (np.isclose(change, np.log(2)).sum()) == 3
    late = replace(beside, sessions=beside.sessions + 5000)
    none = inputs(Panel([bars], covariate=late), horizon=1)["A"].numbers
    assert none.tobytes() == plain.tobytes()


def test_closures_that_nobody_could_foresee_are_no_part_of_the_calendar() -> None:
    days = np.array(["2001-09-10", "2012-10-26", "2012-11-21"], "datetime64[D]")
    found = next_sessions("XNYS", days, 1)[:, 1].astype(str).tolist()
    assert found == ["2001-09-11", "2012-10-29", "2012-11-23"]  # Thanksgiving is no surprise
