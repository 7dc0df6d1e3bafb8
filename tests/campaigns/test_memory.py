"""The memory campaign, short: what Python holds is the same after the second round and after the third."""

from collections.abc import Callable
from pathlib import Path

import pytest
from markupsafe import Markup

from quantseq.files import Places
from quantseq.market.bars import Panel
from quantseq.reporting import charts
from tests.campaigns.memory import rounds

LEAK = 1_000  # objects of a round; one chart has more


@pytest.mark.slow
@pytest.mark.parametrize("command", ["backtest", "evaluate"])
def test_a_round_leaves_nothing_behind(
    command: str,
    sample: Panel,
    with_gate: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn, draw = 0, charts.inline_svg

    def one_chart(*parts: object, **how: object) -> Markup:
        """The first chart of a page; forty of a kind would only take longer."""
        nonlocal drawn
        drawn += 1
        return draw(*parts, **how) if drawn % 20 == 1 else Markup("<svg></svg>")  # type: ignore[arg-type]

    monkeypatch.setattr(charts, "inline_svg", one_chart)
    monkeypatch.setattr("quantseq.pipeline.evaluate.export_figures", lambda *_: [])
    with_gate(tmp_path / "data")
    panel = sample.select(["IBM"]).between("2003-01-01", "2005-12-31")
    places = Places(tmp_path / "data", tmp_path / "reports")
    _, second, third = rounds(command, panel, places, 3)
    assert third.objects - second.objects < LEAK
    assert third.figures == 0
