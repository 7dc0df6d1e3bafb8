"""What prices alone cannot do is found where it was planted, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.market.bars import FIELDS, PRICES
from quantseq.market.plausibility import SPLIT_RATIOS, typical_move
from tests.market.conftest import LAW, findings, scaled, sound


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
