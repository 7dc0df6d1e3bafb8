import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from quantseq.report import candlesticks
from quantseq.report.candlesticks import Outcome, candlestick_png, short_number
from quantseq.report.ink import Drawing, Ink, Size, daylight

FIELDS = ("open", "high", "low", "close", "volume")


def made(sessions: int = 40, steps: int = 5, *, volume: float = 1e6) -> Outcome:
    def bars(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
        open_ = close * np.exp(rng.normal(0, 0.01, count))
        top, bottom = np.maximum(open_, close), np.minimum(open_, close)
        values = (open_, 1.01 * top, 0.99 * bottom, close, volume * rng.random(count))
        return dict(zip(FIELDS, values, strict=True))

    rng = np.random.default_rng(0)
    around = np.array([0.97, 1.0, 1.03])
    path = bars(steps, rng)
    return Outcome(
        "$^<GSPC>",
        np.datetime64("2020-01-01") + np.arange(sessions),
        bars(sessions, rng),
        path,
        *(path[name][:, None] * around for name in ("low", "close", "high", "volume")),
        levels=(0.05, 0.5, 0.95),
    )


def figure_of(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure before it becomes a PNG."""
    figure = Figure()

    def keep(draw: Drawing, size: Size) -> bytes:
        draw(figure, daylight())
        return b""

    monkeypatch.setattr(candlesticks, "png", keep)
    candlestick_png(outcome)
    return figure


@pytest.mark.parametrize(("sessions", "steps"), [(40, 5), (40, 1), (1, 5), (168, 20)])
def test_a_png_of_the_asked_size(sessions: int, steps: int) -> None:
    png = candlestick_png(made(sessions, steps), size=(700, 400))
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (1400, 800)
    assert len(png) < 200_000


def test_the_same_bars_give_the_same_bytes() -> None:
    assert candlestick_png(made()) == candlestick_png(made())


def test_a_market_without_volume_is_drawn() -> None:
    assert candlestick_png(made(volume=0.0))


def test_candles_span_open_to_close_and_wicks_low_to_high(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = made(30, 4)
    figure = Figure()
    axes = figure.add_subplot()
    candlesticks._candles(axes, np.arange(4.0), outcome.path, 0.9, daylight(), alpha=1.0)
    bodies = sorted((p.get_x(), p.get_y(), p.get_y() + p.get_height()) for p in axes.patches)
    for (_, low, high), open_, close in zip(
        bodies, outcome.path["open"], outcome.path["close"], strict=True
    ):
        assert low == pytest.approx(min(open_, close))
        assert high == pytest.approx(max(open_, close))
    ends = np.concatenate(
        [np.array(line.get_segments()).reshape(-1, 2) for line in axes.collections]
    )
    for at in range(4):
        touched = ends[ends[:, 0] == at, 1]
        assert touched.min() == pytest.approx(outcome.path["low"][at])
        assert touched.max() == pytest.approx(outcome.path["high"][at])
    whole = figure_of(outcome, monkeypatch)
    assert len(whole.axes) == 2
    assert len(whole.axes[0].patches) == 30 + 4 + 2 * 4


def test_falls_are_hollow_and_rises_are_full() -> None:
    ink: Ink = daylight()
    axes = Figure().add_subplot()
    bars = dict(zip(FIELDS, np.array([[1.0, 2], [3, 3], [0.5, 0.5], [2, 1], [1, 1]]), strict=True))
    candlesticks._candles(axes, np.arange(2.0), bars, 0.9, ink, alpha=1.0)
    rise, fall = sorted(axes.patches, key=lambda body: body.get_x())
    assert rise.get_facecolor() == rise.get_edgecolor() == to_rgba(ink.accent)
    assert fall.get_facecolor() == to_rgba(ink.surface)
    assert fall.get_edgecolor() == to_rgba(ink.loss)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (12.5e6, "12.5\u00a0m"), (3e9, "3\u00a0bn")]
)
def test_large_counts_are_short(value: float, text: str) -> None:
    assert short_number(value) == text
