"""A run made again from its own record, and audited in full.

Owns how the prices of a run are found again and proved to be the same, the fit of every fold anew on
prices that are rewritten after its window, the comparison with what was stored, and where the result
of the audit is kept. Knows no check's rule but that of reproduction.

Reproduction
------------
Each fold is fitted again on prices that are noise after its validation block. If the forecasts that
come out are those of the run, bit for bit, then the run is what it says it is *and* no fit has seen
anything after its window. If they are not, every fold is fitted once more on the true prices, which
tells the two apart. Stored figures that differ by no more than `ROUNDING` are the same run. Beyond
that the run is not what it says it is, unless it was made by another processor or other versions of
the packages: training may round otherwise there, which is told and not held against it. The other
checks then speak for the run as it is made here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.config import Places, RunConfig
from quantseq.errors import ConfigError, DataError, RunError
from quantseq.evaluation.walkforward import Evaluation, FitFunction, Fold, evaluate, fit_fold
from quantseq.files import ensure_writable, sha256_bytes, write_json
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import Forecaster, Forecasts
from quantseq.market.bars import Bars, Panel
from quantseq.market.sources import SampleSource
from quantseq.market.store import Store
from quantseq.pipeline.backtesting import FitFold, UseModel, model_fold
from quantseq.pipeline.checks.audited import FULL, OURS, Audited, Trader
from quantseq.pipeline.checks.auditing import audit_run, badge, fit_label
from quantseq.pipeline.manifest import versions
from quantseq.pipeline.results import forecast_frame, long_weights
from quantseq.progress import SILENT, Progress
from quantseq.reporting.render import write_report
from quantseq.reporting.run import MANIFEST, RESULT, SCHEMA, Run, sign
from quantseq.trading.audit import Check, rewritten
from quantseq.trading.backtest import buy_and_hold
from quantseq.trading.decisions.holding import held_moments

ROUNDING = 1e-6
"""Largest difference of stored figures that counts as rounding."""


@dataclass(frozen=True)
class FitRewritten:
    """Fits each fold on prices that are noise after its validation block: a `FitFunction`.

    Parameters
    ----------
    panel : Panel
        The true prices.
    fit : FitFunction
    """

    panel: Panel
    fit: FitFunction

    def __call__(self, panel: Panel, fold: Fold, seed: int) -> Mapping[str, Forecaster]:
        """See `FitFunction`; what the line has cut is not used, so that the cut itself is tested."""
        noise = rewritten(self.panel, fold.validation_end, "noise", seed=seed)
        return fit_fold(noise, fold, self.fit, seed=seed)


@dataclass(frozen=True, eq=False)
class AuditOutcome:
    """What `audit` returns.

    Attributes
    ----------
    folder : Path
        The run.
    audit : mapping
        As in ``result.json``; see ``docs/json.md``.
    """

    folder: Path
    audit: Mapping[str, Any]


def audit(
    folder: Path,
    *,
    places: Places | None = None,
    panel: Panel | None = None,
    model: Seq2SeqForecaster | None = None,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> AuditOutcome:
    """Make a run again, audit it in full, and record the result in its folder.

    ``audit`` in ``manifest.json`` and ``result.json`` is replaced and the report rendered again; no
    other figure changes, the verdict included, and the ledger gets no line. Where the audit failed the
    report shows no edge (`Run.verdict`).

    Parameters
    ----------
    folder : Path
        What a backtest wrote.
    places : Places, optional
        Where the prices are stored.
    panel : Panel, optional
        The prices, where the run was made from a file.
    model : Seq2SeqForecaster, optional
        The trained model, where the run scored one.
    jobs : int
        Processes; the numbers are the same for every choice.
    progress : Progress

    Raises
    ------
    RunError
        If the folder is damaged, or the prices are not those of the run.
    ConfigError
        If the run scored a trained model that is not given, or another one than is given.
    """
    run = Run.load(folder)
    ensure_writable(folder)
    if not run.manifest.get("config"):
        raise RunError(
            f"The manifest of {str(folder)!r} holds no config, so the run cannot be made again. "
            "Audit a run that a backtest wrote."
        )
    prices = find_prices(run.manifest, places or Places(), panel)
    config = RunConfig.from_mapping(run.manifest["config"])
    again = _make_again(run, prices, config, model, jobs, progress)
    with progress.bar("audit for look-ahead", FULL.steps, unit="step") as bar:
        found = audit_run(
            again.audited, refitted=again.refitted, extra=[again.reproduction], step=bar.step
        )
    manifest = {"schema": SCHEMA, **run.manifest, "audit": badge(found)}
    write_json(folder / RESULT, {**run.result, "audit": found})
    write_json(folder / MANIFEST, manifest)
    sign(folder)
    write_report(folder)
    return AuditOutcome(folder, found)


def find_prices(manifest: Mapping[str, Any], places: Places, panel: Panel | None = None) -> Panel:
    """The prices of a run, proved by their hashes: from the panel given, the store, or the sample.

    Raises
    ------
    RunError
        If the bars of a symbol cannot be found, or are not the same.
    """
    kept = Store(places.data)

    def stored(symbol: str) -> Bars:
        return kept.read(symbol)

    places_to_look: dict[str, Callable[[str], Bars]] = {
        "the store": stored,
        "the bundled sample": SampleSource().fetch,
    }
    if panel is not None:
        places_to_look = {"the panel": panel.__getitem__}
    chosen, wrong = [], []
    for symbol, facts in manifest.get("data", {}).items():
        told = []
        for where, look in places_to_look.items():
            try:
                bars = look(symbol).between(facts["first"], facts["last"])
            except DataError:
                continue
            except (KeyError, TypeError) as error:
                raise RunError(
                    f"The manifest says nothing of when the bars of {symbol} begin and end ({error}). "
                    "Audit a run that a backtest wrote."
                ) from error
            if bars.sha256 == facts["sha256"]:
                chosen.append(bars)
                break
            told.append(
                f"those in {where} ({len(bars)} bars) are not the {facts['rows']} of the run"
            )
        else:
            wrong.append(f"{symbol}: {'; '.join(told) or 'no bars were found'}")
    if wrong or not chosen:
        raise RunError(
            f"The run cannot be made again, its data differ. {'. '.join(wrong) or 'It names none'}. "
            "Give the run's own prices with --panel, or restore the backup that fetch kept of them."
        )
    return Panel(chosen)


@dataclass(frozen=True, eq=False)
class _Again:
    audited: Audited
    refitted: Mapping[str, tuple[str, str]]
    reproduction: Check


def _make_again(
    run: Run,
    panel: Panel,
    config: RunConfig,
    model: Seq2SeqForecaster | None,
    jobs: int,
    progress: Progress,
) -> _Again:
    fit: FitFunction
    if run.manifest.get("model") is None:
        folds = config.walk_forward.split(panel.sessions)
        fit = FitFold(config.forecaster, jobs=max(1, jobs // len(folds)))
    else:
        folds = [model_fold(panel, _same_model(run, model), config.walk_forward)]
        assert model is not None
        fit = UseModel(model)

    def forecast(how: FitFunction, title: str) -> Evaluation:
        with progress.bar(title, len(folds), unit="fold") as bar:
            return evaluate(
                panel,
                folds,
                how,
                horizon=config.forecaster.horizon,
                num_paths=config.num_paths,
                seed=config.seed,
                jobs=min(jobs, len(folds)),
                on_fold=lambda _: bar.step(),
            )

    found = forecast(FitRewritten(panel, fit), f"fit {len(folds)} folds again, futures rewritten")
    plain = found
    if _difference(run, found, config) > 0:
        plain = forecast(fit, f"fit {len(folds)} folds again")
    states = {
        fit_label(name, fold): (_state(plain, name, number), _state(found, name, number))
        for number, fold in enumerate(folds)
        for name in found.forecasts
        if name != OURS or model is None  # a model that was given has not been fitted again
    }
    weights = _weights(plain, config)
    strategy = Trader(config.costs, config.fill)(panel, weights)
    held = buy_and_hold(
        panel,
        list(weights.columns),
        strategy.sessions[0],
        strategy.sessions[-1],
        costs=config.costs,
        fill=config.fill,
    )
    audited = Audited(panel, plain, weights, strategy, held, config, FULL)
    return _Again(audited, states, _reproduction(run, plain, config, audited))


def _same_model(run: Run, model: Seq2SeqForecaster | None) -> Seq2SeqForecaster:
    told = run.manifest["model"]
    if model is None:
        raise ConfigError(
            f"The run scored a trained model (until {told['trained_until']}). "
            "Name its folder with --model."
        )
    if model.describe()["tokenizer"] != told["tokenizer"] or str(model.trained_until) != str(
        told["trained_until"]
    ):
        raise ConfigError(
            f"The model given was trained until {model.trained_until}, on other prices than the one "
            f"that the run scored (until {told['trained_until']}). Name the folder of that one."
        )
    return model


def _weights(evaluation: Evaluation, config: RunConfig) -> pd.DataFrame:
    return config.trial.make_policy().weights(held_moments(evaluation.forecasts[OURS], config.fill))


def _state(evaluation: Evaluation, name: str, number: int) -> str:
    """Fingerprint of everything that a model of a fold forecast."""
    rows = evaluation.fold == number
    found: Forecasts = evaluation.forecasts[name][rows]
    parts: list[NDArray[Any]] = [found.mean, found.std, found.quantile([0.05, 0.5, 0.95])]
    parts += [found.overnight_share] + ([] if found.paths is None else [found.paths])
    return sha256_bytes(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))


def _difference(run: Run, evaluation: Evaluation, config: RunConfig) -> float:
    """Largest difference from the stored forecasts and weights; infinite where rows differ."""
    pairs = [
        (run.forecasts, forecast_frame(evaluation), ["symbol", "cutoff", "step"]),
        (run.weights, long_weights(_weights(evaluation, config)), ["decision", "symbol"]),
    ]
    largest = 0.0
    for stored, made, key in pairs:
        if len(stored) != len(made) or any(
            (stored[name].to_numpy() != made[name].to_numpy()).any() for name in key
        ):
            return np.inf
        names = [n for n in made.columns if n in stored.columns and n not in key]
        one, two = (frame[names].to_numpy(dtype=np.float64) for frame in (stored, made))
        if (np.isnan(one) != np.isnan(two)).any():
            return np.inf
        with np.errstate(invalid="ignore"):  # an infinite score stands on both sides
            gap = np.where(one == two, 0.0, np.abs(one - two))
        largest = max(largest, float(np.nanmax(gap, initial=0.0)))
    return largest


def _reproduction(run: Run, evaluation: Evaluation, config: RunConfig, audited: Audited) -> Check:
    apart = _difference(run, evaluation, config)
    stored, made = run.equity["strategy_net"].to_numpy(), audited.strategy.returns_net
    same = len(stored) == len(made)
    apart = max(apart, float(np.abs(stored - made).max())) if same else np.inf
    old, new = run.manifest.get("versions", {}), versions()
    moved = [f"{name} {old.get(name)} → {new[name]}" for name in new if old.get(name) != new[name]]
    elsewhere = bool(moved) and np.isfinite(apart)
    what = f"{len(run.forecasts)} forecasts, {len(run.weights)} weights and {len(stored)} returns"
    if apart == 0:
        return Check("reproduction", True, f"{what} come out the same, bit for bit.")
    size = "in their rows" if np.isinf(apart) else f"by up to {apart:.1e}"
    return Check(
        "reproduction",
        apart <= ROUNDING or elsewhere,
        f"{what}, made again, differ {size} ("
        + (f"not held against it: {', '.join(moved)}" if elsewhere else f"{ROUNDING:g} is allowed")
        + ").",
    )


def describe(outcome: AuditOutcome) -> list[str]:
    """Every check with its reading, the lag curve and the placebos."""
    found = outcome.audit
    width = max(len(one["name"]) for one in found["checks"])
    lines = [
        f"{'passed' if one['passed'] else 'FAILED'}  {one['name']:{width}}  {one['reading']}"
        for one in found["checks"]
    ]
    for one in found["placebos"]:
        middle, low, high = (
            "—" if one[name] is None or np.isnan(one[name]) else f"{one[name]:.2f}"
            for name in ("sharpe", "low", "high")
        )
        lines.append(f"{one['name']}: Sharpe {middle} ({low} to {high}) in {one['n']} draws")
    return lines
