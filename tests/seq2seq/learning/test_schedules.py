"""Schedules begin, peak and end where they say."""

import pytest

from quantseq.seq2seq.learning.schedules import SAMPLINGS, one_cycle, teacher_share


@pytest.mark.parametrize("steps", [1, 2, 10, 1001])
def test_one_cycle_stays_in_its_range(steps: int) -> None:
    factors = [one_cycle(step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    if steps > 4:
        peak = factors.index(max(factors))
        assert factors[0] == pytest.approx(0.04)
        assert max(factors) > 0.95
        assert peak / steps == pytest.approx(0.25, abs=0.1)
        assert factors[:peak] == sorted(factors[:peak])
        assert factors[peak:] == sorted(factors[peak:], reverse=True)
        assert factors[-1] == pytest.approx(4e-6)


@pytest.mark.parametrize("kind", SAMPLINGS)
def test_the_teacher_only_falls_silent(kind: str) -> None:
    shares = [teacher_share(kind, step, 100, floor=0.1) for step in range(100)]  # type: ignore[arg-type]
    assert shares == sorted(shares, reverse=True)
    assert all(0 <= share <= 1 for share in shares)
    expected = {"none": (1, 1), "free": (0, 0)}.get(kind, (1, 0.1))
    assert (shares[0], shares[-1]) == pytest.approx(expected, abs=0.01)
