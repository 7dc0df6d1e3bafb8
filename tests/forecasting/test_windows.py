"""Windows hold what was known, targets what came next, and nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.inputs import inputs
from quantseq.forecasting.rows import CONTEXT, MIN_HISTORY
from quantseq.forecasting.tokenizer import MOST_EQUAL
from quantseq.forecasting.windows import PriceTask, WindowSource, WindowTable
from quantseq.market.bars import Panel
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD
from tests.prices import rewrite_after, simulate_bars, simulate_panel

law = settings(deadline=None, max_examples=15)
H = 3
PANEL = Panel([*simulate_panel("AB", 420).values(), simulate_bars("C", 260, start="2015-05-01")])
TASK = PriceTask.fit(PANEL.until(PANEL.sessions[330]), horizon=H, num_bins=10)
TABLE = TASK.table(PANEL)
SEEN = ("source", "channels", "numbers", "loc", "scale", "nu", "sessions", "usable")


def rows_of(symbol: str, table: WindowTable = TABLE) -> np.ndarray:
    return np.flatnonzero(table.symbols == symbol)


def test_targets_are_the_tokens_of_the_right_future_returns() -> None:
    for symbol, bars in PANEL.items():
        parameters = TASK.reference.parameters(symbol, inputs(PANEL, horizon=H)[symbol])
        rows, returns = rows_of(symbol), bars.log_returns()
        for i in (MIN_HISTORY, 200, len(bars) - H - 1, len(bars) - 2, len(bars) - 1):
            for h in range(1, H + 1):
                if i + h >= len(bars):
                    assert TABLE.targets[rows[i], h - 1] == PAD
                    continue
                standard = (returns[i + h] - parameters.loc[i, h - 1]) / parameters.scale[i, h - 1]
                level = stats.t.cdf(standard, parameters.nu[i, h - 1])
                assert TABLE.targets[rows[i], h - 1] == int(level * 10) + FIRST_ID
            known = bars.sessions[i + H] if i + H < len(bars) else np.datetime64("9999-12-31")
            assert TABLE.known_on[rows[i]] == known


def test_the_newest_source_token_is_the_first_target_of_the_day_before() -> None:
    for symbol in PANEL:
        rows = rows_of(symbol)[MIN_HISTORY:]
        np.testing.assert_array_equal(TABLE.source[rows[1:]], TABLE.targets[rows[:-1], 0])


def test_gathering_equals_a_slow_loop() -> None:
    rows = np.flatnonzero(TABLE.usable)[[0, 5, 40, -1]]
    batch = TABLE.batch(rows)
    for b, row in enumerate(rows):
        for s in range(CONTEXT):
            where = row - CONTEXT + 1 + s
            assert TABLE.symbols[where] == TABLE.symbols[row]
            assert batch.source[s, b] == TABLE.source[where]
            assert batch.channels[s, b].tolist() == TABLE.channels[where].tolist()
        for h in range(H):
            told = [*TABLE.numbers[row], *TABLE.days[TABLE.place[row], h], *TABLE.events[row, h]]
            assert batch.condition[h, b].tolist() == told
        assert batch.target_out[:, b].tolist() == TABLE.targets[row].tolist()
        assert batch.target_in[:, b].tolist() == [EOS, *TABLE.targets[row, :-1]]
    assert batch.source.shape == (CONTEXT, 4)
    assert batch.source_lengths.tolist() == [CONTEXT] * 4
    assert batch.target_lengths.tolist() == [H] * 4


def test_a_window_never_reaches_into_the_symbol_before() -> None:
    for row in np.flatnonzero(TABLE.usable):
        assert TABLE.symbols[row - CONTEXT + 1] == TABLE.symbols[row]


def test_usable_windows_hold_no_reserved_id() -> None:
    batch = TABLE.batch(np.flatnonzero(TABLE.usable & (TABLE.targets[:, -1] != PAD)))
    for part in (batch.source, batch.target_out):
        assert part.min() >= FIRST_ID
    assert batch.source.max() < TASK.tokenizer.vocab_size
    for numbers in (batch.channels, batch.condition):
        assert numbers is not None
        assert numbers.isfinite().all()
        assert numbers.abs().max() < 100


@given(st.integers(0, 419), st.integers(0, 419))
@law
def test_rows_between_never_include_a_target_after_the_end(first: int, last: int) -> None:
    start, end = PANEL.sessions[first], PANEL.sessions[last]
    rows = TABLE.rows_between(start, end)
    assert TABLE.usable[rows].all()
    expected = 0
    for bars in PANEL.values():
        for i in range(MIN_HISTORY, len(bars) - H):
            expected += bool(bars.sessions[i] >= start and bars.sessions[i + H] <= end)
    assert len(rows) == expected
    assert (TABLE.sessions[rows] >= start).all()
    assert (TABLE.known_on[rows] <= end).all()


def test_rows_between_leave_out_targets_that_are_not_known_yet() -> None:
    rows = TABLE.rows_between("1900-01-01", "2200-01-01")
    assert (TABLE.targets[rows] != PAD).all()


@given(st.integers(0, 418), st.integers(0, 99))
@law
def test_tokens_do_not_see_later_bars_that_are_rewritten(n: int, seed: int) -> None:
    cutoff = PANEL.sessions[n]
    other = TASK.table(rewrite_after(PANEL, cutoff, seed=seed))
    keep, same = TABLE.sessions <= cutoff, other.sessions <= cutoff
    assert TABLE.symbols[keep].tolist() == other.symbols[same].tolist()
    for name in SEEN:
        assert getattr(TABLE, name)[keep].tobytes() == getattr(other, name)[same].tobytes(), name
    days, same_days = (one.days[one.place[rows]] for one, rows in ((TABLE, keep), (other, same)))
    assert days.tobytes() == same_days.tobytes()
    known, also = TABLE.known_on <= cutoff, other.known_on <= cutoff
    assert TABLE.targets[known].tobytes() == other.targets[also].tobytes()


def test_what_is_fitted_does_not_see_bars_after_the_training_block() -> None:
    end = PANEL.sessions[330]
    again = PriceTask.fit(rewrite_after(PANEL, end).until(end), horizon=H, num_bins=10)
    assert again.to_json() == TASK.to_json()
    assert again.tokenizer == TASK.tokenizer


@given(st.integers(MIN_HISTORY, 400), st.integers(0, 8))
@law
def test_the_halves_of_a_validation_block_share_no_return(first: int, purge: int) -> None:
    sessions = PANEL.sessions
    early, late = TABLE.halves(sessions, sessions[first], purge=purge)
    assert (TABLE.sessions[np.r_[early, late]] >= sessions[first]).all()
    middle = (len(sessions) - first) // 2 + first
    assert (TABLE.known_on[early] < sessions[middle]).all()
    assert (TABLE.sessions[late] >= sessions[min(middle + purge, len(sessions) - 1)]).all()
    if len(early) and len(late):
        last = np.searchsorted(sessions, TABLE.known_on[early].max())
        assert np.searchsorted(sessions, TABLE.sessions[late].min()) - last - 1 == purge


def test_a_validation_block_without_room_for_two_halves_is_an_error() -> None:
    with pytest.raises(NotEnoughDataError, match="has 4 sessions; at least 5"):
        TABLE.halves(PANEL.sessions, PANEL.sessions[-4], purge=3)


def test_tokens_of_the_training_block_are_spread_evenly() -> None:
    rows = TABLE.rows_between(PANEL.sessions[0], PANEL.sessions[330])
    for step in range(H):
        share = np.bincount(TABLE.targets[rows, step] - FIRST_ID, minlength=10) / len(rows)
        assert 0.05 < share.min() < share.max() < 0.16


def poorer(panel: Panel, kind: str) -> Panel:
    """The panel as somebody with less data has it."""
    result = []
    for bars in panel.values():
        if kind == "only closes":
            bars = replace(bars, open=bars.close, high=bars.close, low=bars.close)
        if kind == "no volume":
            bars = replace(bars, volume=np.zeros(len(bars)))
        if kind == "stale":
            stale = bars.close[(np.arange(len(bars)) // 5) * 5]
            same = dict.fromkeys(("open", "high", "low", "close", "adj_close"), stale)
            bars = replace(bars, **same)
        if kind == "one volume":
            bars = replace(bars, volume=np.where(np.arange(len(bars)) == 300, 5.0, 0.0))
        result.append(bars)
    return Panel(result)


@pytest.mark.parametrize("kind", ["only closes", "no volume", "stale", "one volume"])
def test_poor_data_still_make_windows(kind: str) -> None:
    panel = poorer(PANEL, kind)
    task = PriceTask.fit(panel, horizon=H, num_bins=10)
    table = task.table(panel)
    rows = table.rows_between(panel.sessions[0], panel.sessions[-1])
    batch = table.batch(rows)
    assert len(rows) > 100
    assert batch.channels is not None
    assert batch.condition is not None
    assert batch.channels.isfinite().all()
    assert batch.condition.isfinite().all()
    assert (table.scale[rows] > 0).all()


def test_a_symbol_that_the_training_block_never_met_has_windows_too() -> None:
    stranger = simulate_bars("Q", 250)
    table = TASK.table(Panel([stranger]))
    assert table.usable.sum() == 250 - MIN_HISTORY
    assert np.isfinite(table.scale[table.usable]).all()


def test_a_symbol_with_one_bar_does_no_harm() -> None:
    newborn = simulate_bars("N", 1, start=str(PANEL.sessions[-1]))
    task = PriceTask.fit(Panel([*PANEL.values(), newborn]), horizon=H, num_bins=10)
    assert not task.table(Panel([newborn])).usable.any()


@pytest.mark.parametrize("length", [MIN_HISTORY, MIN_HISTORY + H])
def test_too_little_history_says_how_much_is_needed(length: int) -> None:
    with pytest.raises(NotEnoughDataError, match=f"{length} sessions; {MIN_HISTORY + 1 + H} are"):
        PriceTask.fit(simulate_panel("AB", length), horizon=H, num_bins=10)


def test_the_state_remembers_what_it_was_fitted_on() -> None:
    block = PANEL.until(PANEL.sessions[330])
    tokenizer = TASK.tokenizer
    assert tokenizer.fitted_until == str(PANEL.sessions[330])
    assert tokenizer.symbols == ("A", "B", "C")
    assert tokenizer.data_hash == block.sha256


def test_the_task_survives_json() -> None:
    again = PriceTask.from_json(json.loads(json.dumps(TASK.to_json())), TASK.tokenizer)
    other = again.table(PANEL)
    for name in (*SEEN, "targets"):
        assert getattr(TABLE, name).tobytes() == getattr(other, name).tobytes()


def ids_of(source: WindowSource, step: int) -> bytes:
    batch = source.batch(step)
    parts = (batch.source, batch.channels, batch.condition, batch.target_out)
    return b"".join(part.numpy().tobytes() for part in parts)


ROWS = TABLE.rows_between(PANEL.sessions[0], PANEL.sessions[-1])


@given(st.integers(0, 2**31), st.lists(st.integers(0, 200), min_size=2, max_size=5))
@law
def test_a_training_batch_depends_on_seed_and_step_alone(seed: int, steps: list[int]) -> None:
    first, second = (WindowSource(TABLE, ROWS, 16, 4, seed) for _ in range(2))
    ahead = {step: ids_of(first, step) for step in steps}
    for step in reversed(steps):
        assert ids_of(second, step) == ahead[step]


def test_other_seeds_and_steps_give_other_batches() -> None:
    source = WindowSource(TABLE, ROWS, 16, 4, 0)
    assert ids_of(source, 0) != ids_of(source, 1)
    assert ids_of(source, 0) != ids_of(source, source.steps_per_epoch)
    assert ids_of(source, 0) != ids_of(WindowSource(TABLE, ROWS, 16, 4, 1), 0)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 9))
@law
def test_an_epoch_shows_no_window_twice(n: int, batch_size: int, stride: int) -> None:
    rows = np.arange(500, 500 + n)
    shown: list[int] = []

    class Table:
        def batch(self, chosen: np.ndarray) -> None:
            shown.extend(chosen.tolist())

    source = WindowSource(Table(), rows, batch_size, stride, 0)  # type: ignore[arg-type]
    for step in range(source.steps_per_epoch):
        source.batch(step)
    assert len(set(shown)) == len(shown)
    assert set(shown) <= set(rows.tolist())
    assert len({row % stride for row in shown}) <= 1


def test_bins_narrower_than_the_rule_are_merged() -> None:
    task = PriceTask.fit(PANEL, horizon=H, num_bins=4 * MOST_EQUAL)
    assert task.tokenizer.num_bins == MOST_EQUAL
    assert task.table(PANEL).targets.max() < MOST_EQUAL + FIRST_ID
