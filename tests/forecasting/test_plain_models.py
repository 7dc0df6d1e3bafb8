"""What plain models learn: a pattern of the scale where there is one, nothing in noise, the same bits anyhow."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.inputs import NUM_DAYS, NUM_EVENTS, NUM_NUMBERS, Numbers
from quantseq.forecasting.plain_models import (
    KEPT,
    LEAST_ROWS,
    PARTS,
    Learner,
    Perceptron,
    Stretch,
    Trees,
    _fit_one,
    _Told,
)
from quantseq.forecasting.reference import LONGEST_STRETCH, Reference
from quantseq.forecasting.rows import MIN_HISTORY
from quantseq.market.bars import Floats, Panel
from tests.prices import simulate_panel

PANEL = simulate_panel("ABC", 800)
BLOCK = PANEL.until(PANEL.sessions[700])
REFERENCE = Reference.fit(BLOCK, horizon=2)
TOLD = _Told.of(BLOCK, REFERENCE)
every_learner = pytest.mark.parametrize("kind", [Trees, Perceptron])


def planted(n: int, *, seed: int = 0) -> tuple[Numbers, Floats, Floats, Floats]:
    """Numbers (n, 8), returns, ν, and the log scale: the first number's where the second is positive."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8)).astype(np.float32)
    truth = 0.5 * (np.tanh(2 * x[:, 0]) * (x[:, 1] > 0)).astype(np.float64)
    return x, np.exp(truth) * rng.standard_t(6, n), np.full(n, 6.0), truth


@every_learner
def test_a_planted_pattern_of_the_scale_is_found(kind: type[Learner]) -> None:
    x, z, nu, _ = planted(30_000)
    fresh, _, _, truth = planted(4000, seed=1)
    found = kind.fit(x, z, nu, 0).factor(fresh)
    assert np.corrcoef(found, truth)[0, 1] > 0.8
    assert 0.5 < found.std() / truth.std() < 1.1


@every_learner
def test_noise_and_glitches_teach_next_to_nothing(kind: type[Learner]) -> None:
    x, z, nu, _ = planted(30_000)
    noise = np.random.default_rng(2).permutation(z)
    noise[::1000] = 1e4
    fresh = planted(4000, seed=1)[0]
    assert kind.fit(x, noise, nu, 0).factor(fresh).std() < 0.08


@every_learner
def test_the_factor_of_a_row_does_not_depend_on_the_others(kind: type[Learner]) -> None:
    x, z, nu, _ = planted(3000)
    learned = kind.fit(x, z, nu, 0)
    together = learned.factor(x)
    for rows in (slice(0, 1), slice(7, 8), slice(5, 42)):
        assert learned.factor(x[rows]).tobytes() == together[rows].tobytes()


def test_the_perceptron_is_that_of_torch_and_leaves_its_generator_alone() -> None:
    x, z, nu, _ = planted(3000)
    before = torch.get_rng_state()
    learned = Perceptron.fit(x, z, nu, 3)
    assert torch.equal(torch.get_rng_state(), before)
    found = torch.from_numpy(x)
    for place, (weight, bias) in enumerate(learned.layers):
        found = torch.nn.functional.silu(found) if place else found
        found = torch.nn.functional.linear(found, torch.tensor(weight.T), torch.tensor(bias))
    np.testing.assert_allclose(learned.factor(x), found[:, 0].numpy(), atol=1e-5)
    assert Perceptron.fit(x, z, nu, 3).factor(x).tobytes() == learned.factor(x).tobytes()


def test_rows_are_those_with_all_that_comes_after_them_and_parts_follow_each_other() -> None:
    assert TOLD.numbers.shape[1:] == (NUM_NUMBERS,)
    assert TOLD.days.shape[1:] == (2, NUM_DAYS + NUM_EVENTS)
    assert len(TOLD.z) == 3 * (701 - MIN_HISTORY - 2)
    assert np.isfinite(TOLD.z).all()
    assert TOLD.sessions.max() == BLOCK.sessions[-3]
    last = [TOLD.sessions[TOLD.part == part] for part in range(PARTS)]
    assert last[0].max() < last[1].min()
    assert last[1].max() < last[2].min()
    row, step = 5, 1
    told = TOLD.told(np.array([row]), step)[0]
    np.testing.assert_array_equal(told[NUM_NUMBERS:], TOLD.days[row, step])


def test_days_left_out_decide_whether_a_step_is_believed() -> None:
    rng = np.random.default_rng(0)
    n = 30_000
    rows = np.arange(n)
    told = replace(
        TOLD,
        numbers=rng.normal(size=(n, 4)).astype(np.float32),
        days=np.zeros((n, 1, 1), np.float32),
        z=rng.standard_t(6, (n, 1)),
        nu=np.full((n, 1), 6.0),
        sessions=np.datetime64("2000-01-03") + rows // 20,
        part=rows * PARTS // n,
    )
    told.z[:, 0] *= np.exp(0.3 * (told.numbers[:, 1] > 0))
    gains = [_fit_one(Perceptron, told, part, 0)[1] for part in range(PARTS)]
    assert all(one.mean() > 0.01 for one in gains)
    told.z[told.part == 2] = rng.standard_t(6, (int((told.part == 2).sum()), 1))
    told.z[told.part == 2] *= np.exp(-0.6 * (told.numbers[told.part == 2, 1:2] > 0))
    assert _fit_one(Perceptron, told, 2, 0)[1].mean() < 0


def test_what_is_not_believed_changes_nothing_and_what_is_is_bounded() -> None:
    one, rows = REFERENCE.inputs(PANEL)["A"], np.array([300, 500])
    learned = Stretch.fit(BLOCK, REFERENCE, kind=Perceptron, name="perceptron-t", jobs=1)
    assert set(learned.kept) <= {0.0, KEPT}
    off = replace(learned, kept=(0.0, 0.0))
    assert (off.at(one, rows, REFERENCE, 2) == 0).all()
    on = replace(learned, kept=(KEPT, 0.0)).at(one, rows, REFERENCE, 2)
    assert (on[:, 0] != 0).all()
    assert (on[:, 1] == 0).all()
    loud = replace(learned, kept=(1e9, 1e9)).at(one, rows, REFERENCE, 2)
    assert np.abs(loud).max() == LONGEST_STRETCH


@pytest.mark.slow
def test_the_number_of_jobs_changes_nothing() -> None:
    told, rows = REFERENCE.inputs(PANEL)["B"], np.arange(600, 700)
    one, two = (Stretch.fit(BLOCK, REFERENCE, kind=Trees, name="x", jobs=jobs) for jobs in (1, 2))
    assert one.kept == two.kept
    first, second = (
        replace(learned, kept=(1.0, 1.0)).at(told, rows, REFERENCE, 2) for learned in (one, two)
    )
    assert first.tobytes() == second.tobytes()


def test_too_little_to_learn_from_is_an_error() -> None:
    short = Panel(bars.until(PANEL.sessions[400]) for bars in PANEL.values())
    with pytest.raises(NotEnoughDataError, match=f"boosting-t found .* it needs {LEAST_ROWS}"):
        Stretch.fit(short, REFERENCE, kind=Trees, name="boosting-t", jobs=1)
