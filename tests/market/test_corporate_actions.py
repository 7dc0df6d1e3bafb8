"""Splits and dividends that do not fit the prices beside them are found; those that do are not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.market.bars import Bars
from tests.market.conftest import LAW, findings, scaled, sound


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
