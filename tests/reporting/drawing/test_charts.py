import numpy as np
import pytest

from quantseq.reporting.drawing import charts
from quantseq.reporting.drawing.ink import Drawing, svg

DATES = np.datetime64("2010-01-04") + np.arange(60)
CLOSES = np.linspace(90, 100, 60)
LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
PRICES = 100 + np.outer(np.arange(1, 6), [-2.0, -1.0, 0.0, 1.0, 2.0])
LABELS = [f"+{step}" for step in range(1, 6)]


def _svg(draw: Drawing) -> str:
    return svg(draw, (440, 250), prefix="p", title="t", description="d")


def _size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def test_a_whisker_shows_its_three_numbers_with_signs() -> None:
    picture = _svg(charts.whisker(-0.51, 0.15, 0.9, unit="Sharpe"))
    for text in (">−0.51<", ">+0.15<", ">+0.90<", ">Sharpe<"):
        assert text in picture


def test_a_whisker_of_nothing_is_drawn_without_a_warning() -> None:
    assert ">Sharpe<" in _svg(charts.whisker(0.0, 0.0, 0.0, unit="Sharpe"))


def test_coverage_writes_what_each_band_held() -> None:
    picture = _svg(charts.coverage([0.5, 0.9], [0.492, 0.903]))
    assert ">49.2\u00a0%<" in picture
    assert ">90.3\u00a0%<" in picture


def test_pit_slices_outside_the_band_are_in_the_loss_colour() -> None:
    assert "var(--loss)" not in _svg(charts.pit_histogram(np.ones(10), low=0.9, high=1.1))
    uneven = np.array([1.3, *[1.0] * 9])
    assert "var(--loss)" in _svg(charts.pit_histogram(uneven, low=0.9, high=1.1))


def test_a_histogram_draws_losses_apart_and_the_rival_as_outline() -> None:
    edges = np.linspace(-0.05, 0.05, 12)
    alone = _svg(charts.histogram(edges, np.arange(11.0), None))
    both = _svg(charts.histogram(edges, np.arange(11.0), np.ones(11)))
    assert "var(--loss)" in alone
    assert "var(--neutral)" in both
    assert both.count("var(--neutral)") == alone.count("var(--neutral)") + 1


def test_a_fan_has_one_band_per_pair_of_levels_and_the_outcome_on_top() -> None:
    blind = charts.Fan("X", DATES, CLOSES, LABELS, LEVELS, PRICES)
    known = charts.Fan("X", DATES, CLOSES, LABELS, LEVELS, PRICES, np.full(5, 101.0))
    assert _svg(charts.fan(blind)).count("fill:var(--accent)") == 2
    assert "stroke:var(--ink)" in _svg(charts.fan(known))
    assert "stroke:var(--ink)" not in _svg(charts.fan(blind))
    assert ">2010-03-04<" in _svg(charts.fan(blind))


@pytest.mark.parametrize("realised", [None, np.array([101.0, 99.0, np.nan, np.nan, np.nan])])
@pytest.mark.parametrize("steps", [1, 5])
def test_fan_chart_png(realised: np.ndarray | None, steps: int) -> None:
    png = charts.fan_chart_png(
        DATES,
        CLOSES,
        symbol="$^<GSPC>",
        labels=LABELS[:steps],
        levels=LEVELS,
        prices=PRICES[:steps],
        realised=None if realised is None else realised[:steps],
    )
    assert _size(png) == (1800, 920)
    assert len(png) < 200_000


def test_fan_chart_png_is_the_same_every_time() -> None:
    options = {"symbol": "X", "labels": LABELS, "levels": LEVELS, "prices": PRICES}
    first = charts.fan_chart_png(DATES, CLOSES, **options)
    assert first == charts.fan_chart_png(DATES, CLOSES, **options)
