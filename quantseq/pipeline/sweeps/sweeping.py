"""A sweep: forecasts made once per horizon, many policies and costs scored on them, all in the ledger."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed, parallel_config

from quantseq.config import Places, RunConfig
from quantseq.evaluation.contest import ROOMS, code_fingerprint
from quantseq.evaluation.walkforward import FitFunction, Fold, evaluate
from quantseq.files import (
    atomic_path,
    ensure_writable,
    fingerprint,
    read_json,
    write_json,
    write_text,
)
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.market.bars import Panel
from quantseq.pipeline.backtesting import FitFold, UseModel, model_fold, with_model
from quantseq.pipeline.data import describe_data
from quantseq.pipeline.health import as_rows, findings, refuse_errors
from quantseq.pipeline.manifest import new_manifest
from quantseq.pipeline.options import on_calendar
from quantseq.pipeline.results import OURS
from quantseq.pipeline.sweeps.grid import Grid, label, to_toml
from quantseq.pipeline.sweeps.selection import Point, by_sharpe, judge_points
from quantseq.pipeline.training import pass_gate
from quantseq.progress import SILENT, Bar, Progress
from quantseq.trading import ledger
from quantseq.trading.chance.deflation import sharpe_per_session
from quantseq.trading.decisions.holding import held_moments
from quantseq.trading.trials import Scored, Trial, score_all

CHUNK = 32
"""Most points that a process scores before they are written down: what a kill can lose, per process."""

FINALISTS = 5
"""Points per cost level that a fast sweep scores again by the account."""


@dataclass(frozen=True, eq=False)
class SweepOutcome:
    """What `sweep` returns.

    Attributes
    ----------
    folder : Path
        Where ``result.json``, ``points.csv``, ``best.toml`` and every point's net returns lie.
    manifest, result : mapping
        As written; see ``docs/json.md``.
    """

    folder: Path
    manifest: Mapping[str, Any]
    result: Mapping[str, Any]


def sweep(
    panel: Panel,
    *,
    grid: Grid | None = None,
    config: RunConfig | None = None,
    model: Seq2SeqForecaster | None = None,
    places: Places | None = None,
    jobs: int = 1,
    fast: bool = False,
    allow_bad_data: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> SweepOutcome:
    """Score every point of a grid, write each into the ledger, and judge the best of them.

    Forecasts are made once per horizon and kept under ``sweeps/`` in the data folder. A point is written
    down, with its net returns, as soon as it is scored; a sweep that was interrupted goes on with the
    points that are missing, and one that is finished gives back its result as it stands.

    Parameters
    ----------
    panel : Panel
    grid : Grid, optional
    config : RunConfig, optional
        Everything that the grid does not vary.
    model : Seq2SeqForecaster, optional
        Use this trained model after its ``trained_until``; its horizon is the only one then.
    places : Places, optional
    jobs : int
        Processes; the numbers are the same for every choice.
    fast : bool
        Score in returns space, and only the best five at each cost by the account; see `score_all`.
    allow_bad_data : bool
        Use prices although the health check found errors in them.
    command : str
        For the ledger and the manifest.
    progress : Progress

    Raises
    ------
    ConfigError
        If the grid or a point of it breaks a rule.
    BarsError, LeakageError, NotEnoughDataError, StorageError, GateError
        As in `backtest`.
    """
    chosen = on_calendar(config or RunConfig(), panel.sessions)
    where = places or Places()
    if model is not None:
        chosen = with_model(chosen, model, progress)
    points = (grid or Grid()).points(chosen, progress)
    ensure_writable(where.reports)
    found = findings(panel)
    refuse_errors(found, total=len(panel), allow_bad_data=allow_bad_data)
    identity = {
        "code": code_fingerprint((*ROOMS, "trading")),
        "data": panel.sha256,
        "model": None if model is None else model.describe(),
    }
    key = fingerprint({**identity, "points": [one.to_mapping() for one in points], "fast": fast})
    folder = where.reports / f"sweep-{key[:12]}"
    if (folder / "result.json").exists():
        progress.say(f"This sweep is finished; its result stands as it was judged: {folder}.")
        return _written(folder)
    try:
        of_horizon = {one.forecaster.horizon: one for one in points}
        gates = [
            pass_gate(one.forecaster, where, seed=one.seed, progress=progress)
            for one in of_horizon.values()
        ]
        moments = {
            horizon: _moments(panel, one, model, identity, where.sweeps, jobs, progress)
            for horizon, one in of_horizon.items()
        }
        desk = _Desk(panel, moments, folder, where, command, jobs)
        with progress.bar(f"score {len(points)} points", len(points), unit="point") as bar:
            scored = desk.score(points, bar, fast=fast)
        if fast:
            again = _finalists(scored)
            with progress.bar(f"score {len(again)} again", len(again), unit="point") as bar:
                scored |= desk.score(again, bar)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(
            f"Forecasts and scored points are kept; the same command goes on from there ({folder})."
        ) from stop
    manifest = new_manifest(
        command=command,
        title=f"Sweep of {len(points)} points on {len(panel)} symbols",
        config=chosen.to_mapping(),
        data=describe_data(panel),
        symbols=list(panel.symbols),
        sessions=next(iter(scored.values())).scored.sessions,
        reports=where.reports,
        extra={
            "kind": "sweep",
            "fast": fast,
            "gate": gates[0].fingerprint,
            "model": identity["model"],
        },
    )
    manifest["run_id"] = folder.name
    result, best = judge_points(panel, moments, list(scored.values()), chosen, where)
    result |= {"gate": asdict(gates[0]), "data_findings": as_rows(found)}
    _write_table(folder / "points.csv", result["sweep"]["points"])
    write_text(folder / "best.toml", to_toml(best))
    write_json(folder / "manifest.json", manifest)
    write_json(folder / "result.json", result)  # last: with it the sweep is finished
    return _written(folder)


def _written(folder: Path) -> SweepOutcome:
    return SweepOutcome(
        folder, read_json(folder / "manifest.json"), read_json(folder / "result.json")
    )


def _moments(
    panel: Panel,
    config: RunConfig,
    model: Seq2SeqForecaster | None,
    identity: Mapping[str, Any],
    folder: Path,
    jobs: int,
    progress: Progress,
) -> pd.DataFrame:
    """Fill-to-fill moments of one horizon over all folds; each fit is forecast once and kept."""
    forecaster, walk, fit = config.forecaster, config.walk_forward, _fit(config, model, jobs)
    folds = walk.split(panel.sessions) if model is None else [model_fold(panel, model, walk)]
    groups: dict[Any, list[Fold]] = {}
    for fold in folds:
        groups.setdefault(fold.fitted_on, []).append(fold)
    parts = []
    title = f"fit and forecast {len(folds)} folds, horizon {forecaster.horizon}"
    with progress.bar(title, len(folds), unit="fold") as bar:
        for group in groups.values():
            decides = {
                **identity,
                "folds": [fold.describe() for fold in group],
                "forecaster": asdict(forecaster),
                "rest": [config.num_paths, config.seed, config.fill],
            }
            path = folder / f"moments-{fingerprint(decides)[:24]}.parquet"
            part = _kept(path)
            if part is None:
                found = evaluate(
                    panel,
                    group,
                    fit,
                    horizon=forecaster.horizon,
                    num_paths=config.num_paths,
                    seed=config.seed,
                )
                part = held_moments(found.forecasts[OURS], config.fill)
                _write(path, part)
            parts.append(part)
            bar.step(len(group))
    return pd.concat(parts, ignore_index=True)


def _fit(config: RunConfig, model: Seq2SeqForecaster | None, jobs: int) -> FitFunction:
    if model is None:
        return FitFold(config.forecaster, jobs=jobs, rivals=False)
    return UseModel(model, rivals=False)


@dataclass(frozen=True, eq=False)
class _Desk:
    """Where points are scored, written down and entered into the ledger."""

    panel: Panel
    moments: Mapping[int, pd.DataFrame]
    folder: Path
    places: Places
    command: str
    jobs: int

    def score(
        self, points: Sequence[RunConfig], bar: Bar, *, fast: bool = False
    ) -> dict[str, Point]:
        """Score what is not there yet; all points by their key, in their order."""
        every = {_key(one): one for one in points}
        done: dict[str, Scored] = {}
        for key in every:
            frame = _kept(self.folder.parent / self._file(key, fast))
            if frame is not None:
                sessions = frame["session"].to_numpy().astype("datetime64[D]")
                done[key] = Scored(sessions, frame["net"].to_numpy(), frame["turnover"].to_numpy())
        self._enter({key: every[key] for key in done}, done, fast)  # a kill may have come between
        bar.step(len(done))
        missing = [key for key in every if key not in done]
        size = min(CHUNK, max(1, len(missing) // (4 * self.jobs)))
        chunks = [missing[k : k + size] for k in range(0, len(missing), size)]
        for names, results in self._run(chunks, every, fast):
            scored = dict(zip(names, results, strict=True))
            for key, one in scored.items():
                columns = {"session": one.sessions.astype("datetime64[s]")}
                columns |= {"net": one.net, "turnover": one.turnover}
                _write(self.folder.parent / self._file(key, fast), pd.DataFrame(columns))
            self._enter({key: every[key] for key in scored}, scored, fast)
            done |= scored
            bar.step(len(names))
        return {
            key: Point(config, done[key], fast, self._file(key, fast))
            for key, config in every.items()
        }

    def _run(
        self, chunks: list[list[str]], keys: Mapping[str, RunConfig], fast: bool
    ) -> Iterator[tuple[list[str], list[Scored]]]:
        work = (
            delayed(_score_chunk)(
                names,
                self.panel,
                self.moments,
                [(keys[name].forecaster.horizon, keys[name].trial) for name in names],
                fast,
            )
            for names in chunks
        )
        with parallel_config(backend="loky", inner_max_num_threads=1):
            jobs = min(self.jobs, max(len(chunks), 1))
            yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(work)

    def _enter(
        self, points: Mapping[str, RunConfig], scored: Mapping[str, Scored], fast: bool
    ) -> None:
        """Write the ledger's line of every point that has none of this sweep yet."""
        if not points:
            return
        there = {one.get("returns_file") for one in ledger.read(self.places.ledger).entries}
        data = self.panel.sha256
        lines = [
            {
                "run_id": self.folder.name,
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": self.command,
                "config_sha256": fingerprint(config.to_mapping()),
                "data_sha256": data,
                "start": str(scored[key].sessions[0]),
                "end": str(scored[key].sessions[-1]),
                "sessions": len(scored[key].net),
                "sharpe": sharpe_per_session(scored[key].net),
                "returns_sha256": ledger.returns_hash(scored[key].net),
                "returns_file": f"{self._file(key, fast)}#net",
                "label": label(config) + (", in returns space" if fast else ""),
            }
            for key, config in points.items()
            if f"{self._file(key, fast)}#net" not in there
        ]
        if lines:
            ledger.append_all(self.places.ledger, lines)

    def _file(self, key: str, fast: bool) -> str:
        """Where a point's returns lie, beside the ledger."""
        return f"{self.folder.name}/points/{key}{'-fast' if fast else ''}.parquet"


def _key(config: RunConfig) -> str:
    return fingerprint(config.to_mapping())[:16]


def _score_chunk(
    names: list[str],
    panel: Panel,
    moments: Mapping[int, pd.DataFrame],
    trials: list[tuple[int, Trial]],
    fast: bool,
) -> tuple[list[str], list[Scored]]:
    return names, score_all(panel, moments, trials, fast=fast)


def _finalists(scored: Mapping[str, Point]) -> list[RunConfig]:
    """The best few at each cost level."""
    levels: dict[float, list[Point]] = {}
    for point in scored.values():
        levels.setdefault(point.cost_bps, []).append(point)
    return [
        one.config
        for level in levels.values()
        for one in sorted(level, key=by_sharpe, reverse=True)[:FINALISTS]
    ]


def _kept(path: Path) -> pd.DataFrame | None:
    """A table that an earlier start wrote, or None where there is none that can be read."""
    with suppress(OSError, ValueError):
        return pd.read_parquet(path)
    return None


def _write(path: Path, frame: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd")


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    frame = pd.DataFrame(rows)
    frame["parameters"] = [json.dumps(one) for one in frame["parameters"]]
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)


def to_json(outcome: SweepOutcome) -> dict[str, Any]:
    """The result with its documented, stable keys."""
    return {"folder": str(outcome.folder), "manifest": outcome.manifest, **outcome.result}
