"""Boosted quantiles: in order, calibrated, the same for any number of jobs."""

import numpy as np
import pytest

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.baselines.boosting import LEVELS, Boosting
from quantseq.forecasting.scores import realised_returns, score
from tests.prices import simulate_panel

PANEL = simulate_panel("ABC", 900)
BLOCK = PANEL.until(PANEL.sessions[700])


@pytest.fixture(scope="module")
def rival() -> Boosting:
    return Boosting.fit(BLOCK, {"": 0.3}, horizon=2)


def test_quantiles_do_not_cross_and_cover(rival: Boosting) -> None:
    found = rival.predict(PANEL, PANEL.sessions[701:], horizon=2)
    values = found.quantile(LEVELS)
    assert (np.diff(values, axis=-1) >= 0).all()
    scores = score(found, realised_returns(PANEL, found))
    assert scores.summary(step=2)["coverage_80"] == pytest.approx(0.8, abs=0.07)
    assert np.isnan(scores.log_score).all()


def test_the_number_of_jobs_changes_nothing(rival: Boosting) -> None:
    again = Boosting.fit(BLOCK, {"": 0.3}, horizon=2, jobs=2)
    day = PANEL.sessions[-3:]
    one, two = (r.predict(PANEL, day, horizon=2).quantile(LEVELS) for r in (rival, again))
    assert one.tobytes() == two.tobytes()


def test_too_little_history_is_an_error() -> None:
    with pytest.raises(NotEnoughDataError, match="boosting"):
        Boosting.fit(BLOCK.until(PANEL.sessions[150]), {"": 0.3}, horizon=2)
