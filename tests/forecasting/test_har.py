"""The regression is Huber's, its scale calibrated, and no broken series sets it."""

from collections.abc import Callable

import numpy as np
import pytest

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.har import HUBER, HarModel
from quantseq.forecasting.volatility import (
    FEATURE_NAMES,
    LONG_WINDOW,
    VARIANCE_FLOOR,
    aligned_returns,
    features,
)
from quantseq.market.bars import Bars, Panel
from tests.forecasting.broken import glitch, only_closes, stale
from tests.prices import simulate_bars, simulate_panel

PANEL = simulate_panel("ABC", 220)


def test_the_har_fit_minimises_the_loss_of_huber() -> None:
    data = features(simulate_panel("AB", 300))
    x, y = [], []
    for one in data.values():
        for i in range(LONG_WINDOW - 1, 300 - 2):
            x.append(one.har[i])
            y.append(one.log_variance[[i + 1, i + 2]])
    rows, targets = np.array(x), np.array(y)
    model = HarModel.fit(data, horizon=2)
    for step in (0, 1):
        residual = targets[:, step] - rows @ model.coefficients[:, step]
        limit = HUBER * 1.4826 * np.median(np.abs(residual))
        gradient = rows.T @ np.clip(residual, -limit, limit)
        plain = np.linalg.lstsq(rows, targets[:, step], rcond=None)[0]
        wrong = targets[:, step] - rows @ (plain + 0.01)
        assert np.abs(gradient).max() < 0.02 * np.abs(rows.T @ np.clip(wrong, -limit, limit)).max()


@pytest.mark.parametrize("spoil", [lambda bars: glitch(bars, 500), stale])
def test_one_broken_series_hardly_moves_the_scales_of_the_others(
    spoil: Callable[[Bars], Bars],
) -> None:
    panel = simulate_panel("ABCD", 900)
    broken = Panel([*list(panel.values())[:3], spoil(panel["D"])])
    scales = []
    for whole in (panel, broken):
        data = features(whole)
        scales.append(HarModel.fit(data, horizon=2).scale(data["A"].har)[LONG_WINDOW:])
    change = np.abs(scales[1] / scales[0] - 1)
    assert np.median(change) < 0.02
    assert np.quantile(change, 0.99) < 0.06


def test_standardised_returns_of_the_typical_symbol_have_unit_variance() -> None:
    data = features(simulate_panel("ABC", 700))
    model = HarModel.fit(data, horizon=3)
    energy = [
        np.nanmean(np.clip(aligned_returns(o.returns, 3) / model.scale(o.har), -8, 8) ** 2, axis=0)
        for o in data.values()
    ]
    np.testing.assert_allclose(np.median(energy, axis=0), 1, rtol=0.02)


def test_scales_follow_the_volatility_that_comes() -> None:
    data = features(simulate_panel("ABCD", 900))
    model = HarModel.fit(data, horizon=2)
    for one in data.values():
        scale = model.scale(one.har)[LONG_WINDOW:-1, 0]
        ahead = np.abs(one.returns[LONG_WINDOW + 1 :])
        assert np.corrcoef(scale, ahead)[0, 1] > 0.15


def test_a_scale_never_falls_below_its_floor() -> None:
    model = HarModel(np.full((len(FEATURE_NAMES), 2), 1.0), np.ones(2))
    assert model.scale(np.full((1, 9), -1e6)).tolist() == [[np.sqrt(VARIANCE_FLOOR)] * 2]
    assert np.isfinite(model.scale(np.full((1, 9), 1e6))).all()
    assert np.isnan(model.scale(np.full((1, 9), np.nan))).all()


def test_scales_do_not_depend_on_the_rows_beside_them() -> None:
    data = features(PANEL)
    model, har = HarModel.fit(data, horizon=5), data["A"].har
    whole = model.scale(har)
    for rows in (slice(150, 151), slice(119, 220), np.array([200, 130, 131])):
        assert model.scale(har[rows]).tobytes() == whole[rows].tobytes()


def test_series_that_never_move_do_not_set_the_scale_of_those_that_do() -> None:
    real = simulate_bars("A", 600)
    flat = [only_closes(simulate_bars(s, 600), np.full(600, 5.0)) for s in "XYZ"]
    data = features(Panel([real, *flat]))
    model = HarModel.fit(data, horizon=1)
    z = aligned_returns(data["A"].returns, 1) / model.scale(data["A"].har)
    assert np.nanmean(z**2) == pytest.approx(1, rel=0.1)


def test_too_little_history_is_an_error_that_says_how_much() -> None:
    with pytest.raises(NotEnoughDataError, match="it needs 100"):
        HarModel.fit(features(simulate_panel("A", 180)), horizon=1)


def test_the_model_survives_json() -> None:
    model = HarModel.fit(features(PANEL), horizon=2)
    again = HarModel.from_json(model.to_json())
    assert again.coefficients.tobytes() == model.coefficients.tobytes()
    assert again.rescale.tobytes() == model.rescale.tobytes()
