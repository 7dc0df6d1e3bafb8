"""Four volatilities under one protocol: causal, floored, and honest about what they fall back to."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from quantseq.errors import ConfigError
from quantseq.forecasting.har import HarModel
from quantseq.forecasting.scales import MIN_OWN_ROWS, SCALES, GjrGarch, Scale, SymbolHar, make_scale
from quantseq.forecasting.volatility import (
    LONG_WINDOW,
    VARIANCE_FLOOR,
    aligned_returns,
    ewma_scale,
    features,
)
from quantseq.market.bars import Panel
from tests.prices import rewrite_after, simulate_bars, simulate_panel

H = 3
PANEL = Panel([*simulate_panel("AB", 700).values(), simulate_bars("Y", 300, start="2016-06-01")])
DATA = features(PANEL)


@pytest.fixture(scope="module", params=list(SCALES))
def fitted(request: pytest.FixtureRequest) -> Scale:
    return make_scale(request.param, DATA, horizon=H)


def test_a_scale_does_not_see_later_bars_that_are_rewritten(fitted: Scale) -> None:
    n = 600
    other = features(rewrite_after(PANEL, PANEL.sessions[n]))
    for symbol in "AB":
        old, new = fitted.scale(symbol, DATA[symbol]), fitted.scale(symbol, other[symbol])
        assert old.shape == (700, H)
        assert old[: n + 1].tobytes() == new[: n + 1].tobytes()
        later = features(rewrite_after(PANEL, PANEL.sessions[n - 1]))[symbol]
        assert fitted.scale(symbol, later)[n, 0] != old[n, 0]


def test_a_scale_says_how_large_returns_will_be(fitted: Scale) -> None:
    for symbol in "AB":
        scale = fitted.scale(symbol, DATA[symbol])[LONG_WINDOW:]
        ahead = aligned_returns(DATA[symbol].returns, H)[LONG_WINDOW:]
        assert np.nanstd(ahead / scale, axis=0) == pytest.approx(1, rel=0.15)
        known = np.isfinite(ahead[:, 0])
        assert np.corrcoef(scale[known, 0], np.abs(ahead[known, 0]))[0, 1] > 0.1


def test_a_scale_never_falls_below_its_floor(fitted: Scale) -> None:
    flat = simulate_bars("A", 400)
    same = dict.fromkeys(("open", "high", "low", "close", "adj_close"), np.full(400, 9.0))
    data = features(Panel([replace(flat, **same)]))
    scale = fitted.scale("A", data["A"])[LONG_WINDOW:]
    assert (scale >= np.sqrt(VARIANCE_FLOOR)).all()
    assert np.isfinite(scale).all()


def test_a_symbol_that_was_never_seen_has_a_scale_too(fitted: Scale) -> None:
    stranger = features(Panel([simulate_bars("Q", 250)]))["Q"]
    assert np.isfinite(fitted.scale("Q", stranger)[LONG_WINDOW:]).all()


def test_a_scale_survives_json_bit_for_bit(fitted: Scale) -> None:
    again = SCALES[fitted.kind].from_json(json.loads(json.dumps(fitted.to_json())))
    assert again.horizon == H
    for symbol, one in DATA.items():
        assert again.scale(symbol, one).tobytes() == fitted.scale(symbol, one).tobytes()


def test_the_pooled_regression_is_that_of_the_panel() -> None:
    expected = HarModel.fit(DATA, horizon=H).scale(DATA["A"].har)
    assert make_scale("har", DATA, horizon=H).scale("A", DATA["A"]).tobytes() == expected.tobytes()


def test_symbols_have_regressions_of_their_own_if_they_are_old_enough() -> None:
    found = make_scale("har-symbol", DATA, horizon=H)
    assert isinstance(found, SymbolHar)
    assert set(found.own) == {"A", "B"}
    alone = HarModel.fit({"A": DATA["A"]}, horizon=H).scale(DATA["A"].har)
    assert found.scale("A", DATA["A"]).tobytes() == alone.tobytes()
    pooled = HarModel.fit(DATA, horizon=H).scale(DATA["Y"].har)
    assert found.scale("Y", DATA["Y"]).tobytes() == pooled.tobytes()


def test_the_ewma_is_that_of_riskmetrics() -> None:
    scale = make_scale("ewma", DATA, horizon=H).scale("A", DATA["A"])
    for step in range(H):
        assert scale[:, step].tobytes() == ewma_scale(PANEL["A"]).tobytes()


def test_gjr_equals_the_filter_and_the_forecast_of_arch() -> None:
    from arch import arch_model

    found = make_scale("gjr", DATA, horizon=H)
    assert isinstance(found, GjrGarch)
    returns = DATA["A"].returns[1:]
    unit = returns.std()
    model = arch_model(returns / unit, mean="Zero", p=1, o=1, q=1, dist="t", rescale=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = model.fit(disp="off")
        ahead = result.forecast(horizon=H, reindex=False).variance.to_numpy()[0]
    scale = found.scale("A", DATA["A"]) / unit
    np.testing.assert_allclose(scale[1:-1, 0], result.conditional_volatility[1:], rtol=1e-6)
    np.testing.assert_allclose(scale[-1] ** 2, ahead, rtol=1e-6)


def test_gjr_falls_back_to_the_ewma_for_the_young_and_the_flat() -> None:
    found = make_scale("gjr", DATA, horizon=H)
    assert isinstance(found, GjrGarch)
    assert len(DATA["Y"].returns) < MIN_OWN_ROWS
    assert set(found.parameters) == {"A", "B"}
    expected = make_scale("ewma", DATA, horizon=H).scale("Y", DATA["Y"])
    assert found.scale("Y", DATA["Y"]).tobytes() == expected.tobytes()


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="har, har-symbol, ewma, gjr"):
        make_scale("garch", DATA, horizon=1)
