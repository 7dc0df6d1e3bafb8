"""Laws across rooms: the future never reaches tokens, forecasts or weights; same seed, same bytes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from quantseq.evaluation.run import Evaluation, ModelSpec, baseline, run
from quantseq.evaluation.walkforward import Fold, WalkForward
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import Forecasts
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Panel
from quantseq.pipeline.evaluate import fit_network
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD
from quantseq.trading.policies import POLICIES, held_moments, make_policy
from tests.prices import (
    forecast_bytes,
    loud_forecaster,
    opinionated,
    recent_prices,
    rewrite_after,
    with_events,
)

pytestmark = pytest.mark.slow

HORIZON = 2
SPLITTER = WalkForward(test_size=60, validation_size=120, purge=5, min_train=400, max_train=450)
CONFIG = ForecasterConfig(
    horizon=HORIZON,
    num_bins=8,
    members=1,
    epochs=1,
    stride=6,
    batch_size=64,
    hidden_size=8,
    embedding_size=4,
)


@dataclass(frozen=True)
class FitLoud:
    """A network of a fold whose output layer says something loud about every input."""

    def __call__(self, panel: Panel, fold: Fold, seed: int, jobs: int) -> Seq2SeqForecaster:
        return opinionated(fit_network(CONFIG, panel, fold, seed, jobs))


MODELS = [
    ModelSpec("seq2seq", FitLoud(), parallel=True, keep=True),
    baseline("har-pooled-t", HORIZON),
    baseline("ewma-t", HORIZON),
]


def run_all(panel: Panel, *, seed: int = 0) -> Evaluation:
    folds = SPLITTER.split(panel.sessions)[:3]
    return run(panel, MODELS, folds, horizon=HORIZON, num_paths=9, seed=seed)


@pytest.fixture(scope="module")
def recent() -> Panel:
    return with_events(recent_prices())


@pytest.fixture(scope="module")
def evaluation(recent: Panel) -> Evaluation:
    return run_all(recent)


@pytest.fixture(scope="module")
def cutoff(recent: Panel) -> np.datetime64:
    """In the middle of the second test block."""
    fold = SPLITTER.split(recent.sessions)[1]
    return recent.sessions[np.searchsorted(recent.sessions, fold.test_start) + 30]


@pytest.fixture(scope="module")
def rewritten(recent: Panel, cutoff: np.datetime64) -> Panel:
    """Every bar after the cutoff is invented, every event that was known later, and the covariate."""
    return rewrite_after(recent, cutoff)


@pytest.fixture(scope="module")
def other(rewritten: Panel) -> Evaluation:
    """The line from fit to forecast over the invented bars."""
    return run_all(rewritten)


def until(forecasts: Forecasts, cutoff: np.datetime64) -> Forecasts:
    return forecasts[forecasts.cutoffs <= cutoff]


def test_tokens_do_not_see_the_future(
    recent: Panel, cutoff: np.datetime64, rewritten: Panel
) -> None:
    task = loud_forecaster().task
    old, new = task.table(recent), task.table(rewritten)
    for name in ("source", "channels", "numbers", "events", "loc", "scale", "nu"):
        early, same = (getattr(t, name)[t.sessions <= cutoff] for t in (old, new))
        assert early.tobytes() == same.tobytes(), name
    early, same = (t.targets[t.known_on <= cutoff] for t in (old, new))
    assert early.tobytes() == same.tobytes()


def test_forecasts_do_not_see_the_future_from_fit_to_forecast(
    evaluation: Evaluation, other: Evaluation, cutoff: np.datetime64
) -> None:
    ours, theirs = (one.forecasts["seq2seq"] for one in (evaluation, other))
    early = until(ours, cutoff)
    assert len(early) == 4 * 91
    assert all(one.task.reference.event_slopes.any() for one in evaluation.fitted["seq2seq"])
    assert forecast_bytes(early) == forecast_bytes(until(theirs, cutoff))
    assert not np.isin(ours[ours.cutoffs > cutoff].std[:, 0], theirs.std[:, 0]).any()
    same = ["model", "symbol", "cutoff", "step", "mean", "prob_up"]
    plain, changed = (
        one.scores.loc[one.scores["cutoff"] <= pd.Timestamp(str(cutoff)), same].reset_index(
            drop=True
        )
        for one in (evaluation, other)
    )
    pd.testing.assert_frame_equal(plain, changed, check_exact=True)


@pytest.mark.parametrize("fill", ["open", "close"])
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_weights_do_not_see_the_future(
    evaluation: Evaluation, other: Evaluation, cutoff: np.datetime64, name: str, fill: str
) -> None:
    policy, last = make_policy(name), pd.Timestamp(str(cutoff))
    plain, changed = (
        policy.weights(held_moments(one.forecasts["seq2seq"], fill)).loc[:last]
        for one in (evaluation, other)
    )
    assert plain.to_numpy().tobytes() == changed.to_numpy().tobytes()
    assert len(plain) == 91


def test_the_same_seed_gives_the_same_bytes_of_forecasts(
    evaluation: Evaluation, recent: Panel
) -> None:
    again, other = run_all(recent), run_all(recent, seed=1)
    first, second = (forecast_bytes(one.forecasts["seq2seq"]) for one in (evaluation, again))
    assert first == second
    pd.testing.assert_frame_equal(evaluation.scores, again.scores, check_exact=True)
    assert forecast_bytes(other.forecasts["seq2seq"]) != forecast_bytes(
        evaluation.forecasts["seq2seq"]
    )


def test_reserved_ids_are_never_decoded_inside_a_price_horizon(
    recent: Panel, evaluation: Evaluation
) -> None:
    fold = evaluation.folds[0]
    model = FitLoud()(recent.between(fold.train_start, fold.validation_end), fold, 0, 1)
    with torch.no_grad():
        for network in model.networks:
            weight = network.decoder.projection.weight
            weight[PAD], weight[EOS] = 1000.0, -1000.0  # one of them would win every time
    table = model.task.table(recent)
    rows = np.flatnonzero(table.usable)[:50]
    draws = np.random.default_rng(0).random((50, 20, HORIZON), dtype=np.float32)
    bins, probs = model._sample(table, rows, draws)
    assert 0 <= bins.min() <= bins.max() < CONFIG.num_bins
    np.testing.assert_allclose(probs.sum(axis=-1), 1)
    assert (model.task.tokenizer.bins(bins + FIRST_ID) == bins).all()


def test_the_gap_between_train_and_test_equals_the_purge(
    evaluation: Evaluation, recent: Panel
) -> None:
    for fold in evaluation.folds:
        place = {
            day: int(np.searchsorted(recent.sessions, getattr(fold, day)))
            for day in ("train_end", "validation_start", "validation_end", "test_start")
        }
        assert place["validation_start"] - place["train_end"] - 1 == SPLITTER.purge
        assert place["test_start"] - place["validation_end"] - 1 == SPLITTER.purge
