import re

import numpy as np
import pytest

from quantseq.reporting.drawing.curves import Line, curves, strips
from quantseq.reporting.drawing.ink import Drawing, svg

DATES = np.datetime64("2010-01-04") + np.arange(1500)
PATH = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, len(DATES))))


def _svg(draw: Drawing, width: int = 900) -> str:
    return svg(draw, (width, 240), prefix="p", title="t", description="d")


def test_a_curve_writes_its_last_value_in_its_own_colour() -> None:
    line = Line(DATES, PATH)
    picture = _svg(curves([line], end=lambda value: f"end {value:.2f}"))
    assert f"end {PATH[-1]:.2f}" in picture
    assert "stroke:var(--accent)" in picture


def test_labels_of_equal_ends_stand_apart() -> None:
    lines = [Line(DATES, PATH), Line(DATES, PATH * 1.0001, "neutral")]
    picture = _svg(curves(lines, end=lambda _: "here"))
    heights = [float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>here<', picture)]
    assert len(heights) == 2
    assert abs(heights[0] - heights[1]) >= 12


@pytest.mark.parametrize("width", [900, 340])
def test_long_series_stay_small(width: int) -> None:
    lines = [Line(DATES, PATH, filled=True), Line(DATES, 1 / PATH, "neutral")]
    assert len(_svg(curves(lines), width)) < 32_000


def test_marks_and_dots_are_drawn() -> None:
    plain = _svg(curves([Line(DATES, PATH)]))
    marked = _svg(curves([Line(DATES, PATH)], boundaries=DATES[[400, 800]], dot=(DATES[9], 1.0)))
    assert marked.count("stroke-dasharray") == plain.count("stroke-dasharray") + 2
    assert "var(--loss)" in marked


def test_a_log_axis_has_round_ticks() -> None:
    picture = _svg(curves([Line(DATES, np.linspace(1, 10, len(DATES)))], log=True))
    assert {"1", "2", "5", "10"} <= set(re.findall(r">([\d.]+)</text>", picture))


@pytest.mark.parametrize("count", [1, 2])
def test_very_short_series_are_drawn(count: int) -> None:
    assert "<path" in _svg(curves([Line(DATES[:count], PATH[:count], filled=True)]))


def test_strips_name_every_symbol_and_show_shorts_in_the_loss_colour() -> None:
    long = Line(DATES, np.where(PATH > 1, 0.25, 0.0))
    short = Line(DATES, np.where(PATH > 1, 0.25, -0.25))
    picture = _svg(strips(["AAPL", "<b>$x$"], [long, short]))
    assert ">AAPL<" in picture
    assert ">&lt;b&gt;$x$<" in picture
    assert "var(--loss)" in picture
    assert "var(--loss)" not in _svg(strips(["AAPL"], [long]))


def test_strips_without_any_position_are_drawn() -> None:
    assert ">A<" in _svg(strips(["A"], [Line(DATES, np.zeros(len(DATES)))]))


def test_long_names_leave_room_for_the_strips() -> None:
    name = "a symbol whose name was written by somebody with a lot of time"
    picture = _svg(strips([name], [Line(DATES, np.ones(len(DATES)))]), 340)
    assert ">a symbol whose<" in picture
    assert re.search(r"time</", picture)
