"""Everything that one backtest produced, as a folder.

Owns the names of the files, what each must hold at least, and how they are read and written. Knows
nothing of charts or pages, and computes nothing.

::

    RUN/
    ├─ manifest.json      what was run: command, config, data hashes, seeds, versions, costs, fills
    ├─ result.json        what was measured: verdict, metrics, folds, scores, gate
    ├─ forecasts.parquet  one row per symbol, cutoff and step
    ├─ weights.parquet    one row per decision date and symbol
    ├─ equity.parquet     one row per session
    ├─ SHA256SUMS         of the five files above, as `sha256sum --check` reads it
    └─ report.html        the page (see `quantseq.reporting.render`)
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa

from quantseq.errors import CorruptFileError, RunError
from quantseq.files import (
    atomic_folder,
    atomic_path,
    read_json,
    sha256_file,
    write_json,
    write_text,
)
from quantseq.notebook import card

SCHEMA = 1
"""Version of the folder's layout; a folder with a higher one needs a newer quantseq."""

YEAR = 252
"""Sessions in a year, if a run does not say otherwise."""

MANIFEST = "manifest.json"
RESULT = "result.json"
SUMS = "SHA256SUMS"
FRAMES: Mapping[str, Mapping[str, str]] = {
    "forecasts": {"symbol": "text", "cutoff": "date", "step": "number"},
    "weights": {"decision": "date", "symbol": "text", "weight": "number"},
    "equity": {"session": "date", "strategy_net": "number"},
}
"""The Parquet files and the columns without which each of them means nothing."""

FILES = (MANIFEST, RESULT, *(f"{name}.parquet" for name in FRAMES))
"""What a run folder must hold."""

RETURNS = ("strategy_net", "strategy_gross", "buy_and_hold")
"""Columns of daily simple returns; the last two may be absent or empty."""

_MANIFEST_RULES: Mapping[str, type] = {
    "run_id": str,
    "title": str,
    "symbols": list,
    "test_start": str,
    "test_end": str,
}
_MANIFEST_OPTIONAL: Mapping[str, type] = {"config": Mapping, "data": Mapping}
_RESULT_RULES: Mapping[str, type] = {
    "verdict": Mapping,
    "metrics": Mapping,
    "intervals": Mapping,
    "folds": list,
    "forecast": Mapping,
    "gate": Mapping,
    "notes": list,
    "data_findings": list,
}
_REMEDY = "Run `quantseq backtest` again to make a fresh one."


@dataclass(frozen=True, eq=False)
class Run:
    """One run, complete enough to be reported on.

    Parameters
    ----------
    manifest : Mapping
        What was run. Needs ``run_id``, ``title``, ``symbols``, ``test_start``, ``test_end``.
    result : Mapping
        What was measured. Every part may be absent; the page then says so.
    forecasts : DataFrame
        Columns symbol, cutoff, step and any of sigma, mean, prob_up, quantiles ``qNN`` and
        ``cum_qNN`` (log returns), realised, pit, log_score, crps. May be empty.
    weights : DataFrame
        Columns decision, symbol, weight. May be empty.
    equity : DataFrame
        Columns session, strategy_net and any of strategy_gross, buy_and_hold (daily simple
        returns), cost, turnover, gross_exposure, ``close:SYM``. At least one row, sessions
        increasing.

    Raises
    ------
    RunError
        If a part is missing or of the wrong kind.
    """

    manifest: Mapping[str, Any]
    result: Mapping[str, Any]
    forecasts: pd.DataFrame
    weights: pd.DataFrame
    equity: pd.DataFrame

    def __post_init__(self) -> None:
        _check_mapping(MANIFEST, self.manifest, _MANIFEST_RULES, required=True)
        _check_mapping(MANIFEST, self.manifest, _MANIFEST_OPTIONAL, required=False)
        _check_mapping(RESULT, self.result, _RESULT_RULES, required=False)
        schema = self.manifest.get("schema", SCHEMA)
        if not isinstance(schema, int) or schema > SCHEMA:
            raise RunError(
                f"{MANIFEST}: schema is {schema!r}, this quantseq reads up to {SCHEMA}. "
                "Upgrade quantseq to read this run."
            )
        _check_nested(self.result)
        _check_dates(self.result)
        for name in FRAMES:
            object.__setattr__(self, name, _check_frame(name, getattr(self, name)))
        if not len(self.equity):
            raise RunError(f"equity.parquet: there are no sessions. {_REMEDY}")
        steps = np.diff(self.equity["session"].to_numpy()).astype(np.int64)
        if (steps <= 0).any():
            where = self.equity["session"].iloc[int(np.argmax(steps <= 0)) + 1]
            raise RunError(
                f"equity.parquet: session {where:%Y-%m-%d} is not after the one before it. "
                f"Sessions must be increasing. {_REMEDY}"
            )
        for name in RETURNS:
            self._check_returns(name)

    def _check_returns(self, name: str) -> None:
        if self.daily(name) is None:
            return
        bad = ~np.isfinite(self.equity[name].to_numpy()) | (self.equity[name].to_numpy() < -1)
        if bad.any():
            where = self.equity.iloc[int(np.argmax(bad))]
            raise RunError(
                f"equity.parquet: {name} is {where[name]} on {where['session']:%Y-%m-%d}. A simple "
                f"return must be finite and at least −1. {_REMEDY}"
            )

    @classmethod
    def load(cls, folder: Path, *, frames: Collection[str] = tuple(FRAMES)) -> Self:
        """Read a run folder.

        Parameters
        ----------
        folder : Path
        frames : collection of str
            Which of `FRAMES` to read; the others are left empty.

        Raises
        ------
        RunError
            If the folder or one of its files is missing, damaged or incomplete; the message names
            which.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise RunError(
                f"{str(folder)!r} is not a run folder. Name a folder that `quantseq backtest` "
                "wrote, for example one under reports/."
            )
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise RunError(f"{str(folder)!r} lacks {', '.join(missing)}. {_REMEDY}")
        try:
            manifest, result = read_json(folder / MANIFEST), read_json(folder / RESULT)
        except CorruptFileError as error:
            raise RunError(str(error)) from error
        read = {
            name: _read_frame(folder / f"{name}.parquet")
            if name in frames
            else pd.DataFrame(columns=list(columns))
            for name, columns in FRAMES.items()
        }
        return cls(manifest, result, **read)

    def save(self, folder: Path) -> Path:
        """Write the folder in one move: an older run of that name is replaced, or kept whole.

        Raises
        ------
        StorageError
            If the place is not writable or the disk is full.
        """
        with atomic_folder(Path(folder)) as temporary:
            write_json(temporary / MANIFEST, {"schema": SCHEMA, **self.manifest})
            write_json(temporary / RESULT, self.result)
            for name in FRAMES:
                with atomic_path(temporary / f"{name}.parquet") as path:
                    getattr(self, name).to_parquet(path, compression="zstd", index=False)
            sign(temporary)
        return Path(folder)

    def card(self, note: str = "") -> str:
        """Verdict and figures as a notebook shows them; `note` stands below."""
        metrics = self.result.get("metrics") or {}
        columns = {name: metrics.get(name) or {} for name in ("strategy", "buy_and_hold")}
        rows = [
            [key, *(_shown(column.get(key)) for column in columns.values())]
            for key in columns["strategy"]
        ]
        sentence = str(self.verdict.get("sentence") or "")
        return card(str(self.manifest["title"]), sentence, ["", *columns], rows, note)

    def _repr_html_(self) -> str:
        """Shown by notebooks."""
        return self.card(f"run {self.manifest['run_id']}")

    @property
    def verdict(self) -> Mapping[str, Any]:
        """What may be claimed: the stored verdict, without its edge where the stored audit did not pass.

        A full audit may fail after a backtest whose short one passed. Empty without a verdict.
        """
        found: Mapping[str, Any] = self.result.get("verdict") or {}
        audit = self.result.get("audit")
        passed = audit.get("passed") if isinstance(audit, Mapping) else None
        if found.get("edge") is not True or passed is True:
            return found
        what = "is missing" if passed is None else "failed"
        sentence = f"No edge is claimed, for the look-ahead audit {what}. Before: "
        return {**found, "edge": False, "sentence": sentence + str(found.get("sentence") or "")}

    @property
    def symbols(self) -> list[str]:
        """The universe, in the order of the manifest."""
        return [str(symbol) for symbol in self.manifest["symbols"]]

    @property
    def periods(self) -> int:
        """Sessions per year, as configured; 252 where the run does not say."""
        costs = (self.manifest.get("config") or {}).get("costs") or {}
        periods = costs.get("periods") if isinstance(costs, Mapping) else None
        return periods if isinstance(periods, int) and periods > 0 else YEAR

    def daily(self, name: str) -> "pd.Series[float] | None":
        """One column of the equity table by session, or None if the run lacks it.

        Parameters
        ----------
        name : str
            One of `RETURNS`, or any other column with one value per session.
        """
        if name not in self.equity or self.equity[name].isna().all():
            return None
        index = pd.DatetimeIndex(self.equity["session"], name="session")
        try:
            values = self.equity[name].to_numpy(dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise RunError(
                f"equity.parquet: {name} holds {error}, not numbers. {_REMEDY}"
            ) from error
        return pd.Series(values, index=index, name=name)


def sign(folder: Path) -> None:
    """Write the checksums of a run folder anew, after one of its files was rewritten."""
    lines = (f"{sha256_file(folder / name)}  {name}\n" for name in FILES)
    write_text(folder / SUMS, "".join(lines))


def _shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, (int, float)) and np.isfinite(value) else "—"


def _check_mapping(
    file: str, content: object, rules: Mapping[str, type], *, required: bool
) -> None:
    if not isinstance(content, Mapping):
        raise RunError(
            f"{file}: the file holds a {type(content).__name__}, not an object. {_REMEDY}"
        )
    for key, kind in rules.items():
        value = content.get(key)
        if value is None and required:
            raise RunError(f"{file}: {key!r} is missing. {_REMEDY}")
        if value is not None and not isinstance(value, kind):
            raise RunError(
                f"{file}: {key!r} is a {type(value).__name__}, it must be "
                f"{'an object' if kind is Mapping else 'a ' + kind.__name__}. {_REMEDY}"
            )


def _check_nested(result: Mapping[str, Any]) -> None:
    """Every entry that is read as an object must be one."""
    forecast = result.get("forecast") or {}
    parts = {
        "metrics": list((result.get("metrics") or {}).values()),
        "folds": result.get("folds") or [],
        "forecast.models": list((forecast.get("models") or {}).values())
        if isinstance(forecast.get("models") or {}, Mapping)
        else [forecast["models"]],
        "forecast.tests": forecast.get("tests") or [],
    }
    for name, entries in parts.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, Mapping):
                raise RunError(f"{RESULT}: {name} holds {entry!r:.60}, not objects. {_REMEDY}")


def _check_dates(result: Mapping[str, Any]) -> None:
    for fold in result.get("folds") or []:
        for key, value in fold.items():
            if not key.endswith(("_start", "_end")) or value is None:
                continue
            try:
                np.datetime64(str(value)[:10], "D")
            except ValueError as error:
                raise RunError(
                    f"{RESULT}: {key} of fold {fold.get('fold')} is {value!r}, not a date. {_REMEDY}"
                ) from error


def _check_frame(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Copy with the required columns in their kinds, whatever resolution dates came in."""
    rules = FRAMES[name]
    missing = [column for column in rules if column not in frame]
    if missing:
        raise RunError(f"{name}.parquet: the columns {missing} are missing. {_REMEDY}")
    frame = frame.reset_index(drop=True)
    for column, kind in rules.items():
        try:
            if kind == "date":
                frame[column] = pd.to_datetime(frame[column]).astype("datetime64[s]")
            elif kind == "number":
                frame[column] = pd.to_numeric(frame[column])
        except (ValueError, TypeError) as error:
            raise RunError(
                f"{name}.parquet: {column!r} is not a {kind}: {error}. {_REMEDY}"
            ) from error
        if kind == "date" and frame[column].isna().any():
            raise RunError(f"{name}.parquet: {column!r} has rows without a date. {_REMEDY}")
    return frame


def _read_frame(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError, pa.lib.ArrowException) as error:
        raise RunError(
            f"Cannot read {str(path)!r} as Parquet: {str(error).splitlines()[0]}. {_REMEDY}"
        ) from error
