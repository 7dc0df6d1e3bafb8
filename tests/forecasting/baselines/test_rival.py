"""Every rival keeps the contract of a forecaster: causal to the bit, complete, calibrated, keyed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.baselines.registry import RIVALS as REGISTRY
from quantseq.forecasting.baselines.registry import TrainingBlock
from quantseq.forecasting.baselines.rival import Rival
from quantseq.forecasting.reference import POOL
from quantseq.forecasting.rows import MIN_HISTORY
from quantseq.forecasting.scores import realised_returns, score
from quantseq.market.bars import Panel
from tests.prices import forecast_bytes, rewrite_after, simulate_bars, simulate_panel

law = settings(deadline=None, max_examples=5)
H = 3
PANEL = Panel([*simulate_panel("AB", 800).values(), simulate_bars("C", 500, start="2015-09-01")])
BLOCK = TrainingBlock(PANEL.until(PANEL.sessions[700]), H)
SHARES = BLOCK.reference.overnight_share
UNTIL = BLOCK.panel.sessions[-1]
RIVALS = [fit(BLOCK) for fit in REGISTRY.values()]
every_rival = pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)


def predict(rival: Rival, panel: Panel, cutoffs: np.ndarray, seed: int = 0):
    return rival.predict(panel, cutoffs, horizon=H, num_paths=8, seed=seed)


@every_rival
def test_every_symbol_is_forecast_at_every_cutoff_it_traded(rival: Rival) -> None:
    found = predict(rival, PANEL, PANEL.sessions)
    expected = [(s, d) for s in PANEL for d in PANEL[s].sessions[MIN_HISTORY:]]
    assert list(zip(found.symbols, found.cutoffs, strict=True)) == expected
    assert found.paths.shape == (len(expected), 8, H)
    assert found.horizon == H
    assert (found.model, found.trained_until) == (rival.name, UNTIL)


@every_rival
def test_cutoffs_alone_together_permuted_or_cut_give_the_same_bytes(
    rival: Rival,
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
@given(st.integers(MIN_HISTORY + 4, 790), st.integers(0, 50))
@law
def test_rewritten_later_bars_change_nothing(rival: Rival, n: int, seed: int) -> None:
    days = PANEL.sessions[n - 2 : n + 1]
    other = rewrite_after(PANEL, PANEL.sessions[n], seed=seed)
    assert forecast_bytes(predict(rival, other, days)) == forecast_bytes(
        predict(rival, PANEL, days)
    )


@every_rival
def test_the_same_seed_gives_the_same_paths_and_another_does_not(rival: Rival) -> None:
    days = PANEL.sessions[600:603]
    first = predict(rival, PANEL, days)
    assert predict(rival, PANEL, days).paths.tobytes() == first.paths.tobytes()
    assert predict(rival, PANEL, days, seed=1).paths.tobytes() != first.paths.tobytes()
    assert rival.predict(PANEL, days, horizon=H).paths is None


@every_rival
def test_paths_are_draws_from_the_density(rival: Rival) -> None:
    found = rival.predict(PANEL, PANEL.sessions[600:601], horizon=H, num_paths=4000, seed=0)
    inside = found.density
    for row in range(len(found)):
        for step in range(H):
            share = np.mean(found.paths[row, :, step] <= inside.quantile([0.2])[row, step, 0])
            assert share == pytest.approx(0.2, abs=0.03)


@every_rival
def test_a_stranger_is_forecast_with_what_is_pooled(rival: Rival) -> None:
    stranger = Panel([simulate_bars("Q", 300)])
    found = predict(rival, stranger, stranger.sessions[-3:])
    assert len(found) == 3
    assert (found.overnight_share == SHARES[POOL]).all()


@every_rival
def test_forecasts_are_roughly_calibrated_out_of_sample(rival: Rival) -> None:
    found = rival.predict(PANEL, PANEL.sessions[701:], horizon=H)
    summary = score(found, realised_returns(PANEL, found)).summary()
    assert summary["coverage_90"] == pytest.approx(0.9, abs=0.07)


@every_rival
def test_too_little_history_is_an_error(rival: Rival) -> None:
    short = PANEL.until(PANEL.sessions[MIN_HISTORY - 1])
    with pytest.raises(NotEnoughDataError, match="Nothing to forecast"):
        predict(rival, short, short.sessions[-1:])


@every_rival
def test_no_number_of_a_forecast_is_missing(rival: Rival) -> None:
    found = predict(rival, PANEL, PANEL.sessions[300::25])
    realised = realised_returns(PANEL, found)
    known = np.isfinite(realised)
    scores = score(found, realised)
    for values in (scores.crps, scores.pit):
        assert (np.isfinite(values) == known).all()
    density = np.isfinite(scores.log_score)
    assert (
        not density.any() if rival.name in ("bootstrap", "boosting") else (density == known).all()
    )
    for values in (found.mean, found.std, found.prob_up, found.quantile([0.025, 0.975])):
        assert np.isfinite(values).all()
    assert (found.std > 0).all()


@every_rival
def test_the_pit_is_the_cdf_and_quantiles_invert_it(rival: Rival) -> None:
    found = predict(rival, PANEL, PANEL.sessions[[600]]).density
    for level in (0.05, 0.3, 0.9):
        at = found.quantile([level])[..., 0]
        np.testing.assert_allclose(found.cdf(at), level, atol=2e-3)


@every_rival
def test_paths_of_a_shorter_horizon_have_the_same_first_step_distribution(rival: Rival) -> None:
    day = PANEL.sessions[[600]]
    one = rival.predict(PANEL, day, horizon=1, num_paths=50)
    three = predict(rival, PANEL, day)
    np.testing.assert_array_equal(one.quantile([0.1, 0.9])[:, 0], three.quantile([0.1, 0.9])[:, 0])
    assert one.paths.shape == (3, 50, 1)
