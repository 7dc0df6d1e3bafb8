"""The HAR of one stock equals least squares by hand and borrows where it must."""

import numpy as np
import pytest

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.baselines.har import HarRangeStudent
from quantseq.forecasting.volatility import daily_variance
from quantseq.market.bars import Panel
from tests.prices import recent_prices, simulate_bars, simulate_panel

SHARES = {"": 0.3}


def test_the_regression_is_least_squares_on_lags_1_5_22_and_bad_news() -> None:
    panel = recent_prices().select(["IBM"])
    found = HarRangeStudent.fit(panel, SHARES, horizon=2)
    bars = panel["IBM"].adjusted()
    y, r = np.log(daily_variance(bars)), bars.log_returns()
    rows, targets = [], []
    for i in range(21, len(bars) - 2):
        month = y[i - 21 : i + 1].mean()
        bad = min(np.clip(r[i] / np.exp(month / 2), -8, 8), 0)
        rows.append([1, y[i], y[i - 4 : i + 1].mean(), month, bad])
        targets.append(y[i + 1 : i + 3])
    expected = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
    np.testing.assert_allclose(found.coefficients["IBM"], expected, rtol=1e-6, atol=1e-9)
    assert found.coefficients["IBM"][4, 0] < 0  # bad news raises volatility


def test_a_short_symbol_takes_the_medians() -> None:
    short = simulate_bars("S", 150, start="2016-09-01")
    rival = HarRangeStudent.fit(
        Panel([*simulate_panel("AB", 600).values(), short]), SHARES, horizon=2
    )
    assert set(rival.shapes) == {"A", "B", ""}
    assert rival.describe() == {"own_fits": 2}
    with pytest.raises(NotEnoughDataError, match="har-range-t"):
        HarRangeStudent.fit(Panel([short]), SHARES, horizon=2)
