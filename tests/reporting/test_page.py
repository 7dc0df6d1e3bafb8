import numpy as np
import pytest

from quantseq.reporting.drawing.curves import Line, curves
from quantseq.reporting.page import FULL, THIRD, Table, chart, thinned

DATES = np.datetime64("2010-01-04") + np.arange(9)
DRAW = curves([Line(DATES, np.arange(1.0, 10.0))])


def test_a_chart_has_one_picture_per_size_with_ids_of_its_own() -> None:
    made = chart("key", "Title", "Reading", DRAW, sizes=FULL)
    assert len(made.pictures) == 2
    assert 'id="key0-t"' in made.pictures[0]
    assert 'id="key1-t"' in made.pictures[1]
    assert "Reading" in made.pictures[0]
    assert len(chart("key", "Title", "Reading", DRAW, sizes=THIRD).pictures) == 1


def test_columns_are_text_then_numbers_unless_told_otherwise() -> None:
    assert Table(["a", "b", "c"], []).classes == ["text", "", ""]
    assert Table(["a", "b", "c"], [], align="tnw").classes == ["text", "", "text wrap"]


@pytest.mark.parametrize("count", [0, 1, 130, 131, 500])
def test_thinned_rows_keep_the_last_and_stay_few(count: int) -> None:
    rows = [[str(number)] for number in range(count)]
    kept = thinned(rows, 130)
    assert len(kept) <= 130
    assert list(kept) == sorted(kept, key=lambda row: int(row[0]))
    assert not rows or kept[-1] == rows[-1]
