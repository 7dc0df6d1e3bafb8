"""The data inside a page: what its figures are computed from, small enough to travel with it.

Owns what is embedded, on which grid, and how it is read back. Computes no figure, and does not know
how the page looks. The page is made *from* these data (`rounded` moves a run onto the grids first),
so that what is read back gives the same figures, digit by digit.

Embedded, most needed first, as far as `BUDGET` reaches; what is left out is named in the pack:

- manifest and result of the run, whole;
- every daily column but the closes: net and gross returns, buy-and-hold's, every rival's, costs,
  turnover, exposure;
- log score and CRPS one step ahead, averaged over symbols per day: the model's, and its differences to
  every rival's; the PIT values one step ahead of every model, as counts in 4,000 slices;
- the weights;
- net returns of other policies (columns ``policy:NAME``), on a coarse grid with their running sum kept;
- the differences of scores at the later steps.

Texts that need more than this (closes, single forecasts) are kept as they were printed.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from quantseq.errors import RunError
from quantseq.evaluation.significance import loss_difference
from quantseq.files import sha256_bytes, to_json
from quantseq.market.bars import Floats
from quantseq.reporting.drawing.packing import (
    Column,
    on_grid,
    pack,
    packed_size,
    unpack,
    with_carry,
)
from quantseq.reporting.grids import (
    HELD,
    coarse_grid,
    daily_grid,
    held_by,
    on_daily_grid,
    shortness,
)
from quantseq.reporting.run import Run

OPEN, CLOSE = '<script type="application/json" id="data">', "</script>"
"""Around the data in the page."""

BUDGET = 88_000
"""Bytes of packed numbers: about 117 kB in the page. Daily columns are embedded whatever their size."""

SLICES = 4_000
"""Of the PIT; every band's ends lie between two of them."""

SCORES = ("log_score", "crps")
POLICY = "policy:"


@dataclass(frozen=True, eq=False)
class Embedded:
    """What a page holds besides what it shows.

    Attributes
    ----------
    manifest, result : Mapping
        Of the run.
    equity, weights : DataFrame
        As in `Run`, on their grids and without closes; no weights if they did not fit.
    scores : DataFrame
        See `daily_scores`; the later steps are absent if they did not fit.
    grids : Mapping
        Steps in 1 of the grid of each score.
    pits : Mapping of model to (SLICES,) int64
        Outcomes by slice of the PIT, one step ahead.
    left_out : tuple of str
        What did not fit.
    recorded : Mapping of str to str or None
        Printed texts that need more than what is embedded, by name; None for those that only these
        data would print.
    page : str
        SHA-256 of the page without its data.
    """

    manifest: Mapping[str, Any]
    result: Mapping[str, Any]
    equity: pd.DataFrame
    weights: pd.DataFrame
    scores: pd.DataFrame
    grids: Mapping[str, int]
    pits: Mapping[str, Floats]
    left_out: tuple[str, ...]
    recorded: Mapping[str, str | None] = field(default_factory=dict)
    page: str = ""

    def as_run(self) -> Run:
        """A run that gives the same figures, as far as they need no closes and no single forecasts."""
        pits = self.pits.get(model_of(self.result), np.zeros(0))
        middles = (np.repeat(np.arange(len(pits)), pits.astype(np.int64)) + 0.5) / SLICES
        first = pd.Timestamp(self.equity["session"].iloc[0])
        forecasts = pd.DataFrame({"symbol": "", "cutoff": first, "step": 1, "pit": middles})
        return Run(self.manifest, self.result, forecasts, self.weights, self.equity)


def model_of(result: Mapping[str, Any]) -> str:
    """The model whose forecasts a run holds: the one tested, or else the first that was scored."""
    found = result.get("forecast") or {}
    tests, models = found.get("tests") or [], found.get("models") or {}
    return str(tests[0].get("model")) if tests else str(next(iter(models), ""))


def rounded(run: Run) -> Run:
    """The run with its daily columns and weights on the grids of the page."""
    held = run.equity.get(HELD)
    moved = {name: on_daily_grid(name, run.equity[name], held) for name in _daily(run)}
    equity = run.equity.assign(**moved)
    weights = run.weights.assign(weight=on_grid(run.weights["weight"], 10**4))
    return replace(run, equity=equity, weights=weights)


def _daily(run: Run) -> list[str]:
    return [
        str(name)
        for name in run.equity
        if name != "session"
        and not str(name).startswith(("close:", POLICY))
        and pd.api.types.is_numeric_dtype(run.equity[name])
    ]


def daily_scores(run: Run) -> pd.DataFrame:
    """Scores averaged over symbols, by cutoff.

    Returns
    -------
    DataFrame
        Columns ``n:STEP`` (rows with an outcome), ``SCORE:STEP`` of the run's model, and
        ``SCORE:STEP:RIVAL``, the rival's less the model's, as a Diebold-Mariano test takes it.
    """
    frame = run.forecasts
    if not {"pit", *SCORES} <= set(frame):
        return pd.DataFrame()
    known = frame["pit"].notna().to_numpy()
    day, days = pd.factorize(frame["cutoff"].to_numpy()[known], sort=True)
    step, steps = pd.factorize(frame["step"].to_numpy()[known], sort=True)
    cell, shape = step * len(days) + day, (len(steps), len(days))
    rows = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    def mean(values: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            sums = np.bincount(cell, values, minlength=shape[0] * shape[1]).reshape(shape)
            return np.asarray(sums / rows)

    found = {"n": rows}
    for score in SCORES:
        own = frame[score].to_numpy(dtype=np.float64)[known]
        found[score] = mean(own)
        for rival in _rivals(frame, score):
            theirs = frame[f"{score}:{rival}"].to_numpy(dtype=np.float64)[known]
            found[f"{score}::{rival}"] = mean(loss_difference(theirs, own))
    columns = {}
    for place, number in enumerate(steps):
        for name, table in found.items():
            score, _, rival = name.partition("::")
            columns[f"{score}:{number}" + (f":{rival}" if rival else "")] = table[place]
    return pd.DataFrame(columns, pd.DatetimeIndex(days, name="cutoff"))


def _rivals(frame: pd.DataFrame, score: str) -> list[str]:
    names = (str(name) for name in frame)
    return [name.removeprefix(f"{score}:") for name in names if name.startswith(f"{score}:")]


def pit_values(run: Run) -> dict[str, Floats]:
    """PIT values of the outcomes one step ahead, by model."""
    frame, found = run.forecasts, {}
    for column in (str(name) for name in frame):
        if column == "pit" or column.startswith("pit:"):
            values = frame.loc[frame["step"] == 1, column].to_numpy(dtype=np.float64)
            name = column.removeprefix("pit:") if ":" in column else model_of(run.result)
            found[name] = values[np.isfinite(values)]
    return found


def gather(run: Run) -> Embedded:
    """What a page about this run embeds, not yet packed: the run's own numbers, on no grid."""
    policies = [str(name) for name in run.equity if str(name).startswith(POLICY)]
    whole = run.equity[["session", *_daily(run), *policies]]
    pits = {name: _counts(values) for name, values in pit_values(run).items()}
    manifest, result = (json.loads(to_json(part)) for part in (run.manifest, run.result))
    return Embedded(manifest, result, whole, run.weights, daily_scores(run), {}, pits, ())


def _counts(values: Floats) -> Floats:
    counts = np.histogram(values, bins=SLICES, range=(0, 1))[0]
    return np.asarray(counts, dtype=np.float64)


def packed(data: Embedded) -> bytes:
    """As bytes, without what does not fit; see the module docstring for the order."""
    names = [str(n) for n in data.equity if n != "session" and not str(n).startswith(POLICY)]
    daily = {name: data.equity[name].to_numpy(dtype=np.float64) for name in names}
    columns = [
        Column(f"equity {name}", one, held_by(one) or daily_grid(name, one))
        for name, one in daily.items()
    ]
    columns.append(_day_column("session", data.equity["session"]))
    used, left_out = packed_size(columns), []
    symbols: list[str] = []
    for what, part in _optional(data):
        size = packed_size(part) if part else 0
        if used + size > BUDGET:
            left_out.append(what)
        elif part:
            used += size
            columns += part
            if what == "weights":
                symbols = [one.name.removeprefix("weight ") for one in part[1:]]
    head = {
        "manifest": data.manifest,
        "result": data.result,
        "recorded": dict(data.recorded),
        "page": data.page,
        "left_out": left_out,
        "weights": symbols,
        "grids": {c.name.removeprefix("score "): c.per for c in columns if c.name[:6] == "score "},
    }
    return pack(head, columns)


def _optional(data: Embedded) -> Iterator[tuple[str, list[Column]]]:
    yield "PIT", [Column(f"pit {name}", counts, 1) for name, counts in data.pits.items()]
    yield "scores one step ahead", _score_columns(data.scores, first=True)
    yield "weights", _weight_columns(data.weights)
    yield "other policies", _policy_columns(data.equity)
    yield "scores of later steps", _score_columns(data.scores, first=False)


def _day_column(name: str, dates: Any) -> Column:
    days = pd.DatetimeIndex(dates).to_numpy().astype("datetime64[D]").astype(np.float64)
    return Column(name, days, 1)


def _weight_columns(weights: pd.DataFrame) -> list[Column]:
    if weights.empty:
        return []
    table = weights.pivot_table("weight", "decision", "symbol", aggfunc="last", sort=False)
    table = table.sort_index()
    values = [Column(f"weight {name}", table[name].to_numpy(), 10**4) for name in table]
    return [_day_column("decision", table.index), *values]


def _policy_columns(equity: pd.DataFrame) -> list[Column]:
    names = [str(name) for name in equity if str(name).startswith(POLICY)]
    columns = []
    for name in names:
        values = equity[name].to_numpy(dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # of damaged numbers
            per = coarse_grid(float(np.nanstd(values)) if len(values) else 0.0, 5)
            rounded_values = np.maximum(with_carry(values, per), -1.0)
        columns.append(Column(f"equity {name}", rounded_values, per))
    return columns


def _score_columns(scores: pd.DataFrame, *, first: bool) -> list[Column]:
    """The first step's scores whole, the later steps' as differences only, on a coarser grid."""
    columns = [_day_column("cutoff", scores.index)] if first and len(scores) else []
    for name in (str(name) for name in scores):
        if (name.split(":")[1] == "1") != first or (not first and name.count(":") < 2):
            continue
        values = scores[name].to_numpy(dtype=np.float64)
        spread = (
            float(np.nanstd(values)) if np.isfinite(values).all(where=~np.isnan(values)) else 0.0
        )
        fine = 6 if name.count(":") < 2 else 4 if first else 3
        fine += int(np.ceil(np.log2(shortness(len(values)))))
        per = 1 if name[0] == "n" else coarse_grid(spread, fine)
        columns.append(Column(f"score {name}", with_carry(values, per), per))
    return columns


def insert(html: str, data: Embedded) -> str:
    """The page with its data in the script element that waits for them."""
    whole = replace(data, page=sha256_bytes(html.encode()))
    text = base64.urlsafe_b64encode(packed(whole)).decode()
    return html.replace(f"{OPEN}{CLOSE}", f'{OPEN}"{text}"{CLOSE}', 1)


def without_data(html: str) -> str:
    """The page as it was before its data were inserted."""
    return re.sub(f"{re.escape(OPEN)}[^<]*{CLOSE}", f"{OPEN}{CLOSE}", html, count=1)


def read_embedded(html: str) -> Embedded:
    """Read back the data of a page.

    Raises
    ------
    RunError
        If there are none, or they are damaged.
    """
    found = re.search(f'{re.escape(OPEN)}"([^"<]*)"{CLOSE}', html)
    if found is None:
        raise RunError(
            "The page holds no embedded data. It must be the page of a backtest: a report.html that "
            "`quantseq backtest`, or `quantseq report` for its folder, wrote."
        )
    try:
        data = base64.b64decode(found[1].encode("ascii"), altchars=b"-_", validate=True)
    except ValueError as error:
        raise RunError(
            f"The embedded data are not base64: {error}. Render the page again."
        ) from error
    return unpacked(data)


def unpacked(data: bytes) -> Embedded:
    """What `packed` wrote."""
    head, columns = unpack(data)
    equity = pd.DataFrame({"session": _dates(columns["session"])})
    for name, values in columns.items():
        if name.startswith("equity "):
            equity[name.removeprefix("equity ")] = values
    index = pd.DatetimeIndex(_dates(columns.get("cutoff", np.zeros(0))), name="cutoff")
    scores = {name: columns[f"score {name}"] for name in head["grids"]}
    return Embedded(
        head["manifest"],
        head["result"],
        equity,
        _weights(columns, head["weights"]),
        pd.DataFrame(scores, index),
        head["grids"],
        {n.removeprefix("pit "): v for n, v in columns.items() if n.startswith("pit ")},
        tuple(head["left_out"]),
        head["recorded"],
        head["page"],
    )


def _dates(days: Floats) -> Any:
    return days.astype(np.int64).astype("datetime64[D]").astype("datetime64[s]")


def _weights(columns: Mapping[str, Floats], symbols: Sequence[str]) -> pd.DataFrame:
    dates = _dates(columns.get("decision", np.zeros(0)))
    frame = pd.DataFrame({name: columns[f"weight {name}"] for name in symbols}, index=dates)
    long = frame.rename_axis("decision").reset_index()
    long = long.melt("decision", var_name="symbol", value_name="weight")
    return long.dropna(subset="weight").reset_index(drop=True)
