"""What forecasts were worth, row by row: every score of one model's rows, without the forecasts.

Owns `Grades`: the table that tests, tables and figures are made from. It is small where forecasts
with paths are large, so a model is forecast, graded and forgotten in chunks. Does not know which
models there are, nor where the table is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from quantseq.errors import CorruptFileError
from quantseq.evaluation.walkforward import Fold, cutoffs_of
from quantseq.files import atomic_path
from quantseq.forecasting.forecasts import QUANTILE_LEVELS, Forecaster, Forecasts
from quantseq.forecasting.scores import (
    Scores,
    interval_score,
    pinball_loss,
    realised_returns,
    sample_crps,
    score,
)
from quantseq.market.bars import Dates, Floats, Panel

INTERVAL = 0.9
"""Central interval of the Winkler score: between the outermost of `QUANTILE_LEVELS`."""

CHUNK_ROWS = 8_000
"""Rows that are forecast at once, about; more need more memory, fewer repeat more work."""


@dataclass(frozen=True, eq=False)
class Grades:
    """Scores of M rows and H steps; NaN where the outcome is not known.

    Attributes
    ----------
    symbols, cutoffs : (M,) in order of cutoff, then of the panel
    realised : (M, H) log returns
    log_score, crps, pit : (M, H) see `Scores`; the log score is NaN without a density
    pinball : (M, H) pinball loss, mean over `QUANTILE_LEVELS`
    winkler : (M, H) interval score of the central 90 %
    error : (M, H) distance of the median, over the mean |return| of the symbol's training block
    mean, prob_up : (M, H) expected log return, and probability that it is positive
    crps_cumulative : (M, 1) CRPS of the sum of all H steps, from paths, fair in their number
    fan : (M, H·Q) float32 or None
        Quantiles at `QUANTILE_LEVELS` of the return from the cutoff to each step, in a row; kept only
        where a forecast is to be drawn later.
    """

    symbols: NDArray[np.object_]
    cutoffs: Dates
    realised: Floats
    log_score: Floats
    crps: Floats
    pit: Floats
    pinball: Floats
    winkler: Floats
    error: Floats
    mean: Floats
    prob_up: Floats
    crps_cumulative: Floats
    fan: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def horizon(self) -> int:
        """H."""
        return int(self.realised.shape[1])

    @property
    def scores(self) -> Scores:
        """The part that `Scores` summarises."""
        return Scores(self.log_score, self.crps, self.pit)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Grades":
        """Some rows."""
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        known = {name: column for name, column in columns.items() if column is not None}
        return Grades(**{name: column[rows] for name, column in known.items()})

    @staticmethod
    def concatenate(parts: Sequence["Grades"]) -> "Grades":
        """Rows of several parts, one after the other."""
        names = [one.name for one in fields(Grades) if getattr(parts[0], one.name) is not None]
        return Grades(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def save(self, path: Path) -> None:
        """Write as Parquet, atomically."""
        columns: dict[str, pa.Array] = {
            "symbols": pa.array([str(s) for s in self.symbols]).dictionary_encode(),
            "cutoffs": pa.array(self.cutoffs.astype("datetime64[D]")),
        }
        for one in fields(self)[2:]:
            matrix = getattr(self, one.name)
            if matrix is None:
                continue
            columns |= {f"{one.name}:{i}": pa.array(matrix[:, i]) for i in range(matrix.shape[1])}
        with atomic_path(path) as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> "Grades":
        """Read back what `save` wrote.

        Raises
        ------
        CorruptFileError
            If the file cannot be read.
        """
        try:
            table = pq.read_table(path)
            found = {name: table[name].to_numpy() for name in table.column_names}
            stacks = {}
            for one in fields(cls)[2:]:
                width = sum(name.startswith(f"{one.name}:") for name in found)
                if width or one.name != "fan":
                    several = [found[f"{one.name}:{i}"] for i in range(max(width, 1))]
                    stacks[one.name] = np.column_stack(several)
            return cls(
                symbols=found["symbols"].astype(object),
                cutoffs=found["cutoffs"].astype("datetime64[D]"),
                **stacks,
            )
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise CorruptFileError(
                f"Cannot read {str(path)!r}: {error}. Delete it; it is computed again."
            ) from error


def grade(
    forecasts: Forecasts, realised: Floats, naive: Mapping[str, float], *, fans: bool = False
) -> Grades:
    """Score forecasts, with their paths, against what happened.

    Parameters
    ----------
    forecasts : Forecasts
    realised : (M, H) float64
        NaN where unknown.
    naive : mapping of symbol to float
        Mean absolute training return, what a random walk of prices errs by; "" for strangers.
    fans : bool
        Keep `Grades.fan`; needs paths.
    """
    scores, quantiles = score(forecasts, realised), forecasts.quantile(QUANTILE_LEVELS)
    losses = [
        pinball_loss(quantiles[..., i], realised, level) for i, level in enumerate(QUANTILE_LEVELS)
    ]
    scale = np.array([naive.get(str(symbol), naive[""]) for symbol in forecasts.symbols])
    middle = quantiles[..., QUANTILE_LEVELS.index(0.5)]
    cumulative = np.full(len(forecasts), np.nan)
    known = np.isfinite(realised).all(axis=1)
    if forecasts.paths is not None and known.any():
        sums = forecasts.paths[known].sum(axis=2, dtype=np.float64)
        cumulative[known] = sample_crps(sums, realised[known].sum(axis=1))
    fan = None
    if fans:
        moved = forecasts.cumulative_quantile(QUANTILE_LEVELS)
        fan = moved.reshape(len(forecasts), -1).astype(np.float32)
    return Grades(
        forecasts.symbols,
        forecasts.cutoffs,
        realised,
        scores.log_score,
        scores.crps,
        scores.pit,
        np.mean(losses, axis=0),
        interval_score(quantiles[..., 0], quantiles[..., -1], realised, INTERVAL),
        np.abs(realised - middle) / scale[:, None],
        forecasts.mean,
        forecasts.prob_up,
        cumulative[:, None],
        fan,
    )


def naive_errors(train: Panel) -> dict[str, float]:
    """Mean absolute log return per symbol of a training block; under "" the median over symbols."""
    found = {}
    for symbol, bars in train.items():
        moves = np.abs(bars.log_returns()[1:])
        if len(moves) and moves.mean() > 0:
            found[symbol] = float(moves.mean())
    middle = float(np.median(list(found.values()))) if found else float("nan")
    return {"": middle, **found}


def chunks_of(panel: Panel, fold: Fold) -> Iterator[Dates]:
    """The fold's cutoffs in pieces of about `CHUNK_ROWS` rows."""
    cutoffs = cutoffs_of(panel, fold)
    size = max(20, CHUNK_ROWS // len(panel))
    for start in range(0, len(cutoffs), size):
        yield cutoffs[start : start + size]


def grade_cutoffs(
    panel: Panel,
    model: Forecaster,
    cutoffs: Dates,
    naive: Mapping[str, float],
    *,
    horizon: int,
    num_paths: int,
    seed: int,
    fans: bool = False,
) -> Grades:
    """Forecast every symbol at some cutoffs, grade, and forget the forecasts."""
    found = model.predict(panel, cutoffs, horizon=horizon, num_paths=num_paths, seed=seed)
    order = np.argsort(found.cutoffs, kind="stable")  # symbols stay in the panel's order
    ordered = found[order]
    return grade(ordered, realised_returns(panel, ordered), naive, fans=fans)
