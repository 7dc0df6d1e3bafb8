from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from quantseq.reporting import words
from quantseq.reporting.page import Chart, Missing
from quantseq.reporting.run import Run
from quantseq.reporting.sections import growth
from quantseq.trading.performance import METRICS, wealth

pytestmark = pytest.mark.usefixtures("undrawn")


def _charts(run: Run) -> dict[str, Chart]:
    return {part.key: part for part in growth.growth(run).blocks if isinstance(part, Chart)}


def test_the_readings_hold_the_numbers_of_the_trading_room(run: Run) -> None:
    net = run.daily("strategy_net")
    assert net is not None
    charts = _charts(run)
    assert f"1.00 became {wealth(net)[-1]:.2f} net of costs" in charts["equity"].reading
    depth = words.percent(METRICS["max_drawdown"](net))
    assert charts["drawdown"].reading.startswith(f"The deepest fall, {depth}, ran from 20")
    table = charts["equity"].table
    assert table is not None
    assert table.rows[-1][:2] == ["2013-03-01", words.number(wealth(net)[-1])]
    assert len(table.rows) == 61
    assert charts["equity"].legend[-1].text == "log scale"


def test_every_number_behind_the_positions_is_there(run: Run) -> None:
    table = _charts(run)["positions"].table
    assert table is not None
    assert [row[0] for row in table.rows] == ["AAPL", "GOOG", "IBM", "MSFT"]


def test_shorts_are_named_and_many_symbols_are_cut_for_the_picture_only(run: Run) -> None:
    first = run.weights.loc[run.weights["symbol"] == "AAPL"]
    parts = [
        first.assign(symbol=f"S{n:02d}", weight=first["weight"] * (-1) ** n) for n in range(12)
    ]
    many = replace(run, weights=type(first)(np.concatenate(parts), columns=first.columns))
    chart = _charts(many)["positions"]
    assert "The 8 largest of 12 are drawn." in chart.reading
    assert any("short" in key.text for key in chart.legend)
    assert chart.table is not None
    assert len(chart.table.rows) == 12


def test_what_is_missing_is_said(run: Run) -> None:
    bare = replace(run, weights=run.weights.head(0), equity=run.equity[["session", "strategy_net"]])
    blocks = growth.growth(bare).blocks
    said = [block.text for block in blocks if isinstance(block, Missing)]
    assert len(said) == 2
    assert "this run stored no benchmark" in _charts(bare)["equity"].reading


def test_ruin_is_drawn_on_a_linear_axis(run: Run) -> None:
    ruined = run.equity.copy()
    ruined.loc[100, "strategy_net"] = -1.0
    ruined.loc[101:, "strategy_net"] = 0.0
    charts = _charts(replace(run, equity=ruined))
    assert charts["equity"].legend[-1].text == "linear scale"
    assert charts["equity"].live is not None
    assert charts["equity"].live.log is None
    assert "not yet back at the high" in charts["drawdown"].reading


def test_a_strategy_that_never_falls_has_no_deepest_point(run: Run) -> None:
    calm = replace(run, equity=run.equity.assign(strategy_net=0.0))
    assert _charts(calm)["drawdown"].reading == "The strategy was never below an earlier high."


def test_the_script_gets_the_values_that_are_drawn(run: Run) -> None:
    live = _charts(run)["equity"].live
    assert live is not None
    assert live.names[:2] == ["strategy", "buy-and-hold"]
    np.testing.assert_array_equal(live.lines[0].values[1:], wealth(run.daily("strategy_net")))
    assert live.lines[0].values[0] == 1.0
    assert len(live.marks) == 4


@pytest.mark.parametrize(
    ("audit", "rivals", "said"),
    [
        ({"placebos": [{"name": "random entry", "low": -0.2, "high": 0.7}]}, {}, "−0.20 to +0.70"),
        (None, {"random_entry": {"sharpe_range": [-0.5, 0.9]}}, "−0.50 to +0.90"),
        (None, {"random_entry": {"sharpe_range": None}}, None),
        (None, "broken", None),
    ],
)
def test_the_ribbon_of_placebos_is_drawn_where_there_are_any(
    with_result: Callable[..., Run], audit: object, rivals: object, said: str | None
) -> None:
    chart = _charts(with_result(audit=audit, rivals=rivals))["equity"]
    told = [key.text for key in chart.legend if "random entries" in key.text]
    assert bool(told) == (said is not None)
    assert chart.live is not None
    assert len(chart.live.lines) == (4 if said else 2)
    if said:
        assert told[0].endswith(said)
        upper, lower = chart.live.lines[2:]
        assert (upper.values[1:] > lower.values[1:]).all()
