"""Calibration, scores over time and the gallery show what was stored."""

import numpy as np
import pandas as pd
import pytest

from quantseq.reporting.page import Chart, Missing, Row, Sheet
from quantseq.reporting.sections.track_record import calibration, gallery, over_time
from tests.report_folders import evaluation

pytestmark = pytest.mark.usefixtures("undrawn")


def test_scores_are_shown_relative_to_the_reference() -> None:
    models = evaluation()[0]["models"]
    steps, years = over_time(models, "seq2seq", "har-pooled-t").blocks
    assert isinstance(steps, Chart)
    assert isinstance(years, Chart)
    ours, base = (models[name]["by_step"][1]["log_score"] for name in ("seq2seq", "har-pooled-t"))
    assert steps.table is not None
    assert steps.table.rows[1][1] == f"{1000 * (ours - base):+.2f}".replace("-", "−")
    assert steps.draw is not None
    assert steps.draw.numbers()["seq2seq"][1] == pytest.approx(1000 * (ours - base))
    assert [row[0] for row in years.table.rows] == ["2010", "2011", "2012"]
    ahead = (steps.draw.numbers()["seq2seq"] < 0).sum()
    assert f"ahead at {ahead} of 3 steps" in steps.reading


def test_one_year_is_a_table_and_no_chart() -> None:
    models = evaluation()[0]["models"]
    for one in models.values():
        one["by_year"] = one["by_year"][:1]
    assert isinstance(over_time(models, "seq2seq", "har-pooled-t").blocks[1], Sheet)


def test_the_largest_gap_is_said_with_its_sign() -> None:
    pit = np.linspace(0, 1, 1001) ** 2  # too many low outcomes
    frame = pd.DataFrame({"step": 1, "pit:m": pit})
    *_, chart = calibration({}, frame, ["m", "none"]).blocks
    assert isinstance(chart, Chart)
    assert "+25.0 points, where the forecast says 25\u00a0%" in chart.reading


def test_a_gallery_shows_the_picks_in_order() -> None:
    (row,) = gallery(evaluation()[0]["gallery"]).blocks
    assert isinstance(row, Row)
    assert [chart.key for chart in row.blocks] == ["fan-best", "fan-median", "fan-worst"]
    assert isinstance(gallery([]).blocks[0], Missing)
