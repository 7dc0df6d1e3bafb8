import numpy as np
import pytest

from quantseq.evaluation.conviction import profit_by_confidence
from quantseq.evaluation.significance import by_date

RNG = np.random.default_rng(0)
DATES = np.repeat(np.datetime64("2010-01-04") + np.arange(500), 4)
PROB = 0.5 + 0.2 * RNG.uniform(-1, 1, len(DATES))
NOISE = RNG.normal(0, 0.01, len(DATES))


def test_each_group_holds_its_share_of_the_forecasts_in_order_of_confidence():
    sure = np.abs(PROB - 0.5)
    found = profit_by_confidence(PROB, np.log1p(np.sign(PROB - 0.5) * sure), DATES)
    order = np.argsort(sure, kind="stable")
    for group, part in zip(found, np.array_split(order, 10), strict=True):
        rows = np.sort(part)
        assert group.value == pytest.approx(by_date(sure[rows], DATES[rows]).mean(), rel=1e-12)


def test_confidence_that_knows_is_seen_to_earn():
    outcome = NOISE + 0.05 * (PROB - 0.5)
    found = profit_by_confidence(PROB, outcome, DATES)
    assert found[-1].value > found[0].value
    assert found[-1].t > 3


def test_noise_earns_nothing_beyond_its_error():
    ts = [one.t for one in profit_by_confidence(PROB, NOISE, DATES)]
    assert np.abs(ts).max() < 4
    assert abs(np.mean(ts)) < 1.5


def test_forecasts_without_a_call_or_an_outcome_are_left_out():
    even = PROB.copy()
    even[: len(even) // 2] = 0.5
    outcome = NOISE.copy()
    outcome[-100:] = np.nan
    groups = profit_by_confidence(even, outcome, DATES)
    kept = slice(len(even) // 2, -100)
    again = profit_by_confidence(PROB[kept], NOISE[kept], DATES[kept])
    assert [one.value for one in groups] == [one.value for one in again]


@pytest.mark.parametrize("count", [0, 99])
def test_too_few_give_nothing(count):
    assert profit_by_confidence(PROB[:count], NOISE[:count], DATES[:count]) == []
