"""Every model in every fold, graded: in parallel, kept by fingerprint, the same for any number of jobs.

Owns who is fitted where and when, and the folder of finished parts: a part is one model in one fold,
and an evaluation that was interrupted goes on with the parts that are missing. Knows no model: an
entrant is a name, a function that fits, and what decides its numbers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits

import quantseq
from quantseq.errors import CorruptFileError, NotEnoughDataError
from quantseq.evaluation.grades import Grades, chunks_of, grade_cutoffs, naive_errors
from quantseq.evaluation.walkforward import Fold, check_not_trained_on
from quantseq.files import fingerprint, read_json, sha256_file, write_json
from quantseq.forecasting.forecasts import Forecaster
from quantseq.market.bars import Dates, Panel

ROOMS = ("market", "seq2seq", "forecasting", "evaluation")
"""Whose code decides a part's numbers."""

PACKAGES = ("numpy", "scipy", "torch", "arch", "scikit-learn")


class Fit(Protocol):
    """Fits one model on the bars up to the end of a fold's validation block."""

    def __call__(self, panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
        """Return the fitted forecaster; the numbers are the same for any number of jobs."""
        ...


@dataclass(frozen=True)
class Entrant:
    """One model of a contest.

    Parameters
    ----------
    name : str
    fit : Fit
        Must travel to other processes.
    key : mapping
        JSON values that decide its numbers besides code, data, fold and seed.
    heavy : bool
        Its fit makes good use of several processes by itself.
    fans : bool
        Keep the quantiles that its forecasts are drawn from, see `Grades.fan`.
    optional : bool
        Where its training block is too short for it, the contest is held without it.
    """

    name: str
    fit: Fit
    key: Mapping[str, Any] = field(default_factory=dict)
    heavy: bool = False
    fans: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Rules:
    """What is the same for every entrant.

    Parameters
    ----------
    horizon, num_paths, seed : int
        See `Forecaster.predict`.
    """

    horizon: int
    num_paths: int
    seed: int


@dataclass(frozen=True, eq=False)
class Contest:
    """What came of it.

    Attributes
    ----------
    grades : mapping by entrant, all on the same rows
    details : mapping by entrant: what each fit reported, per fold
    left_out : mapping by optional entrant: why it could not take part
    """

    grades: dict[str, Grades]
    details: dict[str, list[dict[str, Any]]]
    left_out: dict[str, str] = field(default_factory=dict)


Part = tuple[Grades, dict[str, Any]]
Group = list[tuple[int, Fold, Path | None]]
"""Folds that share a fit, with their numbers and the files of their parts."""


@cache
def code_fingerprint(rooms: tuple[str, ...] = ROOMS) -> str:
    """Hash of the code of some rooms, and of the packages, that decide numbers."""
    root = Path(quantseq.__file__).parent
    files = sorted(path for room in rooms for path in (root / room).rglob("*.py"))
    code = {str(path.relative_to(root)): sha256_file(path) for path in files}
    return fingerprint({"code": code, "packages": {name: version(name) for name in PACKAGES}})


def hold(
    panel: Panel,
    folds: Sequence[Fold],
    entrants: Sequence[Entrant],
    rules: Rules,
    *,
    jobs: int = 1,
    parts: Path | None = None,
    on_part: Callable[[str], None] | None = None,
) -> Contest:
    """Fit and grade every entrant in every fold.

    Parameters
    ----------
    panel : Panel
        Prices up to the end of the last test block.
    folds : sequence of Fold
        Folds with the same training dates share one fit.
    entrants : sequence of Entrant
    rules : Rules
    jobs : int
        Processes, each of one thread.
    parts : Path, optional
        Folder of finished parts; they are taken from there, and put there as they are finished.
    on_part : callable, optional
        Called with the entrant's name, once per entrant and fold.

    Raises
    ------
    LeakageError
        If a model has seen its test block.
    NotEnoughDataError
        If a training block is too short for an entrant that is not optional.
    """
    left_out: dict[str, str] = {}
    done: dict[tuple[str, int], Part | Path] = {}

    def finish(name: str, number: int, part: Part | Path) -> None:
        done[name, number] = part
        if on_part is not None:
            on_part(name)

    tasks: list[tuple[Entrant, Group]] = []
    for entrant in entrants:
        missing: dict[Any, Group] = {}
        for number, fold in enumerate(folds):
            path = None if parts is None else parts / _part_name(panel, fold, entrant, rules)
            if path is not None and _kept(path) is not None:
                finish(entrant.name, number, path)
            else:
                missing.setdefault(fold.fitted_on, []).append((number, fold, path))
        tasks += [(entrant, group) for group in missing.values()]
    # Two processes: a heavy fit takes one and the others the other, which needs less memory than
    # splitting it, and no more time. With more processes a heavy fit would be what all wait for.
    heavy = [task for task in tasks if task[0].heavy]
    alone = tasks if len(tasks) == 1 else heavy if jobs > max(len(heavy), 2) else []
    for entrant, group in alone:
        try:
            for number, part in _with_all_jobs(panel, entrant, group, rules, jobs):
                finish(entrant.name, number, part)
        except NotEnoughDataError as error:
            left_out[entrant.name] = _excused(entrant, error)
    rest = [task for task in reversed(tasks) if all(task is not other for other in alone)]
    rest.sort(key=lambda task: not task[0].heavy)
    work = (delayed(_one_task)(panel, entrant, group, rules) for entrant, group in rest)
    with _single_threads():
        for name, found in Parallel(n_jobs=jobs, return_as="generator_unordered")(work):
            if isinstance(found, str):
                left_out[name] = found
                continue
            for number, part in found:
                finish(name, number, part)
    if jobs > 1 and tasks:
        get_reusable_executor().shutdown()  # before the grades need the memory
    grades, details = {}, {}
    for entrant in entrants:
        if entrant.name in left_out:
            continue
        own = [_taken(done[entrant.name, number]) for number in range(len(folds))]
        grades[entrant.name] = Grades.concatenate([one for one, _ in own])
        details[entrant.name] = [told for _, told in own]
    return Contest(grades, details, left_out)


def _single_threads() -> parallel_config:
    """Processes of one thread each: sums of several threads may differ in their last bits."""
    return parallel_config(backend="loky", inner_max_num_threads=1)


def _part_name(panel: Panel, fold: Fold, entrant: Entrant, rules: Rules) -> str:
    key = {
        "code": code_fingerprint(),
        "data": panel.sha256,
        "fold": fold.describe(),
        "entrant": [entrant.name, dict(entrant.key), entrant.fans],
        "rules": vars(rules),
    }
    return f"{entrant.name}-{fingerprint(key)[:24]}.parquet"


def _taken(part: Part | Path) -> Part:
    """A part, from its file where it was kept."""
    if isinstance(part, Path):
        return Grades.load(part), read_json(part.with_suffix(".json"))
    return part


def _kept(path: Path) -> Part | None:
    """A finished part, or None where there is none that can be read."""
    if path.exists():
        with suppress(CorruptFileError):
            return _taken(path)
    return None


def _keep(graded: list[Grades], told: dict[str, Any], path: Path | None) -> Part | Path:
    """Write a finished part and hand out its place, so that nobody holds it; without one, itself."""
    part = Grades.concatenate(graded), told
    if path is None:
        return part
    part[0].save(path)
    write_json(path.with_suffix(".json"), told)
    return path


def _fit(
    panel: Panel, entrant: Entrant, group: Group, rules: Rules, jobs: int
) -> tuple[Forecaster, dict[str, Any], dict[str, float]]:
    """Fit on the past of a group's first fold, whose training dates are those of all."""
    first = group[0][1]
    model = entrant.fit(
        panel.between(first.train_start, first.validation_end), first, rules.seed, jobs
    )
    for _, fold, _ in group:
        check_not_trained_on(model, fold.test_start)
    describe: Callable[[], dict[str, Any]] = getattr(model, "describe", dict)
    return model, describe(), naive_errors(panel.between(first.train_start, first.train_end))


def _excused(entrant: Entrant, error: NotEnoughDataError) -> str:
    """Why an optional entrant takes no part; for one that must, the error itself."""
    if not entrant.optional:
        raise error
    return str(error)


def _one_task(
    panel: Panel, entrant: Entrant, group: Group, rules: Rules
) -> tuple[str, list[tuple[int, Part | Path]] | str]:
    """Name and parts, or why an optional entrant has none."""
    with threadpool_limits(1):
        try:
            model, told, naive = _fit(panel, entrant, group, rules, 1)
        except NotEnoughDataError as error:
            return entrant.name, _excused(entrant, error)
        found = []
        for number, fold, path in group:
            graded = [
                grade_cutoffs(panel, model, cutoffs, naive, fans=entrant.fans, **vars(rules))
                for cutoffs in chunks_of(panel, fold)
            ]
            found.append((number, _keep(graded, told, path)))
    return entrant.name, found


def _with_all_jobs(
    panel: Panel, entrant: Entrant, group: Group, rules: Rules, jobs: int
) -> Iterator[tuple[int, Part | Path]]:
    """One fit that uses all processes, then its chunks in parallel."""
    with threadpool_limits(1):
        model, told, naive = _fit(panel, entrant, group, rules, jobs)
    if jobs > 1:
        get_reusable_executor().shutdown()  # idle workers would keep the memory of the fit
    for number, fold, path in group:
        work = (
            delayed(_one_chunk)(panel, model, cutoffs, naive, rules, entrant.fans)
            for cutoffs in chunks_of(panel, fold)
        )
        with _single_threads():
            graded = Parallel(n_jobs=jobs)(work)
        yield number, _keep(graded, told, path)


def _one_chunk(
    panel: Panel,
    model: Forecaster,
    cutoffs: Dates,
    naive: Mapping[str, float],
    rules: Rules,
    fans: bool,
) -> Grades:
    with threadpool_limits(1):
        return grade_cutoffs(panel, model, cutoffs, naive, fans=fans, **vars(rules))
