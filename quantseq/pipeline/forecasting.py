"""The next days of stored symbols, from a trained model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.errors import ConfigError, LeakageError, NotEnoughDataError
from quantseq.files import write_bytes
from quantseq.forecast.forecaster import Seq2SeqForecaster
from quantseq.forecast.forecasts import MIN_HISTORY, QUANTILE_LEVELS, Forecasts
from quantseq.market.bars import Bars, Panel
from quantseq.market.catalogue import file_name

HISTORY_SHOWN = 60
"""Sessions of history in a fan chart."""


@dataclass(frozen=True, eq=False)
class Outlook:
    """Forecasts at each symbol's newest cutoff, as a table in returns and prices.

    Attributes
    ----------
    forecasts : Forecasts
    table : DataFrame
        One line per symbol and step: see `Forecasts.to_frame`, with ``price_q05 …`` beside it (the
        last adjusted close moved by the cumulative quantile) and ``last_close``.
    """

    forecasts: Forecasts
    table: pd.DataFrame


def outlook(
    panel: Panel,
    model: Seq2SeqForecaster,
    *,
    horizon: int = 5,
    cutoff: Any = None,
    num_paths: int = 1000,
    seed: int = 0,
) -> Outlook:
    """Forecast every symbol of a panel from its newest bar.

    Parameters
    ----------
    panel : Panel
    model : Seq2SeqForecaster
    horizon : int
        Steps ahead, at most the model's.
    cutoff : date, optional
        Forecast as of this session instead; the model must not have seen anything later.
    num_paths : int
        Sampled paths, which the cumulative quantiles come from; 2 or more.
    seed : int

    Raises
    ------
    LeakageError
        If a symbol's newest bar lies before the model's last session.
    NotEnoughDataError
        If a symbol's history is too short.
    """
    if num_paths < 2:
        raise ConfigError(f"num_paths must be 2 or more. Got {num_paths}.")
    if cutoff is not None:
        panel = panel.until(cutoff)
    for symbol, bars in panel.items():
        if model.trained_until > bars.sessions[-1]:
            raise LeakageError(
                f"The model has seen data until {model.trained_until}, after the cutoff "
                f"{bars.sessions[-1]} of {symbol}. Choose a later cutoff, fetch newer prices, or train "
                "on data that ends before it."
            )
    short = {symbol: len(bars) for symbol, bars in panel.items() if len(bars) <= MIN_HISTORY}
    if short:
        raise NotEnoughDataError(
            "Too little history: "
            + ", ".join(f"{symbol} has {count} sessions" for symbol, count in short.items())
            + f"; a forecast needs {MIN_HISTORY + 1}. Fetch more, or leave those symbols out."
        )
    cutoffs = {symbol: bars.sessions[-1] for symbol, bars in panel.items()}
    everything = model.predict(
        panel,
        np.unique(np.array(list(cutoffs.values()))),
        horizon=horizon,
        num_paths=num_paths,
        seed=seed,
    )
    newest = np.array([cutoffs[str(s)] for s in everything.symbols]) == everything.cutoffs
    forecasts = everything[newest]
    table = forecasts.to_frame()
    last = np.repeat([panel[str(s)].close[-1] for s in forecasts.symbols], horizon)
    table.insert(3, "last_close", last)
    for level in QUANTILE_LEVELS:
        name = f"q{round(100 * level):02d}"
        table[f"price_{name}"] = last * np.exp(table[f"cum_{name}"])
    return Outlook(forecasts, table)


def draw_fans(panel: Panel, outlook: Outlook, folder: Path, *, jobs: int = 1) -> dict[str, Path]:
    """Write a fan chart PNG per symbol, in `jobs` processes.

    Returns
    -------
    dict of symbol to Path
    """
    from joblib import Parallel, delayed

    tasks = [
        (panel[str(symbol)], rows, folder)
        for symbol, rows in outlook.table.groupby("symbol", sort=False)
    ]
    paths = Parallel(n_jobs=min(jobs, len(tasks)))(delayed(_draw_fan)(*task) for task in tasks)
    return {task[0].symbol: path for task, path in zip(tasks, paths, strict=True)}


def _draw_fan(bars: Bars, rows: pd.DataFrame, folder: Path) -> Path:
    from quantseq.report.charts import fan_chart_png

    cutoff = rows["cutoff"].iloc[0]
    known = bars.until(cutoff)
    scale = known.close[-1] / known.adj_close[-1]  # adjusted history on today's price scale
    png = fan_chart_png(
        known.sessions[-HISTORY_SHOWN:],
        known.adj_close[-HISTORY_SHOWN:] * scale,
        symbol=bars.symbol,
        labels=[f"+{step}" for step in rows["step"]],
        levels=np.array(QUANTILE_LEVELS),
        prices=rows[[f"price_q{round(100 * level):02d}" for level in QUANTILE_LEVELS]].to_numpy(),
    )
    path = folder / f"forecast-{file_name(bars.symbol)}-{cutoff:%Y-%m-%d}.png"
    write_bytes(path, png)
    return path


def describe(outlook: Outlook, model: Seq2SeqForecaster) -> list[str]:
    """Forecasts as lines of text: quantile prices and P(up) per step."""
    lines = []
    names = [f"{round(100 * level):02d}" for level in QUANTILE_LEVELS]
    for symbol, rows in outlook.table.groupby("symbol", sort=False):
        first = rows.iloc[0]
        lines += [
            f"{symbol}: last close {first['last_close']:.2f} on {first['cutoff']:%Y-%m-%d}, "
            f"price quantiles in per cent",
            "  step" + "".join(f"{name + ' %':>10}" for name in names) + f"{'P(up)':>9}",
        ]
        lines += [
            f"  {row['step']:>4}"
            + "".join(f"{row[f'price_q{name}']:>10.2f}" for name in names)
            + f"{row['prob_up']:>9.1%}"
            for _, row in rows.iterrows()
        ]
    kept = model.shrinkage.weight
    lines.append(
        f"Model trained until {model.trained_until}; {kept:.0%} network, {1 - kept:.0%} reference. "
        "P(up) is that of the single step."
    )
    return lines
