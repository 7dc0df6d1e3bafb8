"""A forecast starts at each symbol's newest bar, which the model may have seen but not passed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import BarsError, LeakageError, NotEnoughDataError
from quantseq.market.bars import Panel
from quantseq.pipeline.forecast import describe_forecast, draw_fans, forecast
from tests.forecasting.broken import glitch, only_closes
from tests.prices import (
    fit_small,
    loud_forecaster,
    recent_prices,
    small_config,
    with_events,
)

pytestmark = pytest.mark.slow


def test_a_symbol_whose_calendar_ended_earlier_is_forecast_from_what_was_trained_on() -> None:
    recent = recent_prices()
    first, *others = recent.values()
    early = first.until(first.sessions[-2])
    panel = Panel([early, *others])
    model = fit_small(panel, small_config(), last=len(panel.sessions) - 1)
    assert model.trained_until > early.sessions[-1]
    first_look = forecast(panel, model, horizon=3, num_paths=8)
    shown = first_look.forecasts
    assert first_look.notes == ()
    assert set(shown.symbols) == set(panel)
    assert shown.cutoffs.min() == early.sessions[-1]
    assert np.isfinite(shown.mean).all()
    with pytest.raises(LeakageError, match=f"the cutoff {early.sessions[-2]} of {early.symbol}"):
        forecast(Panel([early.until(early.sessions[-2]), *others]), model, horizon=3, num_paths=8)
    with pytest.raises(LeakageError, match="after the cutoff"):
        forecast(panel, model, cutoff=early.sessions[-1], horizon=3, num_paths=8)


def test_prices_that_the_model_was_not_trained_on_are_named() -> None:
    recent = recent_prices()
    model = fit_small(recent, small_config(), last=len(recent.sessions) - 20)
    names = list(recent)
    assert forecast(recent, model, horizon=3, num_paths=8).notes == ()
    swapped = Panel([replace(recent[names[1]], symbol=names[0]), *list(recent.values())[1:]])
    (note,) = forecast(swapped, model, horizon=3, num_paths=8).notes
    assert f"trained on: {names[0]}. Dividends" in note


def test_more_history_before_or_after_what_was_trained_on_is_no_other_price() -> None:
    recent = recent_prices()
    days = recent.sessions
    model = fit_small(recent.between(days[100]), small_config(), last=len(days) - 120)
    assert model.task.tokenizer.fitted_from == str(days[100])
    for panel in (recent, recent.until(days[-10]), recent.select(list(recent)[:2])):
        assert forecast(panel, model, horizon=3, num_paths=8, peers=recent).notes == ()
    name, bars = next(iter(recent.items()))
    close = bars.adj_close.copy()
    close[50] *= 1.01  # before the training
    before = Panel([replace(bars, adj_close=close)])
    assert forecast(before, model, horizon=3, num_paths=8, peers=recent).notes == ()
    close[150] *= 1.001  # within
    other = Panel([replace(bars, adj_close=close)])
    (note,) = forecast(other, model, horizon=3, num_paths=8, peers=recent).notes
    assert f"trained on: {name}. Dividends" in note


def test_symbols_that_cannot_be_forecast_are_left_out_and_named() -> None:
    recent = recent_prices()
    model = fit_small(recent, small_config(), last=len(recent.sessions) - 20)
    good = next(iter(recent.values()))
    flat = replace(only_closes(good, np.full(len(good), 7.0)), symbol="FLAT")
    young = replace(good.between(good.sessions[-60]), symbol="YOUNG")
    wrong = replace(glitch(good, len(good) - 30, 1000.0), symbol="WRONG")
    panel = Panel([good, flat, young, wrong])
    found = forecast(panel, model, horizon=3, num_paths=8, peers=recent)
    assert set(found.forecasts.symbols) == {good.symbol}
    assert np.isfinite(found.table.select_dtypes("number")).all(axis=None)
    lines = describe_forecast(found, model)[-3:]
    assert lines[0].startswith("WRONG was left out: errors in its prices, WRONG (digit_glitch on ")
    assert lines[1].startswith(
        "FLAT was left out: its price stands still, with more than 20 closes in"
    )
    assert lines[2] == "YOUNG was left out: a forecast needs 169 sessions, and it has 60."
    several = Panel([good, wrong])
    kept = forecast(several, model, horizon=3, num_paths=8, allow_bad_data=True)
    assert set(kept.forecasts.symbols) == {good.symbol, "WRONG"}
    for one, error, words in (
        (flat, NotEnoughDataError, "the price of FLAT stands still"),
        (young, NotEnoughDataError, "has 60 sessions"),
        (wrong, BarsError, "No symbol is left: WRONG was left out"),
    ):
        with pytest.raises(error, match=words):
            forecast(Panel([one]), model, horizon=3, num_paths=8)
    awake = Panel([good.until(good.sessions[-2]), flat])  # the one that moves ends a day earlier
    shown = forecast(awake, model, horizon=3, num_paths=8)
    assert set(shown.forecasts.symbols) == {good.symbol}


def test_the_session_of_an_event_is_wider_named_and_marked(tmp_path: Path) -> None:
    recent = with_events(recent_prices(), size=0.05)
    model = fit_small(recent, small_config(), last=len(recent.sessions) - 20)
    assert model.task.reference.event_slopes.any()
    name = recent.symbols[0]  # whose events are before the open
    day = recent.events[name].dates[-2]
    cutoff = recent.sessions[np.searchsorted(recent.sessions, day) - 1]
    model = replace(model, trained_until=cutoff - 1)
    known, plain = (
        forecast(panel, model, horizon=3, num_paths=8, cutoff=cutoff)
        for panel in (recent, Panel(recent.values()))
    )
    told, silent = (one.table[one.table["symbol"] == name] for one in (known, plain))
    assert told["event"].tolist() == [1.0, 0.0, 0.0]
    assert silent["event"].tolist() == [0.0] * 3
    wider = told["sigma"].to_numpy() / silent["sigma"].to_numpy()
    assert wider[0] > 1.3
    assert 0.8 < wider[2] < 1.2
    assert "Scheduled events: " in known.notes[-2]
    drawn = draw_fans(recent, known, tmp_path / "a"), draw_fans(recent, plain, tmp_path / "b")
    pictures = [one[name].read_bytes() for one in drawn]
    assert pictures[0] != pictures[1]


def test_one_symbol_is_forecast_as_among_all_if_its_market_is_there() -> None:
    recent = recent_prices()
    model = fit_small(recent, small_config(), last=len(recent.sessions) - 20)
    first = next(iter(recent))
    how = {"horizon": 3, "num_paths": 8}
    every, one = forecast(recent, model, **how), recent.select([first])
    alone = forecast(one, model, peers=recent, **how)
    mine = every.table[every.table["symbol"] == first].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.table, mine, check_exact=True)
    assert alone.notes == ()
    (note,) = forecast(one, model, **how).notes
    assert f"{len(recent) - 1} of the {len(recent)} symbols" in note


def test_what_made_sigma_is_said_for_every_symbol_and_adds_up(tmp_path: Path) -> None:
    recent, model = recent_prices(), loud_forecaster()
    found = forecast(recent, model, horizon=2, num_paths=8)
    assert found.moved["symbol"].tolist() == list(found.forecasts.symbols)
    first = found.table[found.table["step"] == 1]
    np.testing.assert_array_equal(found.moved["sigma"], first["sigma"])
    lines = [one for one in describe_forecast(found, model) if one.startswith("  sigma of step 1 ")]
    for line, moved in zip(lines, found.moved.to_dict("records"), strict=True):
        assert f" {100 * moved['sigma']:.2f} %: {100 * moved['change']:+.0f} % against" in line
        assert f"network {100 * moved['network']:+.0f} %" in line
        assert "limit" not in line
    charts = draw_fans(recent, found, tmp_path)
    assert [path.read_bytes()[:4] for path in charts.values()] == [b"\x89PNG"] * len(recent)


def test_where_ticks_are_large_three_chances_are_said() -> None:
    recent, model = recent_prices(), loud_forecaster()
    reference = replace(model.task.reference, ticks=("IBM",))
    found = forecast(
        recent,
        replace(model, task=replace(model.task, reference=reference)),
        horizon=2,
        num_paths=400,
    )
    three = found.table[["prob_up", "prob_zero", "prob_down"]]
    np.testing.assert_allclose(three.sum(axis=1), 1)
    tied = (found.table["symbol"] == "IBM").to_numpy()
    assert ((three["prob_zero"] > 0) == tied).all()
    drawn = found.forecasts.paths
    assert drawn is not None
    still = (drawn == 0).mean(axis=1).ravel()
    np.testing.assert_allclose(still, three["prob_zero"], atol=0.08)
    heads = [line for line in describe_forecast(found, model) if line.startswith("  step")]
    assert [line.endswith("P(up)     P(0)  P(down)") for line in heads] == [
        name == "IBM" for name in recent
    ]
    ratio = found.moved["sigma"] / found.moved["average_day"]
    causes = found.moved.loc[:, "volatility":]
    np.testing.assert_allclose((1 + causes).prod(axis=1), ratio)
