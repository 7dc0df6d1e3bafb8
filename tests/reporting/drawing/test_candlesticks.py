import numpy as np
import pytest
from matplotlib.figure import Figure

from quantseq.reporting.drawing import candlesticks
from quantseq.reporting.drawing.candlesticks import Outcome, candlestick_png
from quantseq.reporting.drawing.ink import Drawing, Size, daylight

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


def test_history_path_and_bands_are_all_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = figure_of(made(30, 4), monkeypatch)
    assert len(whole.axes) == 2
    assert len(whole.axes[0].patches) == 30 + 4 + 2 * 4
