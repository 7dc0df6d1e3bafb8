"""The next days of stored symbols, from a trained model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.errors import ConfigError, LeakageError, ModelFileError, NotEnoughDataError
from quantseq.files import write_bytes
from quantseq.forecasting.candles import FIELDS, SampledBars
from quantseq.forecasting.density import RISK_LEVELS
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import QUANTILE_LEVELS, Forecasts
from quantseq.forecasting.rows import AT_REST, MIN_HISTORY
from quantseq.market.bars import Bars, Floats, Panel
from quantseq.market.catalogue import file_name
from quantseq.pipeline.health import Findings, usable
from quantseq.pipeline.scoreboard import tilt_in_words

HISTORY_SHOWN = 60
"""Sessions of history in a fan chart."""

BARS_SHOWN = 40
"""Sessions of history in a candlestick chart."""

BAR_LEVELS = (0.05, 0.50, 0.95)
"""Quantile levels of sampled opens, highs, lows and volumes."""


@dataclass(frozen=True, eq=False)
class Outlook:
    """Forecasts at each symbol's newest cutoff, as a table in returns and prices.

    Attributes
    ----------
    forecasts : Forecasts
    table : DataFrame
        One line per symbol and step: see `Forecasts.to_frame`, with ``price_q05 …`` beside it (the
        last adjusted close moved by the cumulative quantile), ``last_close``, the losses ``var_95
        … es_99`` of the step, and, with bars, ``open_q05 … volume_q95``.
    bars : SampledBars, optional
        An open, high, low, close and volume for every return of every path.
    notes : tuple of str
        A sentence about each symbol that was not forecast, and about prices that the model does not know.
    data_findings : mapping
        What the health check found in the prices, by symbol.
    """

    forecasts: Forecasts
    table: pd.DataFrame
    bars: SampledBars | None = None
    notes: tuple[str, ...] = ()
    data_findings: Findings = field(default_factory=dict)

    def typical_bars(self) -> pd.DataFrame:
        """The bars of the path nearest to the medians: one line per symbol and step.

        Columns symbol, cutoff, path, step, open, high, low, close, volume; empty without bars.
        """
        names = ["symbol", "cutoff", "path", "step", *FIELDS]
        if self.bars is None:
            return pd.DataFrame(columns=names)
        rows, steps = len(self.forecasts), self.forecasts.horizon
        chosen, every = self.bars.typical, np.arange(rows)
        fields = [getattr(self.bars, name)[every, chosen].ravel() for name in FIELDS]
        columns = [
            np.repeat(self.bars.symbols, steps),
            np.repeat(self.bars.cutoffs, steps).astype("datetime64[s]"),
            np.repeat(chosen, steps),
            np.tile(np.arange(1, steps + 1), rows),
            *fields,
        ]
        return pd.DataFrame(dict(zip(names, columns, strict=True)))


def outlook(
    panel: Panel,
    model: Seq2SeqForecaster,
    *,
    horizon: int = 5,
    cutoff: Any = None,
    num_paths: int = 1000,
    seed: int = 0,
    bars: bool = False,
    allow_bad_data: bool = False,
) -> Outlook:
    """Forecast every symbol of a panel from its newest bar.

    Left out and named are symbols with errors in their prices, with too little history, or with a price
    that stands still.

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
    bars : bool
        Also sample candlesticks for the paths.
    allow_bad_data : bool
        Keep symbols with errors in their prices.

    Raises
    ------
    ModelFileError
        If bars are asked for and the model cannot sample any.
    LeakageError
        If a symbol's newest bar lies before the model's last session; not if the model was trained
        on these very bars, whose calendar then ended earlier than that of others.
    BarsError, NoDataError, NotEnoughDataError
        If no symbol is left.
    """
    if num_paths < 2:
        raise ConfigError(f"num_paths must be 2 or more. Got {num_paths}.")
    if bars and model.bars is None:
        raise ModelFileError(
            "This model cannot sample bars: it was trained on closes alone, or saved by an earlier "
            "quantseq. Train it again on prices with open, high and low, or leave --bars out."
        )
    panel, found, notes = usable(panel, until=cutoff, allow_bad_data=allow_bad_data)
    for symbol, one in panel.items():
        ends_early = cutoff is None and one.sha256 == model.data_hashes.get(symbol)
        if model.trained_until > one.sessions[-1] and not ends_early:
            raise LeakageError(
                f"The model has seen data until {model.trained_until}, after the cutoff "
                f"{one.sessions[-1]} of {symbol}. Choose a later cutoff, fetch newer prices, or train "
                "on data that ends before it."
            )
    cutoffs = {symbol: one.sessions[-1] for symbol, one in panel.items()}
    everything = model.predict(
        panel,
        np.unique(np.array(list(cutoffs.values()))),
        horizon=horizon,
        num_paths=num_paths,
        seed=seed,
    )
    newest = np.array([cutoffs[str(s)] for s in everything.symbols]) == everything.cutoffs
    notes += [
        _why_not(one) for one in panel.values() if one.symbol not in everything.symbols[newest]
    ]
    if not newest.any():
        raise NotEnoughDataError(f"Nothing to forecast: {' '.join(notes)}")
    forecasts = everything[newest]
    table = forecasts.to_frame()
    last = np.repeat([panel[str(s)].close[-1] for s in forecasts.symbols], horizon)
    table.insert(3, "last_close", last)
    for level in QUANTILE_LEVELS:
        name = f"q{round(100 * level):02d}"
        table[f"price_{name}"] = last * np.exp(table[f"cum_{name}"])
    risks = {"var": forecasts.value_at_risk(), "es": forecasts.expected_shortfall()}
    for name, losses in risks.items():
        for i, level in enumerate(RISK_LEVELS):
            table[f"{name}_{round(100 * level)}"] = losses[..., i].ravel()
    sampled = None
    if bars and model.bars is not None:
        sampled = model.bars.sample(forecasts, panel)
        for name in ("open", "high", "low", "volume"):
            quantiles = sampled.quantile(name, BAR_LEVELS)
            for i, level in enumerate(BAR_LEVELS):
                table[f"{name}_q{round(100 * level):02d}"] = quantiles[..., i].ravel()
    notes += _strangers(panel, model)
    return Outlook(forecasts, table, sampled, tuple(notes), found)


def _strangers(panel: Panel, model: Seq2SeqForecaster) -> list[str]:
    """One sentence about symbols whose prices are not those that the model was trained on."""
    known = (bars for symbol, bars in panel.items() if symbol in model.data_hashes)
    other = [
        bars.symbol
        for bars in known
        if bars.until(model.trained_until).sha256 != model.data_hashes[bars.symbol]
    ]
    if not other:
        return []
    return [
        f"Until {model.trained_until} these prices are not those that the model was trained on: "
        f"{', '.join(other)}. Dividends and splits since then revise them; so does another source, or "
        "another symbol under that name."
    ]


def _why_not(bars: Bars) -> str:
    """Why the newest bar of a symbol is not forecast."""
    if len(bars) <= MIN_HISTORY:
        why = f"a forecast needs {MIN_HISTORY + 1} sessions, and it has {len(bars)}"
    else:
        why = f"its price stands still, with {AT_REST}"
    return f"{bars.symbol} was left out: {why}."


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
    from quantseq.reporting.drawing.charts import fan_chart_png

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


def draw_bars(panel: Panel, outlook: Outlook, folder: Path, *, jobs: int = 1) -> dict[str, Path]:
    """Write a candlestick PNG per symbol, in `jobs` processes; none without sampled bars.

    Returns
    -------
    dict of symbol to Path
    """
    from joblib import Parallel, delayed

    sampled = outlook.bars
    if sampled is None:
        return {}
    quantiles = {name: sampled.quantile(name, BAR_LEVELS) for name in FIELDS[1:]}
    tasks = [
        (
            panel[str(symbol)],
            path,
            {name: values[row] for name, values in quantiles.items()},
            folder,
        )
        for row, (symbol, path) in enumerate(outlook.typical_bars().groupby("symbol", sort=False))
    ]
    paths = Parallel(n_jobs=min(jobs, len(tasks)))(delayed(_draw_bars)(*task) for task in tasks)
    return {task[0].symbol: path for task, path in zip(tasks, paths, strict=True)}


def _draw_bars(bars: Bars, path: pd.DataFrame, quantiles: dict[str, Floats], folder: Path) -> Path:
    from quantseq.reporting.drawing.candlesticks import Outcome, candlestick_png

    cutoff = path["cutoff"].iloc[0]
    known = bars.until(cutoff)
    recent = known.adjusted().to_frame().iloc[-BARS_SHOWN:]
    scale = known.close[-1] / known.adj_close[-1]  # adjusted history on today's price scale
    history = {name: scale * recent[name].to_numpy() for name in FIELDS[:-1]}
    png = candlestick_png(
        Outcome(
            bars.symbol,
            known.sessions[-BARS_SHOWN:],
            {**history, "volume": recent["volume"].to_numpy()},
            {name: path[name].to_numpy() for name in FIELDS},
            **quantiles,
            levels=BAR_LEVELS,
        )
    )
    file = folder / f"bars-{file_name(bars.symbol)}-{cutoff:%Y-%m-%d}.png"
    write_bytes(file, png)
    return file


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
        if outlook.bars is not None:
            columns = [
                f"{side}_q{level}" for side in ("low", "high") for level in ("05", "50", "95")
            ]
            lines += [
                "  step" + "".join(f"{name.replace('_q', ' ') + ' %':>11}" for name in columns),
                *(
                    f"  {row['step']:>4}" + "".join(f"{row[name]:>11.2f}" for name in columns)
                    for _, row in rows.iterrows()
                ),
            ]
    kept = model.shrinkage.weight
    lines.append(
        f"Model trained until {model.trained_until}; {kept:.0%} network, {1 - kept:.0%} reference, "
        f"{tilt_in_words(model.recalibration.changes, 1)}. "
        "P(up) is that of the single step."
    )
    lines += outlook.notes
    return lines
