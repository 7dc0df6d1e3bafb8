"""The pace of requests, and what every answer has in common."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import ConfigError, NoDataError
from quantseq.market.protocol import Pace, answer
from tests.market.conftest import LAW, build_bars


@given(
    st.floats(0.01, 100),
    st.lists(st.tuples(st.floats(0, 200), st.integers(1, 3)), min_size=1, max_size=20),
)
@LAW
def test_never_more_than_the_rate(rate: float, calls: list[tuple[float, int]]) -> None:
    """Law: after a call that stands for `count` requests, `count / rate` seconds pass; no more."""
    time = 0.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal time
        slept.append(seconds)
        time += seconds

    pace = Pace(rate, sleep=sleep, clock=lambda: time)
    free = float("-inf")
    for idle, count in calls:
        time += idle
        due = max(time, free)
        pace(count)
        assert time == pytest.approx(due)
        free = time + count / rate
    assert all(seconds > 0 for seconds in slept)


def test_the_first_call_does_not_wait() -> None:
    Pace(1e-9, sleep=lambda _: pytest.fail("it waited"))()


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_is_above_0(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"above 0\. Got"):
        Pace(rate)


def test_an_answer_is_cut_and_says_where_it_came_from() -> None:
    bars = answer(
        build_bars(n=8),
        "mine",
        {"currency": "EUR"},
        start="2020-01-03",
        end=None,
        packages=("numpy",),
    )
    assert len(bars) == 6
    facts = bars.provenance
    assert (facts["source"], facts["currency"], facts["interval"]) == ("mine", "EUR", "1d")
    assert (facts["start"], facts["end"]) == ("2020-01-03", None)
    assert set(facts["versions"]) == {"quantseq", "pandas", "numpy"}
    with pytest.raises(NoDataError, match="it has 2020-01-01 to 2020-01-10"):
        answer(build_bars(n=8), "mine", {}, start="2021-01-01", end=None)
