"""Rivals keep the contract of every forecaster, and each is what its name says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import NotEnoughDataError
from quantseq.forecast.baselines import (
    HISTORY,
    EwmaStudent,
    HistoricalVolatility,
    ReferenceForecaster,
    StudentForecaster,
)
from quantseq.forecast.density import NORMAL_NU
from quantseq.forecast.forecasts import MIN_HISTORY
from quantseq.forecast.reference import POOL, Reference
from quantseq.forecast.scores import realised_returns, score
from quantseq.market.bars import Panel
from tests.prices import forecast_bytes, rewrite_after, simulate_bars, simulate_panel

law = settings(deadline=None, max_examples=10)
H = 3
PANEL = Panel([*simulate_panel("AB", 800).values(), simulate_bars("C", 500, start="2015-09-01")])
BLOCK = PANEL.until(PANEL.sessions[700])
REFERENCE = Reference.fit(BLOCK, horizon=H)
SHARES = REFERENCE.overnight_share
UNTIL = BLOCK.sessions[-1]
RIVALS: list[StudentForecaster] = [
    HistoricalVolatility(UNTIL, SHARES),
    EwmaStudent.fit(BLOCK, SHARES),
    ReferenceForecaster(UNTIL, SHARES, REFERENCE),
]
every_rival = pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)


def predict(rival: StudentForecaster, panel: Panel, cutoffs: np.ndarray, seed: int = 0):
    return rival.predict(panel, cutoffs, horizon=H, num_paths=8, seed=seed)


@every_rival
def test_every_symbol_is_forecast_at_every_cutoff_it_traded(rival: StudentForecaster) -> None:
    found = predict(rival, PANEL, PANEL.sessions)
    expected = [(s, d) for s in PANEL for d in PANEL[s].sessions[MIN_HISTORY:]]
    assert list(zip(found.symbols, found.cutoffs, strict=True)) == expected
    assert found.paths.shape == (len(expected), 8, H)
    assert found.horizon == H
    assert (found.model, found.trained_until) == (rival.name, UNTIL)


@every_rival
def test_cutoffs_alone_together_permuted_or_cut_give_the_same_bytes(
    rival: StudentForecaster,
) -> None:
    days = PANEL.sessions[[400, 512, 620]]
    together = predict(rival, PANEL, days)
    assert forecast_bytes(predict(rival, PANEL, days[[2, 0, 1]])) == forecast_bytes(together)
    for day in days:
        rows = together.cutoffs == day
        assert forecast_bytes(predict(rival, PANEL, np.array([day]))) == forecast_bytes(
            together[rows]
        )
        cut = predict(rival, PANEL.until(day), np.array([day]))
        assert forecast_bytes(cut) == forecast_bytes(together[rows])


@every_rival
@given(st.integers(300, 790), st.integers(0, 50))
@law
def test_rewritten_later_bars_change_nothing(rival: StudentForecaster, n: int, seed: int) -> None:
    days = PANEL.sessions[n - 2 : n + 1]
    other = rewrite_after(PANEL, PANEL.sessions[n], seed=seed)
    assert forecast_bytes(predict(rival, other, days)) == forecast_bytes(
        predict(rival, PANEL, days)
    )


@every_rival
def test_the_same_seed_gives_the_same_paths_and_another_does_not(rival: StudentForecaster) -> None:
    days = PANEL.sessions[600:603]
    first = predict(rival, PANEL, days)
    assert predict(rival, PANEL, days).paths.tobytes() == first.paths.tobytes()
    assert predict(rival, PANEL, days, seed=1).paths.tobytes() != first.paths.tobytes()
    assert rival.predict(PANEL, days, horizon=H).paths is None


@every_rival
def test_paths_are_draws_from_the_density(rival: StudentForecaster) -> None:
    found = rival.predict(PANEL, PANEL.sessions[600:601], horizon=H, num_paths=4000, seed=0)
    inside = found.density
    for row in range(len(found)):
        for step in range(H):
            share = np.mean(found.paths[row, :, step] <= inside.quantile([0.2])[row, step, 0])
            assert share == pytest.approx(0.2, abs=0.03)


@every_rival
def test_a_stranger_is_forecast_with_what_is_pooled(rival: StudentForecaster) -> None:
    stranger = Panel([simulate_bars("Q", 300)])
    found = predict(rival, stranger, stranger.sessions[-3:])
    assert len(found) == 3
    assert (found.overnight_share == SHARES[POOL]).all()


@every_rival
def test_forecasts_are_roughly_calibrated_out_of_sample(rival: StudentForecaster) -> None:
    found = rival.predict(PANEL, PANEL.sessions[701:], horizon=H)
    summary = score(found, realised_returns(PANEL, found)).summary()
    assert summary["coverage_90"] == pytest.approx(0.9, abs=0.07)


@every_rival
def test_too_little_history_is_an_error(rival: StudentForecaster) -> None:
    short = PANEL.until(PANEL.sessions[MIN_HISTORY - 1])
    with pytest.raises(NotEnoughDataError, match="Nothing to forecast"):
        predict(rival, short, short.sessions[-1:])


def test_historical_volatility_is_that_of_twenty_days() -> None:
    day = PANEL.sessions[500]
    found = predict(RIVALS[0], PANEL, np.array([day]))
    returns = PANEL["A"].until(day).log_returns()[-HISTORY:]
    np.testing.assert_allclose(found.density.scale[0], np.sqrt(np.mean(returns**2)))
    assert (found.density.nu == NORMAL_NU).all()


def test_the_reference_forecaster_is_the_reference() -> None:
    found = predict(RIVALS[2], PANEL, PANEL.sessions[[500]])
    np.testing.assert_array_equal(found.density.nu[0], REFERENCE.shapes["A"][:, 0])
    assert found.density.num_bins == 1


def test_ewma_shapes_make_training_returns_unit_t() -> None:
    nu, scale = RIVALS[1].shapes["A"]  # type: ignore[attr-defined]
    assert 2.1 <= nu <= 100
    assert 0.5 < scale < 1.2


def test_ewma_needs_a_series_that_moves() -> None:
    with pytest.raises(NotEnoughDataError, match="moving prices"):
        EwmaStudent.fit(simulate_panel("A", 30), SHARES)
