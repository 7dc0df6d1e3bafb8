"""The ensemble's choices: architecture, training plan, and what a bad choice says."""

import pytest

from quantseq.errors import ConfigError
from quantseq.forecast.networks import MIN_EPOCH_STEPS, ForecasterConfig, fit_networks
from quantseq.forecast.windows import PriceTask
from quantseq.market.bars import Panel
from quantseq.seq2seq.tokens import EOS, PAD


def test_the_architecture_follows_the_fitted_task(small_panel: Panel) -> None:
    task = PriceTask.fit(small_panel, horizon=2, num_bins=8)
    config = ForecasterConfig(num_bins=8).architecture(task)
    assert config.vocab_size == 8 + 2
    assert config.source_streams == tuple(bins.vocab_size for bins in task.stream_bins)
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
        task,
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
