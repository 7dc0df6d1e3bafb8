"""Our forecaster against every rival, under one protocol: fit, forecast, grade, test, say it in words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.config import Places, RunConfig
from quantseq.errors import ConfigError
from quantseq.evaluation.assessment import compare, describe_grades, verdicts
from quantseq.evaluation.contest import Contest, Entrant, Rules, hold
from quantseq.evaluation.entrants import rival, truth
from quantseq.evaluation.grades import Grades
from quantseq.evaluation.nulls import KINDS, TRUTH, judge_null, make_null
from quantseq.evaluation.walkforward import Fold, fold_between
from quantseq.files import atomic_path, ensure_writable, write_json
from quantseq.forecasting.baselines.registry import choose_rivals
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import QUANTILE_LEVELS, Forecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Panel
from quantseq.notebook import card
from quantseq.pipeline.data import describe_data
from quantseq.pipeline.health import as_rows, usable
from quantseq.pipeline.manifest import new_manifest
from quantseq.pipeline.options import on_calendar
from quantseq.pipeline.results import OURS, REFERENCE, notes_on_rest
from quantseq.pipeline.scoreboard import number
from quantseq.pipeline.training import pass_gate
from quantseq.progress import SILENT, Progress
from quantseq.reporting import score_page, words
from quantseq.reporting.figures import Figure, export_figures, figures_of
from quantseq.reporting.render import write_page
from quantseq.reporting.sections.skill import HISTORY, LEAST_HISTORY, picks
from quantseq.seq2seq.training import set_threads


@dataclass(frozen=True)
class Split:
    """Three dates instead of walk-forward: train until, validate until, test until (or the end)."""

    train_until: Any
    validate_until: Any
    test_until: Any = None


@dataclass(frozen=True)
class FitOurs:
    """Fits the network on one fold's past: a `Fit`."""

    config: ForecasterConfig

    def __call__(self, panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
        """See `Fit`."""
        set_threads(1)
        return Seq2SeqForecaster.fit(
            panel,
            train_until=fold.train_end,
            validate_from=fold.validation_start,
            config=self.config,
            seed=seed,
            jobs=jobs,
        )


@dataclass(frozen=True, eq=False)
class EvaluationOutcome:
    """What `evaluate` returns.

    Attributes
    ----------
    folder : Path
        Where ``evaluation.json``, ``scores.parquet`` and the page lie.
    result : mapping
        Everything of ``evaluation.json``; see ``docs/json.md``.
    contest : Contest
        Grades and details per model.
    report : Path
        The page.
    pictures : tuple of Path
        Its figures as SVG and PNG.
    """

    folder: Path
    result: Mapping[str, Any]
    contest: Contest
    report: Path
    pictures: tuple[Path, ...]

    def figures(self) -> dict[str, Figure]:
        """Every figure of the page by key, with its numbers as ``.frame``; read from the folder."""
        return figures_of(score_page.load(self.folder))

    def _repr_html_(self) -> str:
        """Shown by notebooks."""
        facts, models = self.result["verdict"], self.result["models"]
        rows = [
            [
                name,
                number(one["log_score"], 4),
                number(one["crps"], 2, 1e4),
                number(one["coverage_90"], 1, 100, " %"),
                number(one["skill_nats"], 4),
            ]
            for name, one in models.items()
        ]
        heads = ["model", "log score, nats", "CRPS, bps", "90 % band held", "skill, nats"]
        return card(
            self.result["manifest"]["title"], "; ".join(facts[:3]), heads, rows, str(self.report)
        )


def evaluate(
    panel: Panel,
    *,
    config: RunConfig | None = None,
    split: Split | None = None,
    rivals: str | Sequence[str] = "all",
    null: str | None = None,
    places: Places | None = None,
    out: Path | None = None,
    figures: Path | None = None,
    jobs: int = 1,
    allow_bad_data: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> EvaluationOutcome:
    """Score the network and its rivals on the same rows, test the differences, write the result.

    Parts that are finished are kept under ``evaluations/`` in the data folder, by a fingerprint of
    code, data, fold and choices: what was interrupted goes on from there.

    Parameters
    ----------
    panel : Panel
    config : RunConfig, optional
        Forecaster, walk-forward, number of paths and seed; the rest does not matter here.
    split : Split, optional
        One fold between three dates instead of the walk-forward's.
    rivals : str or sequence of str
        ``all``, ``none``, or names; our own reference always takes part, and one whose training block
        is too short is left out and named.
    null : {"gbm", "garch", "permuted"}, optional
        Also send such prices through the identical line, and report what it found there.
    places : Places, optional
    out : Path, optional
        Folder of the result; by default one under the reports.
    figures : Path, optional
        Folder of the figures as SVG and PNG; by default that of the result.
    jobs : int
        Processes; the numbers are the same for every choice.
    allow_bad_data : bool
        Keep symbols with errors in their prices; they are left out and named otherwise.
    command : str
        For the record.
    progress : Progress

    Raises
    ------
    ConfigError
        If a rival or null is unknown, or a date is out of order.
    NoDataError, BarsError
        If no symbol has a price before the end of the test, or all have errors.
    NotEnoughDataError
        If the history is too short, or no price moves.
    GateError
        If the architecture has not mastered the copy task.
    """
    chosen = on_calendar(config or RunConfig(), panel.sessions)
    where = places or Places()
    names: Sequence[str] = choose_rivals(rivals)
    if null is not None and null not in KINDS:
        raise ConfigError(f"A null run must be one of {', '.join(KINDS)}. Got {null!r}.")
    ensure_writable(where.reports if out is None else out)
    ensure_writable(figures or out or where.reports)
    forecaster = chosen.forecaster
    last = None if split is None else split.test_until
    panel, found, left_out = usable(panel, until=last, allow_bad_data=allow_bad_data)
    folds = _folds(panel, chosen, split)
    gate = pass_gate(forecaster, where, seed=chosen.seed, progress=progress)
    rules = Rules(forecaster.horizon, chosen.num_paths, chosen.seed)
    ours = Entrant(OURS, FitOurs(forecaster), asdict(forecaster), heavy=True, fans=True)
    entrants = [ours, *(rival(name, rules.horizon) for name in names)]
    lost = None if null is None else make_null(null, panel, horizon=rules.horizon, seed=rules.seed)
    blank = [replace(ours, fans=False)]
    if lost is not None and lost.truth is not None:
        blank.append(truth(lost.kind, lost.truth))
    total = len(folds) * (len(entrants) + (len(blank) if lost else 0))
    with progress.bar(f"evaluate {len(entrants)} models", total, unit="part") as bar:
        options: dict[str, Any] = {
            "jobs": jobs,
            "parts": where.evaluations,
            "on_part": lambda name: bar.step(last=name),
        }
        try:
            contest = hold(panel, folds, entrants, rules, **options)
            empty = None if lost is None else hold(lost.panel, folds, blank, rules, **options)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(
                f"Finished parts are kept in {where.evaluations}; the same command goes on from there."
            ) from stop
    names = [name for name in names if name not in contest.left_out]
    manifest = new_manifest(
        command=command,
        title=f"{OURS} against {words.plural(len(names), 'rival')} on {words.plural(len(panel), 'symbol')}",
        config=chosen.to_mapping(),
        data=describe_data(panel),
        symbols=list(panel.symbols),
        sessions=np.unique(contest.grades[OURS].cutoffs),
        reports=where.reports,
        extra={
            "rivals": list(names),
            "allow_bad_data": allow_bad_data,
            "gate": gate.fingerprint,
        },
    )
    tests = compare(contest.grades, OURS)
    result = {
        "manifest": manifest,
        "reference": REFERENCE,
        "folds": [fold.describe() for fold in folds],
        "models": describe_grades(contest.grades, REFERENCE, chosen.seed),
        "tests": tests,
        "verdict": verdicts(tests, own_reference=REFERENCE),
        "survived": [one.get("shrinkage", {}).get("weight") for one in contest.details[OURS]],
        "details": contest.details,
        "null": None
        if lost is None or empty is None
        else judge_null(lost.kind, empty.grades[OURS], empty.grades.get(TRUTH), seed=chosen.seed),
        "gate": asdict(gate),
        "gallery": _gallery(panel, contest.grades[OURS]),
        "data_findings": as_rows(found),
        "notes": left_out + _notes(panel, folds, contest),
    }
    folder = out or where.reports / f"evaluation-{manifest['run_id']}"
    write_json(folder / "evaluation.json", result)
    _write_scores(folder / "scores.parquet", contest.grades)
    page = score_page.load(folder)
    pictures = export_figures(page, figures or folder)
    return EvaluationOutcome(folder, result, contest, write_page(page, folder), tuple(pictures))


def _folds(panel: Panel, config: RunConfig, split: Split | None) -> list[Fold]:
    walk = config.walk_forward
    if split is None:
        return walk.split(panel.sessions)
    return [
        fold_between(
            panel.sessions,
            split.train_until,
            split.validate_until,
            purge=walk.purge,
            embargo=walk.embargo,
        )
    ]


def _notes(panel: Panel, folds: Sequence[Fold], contest: Contest) -> list[str]:
    """What a reader should know: rows that were not forecast, and borrowed parameters."""
    forecast, resting = set(contest.grades[OURS].symbols), notes_on_rest(panel, folds)
    notes = [
        f"{symbol}: too few sessions ({len(bars):,}), or none in the tests; it was not forecast."
        for symbol, bars in panel.items()
        if symbol not in forecast and symbol not in resting
    ]
    notes += resting.values()
    notes += [f"{name} was left out: {why}" for name, why in contest.left_out.items()]
    for name, told in contest.details.items():
        pooled = sorted({symbol for one in told for symbol in one.get("pooled", [])})
        if pooled:
            notes.append(f"{name} could not be fitted to {', '.join(pooled)}; pooled there.")
    return notes


def _gallery(panel: Panel, ours: Grades) -> list[dict[str, Any]]:
    """The best, the middle and the worst forecast by mean CRPS over the steps, as they are drawn."""
    assert ours.fan is not None, "the network's own fans are kept"
    crps, closes = ours.crps.mean(axis=1), {}
    drawable = np.isfinite(crps) & np.isfinite(ours.fan).all(axis=1)
    for symbol, bars in panel.items():
        closes[symbol] = bars.adj_close
        seen = np.searchsorted(bars.sessions, ours.cutoffs, "right")
        drawable &= (ours.symbols != symbol) | (seen >= LEAST_HISTORY)
    ranked = np.flatnonzero(drawable)[np.argsort(crps[drawable], kind="stable")]
    found = []
    for pick, place in picks(len(ranked)).items():
        row = ranked[place]
        symbol, cutoff = str(ours.symbols[row]), ours.cutoffs[row]
        end = int(np.searchsorted(panel[symbol].sessions, cutoff, "right"))
        past = slice(max(end - HISTORY, 0), end)
        moved = ours.fan[row].reshape(ours.horizon, -1).astype(np.float64)
        start = float(closes[symbol][end - 1])
        found.append(
            {
                "pick": pick,
                "of": len(ranked),
                "symbol": symbol,
                "cutoff": str(cutoff),
                "crps": float(crps[row]),
                "dates": [str(day) for day in panel[symbol].sessions[past]],
                "closes": closes[symbol][past].tolist(),
                "levels": list(QUANTILE_LEVELS),
                "prices": (start * np.exp(moved)).tolist(),
                "realised": (start * np.exp(np.cumsum(ours.realised[row]))).tolist(),
            }
        )
    return found


def _write_scores(path: Path, grades: Mapping[str, Grades]) -> None:
    """One line per symbol, cutoff and step, with every model's scores side by side."""
    first = grades[OURS]
    rows, steps = first.realised.shape
    columns: dict[str, Any] = {
        "symbol": np.repeat(first.symbols, steps),
        "cutoff": np.repeat(first.cutoffs, steps).astype("datetime64[s]"),
        "step": np.tile(np.arange(1, steps + 1, dtype=np.int16), rows),
        "realised": first.realised.ravel(),
    }
    for name, one in grades.items():
        assert (one.cutoffs == first.cutoffs).all()
        assert (one.symbols == first.symbols).all()
        columns |= {
            f"{score}:{name}": getattr(one, score).ravel().astype(np.float32)
            for score in ("log_score", "crps", "pit")
        }
    frame = pd.DataFrame(columns).astype({"symbol": "category"})
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd")
