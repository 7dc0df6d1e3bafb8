"""Figures of an evaluation stand alone, name their models, and are the same every time."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantseq.evaluation.grades import Grades
from quantseq.report.figures import draw_figures, reliability, score_lines
from quantseq.report.ink import svg

M, H = 900, 3


def grades(shift: float) -> Grades:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(M, H))
    return Grades(
        np.tile(np.array(["A", "B", "C"], dtype=object), M // 3),
        (np.datetime64("2010-06-01") + np.arange(M // 3)).repeat(3),
        *(values + shift,) * 3,
        rng.random((M, H)) ** (1 + shift),
        *(values,) * 5,
        values[:, :1],
    )


FOUND = {"ours": grades(0.0), "har-range-t": grades(0.1), "ref": grades(0.05)}
NAMES = {"pit", "reliability", "score_by_step", "score_by_year"}


def test_each_figure_is_an_svg_that_stands_alone_and_a_png(tmp_path: Path) -> None:
    written = draw_figures(tmp_path, FOUND, "ours", "ref")
    assert {path.name for path in written} == {f"{n}.{e}" for n in NAMES for e in ("svg", "png")}
    for path in written:
        if path.suffix == ".svg":
            text = path.read_text(encoding="utf-8")
            assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
            assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
        else:
            assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    before = {path: path.read_bytes() for path in written}
    draw_figures(tmp_path, FOUND, "ours", "ref")
    assert {path: path.read_bytes() for path in written} == before


def test_scores_are_drawn_relative_to_the_reference(tmp_path: Path) -> None:
    draw_figures(tmp_path, FOUND, "ours", "ref")
    text = (tmp_path / "score_by_step.svg").read_text(encoding="utf-8")
    assert "ours −50" in text
    assert "har-range-t 50" in text
    assert "log score less that of ref" in text
    assert "2011" in (tmp_path / "score_by_year.svg").read_text(encoding="utf-8")


def test_without_the_reference_only_calibration_is_drawn(tmp_path: Path) -> None:
    written = draw_figures(tmp_path, {"ours": FOUND["ours"]}, "ours", "ref")
    assert {path.stem for path in written} == {"pit", "reliability"}


def test_without_outcomes_nothing_is_drawn(tmp_path: Path) -> None:
    blank = replace(FOUND["ours"], pit=np.full((M, H), np.nan))
    assert draw_figures(tmp_path, {"ours": blank}, "ours", "ref") == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "drawing",
    [
        reliability({"a": np.linspace(0, 1, 50), "b": np.linspace(0, 1, 50) ** 2}),
        score_lines([1, 2], {"a": np.ones(2), "b": np.zeros(2)}, across="steps", up="score"),
    ],
)
def test_the_first_model_is_in_accent_and_the_others_are_not(drawing) -> None:
    text = svg(drawing, (600, 300), prefix="p", title="t", description="d")
    assert "var(--accent)" in text
    assert "var(--neutral)" in text
    for name in ("a", "b"):
        assert f">{name}" in text
