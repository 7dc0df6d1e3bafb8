"""The memory campaign, short: what Python holds is the same after the second round and after the third."""

from collections.abc import Callable
from pathlib import Path

import pytest

from quantseq.files import Places
from quantseq.market.bars import Panel
from tests.campaigns.memory import rounds

LEAK = 1_000  # objects of a round; a forecaster alone has more


@pytest.mark.slow
def test_a_round_leaves_nothing_behind(
    sample: Panel, with_gate: Callable[[Path], None], tmp_path: Path
) -> None:
    with_gate(tmp_path / "data")
    panel = sample.select(["IBM"]).between("2003-01-01", "2005-12-31")
    places = Places(tmp_path / "data", tmp_path / "reports")
    for command in ("backtest", "evaluate"):
        _, second, third = rounds(command, panel, places, 3)
        assert third.objects - second.objects < LEAK, command
        assert third.figures == 0
