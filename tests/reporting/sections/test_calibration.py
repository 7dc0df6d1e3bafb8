import numpy as np
import pytest

from quantseq.reporting import words
from quantseq.reporting.run import Run
from quantseq.reporting.sections import calibration

pytestmark = pytest.mark.usefixtures("undrawn")


def test_reliability_counts_outcomes_below_each_level(run: Run) -> None:
    chart = calibration.reliability(run.forecasts)
    assert chart is not None
    assert chart.table is not None
    pit = run.forecasts.loc[run.forecasts["step"] == 1, "pit"].dropna()
    row = next(row for row in chart.table.rows if str(row[0]) == words.percent(0.9, 0))
    assert row[1] == words.percent((pit <= 0.9).mean())


def test_the_largest_gap_is_named_with_its_direction(run: Run) -> None:
    low = run.forecasts.assign(pit=run.forecasts["pit"] ** 3)
    chart = calibration.reliability(low)
    assert chart is not None
    assert "more outcomes lay below it than forecast" in chart.reading


def test_confidence_has_ten_groups_least_sure_first(run: Run) -> None:
    chart = calibration.confidence(run.forecasts)
    assert chart is not None
    assert chart.table is not None
    assert [str(row[0]) for row in chart.table.rows][::9] == ["1, least sure", "10, surest"]


def test_a_sign_that_is_always_right_earns_in_every_group(run: Run) -> None:
    first = run.forecasts["realised"].fillna(0.001)
    sure = run.forecasts.assign(prob_up=0.5 + 0.4 * np.tanh(20 * first))
    chart = calibration.confidence(sure)
    assert chart is not None
    assert chart.table is not None
    assert all(str(row[1]).startswith("+") for row in chart.table.rows)
    assert "is told from 0" in chart.reading


@pytest.mark.parametrize("columns", [["symbol", "cutoff", "step"], []])
def test_nothing_is_drawn_from_nothing(run: Run, columns: list[str]) -> None:
    frame = run.forecasts[columns] if columns else run.forecasts.head(0)
    assert calibration.reliability(frame) is None
    assert calibration.confidence(frame) is None
    even = run.forecasts.assign(prob_up=0.5)
    assert calibration.confidence(even) is None
