"""The bootstrap is the recent past, quantile for quantile and run for run."""

import numpy as np
import pytest

from quantseq.forecasting.baselines.bootstrap import LEVELS, WINDOW, Bootstrap, trailing_quantiles
from tests.prices import simulate_panel

PANEL = simulate_panel("AB", 700)
RIVAL = Bootstrap(PANEL.sessions[500], {"": 0.3})


@pytest.mark.parametrize("place", [200, WINDOW - 1, WINDOW, WINDOW + 1, 690])
def test_quantiles_are_those_of_the_last_returns(place: int) -> None:
    returns = PANEL["A"].log_returns()
    recent = returns[max(1, place - WINDOW + 1) : place + 1]
    expected = np.quantile(recent, LEVELS, method="hazen")
    np.testing.assert_allclose(trailing_quantiles(returns, np.array([place]))[0], expected)


@pytest.mark.parametrize("place", [200, 690])
def test_paths_are_runs_of_returns_that_ended_by_the_cutoff(place: int) -> None:
    found = RIVAL.predict(PANEL, PANEL.sessions[[place]], horizon=3, num_paths=2000, seed=1)
    returns = PANEL["A"].log_returns().astype(np.float32)
    runs = np.lib.stride_tricks.sliding_window_view(returns, 3)[
        max(1, place - WINDOW + 1) : place - 1
    ]
    seen = {tuple(path) for path in found.paths[0]}
    possible = {tuple(run) for run in runs}
    assert seen <= possible
    assert len(seen) > 0.95 * len(possible)
