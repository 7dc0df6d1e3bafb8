"""The autoregression finds its slope again and carries it through the steps."""

import numpy as np
import pytest

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.baselines.autoregression import Autoregression
from quantseq.market.bars import Panel
from tests.prices import simulate_bars

SHARES = {"": 0.3}


def series(slope: float, n: int = 4000) -> Panel:
    rng = np.random.default_rng(1)
    r = np.zeros(n)
    for i in range(1, n):
        r[i] = slope * r[i - 1] + 0.01 * rng.normal()
    close = 100 * np.exp(np.cumsum(r))
    names = ("open", "high", "low", "close", "adj_close")
    return Panel([simulate_bars("A", n, **dict.fromkeys(names, close))])


@pytest.mark.parametrize("slope", [-0.4, 0.0, 0.3])
def test_the_slope_is_found_and_decays_with_the_steps(slope: float) -> None:
    panel = series(slope)
    rival = Autoregression.fit(panel, SHARES)
    assert rival.fits["A"][1] == pytest.approx(slope, abs=0.04)
    found = rival.predict(panel, panel.sessions[[3000]], horizon=3)
    c, phi = rival.fits["A"][:2]
    last = panel["A"].log_returns()[3000]
    first = c + phi * last
    np.testing.assert_allclose(found.mean[0], [first, c + phi * first, c + phi * (c + phi * first)])


def test_too_little_history_is_an_error() -> None:
    with pytest.raises(NotEnoughDataError, match="ar1"):
        Autoregression.fit(Panel([simulate_bars("A", 200)]), SHARES)
