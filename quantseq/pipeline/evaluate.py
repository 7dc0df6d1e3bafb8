"""`evaluate`: our forecaster against every baseline on the same days, tested, and said in words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantseq.config import RunConfig, on_calendar
from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.evaluation.nulls import KINDS, TRUTH, judge_null, make_null
from quantseq.evaluation.run import Evaluation, ModelSpec, UseFitted, baseline, run
from quantseq.evaluation.significance import MCS_SIZE
from quantseq.evaluation.walkforward import Fold, WalkForward, check_not_trained_on, fold_between
from quantseq.files import Places, ensure_writable
from quantseq.forecasting.baselines import ReferenceForecaster, choose_baselines
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import QUANTILE_LEVELS, Forecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Panel
from quantseq.pipeline.data import as_rows, describe_data, usable
from quantseq.pipeline.manifest import new_manifest
from quantseq.pipeline.results import (
    OURS,
    REFERENCE,
    figures_of_evaluation,
    forecast_frame,
    notes_on_rest,
)
from quantseq.pipeline.train import pass_gate
from quantseq.progress import SILENT, Progress
from quantseq.reporting.page import Figure, card, number, percent, plural
from quantseq.reporting.render import export_figures, page_of, write_report
from quantseq.reporting.render import figures as figures_of_page
from quantseq.reporting.run import Run, check_place
from quantseq.reporting.sections import HISTORY, LEAST_HISTORY, picks
from quantseq.seq2seq.training import set_threads


@dataclass(frozen=True)
class Split:
    """Three dates instead of walk-forward: train until, validate until, test until (or the end)."""

    train_until: Any
    validate_until: Any
    test_until: Any = None


@dataclass(frozen=True)
class FitNetwork:
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
        The run folder, with the page.
    result : mapping
        Manifest and result; see ``docs/json.md``.
    evaluation : Evaluation
        The long table of scores, the network's forecasts, and details per model.
    report : Path
        The page.
    pictures : tuple of Path
        Its figures as SVG and PNG.
    """

    folder: Path
    result: Mapping[str, Any]
    evaluation: Evaluation
    report: Path
    pictures: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """The result with its documented, stable keys."""
        return {"folder": str(self.folder), "report": str(self.report), **self.result}

    def figures(self) -> dict[str, Figure]:
        """Every figure of the page by key, with its numbers as ``.frame``; read from the folder."""
        return figures_of_page(self.folder)

    def _repr_html_(self) -> str:
        """Shown by notebooks."""
        facts, models = self.result["verdict"], self.result["models"]
        rows = [
            [
                name,
                number(one["log_score"], 4),
                number(one["crps"], factor=1e4),
                percent(one["coverage_90"]),
                number(one["skill_nats"], 4),
            ]
            for name, one in models.items()
        ]
        heads = ["model", "log score, nats", "CRPS, bps", "90 % band held", "skill, nats"]
        return card(
            self.result["manifest"]["title"], "; ".join(facts[:3]), heads, rows, str(self.report)
        )


def network(config: ForecasterConfig) -> ModelSpec:
    """Our own model for a run: fitted in every fold, its forecasts kept."""
    return ModelSpec(OURS, FitNetwork(config), asdict(config), parallel=True, keep=True)


def traded_models(
    config: RunConfig, baselines: Sequence[str], model: Seq2SeqForecaster | None = None
) -> list[ModelSpec]:
    """Our model, fitted per fold or trained before, and beside it some baselines.

    The reference of a model that was trained before stands for that baseline.
    """
    horizon = config.forecaster.horizon
    models = [network(config.forecaster), *(baseline(name, horizon) for name in baselines)]
    if model is not None:
        key = model.describe()
        models[0] = ModelSpec(OURS, UseFitted(model), key, keep=True)
        reference = model.task.reference
        plain = ReferenceForecaster(
            np.datetime64(model.task.tokenizer.fitted_until, "D"),
            reference.overnight_share,
            reference,
        )
        for number, one in enumerate(models):
            if one.name == ReferenceForecaster.name:
                models[number] = ModelSpec(one.name, UseFitted(plain), key)
    return models


def model_fold(panel: Panel, model: Seq2SeqForecaster, splitter: WalkForward) -> Fold:
    """The one fold of a model that was trained before: everything after it is the test block.

    Raises
    ------
    LeakageError
        If the asked test start is not after the model's last session.
    NotEnoughDataError
        If no session is left to test.
    """
    sessions = panel.sessions
    first = int(np.searchsorted(sessions, model.trained_until, "right")) + splitter.purge
    if splitter.test_start is not None:
        check_not_trained_on(model, splitter.test_start)
        first = max(first, int(np.searchsorted(sessions, np.datetime64(splitter.test_start, "D"))))
    if first >= len(sessions):
        raise NotEnoughDataError(
            f"The model has seen data until {model.trained_until} and the prices end on "
            f"{sessions[-1]}: after a purge of {splitter.purge} sessions nothing is left to test. "
            "Fetch newer prices or train on an earlier block."
        )
    tokenizer = model.task.tokenizer
    fitted = np.datetime64(tokenizer.fitted_until, "D")
    if sessions[0] > fitted:
        raise NotEnoughDataError(
            f"The prices start on {sessions[0]}, after the model's training block ended on {fitted}: "
            "its baselines are fitted on that block. Leave --start out, or give earlier prices."
        )
    return Fold(
        0,
        np.datetime64(tokenizer.fitted_from, "D"),
        fitted,
        model.validate_from,
        model.trained_until,
        sessions[first],
        sessions[-1],
        splitter.purge,
    )


def evaluate(
    panel: Panel,
    *,
    config: RunConfig | None = None,
    split: Split | None = None,
    baselines: str | Sequence[str] = "all",
    null: str | None = None,
    places: Places | None = None,
    out: Path | None = None,
    figures: Path | None = None,
    jobs: int = 1,
    allow_bad_data: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> EvaluationOutcome:
    """Score the network and its baselines on the same rows, test the differences, write the result.

    Parts that are finished are kept under ``cache/`` in the data folder, by a fingerprint of
    code, data, fold and choices: what was interrupted goes on from there.

    Parameters
    ----------
    panel : Panel
    config : RunConfig, optional
        Forecaster, walk-forward, number of paths and seed; the rest does not matter here.
    split : Split, optional
        One fold between three dates instead of the walk-forward's.
    baselines : str or sequence of str
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
        If a baseline or null is unknown, or a date is out of order.
    NoDataError, BarsError
        If no symbol has a price before the end of the test, or all have errors.
    NotEnoughDataError
        If the history is too short, or no price moves.
    GateError
        If the architecture has not mastered the copy task.
    StorageError
        If `out` holds something that is no run, or a place is not writable.
    """
    chosen = on_calendar(config or RunConfig(), panel.sessions)
    where = places or Places()
    names: Sequence[str] = choose_baselines(baselines)
    if null is not None and null not in KINDS:
        raise ConfigError(f"A null run must be one of {', '.join(KINDS)}. Got {null!r}.")
    ensure_writable(where.reports if out is None else check_place(Path(out)))
    ensure_writable(figures or out or where.reports)
    forecaster = chosen.forecaster
    last = None if split is None else split.test_until
    panel, checked, left_out = usable(panel, until=last, allow_bad_data=allow_bad_data)
    folds = _folds(panel, chosen, split)
    gate = pass_gate(forecaster, where, seed=chosen.seed, progress=progress)
    horizon, seed = forecaster.horizon, chosen.seed
    models = [network(forecaster), *(baseline(name, horizon) for name in names)]
    lost = None if null is None else make_null(null, panel, horizon=horizon, seed=seed)
    blank = [replace(models[0], keep=False)]
    if lost is not None and lost.truth is not None:
        blank.append(ModelSpec(TRUTH, UseFitted(lost.truth), {"kind": lost.kind}))
    total = len(folds) * (len(models) + (len(blank) if lost else 0))
    with progress.bar(f"evaluate {len(models)} models", total, unit="part") as bar:
        options: dict[str, Any] = {
            "horizon": horizon,
            "num_paths": chosen.num_paths,
            "seed": seed,
            "jobs": jobs,
            "cache": where.cache,
            "on_part": lambda name: bar.step(last=name),
        }
        try:
            found = run(panel, models, folds, **options)
            empty = None if lost is None else run(lost.panel, blank, folds, **options)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(
                f"Finished parts are kept in {where.cache}; the same command goes on from there."
            ) from stop
    names = [name for name in names if name not in found.skipped]
    manifest = new_manifest(
        command=command,
        title=f"{OURS} against {plural(len(names), 'baseline')} on {plural(len(panel), 'symbol')}",
        config=chosen.to_mapping(),
        data=describe_data(panel),
        symbols=list(panel.symbols),
        sessions=found.forecasts[OURS].cutoffs,
        reports=where.reports,
        extra={
            "kind": "evaluation",
            "baselines": list(names),
            "allow_bad_data": allow_bad_data,
            "gate": gate.fingerprint,
        },
    )
    stated = {
        "reference": REFERENCE,
        "folds": [fold.describe() for fold in folds],
        "kept_weight": [one.get("shrinkage", {}).get("weight") for one in found.details[OURS]],
        "details": found.details,
        "null": None
        if lost is None or empty is None
        else judge_null(lost.kind, empty.scores, OURS, seed=seed),
        "gate": asdict(gate),
        "gallery": _gallery(panel, found),
        "data_findings": as_rows(checked),
        "notes": left_out + _notes(panel, folds, found),
    }
    folder = out or where.reports / f"evaluation-{manifest['run_id']}"
    stored = Run(manifest, stated, found.scores, forecast_frame(found))
    stored = replace(stored, result=figures_of_evaluation(stored))
    stored.save(folder)
    page = write_report(folder)
    pictures = export_figures(page_of(folder), figures or folder)
    whole = {"manifest": manifest, **stored.result}
    return EvaluationOutcome(folder, whole, found, page, tuple(pictures))


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


def _notes(panel: Panel, folds: Sequence[Fold], found: Evaluation) -> list[str]:
    """What a reader should know: rows that were not forecast, and borrowed parameters."""
    forecast, resting = set(found.forecasts[OURS].symbols), notes_on_rest(panel, folds)
    notes = [
        f"{symbol}: too few sessions ({len(bars):,}), or none in the tests; it was not forecast."
        for symbol, bars in panel.items()
        if symbol not in forecast and symbol not in resting
    ]
    notes += resting.values()
    notes += [f"{name} was skipped: {why}" for name, why in found.skipped.items()]
    for name, told in found.details.items():
        pooled = sorted({symbol for one in told for symbol in one.get("pooled", [])})
        if pooled:
            notes.append(f"{name} could not be fitted to {', '.join(pooled)}; pooled there.")
    return notes


def _gallery(panel: Panel, found: Evaluation) -> list[dict[str, Any]]:
    """The best, the middle and the worst forecast by mean CRPS over the steps, as they are drawn."""
    ours, closes = found.forecasts[OURS], {}
    rows = found.scores[found.scores["model"] == OURS]
    crps = rows["crps"].to_numpy().reshape(-1, ours.horizon).mean(axis=1)
    realised = rows["realised"].to_numpy().reshape(-1, ours.horizon)
    moved = ours.cumulative_quantile(QUANTILE_LEVELS)
    drawable = np.isfinite(crps)
    for symbol, bars in panel.items():
        closes[symbol] = bars.adj_close
        seen = np.searchsorted(bars.sessions, ours.cutoffs, "right")
        drawable &= (ours.symbols != symbol) | (seen >= LEAST_HISTORY)
    ranked = np.flatnonzero(drawable)[np.argsort(crps[drawable], kind="stable")]
    gallery = []
    for pick, place in picks(len(ranked)).items():
        row = ranked[place]
        symbol, cutoff = str(ours.symbols[row]), ours.cutoffs[row]
        end = int(np.searchsorted(panel[symbol].sessions, cutoff, "right"))
        past = slice(max(end - HISTORY, 0), end)
        start = float(closes[symbol][end - 1])
        gallery.append(
            {
                "pick": pick,
                "of": len(ranked),
                "symbol": symbol,
                "cutoff": str(cutoff),
                "crps": float(crps[row]),
                "dates": [str(day) for day in panel[symbol].sessions[past]],
                "closes": closes[symbol][past].tolist(),
                "levels": list(QUANTILE_LEVELS),
                "prices": (start * np.exp(moved[row])).tolist(),
                "realised": (start * np.exp(np.cumsum(realised[row]))).tolist(),
            }
        )
    return gallery


_DIRECTION = {"IC": "ic", "rank IC": "rank_ic", "Pesaran-Timmermann": "pesaran_timmermann"}
"""Measures of direction that a claim may rest on; the hit rate stands in the table."""

_nats = partial(number, digits=4, sign=True)


def text_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of text: the first column to the left, all others to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for place, head in enumerate(headers):
        table.add_column(escape(head), justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(file=StringIO(), width=500, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def describe_evaluation(result: Mapping[str, Any]) -> list[str]:
    """The result as a table and sentences.

    Parameters
    ----------
    result : mapping
        Content of ``result.json``, see ``docs/json.md``.
    """
    ours, tests = result["models"][OURS], result["tests"]
    found = {(test["baseline"], test["score"], test["step"]): test["t"] for test in tests}
    horizon, rows = len(ours["by_step"]), []
    for name, one in result["models"].items():
        t = [
            number(found[name, score, step], 1, sign=True) if (name, score, step) in found else ""
            for score, step in (("log_score", 1), ("crps", 1), ("crps", "cumulative"))
        ]
        crps = [number(one["crps"], factor=1e4), number(one["crps_cumulative"], 1, factor=1e4)]
        scores = [number(one["log_score"], 4), t[0], crps[0], t[1], crps[1], t[2]]
        calls = [number(one["ic"]["value"], 4), percent(one["hit_rate"]["value"])]
        held = [percent(one["coverage_90"]), number(one["pit_ks"], 4)]
        rows.append([name, *scores, *held, *calls])
    headers = ["next day", "log score", "t", "CRPS bp", "t", f"CRPS {horizon}d", "t"]
    lines = text_table([*headers, "90 %", "PIT KS", "IC", "hits"], rows)
    lines.append(
        f"{ours['n']:,} forecasts on {ours['n_days']:,} days; lower scores are better; t: {OURS} against "
        "the line's model (HAC), negative: better."
    )
    if ours["skill_nats"] is not None:
        low, high = map(_nats, ours["skill_interval"])
        skill = f"Skill over {REFERENCE}: {_nats(ours['skill_nats'])} nats"
        lines.append(f"{skill} (95 % interval {low} to {high}).")
    shares = [share for share in result["kept_weight"] if share is not None]
    if shares:
        tilts = [told.get("recalibration", {}) for told in result["details"][OURS]]
        tilted = sum(bool(tilt.get("width") or tilt.get("skew")) for tilt in tilts)
        lines.append(
            f"Validation kept {np.mean(shares):.0%} of the network, on average over "
            f"{plural(len(shares), 'fold')}; the rest is the reference, "
            f"{tilt_in_words(tilted, len(shares))}."
        )
    models = result["models"].items()
    inside = [name for name, one in models if (one["mcs_log_score"] or 0) >= MCS_SIZE]
    if inside:
        lines.append(f"May be the best by log score (90 % confidence set): {', '.join(inside)}.")
    for label, key in _DIRECTION.items():
        one = ours[key]
        if np.isfinite(one["t"]):
            shown, needed = number(one["t"], 1, sign=True), f"{one['n_needed']:,.0f}"
            lines.append(
                f"Direction, {label} {number(one['value'], 4)}: t = {shown} over {one['n_days']:,} days; "
                f"t = 2 would need {needed}."
            )
    hits, informed = ours["hit_rate"], ours["pesaran_timmermann"]
    if np.isfinite(hits["t"]) and not np.isfinite(informed["t"]):
        lines.append(
            f"Direction, hit rate {number(hits['value'], 4)} over {hits['n_days']:,} days: every call was "
            "the same, so it says what the prices did and nothing of the forecast."
        )
    lines += result["verdict"] + result["notes"]
    if result["null"] is not None:
        lines.append(f"Null run, {result['null']['sentence']}.")
    return [line.replace("\u00a0", " ") for line in lines]


def tilt_in_words(tilted: int, folds: int) -> str:
    """Whether recalibration changed the probabilities after that: of how many folds."""
    if not tilted:
        return "not recalibrated"
    return "recalibrated" + (f" in {tilted} of {folds} folds" if folds > 1 else "")
