"""The ensemble's choices: architecture, training plan, and what a bad choice says."""

import numpy as np
import pytest
import torch

from quantseq.errors import ConfigError
from quantseq.forecasting.networks import (
    MIN_EPOCH_STEPS,
    ForecasterConfig,
    average_answer,
    base_rates,
    fit_networks,
    shift_answers,
    smooth_answers,
)
from quantseq.forecasting.windows import PriceTask
from quantseq.market.bars import Panel
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD


def test_the_architecture_reads_all_that_a_window_holds(
    task: PriceTask, small_panel: Panel
) -> None:
    config = ForecasterConfig(num_bins=8).architecture()
    batch = task.table(small_panel).batch(np.array([300]))
    assert config.vocab_size == 8 + 2
    assert batch.channels is not None
    assert batch.condition is not None
    assert batch.channels.shape[2] == config.channels
    assert batch.condition.shape == (2, 1, config.condition_size)
    assert config.channels % 4 == config.condition_size % 4 == 0
    assert config.never_emit == (PAD, EOS)


@pytest.mark.parametrize("name", ["horizon", "members", "epochs", "stride", "patience"])
def test_counts_must_be_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' parameter of ForecasterConfig"):
        ForecasterConfig(**{name: 0})


def test_small_panels_use_more_of_their_windows(small_panel: Panel) -> None:
    config = ForecasterConfig(members=2, epochs=1, horizon=2, batch_size=64, num_bins=8)
    task = PriceTask.fit(small_panel, horizon=2, num_bins=8)
    table = task.table(small_panel)
    rows = table.rows_between(small_panel.sessions[0], small_panel.sessions[-1])
    seen: list[tuple[int, int]] = []
    networks, histories = fit_networks(
        config,
        table,
        rows[:1200],
        rows[1200:],
        seed=3,
        on_step=lambda member, report: seen.append((member, report.steps)),
    )
    assert len(networks) == len(histories) == 2
    assert {member for member, _ in seen} == {0, 1}
    # Stride 5 would give 3 batches an epoch; stride 1 gives all there are, short of the aim.
    assert {steps for _, steps in seen} == {1200 // 64}
    assert MIN_EPOCH_STEPS > 1200 // 64


@pytest.fixture(scope="module")
def task(small_panel: Panel) -> PriceTask:
    return PriceTask.fit(small_panel, horizon=2, num_bins=8)


def random_network() -> Seq2Seq:
    network = Seq2Seq(ForecasterConfig(num_bins=8, hidden_size=8).architecture(), seed=0)
    with torch.no_grad():
        network.decoder.projection.weight.normal_(generator=torch.Generator().manual_seed(1))
    return network.eval()


def answers(network: Seq2Seq, task: PriceTask, panel: Panel) -> np.ndarray:
    table = task.table(panel)
    with torch.no_grad():
        logits = network(table.batch(np.flatnonzero(table.usable)[:50]))[..., FIRST_ID:]
    return torch.log_softmax(logits, dim=-1).numpy()


def test_base_rates_are_how_often_each_bin_came() -> None:
    targets = np.array([[2, 3], [3, 3]])
    np.testing.assert_allclose(base_rates(targets, 3), np.array([2, 4, 1]) / (7 / 3))


def test_the_average_answer_of_a_centred_network_is_the_reference(
    task: PriceTask, small_panel: Panel
) -> None:
    table, network = task.table(small_panel), random_network()
    rows = np.flatnonzero(table.usable & (table.targets[:, -1] != PAD))
    before = average_answer(network, table, rows)
    assert np.ptp(before) > 0.3
    for _ in range(4):
        shift_answers(network, 1 / average_answer(network, table, rows))
    np.testing.assert_allclose(average_answer(network, table, rows), 1, atol=0.02)


def test_shifting_answers_multiplies_odds_whatever_the_input(
    task: PriceTask, small_panel: Panel
) -> None:
    network, factors = random_network(), np.linspace(0.5, 2, 8)
    before = answers(network, task, small_panel)
    shift_answers(network, factors)
    change = answers(network, task, small_panel) - before - np.log(factors)
    np.testing.assert_allclose(change - change[..., :1], 0, atol=1e-5)


def test_a_condition_alone_neither_moves_nor_leans() -> None:
    network = random_network()
    smooth_answers(network)
    told = network.decoder.projection.weight[FIRST_ID:, -8:]
    torch.testing.assert_close(told, told.flip(0), atol=1e-5, rtol=0)
    assert not torch.allclose(told, torch.zeros(8, 8), atol=1e-2)


def test_smooth_answers_are_sums_of_four_tilts(task: PriceTask, small_panel: Panel) -> None:
    network = random_network()
    smooth_answers(network)
    logs = answers(network, task, small_panel).reshape(-1, 8)
    logs -= logs.mean(axis=1, keepdims=True)
    assert np.linalg.matrix_rank(logs, tol=1e-4) == 4
    weight = network.decoder.projection.weight.clone()
    smooth_answers(network)
    torch.testing.assert_close(network.decoder.projection.weight, weight)
