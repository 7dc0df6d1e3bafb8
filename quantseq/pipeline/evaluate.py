"""`evaluate`: our forecaster against every baseline on the same days, tested, and said in words."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.config import RunConfig, on_calendar
from quantseq.errors import NotEnoughDataError
from quantseq.evaluation.nulls import TRUTH, judge_null, make_null
from quantseq.evaluation.run import Evaluation, ModelSpec, baseline, run, use_fitted
from quantseq.evaluation.significance import MCS_SIZE
from quantseq.evaluation.walkforward import Fold, WalkForward, check_not_trained_on, fold_between
from quantseq.files import Places, ensure_writable
from quantseq.forecasting.baselines import ReferenceForecaster, choose_baselines
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import QUANTILE_LEVELS
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Panel
from quantseq.pipeline.data import as_rows, usable
from quantseq.pipeline.results import (
    OURS,
    REFERENCE,
    figures_of_evaluation,
    forecast_frame,
    new_manifest,
    notes_on_symbols,
)
from quantseq.pipeline.train import pass_gate
from quantseq.progress import SILENT, Progress
from quantseq.reporting.page import SPACE, Figure, card, number, percent, plural
from quantseq.reporting.render import export_figures, page_of, write_report
from quantseq.reporting.render import figures as figures_of_page
from quantseq.reporting.run import REPORT, Run, check_place
from quantseq.reporting.sections import HISTORY, LEAST_HISTORY, picks
from quantseq.seq2seq.training import set_threads


@dataclass(frozen=True)
class Split:
    """Three dates instead of walk-forward: train until, validate until, test until (or the end)."""

    train_until: Any
    validate_until: Any
    test_until: Any = None


@dataclass(frozen=True, eq=False)
class RunOutcome:
    """A run, the folder in which it lies with its page, and the scores, forecasts and details that it came from."""

    folder: Path
    run: Run
    evaluation: Evaluation

    @property
    def report(self) -> Path:
        """The HTML file."""
        return self.folder / REPORT

    @property
    def result(self) -> dict[str, Any]:
        """Manifest and result, see ``docs/json.md``."""
        return {"manifest": self.run.manifest, **self.run.result}

    def to_json(self) -> dict[str, Any]:
        """The result with its documented, stable keys."""
        told = {"run_id": self.run.manifest["run_id"], "folder": str(self.folder)}
        return {**told, "report": str(self.report), **self.result}

    def figures(self) -> dict[str, Figure]:
        """Every figure of the page by key, with its numbers as ``.frame``; read from the folder."""
        return figures_of_page(self.folder)


@dataclass(frozen=True, eq=False)
class EvaluationOutcome(RunOutcome):
    """What `evaluate` returns; `pictures` are the figures of its page as SVG and PNG."""

    pictures: tuple[Path, ...]

    def _repr_html_(self) -> str:
        """Shown by notebooks."""
        table = _score_table(self.result)
        rows = [[str(name), *row] for name, row in zip(table.index, table.to_numpy(), strict=True)]
        title, sentence = self.result["manifest"]["title"], "; ".join(self.result["verdict"][:3])
        return card(title, sentence, ["next day", *table], rows, str(self.report))


# ------------------------------------------------------------------- the run behind every command


def fit_network(
    config: ForecasterConfig, panel: Panel, fold: Fold, seed: int, jobs: int
) -> Seq2SeqForecaster:
    """As ``partial(fit_network, config)`` a `Fit` of the network on one fold's past."""
    set_threads(1)
    blocks: dict[str, Any] = {"train_until": fold.train_end, "validate_from": fold.validation_start}
    return Seq2SeqForecaster.fit(panel, **blocks, config=config, seed=seed, jobs=jobs)


def traded_models(
    config: RunConfig, baselines: Sequence[str], model: Seq2SeqForecaster | None = None
) -> list[ModelSpec]:
    """Our model, fitted per fold or trained before, and beside it some baselines.

    The reference of a model that was trained before stands for that baseline.
    """
    network, horizon = config.forecaster, config.forecaster.horizon
    ours = ModelSpec(OURS, partial(fit_network, network), asdict(network), parallel=True, keep=True)
    models = [ours, *(baseline(name, horizon) for name in baselines)]
    if model is None:
        return models
    key, reference = model.describe(), model.task.reference
    until = np.datetime64(model.task.tokenizer.fitted_until, "D")
    plain = ReferenceForecaster(until, reference.overnight_share, reference)
    trained = {
        OURS: ModelSpec(OURS, partial(use_fitted, model), key, keep=True),
        plain.name: ModelSpec(plain.name, partial(use_fitted, plain), key),
    }
    return [trained.get(one.name, one) for one in models]


def run_models(
    panel: Panel,
    models: Sequence[ModelSpec],
    folds: Sequence[Fold],
    config: RunConfig,
    *,
    title: str,
    cache: Path | None = None,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> Evaluation:
    """`quantseq.evaluation.run.run` as configured, under a bar."""
    with progress.bar(title, len(folds) * len(models), unit="part") as bar:
        return run(
            panel,
            models,
            folds,
            horizon=config.forecaster.horizon,
            num_paths=config.num_paths,
            seed=config.seed,
            jobs=jobs,
            cache=cache,
            on_part=lambda name: bar.step(last=name),
            say=progress.say,
        )


@contextmanager
def resumable(what: str) -> Iterator[None]:
    """On Ctrl-C say what is kept, and that the same command goes on from there."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{what}; the same command goes on from there.") from stop


def split_calendar(
    panel: Panel,
    config: RunConfig,
    *,
    model: Seq2SeqForecaster | None = None,
    split: Split | None = None,
) -> list[Fold]:
    """The folds: of the walk-forward, after a model that was trained before, or between three dates."""
    walk = config.walk_forward
    if model is not None:
        return [model_fold(panel, model, walk)]
    if split is None:
        return walk.split(panel.sessions)
    gaps = {"purge": walk.purge, "embargo": walk.embargo}
    return [fold_between(panel.sessions, split.train_until, split.validate_until, **gaps)]


def model_fold(panel: Panel, model: Seq2SeqForecaster, splitter: WalkForward) -> Fold:
    """The one fold of a model that was trained before: everything after it is the test block.

    LeakageError if the asked test start is not after the model's last session, NotEnoughDataError if no session is
    left to test.
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
    trained = np.datetime64(tokenizer.fitted_from, "D"), fitted
    validated = model.validate_from, model.trained_until
    return Fold(0, *trained, *validated, sessions[first], sessions[-1], splitter.purge)


def evaluate(
    panel: Panel,
    *,
    config: RunConfig = RunConfig(),
    split: Split | None = None,
    baselines: str | Sequence[str] = "all",
    null: str | None = None,
    places: Places = Places(),
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

    Of the configuration, forecaster, walk-forward, number of paths and seed matter here.

    A `split` makes one fold between three dates instead of the walk-forward's. `baselines` are ``all``, ``none``, or
    names; our own reference always takes part, and one whose training block is too short is left out and named. Prices
    of a `null`, one of `quantseq.evaluation.nulls.KINDS`, are also sent through the identical line, and what it found
    there is reported. `out` is the folder of the result, by default one under the reports, and `figures` that of its
    figures as SVG and PNG, by default the same. `allow_bad_data` keeps symbols with errors in their prices; they are
    left out and named otherwise. The others are as in `quantseq.backtest`.

    Raises
    ------
    ConfigError
        If a baseline or null is unknown, or a date is out of order.
    NoDataError, BarsError, NotEnoughDataError
        If no symbol has a price before the end of the test, or all have errors; if the history is too short.
    GateError, StorageError
        If the architecture has not mastered the copy task; if `out` holds something that is no run.
    """
    chosen = on_calendar(config, panel.sessions)
    names = choose_baselines(baselines, covariate=panel.covariate is not None)
    ensure_writable(places.reports if out is None else check_place(Path(out).absolute()).parent)
    if figures is not None:
        ensure_writable(figures)
    last = None if split is None else split.test_until
    panel, checked, left_out = usable(
        panel, places=places, until=last, allow_bad_data=allow_bad_data
    )
    folds = split_calendar(panel, chosen, split=split)
    terms = {"horizon": chosen.forecaster.horizon, "seed": chosen.seed}
    lost = None if null is None else make_null(null, panel, **terms)
    gate = pass_gate(chosen.forecaster, places, seed=chosen.seed, progress=progress)
    models = traded_models(chosen, names)
    how: dict[str, Any] = {"cache": places.cache, "jobs": jobs, "progress": progress}
    judged = None
    with resumable(f"Finished parts are kept in {places.cache}"):
        found = run_models(
            panel, models, folds, chosen, title=f"evaluate {len(models)} models", **how
        )
        if lost is not None:
            blank = [replace(models[0], keep=False)]
            if lost.truth is not None:
                blank.append(ModelSpec(TRUTH, partial(use_fitted, lost.truth), {"kind": lost.kind}))
            empty = run_models(
                lost.panel, blank, folds, chosen, title=f"null run, {lost.kind}", **how
            )
            judged = judge_null(lost.kind, empty.scores, OURS, seed=chosen.seed)
    names = tuple(name for name in names if name not in found.skipped)
    manifest = new_manifest(
        panel,
        chosen,
        found.forecasts[OURS].cutoffs,
        command=command,
        title=f"{OURS} against {plural(len(names), 'baseline')} on {plural(len(panel), 'symbol')}",
        reports=places.reports,
        kind="evaluation",
        baselines=list(names),
        allow_bad_data=allow_bad_data,
        gate=gate.fingerprint,
    )
    stated = {
        "reference": REFERENCE,
        "folds": [fold.describe() for fold in folds],
        "kept_weight": [one.get("shrinkage", {}).get("weight") for one in found.details[OURS]],
        "details": found.details,
        "null": judged,
        "gate": asdict(gate),
        "gallery": _gallery(panel, found),
        "data_findings": as_rows(checked),
        "notes": left_out + _notes(panel, found),
    }
    folder = out or places.reports / f"evaluation-{manifest['run_id']}"
    stored = Run(manifest, stated, found.scores, forecast_frame(found))
    stored = replace(stored, result=figures_of_evaluation(stored))
    pictures: list[Path] = []

    def show(fresh: Path) -> None:
        page = page_of(fresh)
        write_report(fresh, page)
        drawn = export_figures(page, fresh if figures is None else figures)
        pictures.extend(drawn if figures is not None else (folder / one.name for one in drawn))

    stored.save(folder, also=show)  # all of it, or nothing
    return EvaluationOutcome(folder, stored, found, tuple(pictures))


def _notes(panel: Panel, found: Evaluation) -> list[str]:
    """What a reader should know: rows that were not forecast, and borrowed parameters."""
    notes = notes_on_symbols(panel, found, "not forecast")
    notes += [f"{name} was skipped: {why}" for name, why in found.skipped.items()]
    for name, told in found.details.items():
        pooled = sorted({symbol for one in told for symbol in one.get("pooled", [])})
        if pooled:
            notes.append(f"{name} could not be fitted to {', '.join(pooled)}; pooled there.")
    return notes


def _gallery(panel: Panel, found: Evaluation) -> list[dict[str, Any]]:
    """The best, the middle and the worst forecast by mean CRPS over the steps, as they are drawn."""
    ours = found.forecasts[OURS]
    rows = found.scores[found.scores["model"] == OURS]
    crps = rows["crps"].to_numpy().reshape(-1, ours.horizon).mean(axis=1)
    realised = rows["realised"].to_numpy().reshape(-1, ours.horizon)
    moved = ours.cumulative_quantile(QUANTILE_LEVELS)
    drawable = np.isfinite(crps)
    for symbol, bars in panel.items():
        seen = np.searchsorted(bars.sessions, ours.cutoffs, "right")
        drawable &= (ours.symbols != symbol) | (seen >= LEAST_HISTORY)
    ranked = np.flatnonzero(drawable)[np.argsort(crps[drawable], kind="stable")]
    gallery = []
    for pick, place in picks(len(ranked)).items():
        row = ranked[place]
        past = panel[str(ours.symbols[row])].until(ours.cutoffs[row]).rows(slice(-HISTORY, None))
        start = float(past.adj_close[-1])
        gallery.append(
            {
                "pick": pick,
                "of": len(ranked),
                "symbol": past.symbol,
                "cutoff": str(ours.cutoffs[row]),
                "crps": float(crps[row]),
                "dates": [str(day) for day in past.sessions],
                "closes": past.adj_close.tolist(),
                "levels": list(QUANTILE_LEVELS),
                "prices": (start * np.exp(moved[row])).tolist(),
                "realised": (start * np.exp(np.cumsum(realised[row]))).tolist(),
            }
        )
    return gallery


# Measures of direction that a claim may rest on; the hit rate stands in the table.
_DIRECTION = {"IC": "ic", "rank IC": "rank_ic", "Pesaran-Timmermann": "pesaran_timmermann"}


def _score_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Every model's scores in words, with the t of our model against it."""
    tests = {(one["baseline"], one["score"], one["step"]): one["t"] for one in result["tests"]}
    rows = []
    for name, one in result["models"].items():
        kinds = (name, "log_score", 1), (name, "crps", 1), (name, "crps", "cumulative")
        t = [number(tests[kind], 1, sign=True) if kind in tests else "" for kind in kinds]
        row = [number(one["log_score"], 4), t[0], number(one["crps"], factor=1e4), t[1]]
        row += [number(one["crps_cumulative"], 1, factor=1e4), t[2], percent(one["coverage_90"])]
        row += [number(one["pit_ks"], 4), number(one["ic"]["value"], 4)]
        rows.append([*row, percent(one["hit_rate"]["value"])])
    steps = f"CRPS {len(result['models'][OURS]['by_step'])}d"
    heads = ["log score", "t", "CRPS bp", "t", steps, "t", "90 %", "PIT KS", "IC", "hits"]
    return pd.DataFrame(rows, result["models"], pd.Index(heads, name="next day"))


def describe_evaluation(result: Mapping[str, Any]) -> list[str]:
    """The content of ``result.json`` as a table and sentences."""
    ours, lines = result["models"][OURS], _score_table(result).to_string().split("\n")
    lines.append(
        f"{ours['n']:,} forecasts on {ours['n_days']:,} days; lower scores are better; t: {OURS} against "
        "the line's model (HAC), negative: better."
    )
    if ours["skill_nats"] is not None:
        skill = ours["skill_nats"], *ours["skill_interval"]
        gain, low, high = (number(value, 4, sign=True) for value in skill)
        lines.append(f"Skill over {REFERENCE}: {gain} nats (95 % interval {low} to {high}).")
    shares = [share for share in result["kept_weight"] if share is not None]
    if shares:
        tilts = [told.get("recalibration", {}) for told in result["details"][OURS]]
        tilted = sum(bool(tilt.get("width") or tilt.get("skew")) for tilt in tilts)
        lines.append(
            f"Validation kept {np.mean(shares):.0%} of the network, on average over "
            f"{plural(len(shares), 'fold')}; the rest is the reference, "
            f"{tilt_in_words(tilted, len(shares))}."
        )
    likely = {name: one["mcs_log_score"] or 0 for name, one in result["models"].items()}
    inside = [name for name, p in likely.items() if p >= MCS_SIZE]
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
    return [line.replace(SPACE, " ") for line in lines]


def tilt_in_words(tilted: int, folds: int) -> str:
    """Whether recalibration changed the probabilities after that: of how many folds."""
    if not tilted:
        return "not recalibrated"
    return "recalibrated" + (f" in {tilted} of {folds} folds" if folds > 1 else "")
