import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantseq.errors import RunError
from quantseq.reporting.drawing.packing import (
    Column,
    on_grid,
    pack,
    packed_size,
    unpack,
    with_carry,
    with_signs,
)

NUMBERS = arrays(np.float64, st.integers(0, 60), elements=st.floats(-1e6, 1e6, width=64))
GRIDS = st.sampled_from([1, 10**4, 10**7, 2**20])


@given(NUMBERS, NUMBERS, GRIDS)
@settings(max_examples=60, deadline=None)
def test_what_lies_on_a_grid_comes_back_bit_by_bit(
    one: np.ndarray, other: np.ndarray, per: int
) -> None:
    columns = {"one": on_grid(one, per), "other": on_grid(other, per), "twin": on_grid(one, per)}
    data = pack({"a": 1}, [Column(name, values, per) for name, values in columns.items()])
    head, found = unpack(data)
    assert head == {"a": 1}
    assert list(found) == list(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(found[name], values)


@given(NUMBERS, GRIDS)
@settings(max_examples=60, deadline=None)
def test_a_grid_moves_nothing_by_more_than_half_a_step_and_nothing_twice(
    values: np.ndarray, per: int
) -> None:
    moved = on_grid(values, per)
    assert (np.abs(moved - values) <= 0.5 / per * (1 + 1e-9) + 1e-15 * np.abs(values)).all()
    np.testing.assert_array_equal(on_grid(moved, per), moved)


@given(NUMBERS)
@settings(max_examples=60, deadline=None)
def test_a_carry_keeps_the_running_sum(values: np.ndarray) -> None:
    small = values / 1e6
    carried = with_carry(small, 64)
    apart = np.cumsum(carried) - np.cumsum(small)
    assert (np.abs(apart) <= 0.5 / 64 + 1e-9).all()


SMALL = arrays(
    np.float64,
    st.integers(0, 60),
    elements=st.floats(-3, 3, width=64) | st.sampled_from([0.0, 1e-9]),
)


@given(SMALL)
@settings(max_examples=60, deadline=None)
def test_signs_are_kept_and_what_they_cost_is_carried_on(values: np.ndarray) -> None:
    moved = with_signs(values, 64)
    np.testing.assert_array_equal(np.sign(moved), np.sign(values))
    np.testing.assert_array_equal(with_signs(moved, 64), moved)
    np.testing.assert_array_equal(on_grid(moved, 64), moved)
    tiny = np.cumsum(
        np.abs(values) < 1 / 64
    )  # each may take a step that the next large one gives back
    assert (np.abs(np.cumsum(moved - values)) * 64 <= 0.5 + tiny + 1e-9).all()


def test_a_step_that_was_taken_for_a_sign_is_given_back() -> None:
    moved = with_signs([0.001, 0.001, np.nan, 5.0, -0.001, -4.0], 1)
    np.testing.assert_array_equal(moved, [1.0, 1.0, np.nan, 3.0, -1.0, -3.0])


def test_unknown_huge_and_negative_values_survive() -> None:
    values = np.array([0.25, np.nan, -3.0, 0.0, np.nan])
    huge = np.array([1e300, -np.inf, 2.0])
    columns = [Column("net", values, 4), Column("huge", huge, 4), Column("like net", values + 1, 4)]
    _, found = unpack(pack({}, columns))
    np.testing.assert_array_equal(found["net"], values)
    np.testing.assert_array_equal(found["huge"], huge)
    np.testing.assert_array_equal(found["like net"], values + 1)


def test_the_same_input_gives_the_same_bytes_and_a_twin_costs_nothing() -> None:
    rng = np.random.default_rng(0)
    one, two = (Column(name, on_grid(rng.normal(0, 0.01, 2000), 10**7), 10**7) for name in "ab")
    assert pack({"x": [1]}, [one, two]) == pack({"x": [1]}, [one, two])
    twin = Column("c", one.values, 10**7)
    assert packed_size([one, two, twin]) < packed_size([one, two]) + 100
    assert packed_size([one]) < 2000 * 2.45  # bytes, of 8 each


def test_every_changed_byte_is_noticed() -> None:
    data = pack({"a": "b"}, [Column("x", np.arange(9.0), 1)])
    for place in range(len(data)):
        with pytest.raises(RunError, match="do not match their checksum"):
            unpack(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
