"""Every drawing of the house: plain arrays in, a drawing (or PNG bytes) out.

Owns shapes, axes and ticks. Does not know what a run is, computes no statistic, and names no colour:
a drawing takes its colours by role from an `Ink`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from quantseq.market.bars import Dates, Floats
from quantseq.reporting.drawing.axes import blocks, percent_text, plain_text, plot
from quantseq.reporting.drawing.ink import Ink, png
from quantseq.reporting.drawing.numbers import Plotted, columns


@dataclass(frozen=True, eq=False)
class Fan:
    """A forecast distribution of prices behind the history it was made from.

    Parameters
    ----------
    symbol : str
        Whose prices.
    dates, closes : (n,) datetime64, (n,) float64
        The history, up to and with the cutoff.
    labels : sequence of str
        One per future step 1..H.
    levels : (Q,) float64
        Quantile levels, increasing, symmetric about 0.5.
    prices : (H, Q) float64
        Quantiles of the price at each step.
    realised : (H,) float64, optional
        What the price did; NaN where unknown.
    """

    symbol: str
    dates: Dates
    closes: Floats
    labels: Sequence[str]
    levels: Floats
    prices: Floats
    realised: Floats | None = None


def whisker(low: float, middle: float, high: float, *, unit: str) -> Plotted:
    """An interval with its estimate, against zero."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink, grid="x")
        axes.axvline(0, color=ink.ink, linewidth=1.0)
        axes.plot([low, high], [0, 0], color=ink.accent, linewidth=2.2)
        for end in (low, high):
            axes.plot([end, end], [-0.2, 0.2], color=ink.accent, linewidth=2.2)
        axes.plot([middle], [0], "o", color=ink.accent, markersize=9)
        for value, offset in ((low, -20), (middle, 10), (high, -20)):
            axes.annotate(
                f"{value:+.2f}".replace("-", "−"),
                (value, 0),
                xytext=(0, offset),
                textcoords="offset points",
                ha="center",
                color=ink.accent,
                fontweight="bold",
            )
        axes.set_yticks([])
        axes.set_ylim(-1, 1)
        reach = max(abs(low), abs(high)) or 0.1  # equal series: an interval of nothing
        axes.set_xlim(min(low, 0) - 0.12 * reach, max(high, 0) + 0.12 * reach)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(plain_text))
        axes.set_xlabel(unit, color=ink.muted)

    return Plotted(draw, lambda: columns({"low": low, "estimate": middle, "high": high}, [unit]))


def coverage(levels: Sequence[float], held: Sequence[float]) -> Plotted:
    """How often each central band held, as bars, against how often it should, as ticks."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink, grid=None)
        where = np.arange(len(levels)).astype(np.float64)
        blocks(axes, where - 0.38, where + 0.38, np.array(held), ink.accent)
        axes.set_xlim(-0.5, len(levels) - 0.5)
        for at, (level, value) in enumerate(zip(levels, held, strict=True)):
            axes.plot([at - 0.44, at + 0.44], [level, level], color=ink.ink, linewidth=2.0)
            axes.annotate(
                f"{100 * value:.1f}\u00a0%",
                (at, min(value, level)),
                xytext=(0, -13),
                textcoords="offset points",
                ha="center",
                color=ink.surface,
                fontweight="bold",
            )
        axes.set_xticks(where, [f"{100 * level:.0f}\u00a0%" for level in levels])
        axes.set_xlabel("central band", color=ink.muted)
        axes.set_ylim(0, 1.04)
        axes.set_yticks([0, 0.5, 1], [percent_text(tick) for tick in (0, 0.5, 1)])

    return Plotted(draw, lambda: columns({"promised": list(levels), "held": list(held)}))


def pit_histogram(shares: Floats, *, low: float, high: float) -> Plotted:
    """Share of outcomes in equal slices of the forecast's own probability, 1 where calibrated.

    Parameters
    ----------
    shares : (k,) float64
        Observed share of each slice over the expected one.
    low, high : float
        Band in which a calibrated forecast's slices would lie.
    """

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        edges = np.linspace(0, 1, len(shares) + 1)
        axes.axhspan(low, high, color=ink.neutral, alpha=0.22, linewidth=0)
        inside = (shares >= low) & (shares <= high)
        for part, colour in ((inside, ink.accent), (~inside, ink.loss)):
            if part.any():
                left = edges[:-1][part]
                blocks(axes, left, left + 0.84 / len(shares), shares[part], colour)
        axes.axhline(1, color=ink.ink, linewidth=1.2)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, max(1.6, float(shares.max()) * 1.08))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.set_yticks([0, 0.5, 1, 1.5], ["0", "0.5", "1", "1.5"])
        axes.set_xlabel("forecast probability of a lower return", color=ink.muted)

    starts = np.arange(len(shares)) / len(shares)
    table = {"from": starts, "share": shares, "low": low, "high": high}
    return Plotted(draw, lambda: columns(table))


def histogram(
    edges: Floats, counts: Floats, rival: Floats | None, *, unit: str = "days"
) -> Plotted:
    """Days (or what `unit` says) by return: gains, losses, the bar around 0, a rival as outline."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        middle, half = (edges[:-1] + edges[1:]) / 2, 0.43 * np.diff(edges)[0]
        sides = np.where(np.abs(middle) < half, 0, np.sign(middle))
        for side, colour in ((1, ink.accent), (0, ink.neutral), (-1, ink.loss)):
            at = middle[sides == side]
            blocks(axes, at - half, at + half, np.asarray(counts[sides == side]), colour)
        if rival is not None:
            axes.stairs(rival, edges, color=ink.neutral, linewidth=1.3)
        axes.set_xlim(edges[0], edges[-1])
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(percent_text))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_ylabel(unit, color=ink.muted)

    bars = {"from": edges[:-1], "to": edges[1:], "days": counts, "rival_days": rival}
    return Plotted(draw, lambda: columns(bars))


def fan(forecast: Fan, *, title: str = "") -> Plotted:
    """History, nested quantile bands from the cutoff on, their median, and what happened."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        past, steps = np.arange(1 - len(forecast.closes), 1), np.arange(len(forecast.prices) + 1)
        start = forecast.closes[-1]
        prices = np.vstack([np.full(len(forecast.levels), start), forecast.prices])
        pairs = len(forecast.levels) // 2
        for rank in range(pairs):
            axes.fill_between(
                steps,
                prices[:, rank],
                prices[:, -1 - rank],
                color=ink.accent,
                alpha=0.17,
                linewidth=0,
            )
        if len(forecast.levels) % 2:
            axes.plot(steps, prices[:, pairs], color=ink.accent, linewidth=1.6)
        axes.axvline(0, color=ink.muted, linewidth=0.8, dashes=(1, 3))
        axes.plot(past, forecast.closes, color=ink.neutral, linewidth=1.4)
        if forecast.realised is not None:
            path = np.concatenate([[start], forecast.realised])
            axes.plot(steps, path, "o-", color=ink.ink, linewidth=1.4, markersize=3.2, zorder=5)
        axes.set_xlim(past[0], steps[-1] + 0.5)
        axes.set_xticks(
            [past[0], 0, steps[-1]],
            [str(forecast.dates[0])[:10], str(forecast.dates[-1])[:10], forecast.labels[-1]],
        )
        first, cutoff, _ = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        cutoff.set_horizontalalignment("right" if steps[-1] < 0.3 * len(past) else "center")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(plain_text))
        if title:
            axes.set_title(title, loc="left", color=ink.ink, fontweight="bold")

    bands = {f"q{100 * p:02g}": forecast.prices[:, i] for i, p in enumerate(forecast.levels)}
    return Plotted(draw, lambda: columns({**bands, "realised": forecast.realised}, forecast.labels))


def fan_chart_png(
    dates: Dates,
    closes: Floats,
    *,
    symbol: str,
    labels: Sequence[str],
    levels: Floats,
    prices: Floats,
    realised: Floats | None = None,
    title: str = "",
    size: tuple[int, int] = (900, 460),
) -> bytes:
    """Picture of one forecast: the history, the fan of quantile prices, and where the fan ends.

    Parameters
    ----------
    dates, closes : (n,) datetime64, (n,) float64
        History of adjusted closes up to and with the cutoff.
    symbol : str
        Whose prices.
    labels : sequence of str
        One per future step 1..H, as ``+1`` or a date.
    levels : (Q,) float64
        Quantile levels, increasing, symmetric about 0.5.
    prices : (H, Q) float64
        Quantiles of the price at each step.
    realised : (H,) float64, optional
        What the price did; NaN where unknown.
    title : str
        Heading; by default symbol, horizon and cutoff.
    size : (width, height)
        In CSS pixels; the PNG has twice as many.

    Returns
    -------
    bytes
        A PNG.
    """
    forecast = Fan(symbol, dates, closes, labels, levels, prices, realised)
    cutoff, last, middle = str(dates[-1])[:10], len(prices), len(levels) // 2
    shown = title or f"{symbol}: forecast for the {last} sessions after {cutoff}"
    bands = [percent_text(levels[-1 - i] - levels[i]) for i in range(middle)]

    def draw(figure: Figure, ink: Ink) -> None:
        fan(forecast, title=shown)(figure, ink)
        axes = figure.axes[0]
        for place in sorted({0, middle, len(levels) - 1}):
            axes.annotate(
                f"{prices[-1, place]:,.2f}  ({percent_text(levels[place])})",
                (last, prices[-1, place]),
                xytext=(10, 0),
                textcoords="offset points",
                va="center",
                color=ink.accent,
                fontweight="bold" if place == middle else "normal",
            )
        axes.set_xlabel(
            f"tinted: {', '.join(bands)} of outcomes expected inside · blue line: median · "
            "grey line: adjusted close",
            color=ink.muted,
        )

    return png(draw, size)
