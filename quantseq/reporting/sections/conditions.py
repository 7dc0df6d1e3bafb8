"""In which markets it worked: the result by volatility, trend and depth of the market before.

Owns the wording of this section. What a regime is, is decided in the trading room.
"""

import numpy as np
import pandas as pd

from quantseq.reporting import words
from quantseq.reporting.page import Missing, Section, Sheet, Table
from quantseq.reporting.run import Run
from quantseq.reporting.sections.overview import figure
from quantseq.trading.performance import METRICS
from quantseq.trading.regimes import Regime, regimes

BAND = 0.90
"""Central band of the forecast whose coverage is shown."""


def conditions(run: Run) -> Section:
    """The strategy, its benchmark and its forecasts in each kind of market."""
    title = "Regimes"
    net, rival = run.daily("strategy_net"), run.daily("buy_and_hold")
    if net is None or rival is None:
        return Section(
            "regimes", title, blocks=[Missing("This run stored no benchmark to tell regimes by.")]
        )
    found = regimes(rival)
    if not found:
        return Section(
            "regimes",
            title,
            blocks=[
                Missing("This run is too short, or its market too even, to tell regimes apart.")
            ],
        )
    held = _held(run)
    rows = [_row(one, net, rival, held, run.periods) for one in found]
    best = max(found, key=lambda one: _ahead(one, net, rival, run.periods))
    worst = min(found, key=lambda one: _ahead(one, net, rival, run.periods))
    reading = (
        f"By Sharpe ratio against buy-and-hold the strategy did best at {_named(best)}, worst at "
        f"{_named(worst)}."
    )
    headers = [
        "the market before each session",
        "",
        "sessions",
        "net return a year",
        "buy-and-hold",
    ]
    headers += ["Sharpe ratio", "buy-and-hold's", f"{words.percent(BAND, 0)} band held"]
    return Section(
        "regimes",
        title,
        "Sessions sorted by the market (buy-and-hold) as known at the close before them. The thirds are "
        "cut over the whole span, so this describes the result and could not be traded.",
        [
            Sheet(
                "In which markets it worked",
                reading,
                Table(headers, rows, align="wtnnnnnn", style="dense"),
            )
        ],
    )


def _named(one: Regime) -> str:
    return f"“{one.kind[0].lower()}{one.kind[1:]}: {one.label}”"


def _ahead(one: Regime, net: "pd.Series[float]", rival: "pd.Series[float]", periods: int) -> float:
    pair = (METRICS["sharpe"](series[one.sessions], periods=periods) for series in (net, rival))
    own, other = pair
    return float(np.nan_to_num(own - other))


def _held(run: Run) -> "pd.Series[float] | None":
    """Share of symbols whose next-day outcome fell into the band, by cutoff."""
    frame = run.forecasts
    if "pit" not in frame or not (frame["step"] == 1).any():
        return None
    first = frame.loc[(frame["step"] == 1) & frame["pit"].notna()]
    inside = ((first["pit"] - 0.5).abs() <= BAND / 2).astype(np.float64)
    return inside.groupby(first["cutoff"]).mean()


def _row(
    one: Regime,
    net: "pd.Series[float]",
    rival: "pd.Series[float]",
    held: "pd.Series[float] | None",
    periods: int,
) -> list[str]:
    figures = [
        figure(name, METRICS[name](series[one.sessions], periods=periods))
        for name in ("cagr", "sharpe")
        for series in (net, rival)
    ]
    return [
        one.kind,
        one.label,
        words.count(one.sessions.sum()),
        *figures,
        words.percent(None if held is None else _coverage(one, net, held)),
    ]


def _coverage(one: Regime, net: "pd.Series[float]", held: "pd.Series[float]") -> float:
    """A session's outcome was forecast at the close before it."""
    before = pd.Series(net.index, net.index).shift(1)
    known = held.reindex(pd.DatetimeIndex(before[one.sessions].dropna())).dropna()
    return float(known.mean()) if len(known) else float("nan")
