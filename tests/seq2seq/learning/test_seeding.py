"""The random state is a function of (seed, step), and the caller's comes back."""

import torch

from quantseq.seq2seq.learning.seeding import borrowed_random_state, seed_step

CPU = torch.device("cpu")


def first_draw(seed: int, step: int) -> float:
    seed_step(seed, step, CPU)
    return float(torch.rand((), dtype=torch.float64))


def test_same_seed_and_step_same_draws() -> None:
    with borrowed_random_state(CPU):
        assert first_draw(3, 5) == first_draw(3, 5)


def test_neighbouring_seeds_and_steps_have_little_in_common() -> None:
    with borrowed_random_state(CPU):
        draws = [first_draw(seed, step) for seed in range(40) for step in range(40)]
    assert len(set(draws)) == 1600
    table = torch.tensor(draws).view(40, 40)
    assert abs(float(table.mean()) - 0.5) < 0.03
    for one, other in ((table[1:], table[:-1]), (table[:, 1:], table[:, :-1])):
        pair = torch.stack((one.flatten(), other.flatten()))
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.1


def test_the_callers_random_state_comes_back() -> None:
    before = torch.get_rng_state()
    with borrowed_random_state(CPU):
        first_draw(0, 0)
    assert torch.equal(torch.get_rng_state(), before)
