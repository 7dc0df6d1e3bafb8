"""The t rivals: each is what its name says."""

import numpy as np
import pytest

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.baselines.student import (
    HISTORY,
    EwmaStudent,
    HistoricalVolatility,
    ReferenceForecaster,
)
from quantseq.forecasting.density import NORMAL_NU
from quantseq.forecasting.reference import Reference
from tests.prices import simulate_panel

PANEL = simulate_panel("AB", 800)
BLOCK = PANEL.until(PANEL.sessions[700])
REFERENCE = Reference.fit(BLOCK, horizon=3)
SHARES, UNTIL = REFERENCE.overnight_share, BLOCK.sessions[-1]


def test_historical_volatility_is_that_of_twenty_days() -> None:
    day = PANEL.sessions[500]
    found = HistoricalVolatility(UNTIL, SHARES).predict(PANEL, np.array([day]), horizon=3)
    returns = PANEL["A"].until(day).log_returns()[-HISTORY:]
    np.testing.assert_allclose(found.density.scale[0], np.sqrt(np.mean(returns**2)))
    assert (found.density.nu == NORMAL_NU).all()


def test_the_reference_forecaster_is_the_reference() -> None:
    rival = ReferenceForecaster(UNTIL, SHARES, REFERENCE)
    found = rival.predict(PANEL, PANEL.sessions[[500]], horizon=3)
    np.testing.assert_array_equal(found.density.nu[0], REFERENCE.shapes["A"][:, 0])
    assert found.density.num_bins == 1


def test_ewma_shapes_make_training_returns_unit_t() -> None:
    nu, scale = EwmaStudent.fit(BLOCK, SHARES).shapes["A"]
    assert 2.1 <= nu <= 100
    assert 0.5 < scale < 1.2


def test_ewma_needs_a_series_that_moves() -> None:
    with pytest.raises(NotEnoughDataError, match="moving prices"):
        EwmaStudent.fit(simulate_panel("A", 30), SHARES)
