import numpy as np
import pandas as pd
import pytest

from quantseq.trading.regimes import TREND, VOLATILITY, regimes

RNG = np.random.default_rng(0)
INDEX = pd.bdate_range("2010-01-04", periods=900)
CALM = pd.Series(RNG.normal(0.0003, 0.01, 900) * np.repeat([0.5, 2.0, 1.0], 300), INDEX)


def _by_label(returns: pd.Series) -> dict[str, np.ndarray]:
    return {f"{one.kind}: {one.label}": one.sessions for one in regimes(returns)}


def test_nothing_after_the_close_before_moves_a_session_out_of_trend_or_depth():
    """The thirds of volatility are cut over the whole span and may move; the others may not."""
    changed = CALM.copy()
    changed.iloc[600:] = 0.05
    before, after = _by_label(CALM), _by_label(changed)
    for name in before.keys() & after.keys():
        if "Volatility" not in name:
            np.testing.assert_array_equal(before[name][:601], after[name][:601])


def test_regimes_of_a_kind_part_the_sessions_whose_window_is_full():
    found = regimes(CALM)
    for kind in {one.kind for one in found}:
        parts = np.sum([one.sessions for one in found if one.kind == kind], axis=0)
        assert parts.max() == 1
        first = int(np.argmax(parts))
        assert parts[first:].all()
        if "Volatility" in kind:
            assert first == VOLATILITY
        if "mean" in kind:
            assert first == TREND


def test_thirds_of_volatility_are_thirds_and_in_order():
    found = {one.label: one.sessions for one in regimes(CALM) if "Volatility" in one.kind}
    counts = [found[name].sum() for name in ("lowest third", "middle third", "highest third")]
    assert max(counts) - min(counts) <= 2
    spread = CALM.rolling(VOLATILITY).std().shift(1)
    assert spread[found["lowest third"]].max() <= spread[found["highest third"]].min()


@pytest.mark.parametrize("count", [1, 30])
def test_short_or_even_markets_have_no_regimes(count):
    assert regimes(CALM.head(count)) == [] or count > 1
    assert not [one for one in regimes(CALM * 0.0) if "mean" in one.kind or "high" in one.kind]
