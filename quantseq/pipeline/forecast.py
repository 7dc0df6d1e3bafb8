"""`forecast`: the next days of stored symbols, from a trained model, as a table, texts and fan charts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import delayed

from quantseq.errors import ConfigError, LeakageError, NotEnoughDataError
from quantseq.files import Places
from quantseq.forecasting.density import RISK_LEVELS
from quantseq.forecasting.explain import explain
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import QUANTILE_LEVELS, Forecasts
from quantseq.forecasting.inputs import REACTS, inputs
from quantseq.forecasting.rows import MIN_HISTORY, STALE_RULE
from quantseq.market.bars import Bars, Floats, Panel
from quantseq.market.store import file_name
from quantseq.pipeline.data import Findings, describe_events, usable
from quantseq.pipeline.evaluate import tilt_in_words
from quantseq.progress import parallel
from quantseq.reporting.charts import Fan, forecast_png, write_picture

HISTORY_SHOWN = 60  # sessions of history in a fan chart
EVENT_SHOWN = 0.1  # chance of a reaction to an event above which a session is marked
LEAST_TOLD = 0.005  # a cause that moves sigma by less is not named
_QUANTILES = [f"q{round(100 * level):02d}" for level in QUANTILE_LEVELS]


@dataclass(frozen=True, eq=False)
class ForecastTable:
    """Forecasts at each symbol's newest cutoff, and a table of them in returns and prices.

    The table has one line per symbol and step: see `Forecasts.to_frame`, with ``price_q05 …`` beside it (the last
    adjusted close moved by the cumulative quantile), ``last_close``, the losses ``var_95 … es_99`` of the step, and
    ``event``, how likely its session is to react to a scheduled event.
    `moved` has one line per symbol, with what made the next day's sigma: see `quantseq.forecasting.explain`. `notes`
    are a sentence about each symbol that was not forecast, and about prices that the model does not know;
    `data_findings` by symbol what the health check found in the prices.
    """

    forecasts: Forecasts
    table: pd.DataFrame
    moved: pd.DataFrame
    notes: tuple[str, ...] = ()
    data_findings: Findings = field(default_factory=dict)


def forecast(
    panel: Panel,
    model: Seq2SeqForecaster,
    *,
    horizon: int = 5,
    cutoff: Any = None,
    num_paths: int = 1000,
    seed: int = 0,
    peers: Panel | None = None,
    places: Places = Places(),
    allow_bad_data: bool = False,
) -> ForecastTable:
    """Forecast every symbol of a panel from its newest bar.

    The symbols that the model was trained on are its market: `peers` are those that are not to be forecast; a sentence
    says how many are missing. Left out and named are symbols with errors in their prices, too little history, or a
    price that stands still.
    `horizon` is at most the model's; `num_paths`, 2 or more, are sampled for the cumulative quantiles. With `cutoff` it
    is forecast as of this session instead; the model must not have seen anything later.

    LeakageError if a symbol's newest bar lies before the model's last session; not if the model was trained on these
    very bars, whose calendar then ended earlier than that of others. BarsError, NoDataError or NotEnoughDataError if no
    symbol is left.
    """
    if num_paths < 2:
        raise ConfigError(f"num_paths must be 2 or more. Got {num_paths}.")
    panel, found, notes = usable(panel, places=places, until=cutoff, allow_bad_data=allow_bad_data)
    for symbol, one in panel.items():
        ends_early = cutoff is None and _as_trained(one, model)
        if model.trained_until > one.sessions[-1] and not ends_early:
            raise LeakageError(
                f"The model has seen data until {model.trained_until}, after the cutoff "
                f"{one.sessions[-1]} of {symbol}. Choose a later cutoff, fetch newer prices, or train "
                "on data that ends before it."
            )
    cutoffs = {symbol: one.sessions[-1] for symbol, one in panel.items()}
    draws = {"horizon": horizon, "num_paths": num_paths, "seed": seed}
    known = panel.replaced(
        [*panel.values(), *(bars for s, bars in (peers or {}).items() if s not in panel)]
    )
    known = known if cutoff is None else known.until(cutoff)
    everything = model.predict(known, np.unique([*cutoffs.values()]), symbols=panel, **draws)
    newest = np.array([cutoffs[str(s)] for s in everything.symbols]) == everything.cutoffs
    forecasts = everything[newest]
    notes += [_why_not(one) for one in panel.values() if one.symbol not in forecasts.symbols]
    if not newest.any():
        raise NotEnoughDataError(f"Nothing to forecast: {' '.join(notes)}")
    table = forecasts.to_frame()
    last = np.repeat([panel[str(s)].close[-1] for s in forecasts.symbols], horizon)
    table.insert(3, "last_close", last)
    for name in _QUANTILES:
        table[f"price_{name}"] = last * np.exp(table[f"cum_{name}"])
    risks = {"var": forecasts.value_at_risk(), "es": forecasts.expected_shortfall()}
    for name, losses in risks.items():
        for i, level in enumerate(RISK_LEVELS):
            table[f"{name}_{round(100 * level)}"] = losses[..., i].ravel()
    table["event"] = _reactions(panel, forecasts)
    notes += _strangers(panel, model) + _missing(known, model) + describe_events(panel)
    notes += _untold(panel, model)
    moved = explain(forecasts, known, model.task.reference)
    return ForecastTable(forecasts, table, moved, tuple(notes), found)


def _reactions(panel: Panel, forecasts: Forecasts) -> Floats:
    """How likely each step's session is to react to a scheduled event, row by row of the table."""
    if not panel.events:
        return np.zeros(len(forecasts) * forecasts.horizon)
    known = inputs(panel, horizon=forecasts.horizon)
    return np.concatenate([known[str(s)].events[-1, :, REACTS] for s in forecasts.symbols])


def _strangers(panel: Panel, model: Seq2SeqForecaster) -> list[str]:
    """One sentence about symbols whose prices are not those that the model was trained on."""
    known = {symbol: bars for symbol, bars in panel.items() if symbol in model.data_hashes}
    if not (other := [symbol for symbol, bars in known.items() if not _as_trained(bars, model)]):
        return []
    return [
        f"Until {model.trained_until} these prices are not those that the model was trained on: "
        f"{', '.join(other)}. Dividends and splits since then revise them; so does another source, or "
        "another symbol under that name."
    ]


def _untold(panel: Panel, model: Seq2SeqForecaster) -> list[str]:
    """A sentence where events or a covariate are not what the model has learned from."""
    notes, reference = [], model.task.reference
    if panel.events and not reference.event_slopes.any():
        notes.append(
            "The model was trained without scheduled events: they are marked, and change no number. Train it again with them."
        )
    if (panel.covariate is not None) != reference.knows_covariate:
        notes.append(
            "The model was trained with a covariate, and none is given: give it with --covariate."
            if reference.knows_covariate
            else "The model was trained without a covariate: the one given changes no number."
        )
    return notes


def _missing(known: Panel, model: Seq2SeqForecaster) -> list[str]:
    """One sentence about symbols that make the market of the model and are not there."""
    if not (missing := [symbol for symbol in model.symbols if symbol not in known]):
        return []
    some = ", ".join(missing[:6]) + (" and others" if len(missing) > 6 else "")
    return [
        f"{len(missing)} of the {len(model.symbols)} symbols that the model knows the market by have no prices here "
        f"({some}): it is taken from the others. Fetch them for the forecast that was validated."
    ]


def _as_trained(bars: Bars, model: Seq2SeqForecaster) -> bool:
    """Whether bars are, over the dates that the model has seen, those that it was trained on."""
    seen = bars.between(model.task.tokenizer.fitted_from or None, model.trained_until)
    return seen.sha256 == model.data_hashes.get(bars.symbol)


def _why_not(bars: Bars) -> str:
    """Why the newest bar of a symbol is not forecast."""
    if len(bars) <= MIN_HISTORY:
        why = f"a forecast needs {MIN_HISTORY + 1} sessions, and it has {len(bars)}"
    else:
        why = f"its price stands still, with {STALE_RULE}"
    return f"{bars.symbol} was left out: {why}."


def draw_fans(
    panel: Panel, found: ForecastTable, folder: Path, *, jobs: int = 1
) -> dict[str, Path]:
    """Write a fan chart PNG per symbol, in `jobs` processes; the paths by symbol."""
    parts = {str(symbol): rows for symbol, rows in found.table.groupby("symbol", sort=False)}
    moved = _moved(found)
    work = (
        delayed(_draw_fan)(panel[symbol], rows, moved[symbol], folder)
        for symbol, rows in parts.items()
    )
    return dict(zip(parts, parallel(min(jobs, len(parts)))(work), strict=True))


def _draw_fan(bars: Bars, rows: pd.DataFrame, moved: Mapping[str, Any], folder: Path) -> Path:
    cutoff = rows["cutoff"].iloc[0]
    known = bars.until(cutoff)
    scale = known.close[-1] / known.adj_close[-1]  # adjusted history on today's price scale
    fan = Fan(
        bars.symbol,
        known.sessions[-HISTORY_SHOWN:],
        known.adj_close[-HISTORY_SHOWN:] * scale,
        labels=[f"+{step}" for step in rows["step"]],
        levels=np.array(QUANTILE_LEVELS),
        prices=rows[[f"price_{name}" for name in _QUANTILES]].to_numpy(),
        events=rows["step"][rows["event"] > EVENT_SHOWN].tolist(),
    )
    path = folder / f"forecast-{file_name(bars.symbol)}-{cutoff:%Y-%m-%d}.png"
    causes = {cause: change for cause, change in _causes(moved).items() if abs(change) > 1e-6}
    write_picture(path, forecast_png(fan, moved["average_day"], causes))
    return path


def _moved(found: ForecastTable) -> dict[str, dict[Any, Any]]:
    """The lines of `ForecastTable.moved`, by symbol."""
    return {line["symbol"]: line for line in found.moved.to_dict(orient="records")}


def _causes(moved: Mapping[str, Any]) -> dict[str, float]:
    """What each cause changes, in a line of `ForecastTable.moved`."""
    return dict(list(moved.items())[list(moved).index("change") + 1 :])


def describe_forecast(found: ForecastTable, model: Seq2SeqForecaster) -> list[str]:
    """Forecasts as lines of text: quantile prices and P(up) per step, and what made the next day's sigma."""
    lines = []
    moved = _moved(found)
    heads = "".join(f"{name[1:] + ' %':>10}" for name in _QUANTILES)
    for symbol, rows in found.table.groupby("symbol", sort=False):
        first, tied = rows.iloc[0], (rows["prob_zero"] > 0).any()
        lines += [
            f"{symbol}: last close {first['last_close']:.2f} on {first['cutoff']:%Y-%m-%d}, "
            "price quantiles in per cent",
            f"  step{heads}{'P(up)':>9}" + (f"{'P(0)':>9}{'P(down)':>9}" if tied else ""),
        ]
        for _, row in rows.iterrows():
            prices = "".join(f"{row[f'price_{name}']:>10.2f}" for name in _QUANTILES)
            shown = [
                row[name] for name in ("prob_up", *(("prob_zero", "prob_down") if tied else ()))
            ]
            lines.append(f"  {row['step']:>4}{prices}" + "".join(f"{one:>9.1%}" for one in shown))
        line = moved[str(symbol)]
        told = (one for one in _causes(line).items() if abs(one[1]) >= LEAST_TOLD)
        causes = ", ".join(f"{cause} {100 * by:+.0f} %" for cause, by in told)
        lines.append(
            f"  sigma of step 1 {100 * line['sigma']:.2f} %: {100 * line['change']:+.0f} % against "
            f"an average day ({causes or 'no cause of half a per cent'})"
        )
    kept = model.shrinkage.weight
    lines.append(
        f"Model trained until {model.trained_until}; {kept:.0%} network, {1 - kept:.0%} reference, "
        f"{tilt_in_words(model.recalibration.changes, 1)}. P(up) is that of the single step."
    )
    return lines + list(found.notes)
