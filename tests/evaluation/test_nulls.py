"""Null prices hold nothing to find, their truth is true, and a planted leak is seen."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from scipy import stats

from quantseq.errors import ConfigError
from quantseq.evaluation.nulls import CORRELATION, NU, NullPanel, Truth, judge_null, make_null
from quantseq.evaluation.run import ModelSpec, baseline, run, use_fitted
from quantseq.evaluation.scores import naive_errors, score
from quantseq.evaluation.walkforward import WalkForward
from quantseq.forecasting.baselines import StudentForecaster
from quantseq.forecasting.reference import StepParameters
from quantseq.forecasting.volatility import aligned_returns
from quantseq.market.bars import Panel
from tests.prices import recent_prices, simulate_bars, simulate_panel

REAL = Panel([*simulate_panel("ABCD", 1500).values(), simulate_bars("S", 900, start="2017-05-01")])
simulated = pytest.mark.parametrize("kind", ["gbm", "garch"])


@pytest.fixture(scope="module")
def made() -> Mapping[str, NullPanel]:
    return {kind: make_null(kind, REAL, horizon=2, seed=1) for kind in ("gbm", "garch", "permuted")}


@pytest.mark.parametrize("kind", ["gbm", "garch", "permuted"])
def test_null_prices_are_sound_bars_on_the_real_dates(
    made: Mapping[str, NullPanel], kind: str
) -> None:
    panel = made[kind].panel
    assert panel.symbols == REAL.symbols
    for symbol, bars in panel.items():
        np.testing.assert_array_equal(bars.sessions, REAL[symbol].sessions)
        assert (bars.high >= np.maximum(bars.open, bars.close) * (1 - 1e-12)).all()
        assert (bars.low <= np.minimum(bars.open, bars.close) * (1 + 1e-12)).all()
        assert (bars.high > bars.low).all()
        typical = [one.log_returns()[1:].std() for one in (bars, REAL[symbol])]
        assert typical[0] == pytest.approx(typical[1], rel=0.35)
    again = make_null(kind, REAL, horizon=2, seed=1).panel
    assert again.sha256 == panel.sha256 != make_null(kind, REAL, horizon=2, seed=2).panel.sha256


@simulated
def test_the_truth_is_calibrated(made: Mapping[str, NullPanel], kind: str) -> None:
    null = made[kind]
    assert null.truth is not None
    found = null.truth.predict(null.panel, null.panel.sessions, horizon=2)
    rows = score(found, null.panel, naive_errors(null.panel))
    pit = rows.loc[rows["step"] == 1, "pit"].to_numpy(dtype=float)
    pit = pit[np.isfinite(pit)]
    for symbol in null.panel:
        own = pit[(found.symbols == symbol)[: len(pit)]]
        assert stats.kstest(own, "uniform").pvalue > 1e-3
    assert np.mean(np.abs(pit - 0.5) < 0.45) == pytest.approx(0.9, abs=0.02)


def test_simulated_symbols_move_together_and_ranges_know_the_volatility(
    made: Mapping[str, NullPanel],
) -> None:
    panel = made["gbm"].panel
    returns = panel.matrix("log_returns")[1:1500, :4]
    pairs = np.corrcoef(returns.T)[np.triu_indices(4, 1)]
    assert pairs.mean() == pytest.approx(CORRELATION, abs=0.05)
    bars = made["garch"].panel["A"]
    wide, moved = np.log(bars.high / bars.low), np.abs(bars.log_returns())
    assert np.corrcoef(wide[1:], moved[1:])[0, 1] > 0.5


def test_the_garch_clusters_and_has_its_tails(made: Mapping[str, NullPanel]) -> None:
    null = made["garch"]
    assert isinstance(null.truth, Truth)
    ratios = []
    for symbol, bars in null.panel.items():
        ahead = aligned_returns(bars.log_returns(), 1)[:-1, 0]
        ratios.append(ahead / null.truth.scales[symbol][:-1, 0])
    z = np.concatenate(ratios)
    assert stats.kstest(z, stats.t(NU).cdf).pvalue > 1e-3


def test_permuted_days_are_the_real_days_in_common_blocks() -> None:
    real = recent_prices()
    panel = make_null("permuted", real, horizon=1, seed=0).panel
    moves = {}
    for symbol, bars in real.adjusted().items():
        old, new = bars.log_returns()[1:], panel[symbol].log_returns()[1:]
        np.testing.assert_allclose(np.sort(new), np.sort(old), atol=1e-9)
        moves[symbol] = [int(np.abs(old - r).argmin()) for r in new]
        ranges = [np.sort(np.log(b.high / b.low)[1:]) for b in (bars, panel[symbol])]
        np.testing.assert_allclose(*ranges, atol=1e-9)
    steps = np.diff(moves["IBM"])
    assert np.mean(steps == 1) > 0.9
    assert np.mean(np.array(moves["IBM"]) == moves["MSFT"]) > 0.95  # equal returns look alike


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="gbm, garch, permuted"):
        make_null("garsh", REAL, horizon=1, seed=0)


@dataclass(frozen=True)
class Leaky(StudentForecaster):
    """A planted leak: σ of tomorrow's return knows tomorrow's return."""

    name = "leaky"
    truth: Truth

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        found = {}
        for symbol, one in self.truth.parameters(panel, horizon).items():
            ahead = np.nan_to_num(aligned_returns(panel[symbol].log_returns(), horizon))
            found[symbol] = replace(one, scale=np.sqrt(0.94 * one.scale**2 + 0.06 * ahead**2))
        return found


@pytest.mark.slow
@simulated
def test_an_honest_model_shows_no_skill_and_a_leak_does(
    made: Mapping[str, NullPanel], kind: str
) -> None:
    null = made[kind]
    truth = null.truth
    assert truth is not None
    folds = WalkForward(test_size=900, validation_size=30, min_train=500).split(null.panel.sessions)

    leaky = Leaky(truth.trained_until, truth.overnight_share, truth)
    models = [
        baseline("har-pooled-t", 2),
        ModelSpec("leaky", partial(use_fitted, leaky)),
        ModelSpec("truth", partial(use_fitted, truth)),
    ]
    scores = run(null.panel, models, folds, horizon=2, num_paths=5).scores
    good = judge_null(kind, scores, "har-pooled-t", seed=0)
    assert good["ok"], good["sentence"]
    assert good["skill_nats"] < 0 < good["t"]
    low, high = good["interval"]
    assert low < good["skill_nats"] < high
    bad = judge_null(kind, scores, "leaky", seed=0)
    assert not bad["ok"]
    assert bad["t"] < -4
    assert "SEES WHAT IS NOT THERE" in bad["sentence"]


def test_direction_on_permuted_prices_is_judged_without_a_truth(
    made: Mapping[str, NullPanel],
) -> None:
    panel = made["permuted"].panel
    folds = WalkForward(test_size=900, validation_size=30, min_train=500).split(panel.sessions)

    scores = run(panel, [baseline("ar1", 2)], folds, horizon=2, num_paths=5).scores
    found = judge_null("permuted", scores, "ar1", seed=0)
    assert found["ok"]
    assert found["t"] is None
    assert found["sentence"] == "permuted: no direction was found"
    seer = scores.assign(
        mean=scores["realised"] + 0.01, prob_up=(scores["realised"] > 0) * 0.2 + 0.4
    )
    caught = judge_null("permuted", seer, "ar1", seed=0)
    assert not caught["ok"]
    assert "direction in hit_rate, ic, rank_ic" in caught["sentence"]
