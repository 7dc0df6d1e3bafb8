"""The causes of a day multiply to its sigma over that of an average day, and each is what it says."""

from dataclasses import replace

import numpy as np
import pytest

from quantseq.forecasting.explain import CAUSES, cause_of, explain
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.inputs import NUM_DAYS, NUM_NUMBERS, inputs
from quantseq.forecasting.reference import Reference, stretch
from quantseq.market.bars import Panel
from tests.prices import with_events


def with_slopes(fitted: Seq2SeqForecaster, size: float) -> Seq2SeqForecaster:
    """The same forecaster, whose reference also hears every number, some more than others."""
    shape = fitted.task.reference.slopes.shape
    slopes = size * np.random.default_rng(0).normal(size=shape)
    reference = replace(fitted.task.reference, slopes=slopes)
    return replace(fitted, task=replace(fitted.task, reference=reference))


def own_scale(reference: Reference, symbol: str, panel: Panel) -> np.ndarray:
    """Log standard deviation of the next day before all numbers, at every session."""
    one = inputs(panel, horizon=reference.horizon)[symbol]
    found = reference.parameters(symbol, one)
    moved = stretch(one, reference.measure, reference.slopes)[:, 0]
    nu = found.nu[:, 0]
    return np.asarray(np.log(found.scale[:, 0] * np.sqrt(nu / (nu - 2))) - moved)


def test_scheduled_events_are_a_cause_of_their_own(
    fitted: Seq2SeqForecaster, recent: Panel
) -> None:
    told = with_events(recent)
    name = told.symbols[0]
    cutoff = told.sessions[np.searchsorted(told.sessions, told.events[name].dates[5]) - 1]
    slopes = np.full_like(fitted.task.reference.event_slopes, 0.1)
    reference = replace(fitted.task.reference, event_slopes=slopes)
    model = replace(fitted, task=replace(fitted.task, reference=reference))
    found = explain(model.predict(told, np.array([cutoff]), horizon=1), told, reference)
    lines = found.set_index("symbol")
    assert lines.loc[name, "events"] > np.expm1(0.1)
    causes = lines.loc[:, "volatility":].drop(columns="events")
    plain = Panel(told.values())
    silent = explain(
        fitted.predict(plain, np.array([cutoff]), horizon=1), plain, fitted.task.reference
    )
    silent = silent.set_index("symbol")
    rest = [cause for cause in causes if cause not in ("network", "market")]
    np.testing.assert_allclose(causes.loc[name, rest], silent.loc[name, rest], rtol=1e-9)


@pytest.mark.parametrize("size", [0.01, 0.2])
def test_causes_multiply_to_the_ratio_of_the_sigmas(
    fitted: Seq2SeqForecaster, recent: Panel, size: float
) -> None:
    model = with_slopes(fitted, size)
    reference, forecasts = (
        model.task.reference,
        model.predict(recent, recent.sessions[-3:], horizon=2),
    )
    found = explain(forecasts, recent, reference)
    assert found["symbol"].tolist() == forecasts.symbols.tolist()
    np.testing.assert_array_equal(found["sigma"], forecasts.std[:, 0])
    causes = found.loc[:, "volatility":]
    assert set(causes) == {"volatility", *CAUSES, "events", "limit", "network"}
    ratio = found["sigma"] / found["average_day"]
    np.testing.assert_allclose((1 + causes).prod(axis=1), ratio, rtol=1e-12)
    np.testing.assert_allclose(1 + found["change"], ratio, rtol=1e-12)
    assert (np.abs(found["limit"]).max() > 1e-9) == (size == 0.2)
    for line in found.to_dict("records"):
        known = own_scale(reference, line["symbol"], recent.until(line["cutoff"]))
        usual = np.exp(np.nanmean(known) + reference.slopes[0, 0])
        assert line["average_day"] == pytest.approx(usual, rel=1e-12)
        own = np.exp(known[-1] - np.nanmean(known))
        assert 1 + line["volatility"] == pytest.approx(own, rel=1e-12)


def test_a_cause_is_the_numbers_that_belong_to_it(fitted: Seq2SeqForecaster, recent: Panel) -> None:
    days = recent.sessions[-2:]
    forecasts = fitted.predict(recent, days, horizon=1)
    names = next(iter(inputs(recent, horizon=3).values())).names
    for cause in CAUSES:
        slopes = np.zeros_like(fitted.task.reference.slopes)
        slopes[0, 1:] = [0.05 * (cause_of(name) == cause) for name in names]
        found = explain(forecasts, recent, replace(fitted.task.reference, slopes=slopes))
        others = list(set(CAUSES) - {cause})
        assert (found[others] == 0).all(axis=None)
        assert (found[cause] != 0).all()


def test_without_a_network_none_is_a_cause(fitted: Seq2SeqForecaster, recent: Panel) -> None:
    silent = replace(
        fitted,
        shrinkage=replace(fitted.shrinkage, weight=0.0, later=()),
        recalibration=replace(fitted.recalibration, width=0.0, skew=0.0),
    )
    forecasts = silent.predict(recent, recent.sessions[-2:], horizon=1)
    found = explain(forecasts, recent, fitted.task.reference)
    np.testing.assert_allclose(found["network"], 0, atol=1e-9)


def test_every_number_has_a_cause_that_a_reader_would_look_under(recent: Panel) -> None:
    names = next(iter(inputs(recent, horizon=1).values())).names
    assert len(set(names)) == len(names) == NUM_NUMBERS + NUM_DAYS
    assert {cause_of(name) for name in names} == set(CAUSES)
    expected = {
        "z 0": "recent days",
        "day 5": "recent days",
        "night's share": "recent days",
        "mean volume 5": "volume and ranges",
        "spread of ranges 22": "volume and ranges",
        "volume largest, quarter 3": "quarter echoes",
        "surprise echo -4": "quarter echoes",
        "since event": "quarter echoes",
        "market event 5": "market",
        "covariate 5": "market",
        "Monday": "weekday",
        "third Friday": "weekday",
        "after holiday": "holidays",
        "quarter sine 2": "time of year",
        "last days": "time of year",
    }
    assert {name: cause_of(name) for name in expected} == expected
