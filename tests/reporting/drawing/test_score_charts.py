"""Drawings of scores name their models, and carry their numbers."""

import numpy as np
import pytest

from quantseq.reporting.drawing.ink import svg
from quantseq.reporting.drawing.score_charts import LEVELS, reliability, score_lines

UNIFORM = (np.arange(200) + 0.5) / 200


@pytest.mark.parametrize("width", [900, 340])
@pytest.mark.parametrize(
    "drawing",
    [
        reliability({"a": UNIFORM, "b": UNIFORM**2}),
        score_lines([1, 2], {"a": np.ones(2), "b": np.zeros(2)}, across="steps", up="score"),
        score_lines([1, 2], {"a": np.array([1, np.nan]), "b": np.ones(2)}, across="x", up="y"),
    ],
)
def test_the_first_model_is_in_accent_and_the_others_are_not(drawing, width: int) -> None:
    text = svg(drawing, (width, 300), prefix="p", title="t", description="d")
    assert "var(--accent)" in text
    assert "var(--neutral)" in text
    for name in ("a", "b"):
        assert f">{name}" in text


def test_reliability_is_the_gap_between_observed_and_forecast_share() -> None:
    frame = reliability({"flat": UNIFORM, "low": UNIFORM / 2}).numbers()
    np.testing.assert_allclose(frame["probability"], LEVELS)
    assert frame["flat"].abs().max() <= 0.0051
    assert frame.loc[50, "low"] == pytest.approx(0.5, abs=0.01)


def test_a_small_loss_is_not_written_as_minus_nothing() -> None:
    lines = score_lines([1, 2], {"a": np.array([0.0, -1e-9])}, across="x", up="y")
    assert ">a 0<" in svg(lines, (900, 300), prefix="p", title="t", description="d")


def test_many_years_leave_room_between_their_labels() -> None:
    years = list(range(1990, 2020))
    lines = score_lines(years, {"a": np.ones(30)}, across="year", up="y")
    text = svg(lines, (340, 300), prefix="p", title="t", description="d")
    assert sum(f">{year}<" in text for year in years) == 5


def test_a_small_last_score_is_not_labelled_0() -> None:
    series = {"a": np.array([0.1, -0.03]), "b": np.array([2.0, 12.34])}
    drawing = score_lines([1, 2], series, across="steps", up="score")
    text = svg(drawing, (900, 300), prefix="p", title="t", description="d")
    assert ">a −0.03<" in text
    assert ">b 12.3<" in text
