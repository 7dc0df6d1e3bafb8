"""Drawings of the toys show what they are given."""

import re

import numpy as np
import pytest

from quantseq.reporting.drawing import toy_charts
from quantseq.reporting.drawing.ink import Drawing, svg
from quantseq.reporting.drawing.toy_charts import Band


def _svg(draw: Drawing, size: tuple[int, int] = (900, 420)) -> str:
    return svg(draw, size, prefix="p", title="t", description="d")


@pytest.mark.parametrize("count", [1, 2, 400, 3001])
def test_a_loss_curve_of_any_length(count: int) -> None:
    steps = np.arange(count)
    losses = 2 / (1 + steps)
    picture = _svg(
        toy_charts.loss_curve(steps.tolist(), losses.tolist(), stones={0: 2.3}, unit="nats")
    )
    assert ("running median" in picture) == (count >= 510)
    assert ">fresh sequences<" in picture
    assert ">nats<" in picture


def test_a_loss_of_zero_can_be_drawn_on_a_log_scale() -> None:
    losses = [1.0, 0.1, 0.0, 0.0]
    picture = _svg(toy_charts.loss_curve([0, 1, 2, 3], losses, stones={}, unit="nats"))
    assert "nan" not in picture
    assert "inf" not in picture


def test_lengths_are_told_apart_by_colour_hatch_and_word() -> None:
    draw = toy_charts.accuracy_by_length({3: 1.0, 8: 0.377}, {9: 0.05, 16: 0.0})
    picture = _svg(draw)
    for text in (">100<", ">37.7<", ">5.0<", ">0<", ">trained lengths<", ">16<"):
        assert text in picture
    assert ">longer than any in training<" in picture
    assert "<pattern" in picture
    alone = _svg(toy_charts.accuracy_by_length({3: 1.0}, {}))
    assert "longer" not in alone
    assert "<pattern" not in alone


def test_an_attention_map_is_as_dark_as_its_weights() -> None:
    weights = np.array([[1.0, 0.0], [0.3, 0.7], [0.04, 0.96]])
    picture = _svg(toy_charts.attention_map("ab", ["a", "b", "EOS"], weights))
    found = re.findall(r"fill:var\(--accent\)(?:;opacity:([\d.]+))?", picture)
    alphas = [float(one or 1) for one in found]
    np.testing.assert_allclose(alphas, 0.04 + 0.96 * weights.ravel(), atol=0.006)
    for text in (">100<", ">30<", ">70<", ">96<", ">EOS<"):
        assert text in picture
    assert ">4<" not in picture


def test_small_multiples_share_their_axes() -> None:
    def band(label: str, end: float, *, dashed: bool = False) -> Band:
        where = np.linspace(0, end, 5)
        return Band(where, where / 900, where / 800, where / 700, label, dashed=dashed)

    rows = {
        "batches": {"none": [band("LSTM", 700)], "Luong": [band("LSTM", 700)]},
        "seconds": {"none": [band("LSTM", 3)], "Luong": [band("GRU", 40, dashed=True)]},
    }
    picture = _svg(toy_charts.small_multiples(rows, title="Title", note="note"), (1100, 620))
    for text in (">none<", ">Luong<", ">Title<", ">note<", ">LSTM<", ">GRU<"):
        assert picture.count(text) == 1
    assert picture.count(">batches<") == picture.count(">seconds<") == 2
    assert picture.count(">40<") == 2, "the panel of the faster one is as wide"


def test_small_multiples_on_a_log_scale() -> None:
    where = np.arange(3.0)
    band = Band(where, np.full(3, 0.01), np.full(3, 0.1), np.full(3, 2.0), "LSTM")
    picture = _svg(
        toy_charts.small_multiples({"batches": {"none": [band]}}, title="t", note="n", log=True)
    )
    assert ">0.1<" in picture
    assert ">100\u00a0%<" not in picture
