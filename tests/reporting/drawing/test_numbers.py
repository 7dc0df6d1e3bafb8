"""Drawings carry their numbers whole."""

import numpy as np
from matplotlib.figure import Figure

from quantseq.reporting.drawing.ink import daylight
from quantseq.reporting.drawing.numbers import Plotted, by_date, columns

DAYS = np.datetime64("2020-01-01") + np.arange(3)


def test_a_drawing_with_numbers_is_still_a_drawing() -> None:
    drawn: list[Figure] = []
    plotted = Plotted(lambda figure, _: drawn.append(figure), lambda: columns({"a": [1.0]}))
    figure = Figure()
    plotted(figure, daylight())
    assert drawn == [figure]
    assert plotted.numbers()["a"].tolist() == [1.0]


def test_series_meet_over_all_dates_and_nothing_is_made_up() -> None:
    frame = by_date(["a", "a"], [(DAYS, np.arange(3.0)), (DAYS[1:], np.array([5.0, np.nan]))])
    assert frame.index.name == "date"
    assert frame.index.tolist() == list(DAYS.astype("datetime64[s]").astype(object))
    assert np.isnan(frame.iloc[0, 1])
    assert frame.iloc[:, 1].tolist()[1:2] == [5.0]


def test_what_is_unknown_makes_no_column() -> None:
    assert list(columns({"a": [1, 2], "b": None, "c": 3.0})) == ["a", "c"]
