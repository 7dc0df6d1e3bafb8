"""The one walk-forward loop: every model in every fold is fitted, checked, forecast, scored and kept.

Owns who is fitted where and when, and the cache: a part is one model in one fold, under a fingerprint of code,
data, fold, choices and seed; a run that was interrupted goes on with the parts that are missing, and the number
of processes changes no bit. Knows no model: a `ModelSpec` is a name, a function that fits, and what decides its
numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache as cached
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pandas as pd
from joblib import delayed
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits

import quantseq
from quantseq.errors import ConfigError, CorruptFileError, NotEnoughDataError
from quantseq.evaluation.scores import naive_errors, score, symbols_with_ticks
from quantseq.evaluation.walkforward import Fold, check_not_trained_on, cutoffs_of
from quantseq.files import (
    atomic_path,
    fingerprint,
    read_parquet,
    read_sealed,
    seal,
    sha256_file,
    write_json,
)
from quantseq.forecasting.baselines import ReferenceForecaster, fit_baseline
from quantseq.forecasting.forecasts import Forecaster, Forecasts
from quantseq.market.bars import Dates, Panel
from quantseq.progress import parallel

if TYPE_CHECKING:  # a process that fits baselines never loads torch
    from quantseq.forecasting.forecaster import Seq2SeqForecaster

# Whose code, and which packages, decide a part's numbers.
DECIDING_ROOMS = ("market", "seq2seq", "forecasting", "evaluation")
_PACKAGES = ("numpy", "scipy", "torch", "arch", "scikit-learn", "scoringrules", "statsmodels")

_CHUNK_ROWS = 8_000  # forecast at once, about; more need more memory, fewer repeat more work


class Fit(Protocol):
    """Fits one model on the bars up to the end of a fold's validation block."""

    def __call__(self, panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
        """Return the fitted forecaster; the numbers are the same for any number of jobs."""
        ...


@dataclass(frozen=True)
class ModelSpec:
    """One model of a run; its `fit` must travel to other processes."""

    name: str
    fit: Fit
    # JSON values that decide its numbers besides code, data, fold and seed
    key: Mapping[str, Any] = field(default_factory=dict)
    parallel: bool = False  # its fit makes good use of several processes by itself
    # Keep its forecasts (without their paths) and itself, for whoever trades, draws or audits them; only for a
    # `Seq2SeqForecaster`.
    keep: bool = False
    optional: bool = False  # where its training block is too short for it, it is skipped and named


def use_fitted(model: Forecaster, panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
    """As ``partial(use_fitted, model)`` a `Fit` that fits nothing: a trained model, a simulated truth."""
    return model


def _on_training(
    name: str, horizon: int, panel: Panel, fold: Fold, seed: int, jobs: int
) -> Forecaster:
    return fit_baseline(name, panel.until(fold.train_end), horizon=horizon, jobs=jobs)


def baseline(name: str, horizon: int) -> ModelSpec:
    """A baseline of the registry as a model of a run; only our own reference must be there."""
    fit = partial(_on_training, name, horizon)
    return ModelSpec(name, fit, optional=name != ReferenceForecaster.name)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a run came to.

    `scores` is the long table: ``model`` and the columns of `quantseq.evaluation.scores.score`; models in their
    order, each in order of cutoff, symbol and step, all on the same rows. By model there are its `forecasts` and,
    per fold, itself as `fitted`, where they were to be kept; per fold the `details` that its fit reported; and why
    one that is optional was `skipped`.
    """

    scores: pd.DataFrame
    forecasts: dict[str, Forecasts]
    fitted: dict[str, list["Seq2SeqForecaster"]]
    folds: list[Fold]
    details: dict[str, list[dict[str, Any]]]
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Part:
    """One model in one fold."""

    scores: pd.DataFrame
    details: dict[str, Any]
    forecasts: Forecasts | None = None
    fitted: "Seq2SeqForecaster | None" = None


# horizon, num_paths, seed: the same for every model; see `Forecaster.predict`
_Draws = Mapping[str, int]
# folds that share a fit, with their numbers and the places of their parts in the cache
_Group = list[tuple[int, Fold, Path | None]]
_Found = list[tuple[int, _Part | Path]]  # the parts of a group


@cached
def code_fingerprint(rooms: tuple[str, ...] = DECIDING_ROOMS) -> str:
    """Hash of the code of some rooms, and of the packages, that decide numbers."""
    root = Path(quantseq.__file__).parent
    kinds = {".py", ".toml"}  # which exchange a symbol keeps stands in a table
    every = (path for room in rooms for path in (root / room).rglob("*"))
    files = sorted(path for path in every if path.suffix in kinds)
    code = {str(path.relative_to(root)): sha256_file(path) for path in files}
    return fingerprint({"code": code, "packages": {name: version(name) for name in _PACKAGES}})


def run(
    panel: Panel,
    models: Sequence[ModelSpec],
    folds: Sequence[Fold],
    *,
    horizon: int,
    num_paths: int = 100,
    seed: int = 0,
    jobs: int = 1,
    cache: Path | None = None,
    on_part: Callable[[str], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Fit, forecast and score every model in every fold.

    The `panel` holds prices up to the end of the last test block; a fit sees those of its training and validation
    blocks, and folds with the same training dates share one. `horizon`, `num_paths` and `seed` are those of
    `Forecaster.predict`, `jobs` processes of one thread each. Finished parts are taken from the folder `cache`, and put
    there; `on_part` is called with the model's name, once per model and fold, and `say` hears of kept parts that are
    damaged and made again.

    Raises
    ------
    ConfigError, LeakageError
        If there are no folds; if a model has seen its test block.
    NotEnoughDataError
        If a training block is too short for a model that is not optional.
    """
    if not folds:
        raise ConfigError("A run needs at least one fold. Split the calendar with WalkForward.")
    draws: _Draws = {"horizon": horizon, "num_paths": num_paths, "seed": seed}
    skipped: dict[str, str] = {}
    done: dict[tuple[str, int], _Part | Path] = {}

    def finish(name: str, found: _Found | str) -> None:
        if isinstance(found, str):
            skipped[name] = found
            return
        for number, part in found:
            done[name, number] = part
            if on_part is not None:
                on_part(name)

    tasks: list[tuple[ModelSpec, _Group]] = []
    for model in models:
        missing: dict[Any, _Group] = {}
        for number, fold in enumerate(folds):
            path = None if cache is None else cache / _part_name(panel, fold, model, draws)
            if path is not None and _is_kept(path, say):
                finish(model.name, [(number, path)])
            else:
                missing.setdefault(fold.fitted_on, []).append((number, fold, path))
        tasks += [(model, group) for group in missing.values()]
    # Two processes: a heavy fit takes one and the others the other, which needs less memory than
    # splitting it, and no more time. With more processes a heavy fit would be what all wait for.
    heavy = [task for task in tasks if task[0].parallel]
    alone = tasks if len(tasks) == 1 else heavy if jobs > max(len(heavy), 2) else []
    for model, group in alone:
        finish(*_one_task(panel, model, group, draws, jobs))
    rest = [task for task in reversed(tasks) if all(task is not other for other in alone)]
    rest.sort(key=lambda task: not task[0].parallel)
    work = (delayed(_one_task)(panel, model, group, draws) for model, group in rest)
    for name, found in parallel(jobs, return_as="generator_unordered")(work):
        finish(name, found)
    if jobs > 1 and tasks:
        get_reusable_executor().shutdown()  # before the table needs the memory
    return _gather(models, folds, done, skipped)


def _gather(
    models: Sequence[ModelSpec],
    folds: Sequence[Fold],
    done: Mapping[tuple[str, int], "_Part | Path"],
    skipped: dict[str, str],
) -> Evaluation:
    tables, details = [], {}
    forecasts, fitted = dict[str, Forecasts](), dict[str, list[Any]]()
    for model in models:
        if model.name in skipped:
            continue
        parts = [_taken(done[model.name, number]) for number in range(len(folds))]
        tables += [part.scores.assign(model=model.name) for part in parts]
        details[model.name] = [part.details for part in parts]
        if model.keep:
            kept = [part.forecasts for part in parts if part.forecasts is not None]
            forecasts[model.name] = Forecasts.concatenate(kept)
            fitted[model.name] = [part.fitted for part in parts if part.fitted is not None]
    table = pd.concat(tables, ignore_index=True)
    table["model"] = pd.Categorical(table["model"], list(details))
    table.insert(0, "model", table.pop("model"))
    return Evaluation(table, forecasts, fitted, list(folds), details, skipped)


def _part_name(panel: Panel, fold: Fold, model: ModelSpec, draws: _Draws) -> str:
    key = {
        "code": code_fingerprint(),
        "data": panel.sha256,
        "fold": fold.describe(),
        "model": [model.name, dict(model.key), model.keep],
        "draws": dict(draws),
    }
    return f"{model.name}-{fingerprint(key)[:24]}"


def _place(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _taken(part: _Part | Path) -> _Part:
    """A part, from its files where it was kept."""
    if isinstance(part, _Part):
        return part
    told, scores = read_sealed(_place(part, ".json")), read_parquet(_place(part, ".scores"))
    scores["cutoff"] = scores["cutoff"].astype("datetime64[s]")  # Parquet has no seconds
    forecasts, model = _place(part, ".forecasts"), _place(part, ".model")
    if not forecasts.exists():
        return _Part(scores, told["details"])
    from quantseq.forecasting.model_folder import load_forecaster  # loads torch

    return _Part(scores, told["details"], Forecasts.load(forecasts), load_forecaster(model))


def _is_kept(path: Path, say: Callable[[str], None] = lambda _: None) -> bool:
    """Whether a part is finished and undamaged; its JSON, written last, seals itself and the other files."""
    if not _place(path, ".json").exists():
        return False
    try:
        sealed = read_sealed(_place(path, ".json"))["sha256"]
        whole = all(sha256_file(path.parent / name) == sha for name, sha in sealed.items())
    except (CorruptFileError, OSError):
        whole = False
    if not whole:
        say(f"What was kept of {path.name} in {str(path.parent)!r} is damaged; it is made again.")
    return whole


def _keep(part: _Part, path: Path | None) -> _Part | Path:
    """Write a finished part and hand out its place, so that nobody holds it; without one, itself."""
    if path is None:
        return part
    files = [_place(path, ".scores")]
    with atomic_path(files[0]) as temporary:
        part.scores.to_parquet(temporary, index=False, compression="zstd")
    if part.forecasts is not None and part.fitted is not None:
        from quantseq.forecasting.model_folder import save_forecaster  # loads torch

        files.append(_place(path, ".forecasts"))
        part.forecasts.save(files[1])
        save_forecaster(_place(path, ".model"), part.fitted)
        files += [file for file in _place(path, ".model").rglob("*") if file.is_file()]
    sealed = {file.relative_to(path.parent).as_posix(): sha256_file(file) for file in files}
    write_json(_place(path, ".json"), seal({"details": part.details, "sha256": sealed}))
    return path


def _fit(
    panel: Panel, model: ModelSpec, group: _Group, draws: _Draws, jobs: int
) -> tuple[Forecaster, dict[str, Any], dict[str, Any]]:
    """Fit on the past of a group's first fold, whose training dates are those of all."""
    first = group[0][1]
    seen = panel.between(first.train_start, first.validation_end)
    fitted = model.fit(seen, first, draws["seed"], jobs)
    for _, fold, _ in group:
        check_not_trained_on(fitted, fold.test_start)
    describe: Callable[[], dict[str, Any]] = getattr(fitted, "describe", dict)
    train = panel.between(first.train_start, first.train_end)
    return fitted, describe(), {"naive": naive_errors(train), "ticks": symbols_with_ticks(train)}


def _one_task(
    panel: Panel, model: ModelSpec, group: _Group, draws: _Draws, jobs: int = 1
) -> tuple[str, _Found | str]:
    """Fit one model, forecast and score the folds of a group: name and parts, or why an optional model has none.

    With several `jobs` the fit uses all processes, then the chunks do.
    """
    try:
        with threadpool_limits(1):
            fitted, told, known = _fit(panel, model, group, draws, jobs)
    except NotEnoughDataError as error:
        if not model.optional:
            raise
        return model.name, str(error)
    if jobs > 1:
        get_reusable_executor().shutdown()  # idle workers would keep the memory of the fit
    found: _Found = []
    size = max(20, _CHUNK_ROWS // len(panel))
    for number, fold, path in group:
        days = cutoffs_of(panel, fold)
        work = (
            delayed(_one_chunk)(panel, fitted, cutoffs, known, fold.number, draws, model.keep)
            for cutoffs in np.split(days, range(size, len(days), size))
        )
        chunks = parallel(jobs)(work)
        part = _Part(pd.concat([table for table, _ in chunks], ignore_index=True), told)
        if model.keep:
            kept = Forecasts.concatenate([one for _, one in chunks if one is not None])
            part = replace(part, forecasts=kept, fitted=cast("Seq2SeqForecaster", fitted))
        found.append((number, _keep(part, path)))
    return model.name, found


def _one_chunk(
    panel: Panel,
    fitted: Forecaster,
    cutoffs: Dates,
    known: Mapping[str, Any],
    fold: int,
    draws: _Draws,
    keep: bool,
) -> tuple[pd.DataFrame, Forecasts | None]:
    """Forecast every symbol at some cutoffs, score, and forget the paths."""
    with threadpool_limits(1):
        found = fitted.predict(panel, cutoffs, **draws)
        ordered = found[np.argsort(found.cutoffs, kind="stable")]  # symbols as in the panel
        table = score(ordered, panel, **known, fold=fold)
        return table, ordered.without_paths() if keep else None
