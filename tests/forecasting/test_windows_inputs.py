"""What the network is told is known at the close, finite where it must be, and never from elsewhere."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.forecasting.reference import Reference
from quantseq.forecasting.volatility import LONG_WINDOW, features
from quantseq.forecasting.windows import (
    CONDITIONS,
    STREAMS,
    SURPRISE_HALF_LIFE,
    Inputs,
    inputs,
    surprise,
)
from quantseq.market.bars import Panel
from tests.prices import TOKYO, rewrite_after, simulate_bars, simulate_panel

law = settings(deadline=None, max_examples=10)
PANEL = simulate_panel("ABC", 420)
REFERENCE = Reference.fit(PANEL.until(PANEL.sessions[330]), horizon=1)
DATA = features(PANEL)


def told_of(panel: Panel, reference: Reference = REFERENCE) -> dict[str, Inputs]:
    data = features(panel).items()
    return {symbol: inputs(one, reference.parameters(symbol, one)) for symbol, one in data}


def surprises(symbol: str = "A", panel: Panel = PANEL) -> np.ndarray:
    one = features(panel)[symbol]
    return surprise(one, REFERENCE.parameters(symbol, one))


INPUTS = told_of(PANEL)


def column(one: Inputs, name: str) -> np.ndarray:
    if name in STREAMS:
        return one.streams[:, STREAMS.index(name)]
    return one.conditions[:, CONDITIONS.index(name)]


def same(left: Inputs, right: Inputs, n: int) -> bool:
    return all(
        getattr(left, one.name)[:n].tobytes() == getattr(right, one.name)[:n].tobytes()
        for one in fields(Inputs)
    )


@given(st.integers(0, 418), st.integers(0, 99))
@law
def test_inputs_do_not_see_later_bars_that_are_rewritten(n: int, seed: int) -> None:
    other = told_of(rewrite_after(PANEL, PANEL.sessions[n], seed=seed))
    for symbol, one in INPUTS.items():
        assert same(one, other[symbol], n + 1)


def test_every_input_is_there_and_known_once_there_is_history() -> None:
    for one in INPUTS.values():
        assert one.streams.shape == (420, len(STREAMS))
        assert one.conditions.shape == (420, len(CONDITIONS))
        assert np.isfinite(one.streams[LONG_WINDOW + 1 :]).all()
        assert np.isfinite(one.conditions[LONG_WINDOW + 63 :]).all()


def test_a_symbol_that_starts_later_and_peers_elsewhere_change_no_earlier_bit() -> None:
    late = simulate_bars("N", 150, start=str(PANEL.sessions[200]))
    away = simulate_bars("T", 420, timezone=TOKYO)
    by_suffix = simulate_bars("7203.T", 420, timezone="")
    assert same(
        told_of(Panel([by_suffix]))["7203.T"],
        told_of(Panel([by_suffix, *PANEL.values()]))["7203.T"],
        420,
    )
    other = told_of(Panel([away, *PANEL.values(), late]))
    assert list(other) == ["T", "A", "B", "C", "N"]
    for symbol, one in INPUTS.items():
        assert same(one, other[symbol], 200)
    alone = told_of(Panel([away]))
    assert same(alone["T"], other["T"], 420)


def test_surprise_is_the_slope_of_the_log_score_in_the_scale() -> None:
    one = DATA["A"]
    told = surprises()
    p = REFERENCE.parameters("A", one)
    assert np.isnan(told[: LONG_WINDOW - 1]).all()
    from scipy import stats

    for i in (LONG_WINDOW + 3, 300, 419):
        loc, scale, nu = (x[i - 1, 0] for x in (p.loc, p.scale, p.nu))
        up, down = (
            stats.t.logpdf(one.returns[i], nu, loc, scale * np.exp(step)) for step in (1e-5, -1e-5)
        )
        assert told[i] == pytest.approx((up - down) / 2e-5, abs=1e-6)
    assert (told[LONG_WINDOW:] >= -1).all()


def test_recent_surprises_decay_by_half_in_a_half_life() -> None:
    told = np.nan_to_num(surprises())
    weights = 0.5 ** (np.arange(419, -1, -1) / SURPRISE_HALF_LIFE)
    expected = told @ weights * (1 - 0.5 ** (1 / SURPRISE_HALF_LIFE))
    assert column(INPUTS["A"], "own surprise")[-1] == pytest.approx(expected)


def test_returns_stand_in_units_of_what_was_expected() -> None:
    one = DATA["A"]
    p = REFERENCE.parameters("A", one)
    last = (one.returns[300] - p.loc[299, 0]) / p.scale[299, 0]
    assert column(INPUTS["A"], "last return")[300] == pytest.approx(last)
    month = one.returns[300 - 21 : 301].mean() / p.scale[300, 0]
    assert column(INPUTS["A"], "month's return")[300] == pytest.approx(month)


def test_volume_stands_beside_its_mean_of_the_sessions_before() -> None:
    volume = PANEL["A"].volume
    relative = [np.log(volume[i] / volume[i - 20 : i].mean()) for i in range(296, 301)]
    assert column(INPUTS["A"], "last volume")[300] == pytest.approx(relative[-1])
    assert column(INPUTS["A"], "week's volume")[300] == pytest.approx(np.mean(relative))
    np.testing.assert_array_equal(column(INPUTS["A"], "volume"), column(INPUTS["A"], "last volume"))


def test_a_scale_that_is_too_small_shows_as_surprise() -> None:
    shrunk = replace(
        REFERENCE, shapes={s: shape * [1, 0.5] for s, shape in REFERENCE.shapes.items()}
    )
    right, wrong = INPUTS["A"], told_of(PANEL, shrunk)["A"]
    assert (column(wrong, "own surprise") > column(right, "own surprise") + 0.2)[300:].all()


def test_a_glitch_surprises_no_more_than_the_degrees_of_freedom() -> None:
    bars = PANEL["A"]
    prices = {}
    for name in ("open", "high", "low", "close", "adj_close"):
        prices[name] = getattr(bars, name).copy()
        prices[name][400] *= 10
    panel = Panel([replace(bars, **prices)])
    nu = REFERENCE.parameters("A", features(panel)["A"]).nu[0, 0]
    assert 1 < surprises("A", panel)[400] <= nu


def test_the_same_days_of_the_last_quarter_by_hand() -> None:
    one = DATA["A"]
    excess = one.log_variance - one.long_run
    next_session = 400 + 1
    expected = np.mean([excess[next_session - lag] for lag in (62, 63, 64)])
    assert column(INPUTS["A"], "last quarter")[400] == pytest.approx(expected)


def test_the_calendar_is_that_of_the_cutoff() -> None:
    for day, weekday, end in zip(
        DATA["A"].sessions,
        column(INPUTS["A"], "weekday"),
        column(INPUTS["A"], "end of month"),
        strict=True,
    ):
        date = day.astype(object)
        assert weekday == date.weekday()
        assert end == (date.day >= 28)


def test_without_ranges_and_volume_the_rest_is_still_known() -> None:
    poor = []
    for bars in PANEL.values():
        closes = dict.fromkeys(("open", "high", "low"), bars.close)
        poor.append(replace(bars, **closes, volume=np.zeros(len(bars))))
    found = told_of(Panel(poor))["A"]
    assert np.isnan(column(found, "volume")).all()
    assert np.isfinite(np.delete(found.streams, 1, axis=1)[LONG_WINDOW + 1 :]).all()
    known = [place for place, name in enumerate(CONDITIONS) if name != "last volume"]
    assert np.isfinite(found.conditions[LONG_WINDOW + 63 :, known]).all()
