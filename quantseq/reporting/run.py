"""Everything that one backtest or evaluation produced, as a folder.

Owns the names of the files, what each must hold at least, and how they are read and written. Knows
nothing of charts or pages, and computes nothing.

::

    RUN/
    ├─ manifest.json      what was run: kind, command, config, data hashes, seeds, versions
    ├─ result.json        what was measured: verdict, metrics, folds, scores, tests, gate
    ├─ scores.parquet     every score: one row per model, symbol, cutoff and step
    ├─ forecasts.parquet  our model's forecasts: one row per symbol, cutoff and step
    ├─ weights.parquet    one row per decision date and symbol        ┐
    ├─ equity.parquet     one row per session                         ├ of a backtest only
    ├─ trades.parquet     one row per round trip                      ┘
    ├─ SHA256SUMS         of the files above, as `sha256sum --check` reads it
    └─ report.html        the page (see `quantseq.reporting.render`)
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from quantseq.errors import CorruptFileError, QuantseqError, RunError
from quantseq.files import (
    SUMS,
    atomic_folder,
    atomic_path,
    check_ours,
    check_sums,
    read_json,
    read_parquet,
    read_sums,
    sums_of,
    write_json,
    write_sums,
)
from quantseq.market.calendars import YEAR
from quantseq.reporting.page import card, number

RUN_SCHEMA = 2  # version of the folder's layout
MANIFEST, RESULT = "manifest.json", "result.json"
REPORT = "report.html"  # made from the others, so no sum seals it
# The Parquet files and the columns without which each of them means nothing.
TABLES: Mapping[str, Mapping[str, str]] = {
    "scores": {"model": "text", "symbol": "text", "cutoff": "date", "step": "number"},
    "forecasts": {"symbol": "text", "cutoff": "date", "step": "number"},
    "weights": {"decision": "date", "symbol": "text", "weight": "number"},
    "equity": {"session": "date", "strategy_net": "number"},
    "trades": {"symbol": "text", "side": "text", "entered": "date", "left": "date?"},
}
_NEEDED = {"backtest": tuple(TABLES), "evaluation": ("scores", "forecasts")}
_MARKS = (
    MANIFEST,
    RESULT,
    "scores.parquet",
    SUMS,
)  # all of them: many data sets have a manifest and sums
_OURS = (REPORT, *(f"{name}.parquet" for name in TABLES))
_TEXTS = ("run_id", "title", "test_start", "test_end")


def _fault(text: str) -> RunError:
    return RunError(
        f"{text} Run `quantseq backtest` or `quantseq evaluate` again to make a fresh one."
    )


def _empty(name: str) -> pd.DataFrame:
    return pd.DataFrame(columns=list(TABLES[name]))


@dataclass(frozen=True, eq=False)
class Run:
    """One run, complete enough to be reported on; RunError if a part is missing or of the wrong kind.

    The manifest needs ``run_id``, ``title``, ``symbols``, ``test_start``, ``test_end``; ``kind`` is ``backtest``
    if it does not say ``evaluation``. Every part of the result may be absent; the page then says so. Of the
    `TABLES`, returns in equity are simple, quantiles ``qNN``, ``cum_qNN`` of forecasts log returns; a backtest
    has at least one session, and sessions increase.
    """

    manifest: Mapping[str, Any]  # what was run
    result: Mapping[str, Any]  # what was measured
    scores: pd.DataFrame
    forecasts: pd.DataFrame
    weights: pd.DataFrame = field(default_factory=lambda: _empty("weights"))
    equity: pd.DataFrame = field(default_factory=lambda: _empty("equity"))
    trades: pd.DataFrame = field(default_factory=lambda: _empty("trades"))
    hashes: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of the files it was read from

    def __post_init__(self) -> None:
        for file, content in ((MANIFEST, self.manifest), (RESULT, self.result)):
            if not isinstance(content, Mapping):
                raise _fault(f"{file}: the file holds a {type(content).__name__}, not an object.")
        for key, needed in {**dict.fromkeys(_TEXTS, str), "symbols": list}.items():
            if not isinstance(self.manifest.get(key), needed):
                raise _fault(f"{MANIFEST}: {key!r} is missing or no {needed.__name__}.")
        schema = self.manifest.get("schema", RUN_SCHEMA)
        if schema != RUN_SCHEMA or self.kind not in _NEEDED:
            raise _fault(
                f"{MANIFEST}: this quantseq reads backtests and evaluations of schema {RUN_SCHEMA}, not a "
                f"{self.kind!r} of schema {schema!r}."
            )
        for name in TABLES:
            object.__setattr__(self, name, _checked(name, getattr(self, name)))
        if self.kind == "backtest":
            self._check_equity()

    def _check_equity(self) -> None:
        days = self.equity["session"]
        if not len(days) or not (days.is_monotonic_increasing and days.is_unique):
            raise _fault("equity.parquet: sessions must be increasing, at least one of them.")
        for name in ("strategy_net", "strategy_gross", "buy_and_hold"):
            series = self.daily(name)
            bad = None if series is None else series[~(np.isfinite(series) & (series >= -1))]
            if bad is not None and len(bad):
                raise _fault(
                    f"equity.parquet: {name} is {bad.iloc[0]} on {bad.index[0]:%Y-%m-%d}. A simple "
                    "return must be finite and at least −1."
                )

    @classmethod
    def load(
        cls, folder: Path, *, tables: Collection[str] = tuple(TABLES), sealed: bool = True
    ) -> Self:
        """Read a run folder, of `TABLES` only `tables`: the others are left empty.

        RunError if the folder or one of its files is missing, incomplete or damaged; the message names which. Whoever
        looks for what was changed may read it without its checksums being right, not `sealed`.
        """
        folder = Path(folder)
        if not (folder / MANIFEST).is_file():
            raise RunError(
                f"{str(folder)!r} is not a run folder. Name a folder that `quantseq backtest` or "
                "`quantseq evaluate` wrote, for example one under reports/."
            )
        try:
            manifest = read_json(folder / MANIFEST)
            names = run_files(manifest.get("kind", "backtest") if manifest else "")
            if missing := [name for name in names if not (folder / name).is_file()]:
                raise _fault(f"{str(folder)!r} lacks {', '.join(missing)}.")
            if sealed:
                check_sums(folder, names)
            asked = {name for name in tables if f"{name}.parquet" in names}
            found = {
                name: read_parquet(folder / f"{name}.parquet") if name in asked else _empty(name)
                for name in TABLES
            }
            result = read_json(folder / RESULT)
        except (CorruptFileError, AttributeError, TypeError) as error:
            text = " ".join(str(error).split())
            raise _fault(f"Cannot read the run {str(folder)!r}: {text}.") from error
        return cls(manifest, result, **found, hashes=read_sums(folder))

    def save(self, folder: Path, *, also: Callable[[Path], object] = lambda _: None) -> Path:
        """Write the folder in one move: an older run of that name is replaced, or kept whole.

        `also` puts into it what is made from it, such as its page. What else lies in an older folder stays there.
        StorageError if the folder holds something else, the place is not writable or the disk is full.
        """
        with atomic_folder(Path(folder), _MARKS, _OURS) as temporary:
            write_json(temporary / MANIFEST, {"schema": RUN_SCHEMA, **self.manifest})
            write_json(temporary / RESULT, self.result)
            for name in _NEEDED[self.kind]:
                with atomic_path(temporary / f"{name}.parquet") as path:
                    getattr(self, name).to_parquet(path, compression="zstd", index=False)
            sign(temporary)
            also(temporary)
        return Path(folder)

    @property
    def kind(self) -> str:
        """``backtest`` or ``evaluation``."""
        return str(self.manifest.get("kind", "backtest"))

    @property
    def verdict(self) -> Mapping[str, Any]:
        """The stored verdict, without its edge where the stored audit did not pass; empty without one.

        A full audit may fail after a backtest whose short one passed.
        """
        found = self.result.get("verdict")
        if not isinstance(found, Mapping):  # an evaluation's are sentences about each baseline
            return {}
        passed = (self.result.get("audit") or {}).get("passed")
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
    def model(self) -> str:
        """The model whose forecasts the run holds: the first that was scored."""
        if len(self.scores):
            return str(self.scores["model"].iloc[0])
        found = (self.result.get("forecast") or self.result).get("models") or {}
        return str(next(iter(found), ""))

    @property
    def periods(self) -> int:
        """Sessions per year, as configured; those of one exchange where the run does not say."""
        costs = (self.manifest.get("config") or {}).get("costs") or {}
        return int(costs.get("periods") or YEAR)

    @property
    def seed(self) -> int:
        """Of every bootstrap of the run."""
        seeds = self.manifest.get("seeds") or {}
        return int(seeds.get("run") or (self.manifest.get("config") or {}).get("seed") or 0)

    def part(self, name: str) -> Any:
        """A part of the result, empty where it is missing."""
        return self.result.get(name) or {}

    def metrics(self, who: str) -> Mapping[str, Any]:
        """The stored figures of ``strategy`` or ``buy_and_hold``; empty if there are none."""
        return (self.result.get("metrics") or {}).get(who) or {}

    def daily(self, name: str) -> "pd.Series[float] | None":
        """One column of the equity table by session, or None if the run lacks it."""
        if name not in self.equity or self.equity[name].isna().all():
            return None
        index = pd.DatetimeIndex(self.equity["session"], name="session")
        try:
            values = self.equity[name].to_numpy(dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise _fault(f"equity.parquet: {name} holds {error}, not numbers.") from error
        return pd.Series(values, index=index, name=name)

    def card(self, note: str = "") -> str:
        """Verdict and figures as a notebook shows them; `note` stands below."""
        own, other = self.metrics("strategy"), self.metrics("buy_and_hold")
        rows = [[key, number(own[key], 4), number(other.get(key), 4)] for key in own]
        said, heads = str(self.verdict.get("sentence") or ""), ["", "strategy", "buy_and_hold"]
        return card(str(self.manifest["title"]), said, heads, rows, note)

    def _repr_html_(self) -> str:
        """Shown by notebooks."""
        return self.card(f"run {self.manifest['run_id']}")


@contextmanager
def readable(*names: str) -> Iterator[None]:
    """Turn whatever fails on the content of these runs, which may come from anybody, into a RunError."""
    try:
        yield
    except (QuantseqError, OSError, MemoryError):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise _fault(
            f"What {' or '.join(names)} holds cannot be shown or computed with ({kind}: {error!s:.200})."
        ) from error


def rewrite(folder: Path, run: Run, *, also: Callable[[Path], object]) -> None:
    """Write manifest and result of a run's folder anew, and what is made from it, in one move; its tables stay."""
    with atomic_folder(folder, _MARKS, _OURS) as temporary:
        write_json(temporary / MANIFEST, {"schema": RUN_SCHEMA, **run.manifest})
        write_json(temporary / RESULT, run.result)
        for name in _NEEDED[run.kind]:
            shutil.copy2(folder / f"{name}.parquet", temporary)
        sign(temporary)
        also(temporary)


def check_place(folder: Path) -> Path:
    """Give `folder` back if a run may be written there; raises as `quantseq.files.check_ours` does."""
    return check_ours(folder, *_MARKS)


def run_files(kind: str) -> list[str]:
    """Names of the files that a run folder of a kind must hold."""
    return [MANIFEST, RESULT, *(f"{name}.parquet" for name in _NEEDED.get(kind, ()))]


def sign(folder: Path) -> None:
    """Write the checksums of a run folder anew, after one of its files was rewritten."""
    names = run_files(read_json(folder / MANIFEST).get("kind", "backtest"))
    write_sums(folder, sums_of(folder, names))


def _checked(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Copy with the required columns in their kinds, whatever resolution dates came in."""
    rules, said = TABLES[name], f"{name}.parquet:"
    if missing := [column for column in rules if column not in frame]:
        raise _fault(f"{said} the columns {missing} are missing.")
    frame = frame.reset_index(drop=True)
    for column, kind in rules.items():
        try:
            if kind.startswith("date"):
                frame[column] = pd.to_datetime(frame[column]).astype("datetime64[s]")
            elif kind == "number":
                frame[column] = pd.to_numeric(frame[column])
        except (ValueError, TypeError) as error:
            raise _fault(f"{said} {column!r} is not a {kind}: {error}.") from error
        if kind == "date" and frame[column].isna().any():
            raise _fault(f"{said} {column!r} has rows without a date.")
    return frame
