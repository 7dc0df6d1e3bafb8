"""Counting tokens: what is planted is found, and nothing is found in noise."""

import numpy as np
import pytest

from quantseq.forecasting.baselines.registry import TrainingBlock
from quantseq.forecasting.baselines.tokens import NUM_BINS, PRIOR, Markov, Unigram, tokens
from quantseq.forecasting.volatility import aligned_returns
from tests.prices import simulate_panel

BLOCK = TrainingBlock(simulate_panel("AB", 800), 3)


def test_tokens_are_equal_bins_and_unknown_is_none() -> None:
    levels = np.array([0.0, 1 / NUM_BINS, 0.999, 1.0, np.nan])
    assert tokens(levels).tolist() == [0, 1, NUM_BINS - 1, NUM_BINS - 1, -1]


def test_the_unigram_counts_what_came() -> None:
    rival = Unigram.fit(BLOCK.panel, BLOCK.reference, horizon=3)
    found = BLOCK.reference.parameters(BLOCK.panel, 3)
    counts = np.zeros(NUM_BINS)
    for symbol, bars in BLOCK.panel.items():
        u = found[symbol].cdf(aligned_returns(bars.log_returns(), 3))[:, 1]
        counts += np.histogram(u[np.isfinite(u)], bins=NUM_BINS, range=(0, 1))[0]
    expected = (counts + PRIOR / NUM_BINS) / (counts.sum() + PRIOR)
    np.testing.assert_allclose(rival.probs[1], expected)


def test_the_chain_takes_powers_of_its_table_and_walks_through_it() -> None:
    plain = Markov.fit(BLOCK.panel, BLOCK.reference)
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(NUM_BINS, 0.2), NUM_BINS + 1)
    rival = Markov(plain.trained_until, plain.overnight_share, BLOCK.reference, table)
    day = BLOCK.panel.sessions[[500]]
    found = rival.predict(BLOCK.panel, day, horizon=3, num_paths=6000, seed=0)
    parameters = BLOCK.reference.parameters(BLOCK.panel, 1)["A"]
    u = parameters.cdf(aligned_returns(BLOCK.panel["A"].log_returns(), 1))[499, 0]
    first = table[int(u * NUM_BINS)]
    np.testing.assert_allclose(found.density.probs[0, 0], first)
    np.testing.assert_allclose(found.density.probs[0, 2], first @ table[:-1] @ table[:-1])
    share = np.mean(found.paths[0, :, 2] <= found.density.quantile([0.3])[0, 2, 0])
    assert share == pytest.approx(0.3, abs=0.03)
    for rows in (table, plain.table):
        np.testing.assert_allclose(rows.sum(axis=1), 1)
