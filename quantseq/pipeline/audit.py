"""`audit`: a run's own line, asked again with less of a future, and the run made again from its record.

Owns which checks of `trading.audit` a run goes through, in short inside every backtest and in full by command, how
its prices are found again, and where the result is kept. Knows no check's rule but that of reproduction: the run is
made again by the same walk-forward loop, with every fold fitted on prices that are noise after its window. If what
comes out is the run, bit for bit, then the run is what it says it is *and* no fit has seen anything after its
window. If not, every fold is fitted once more on the true prices, which tells the two apart. Differences up to
`_ROUNDING` are the same run, and larger ones are told, not held against it, where another processor or other
versions of the packages made it: the other checks then speak for the run as it is made here.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from quantseq.config import RunConfig
from quantseq.errors import ConfigError, DataError, RunError
from quantseq.evaluation.run import Evaluation, Fit, ModelSpec
from quantseq.evaluation.scores import models_of
from quantseq.evaluation.walkforward import Fold
from quantseq.files import Places, ensure_writable, fingerprint, sha256_bytes
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import QUANTILE_LEVELS, Forecaster, Forecasts, with_tokens
from quantseq.forecasting.rows import CONTEXT
from quantseq.forecasting.windows import PriceTask
from quantseq.market.bars import Bars, Dates, Floats, Panel
from quantseq.market.sources import SampleSource
from quantseq.market.store import Store
from quantseq.pipeline.data import resolve_panel
from quantseq.pipeline.evaluate import run_models, split_calendar, traded_models
from quantseq.pipeline.results import OURS, long_weights, versions
from quantseq.progress import SILENT, Progress
from quantseq.reporting.page import number
from quantseq.reporting.render import write_report
from quantseq.reporting.run import Run, rewrite
from quantseq.seq2seq.training import set_threads
from quantseq.trading import audit as checks
from quantseq.trading.account import BacktestResult
from quantseq.trading.backtest import simulate
from quantseq.trading.benchmarks import random_entries
from quantseq.trading.policies import changed, held_moments

_ROUNDING = 1e-6  # largest difference of stored figures that counts as rounding


@dataclass(frozen=True)
class Depth:
    """How much an audit looks at."""

    name: str
    cuts: int  # dates at which the future is cut
    window: int  # sessions up to each that are forecast again
    draws: int  # random entries that are drawn; 0 takes those that the run has made


SHORT = Depth("short", cuts=2, window=2, draws=0)  # inside every backtest
_FULL = Depth("full", cuts=12, window=20, draws=200)  # in `quantseq audit`


@dataclass(frozen=True, eq=False)
class Audited:
    """A run that can be asked again, a `trading.audit.Replay`: its prices, forecasts and what was decided."""

    panel: Panel
    evaluation: Evaluation
    weights: pd.DataFrame
    config: RunConfig
    depth: Depth

    @property
    def networks(self) -> list[Seq2SeqForecaster]:
        """Its models, per fold."""
        return self.evaluation.fitted[OURS]

    @cached_property
    def forecasts(self) -> Forecasts:
        """What the run forecast."""
        return self.evaluation.forecasts[OURS]

    @cached_property
    def moments(self) -> pd.DataFrame:
        """What its policy read."""
        return self._moments(self.forecasts)

    @property
    def trade(self) -> checks.Trade:
        """Its account."""
        return partial(simulate, costs=self.config.costs, fill=self.config.fill)

    @cached_property
    def strategy(self) -> BacktestResult:
        """What its weights earned."""
        return self.trade(self.panel, self.weights, trade=changed(self.weights))

    @cached_property
    def cuts(self) -> Dates:
        """Decisions that are looked at: those that traded, where a move by one shows; all where too few did."""
        moved = changed(self.weights).to_numpy()[1:].any(axis=1)
        days = pd.DatetimeIndex(self.weights.index).to_numpy().astype("datetime64[D]")
        enough = moved.sum() > self.depth.cuts
        return checks.cut_points(days[1:][moved] if enough else days, self.depth.cuts)

    def fold_at(self, cut: np.datetime64) -> int:
        """Place of the fold that `cut` is tested in."""
        starts = np.array([fold.test_start for fold in self.evaluation.folds])
        return int(np.searchsorted(starts, cut, "right")) - 1

    def known(self, cut: np.datetime64) -> checks.Trace:
        """What the run itself made for `cut` and the dates just before it."""
        days = self._days(cut)
        found = self.forecasts[np.isin(self.forecasts.cutoffs, days)]
        near = self.moments[self.moments["cutoff"].isin(days)]
        return self._trace(self.panel, cut, found, near, self.weights)

    def __call__(self, panel: Panel, cut: np.datetime64) -> checks.Trace:
        """The same from `panel`: forecast again, decide again."""
        days, model = self._days(cut), self.networks[self.fold_at(cut)]
        draws: Any = {"num_paths": self.config.num_paths, "seed": self.config.seed}
        found = model.predict(panel, days, horizon=self.forecasts.horizon, **draws)
        moments = self._moments(found)
        earlier = self.moments[self.moments["cutoff"] < days[0]]
        weights = self.config.make_policy().weights(pd.concat([earlier, moments]))
        return self._trace(panel, cut, found, moments, weights)

    def _moments(self, forecasts: Forecasts) -> pd.DataFrame:
        return held_moments(forecasts, self.config.fill, symbols=self.panel.symbols)

    def _days(self, cut: np.datetime64) -> Dates:
        """The last decision dates up to `cut` in the fold that tests it."""
        days = np.unique(self.forecasts.cutoffs)
        first = self.evaluation.folds[self.fold_at(cut)].test_start
        return np.asarray(days[(days >= first) & (days <= cut)][-self.depth.window :])

    def _trace(
        self,
        panel: Panel,
        cut: np.datetime64,
        found: Forecasts,
        moments: pd.DataFrame,
        weights: pd.DataFrame,
    ) -> checks.Trace:
        table = self.networks[self.fold_at(cut)].task.table(panel)
        read = self.panel.sessions[self.panel.sessions <= cut][-CONTEXT:]
        rows = np.flatnonzero(np.isin(table.sessions, read) & table.usable)
        tokens = np.hstack(
            [table.source[rows, None], table.channels[rows], table.numbers[rows]], dtype=np.float64
        )
        density, count = with_tokens(found.density), len(found)
        told = [density.probs.reshape(count, -1), found.overnight_share[:, None]]
        told += [found.cumulative_quantile(QUANTILE_LEVELS).reshape(count, -1)]
        held = long_weights(weights)
        key = (found.cutoffs, found.symbols)
        return {
            "scale": _stage(*key, np.hstack([density.loc, density.scale, density.nu])),
            "tokens": _stage(table.sessions[rows], table.symbols[rows], tokens),
            "forecasts": _stage(*key, np.hstack(told)),
            "moments": moments.set_index(["cutoff", "symbol"]),
            # positions of 0 are none
            "weights": held[held["weight"] != 0].set_index(["decision", "symbol"]),
        }


def _stage(dates: Dates, symbols: Any, values: NDArray[Any]) -> pd.DataFrame:
    index = [pd.DatetimeIndex(dates.astype("datetime64[s]")), symbols]
    return pd.DataFrame(values, index=pd.MultiIndex.from_arrays(index))


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]  # sums split as in the run
def audit_run(
    asked: Audited,
    *,
    draws: Sequence[Floats] = (),
    refitted: Mapping[str, tuple[str, str]] | None = None,
    extra: Sequence[checks.Check] = (),
) -> dict[str, Any]:
    """Check a run, as deeply as it says: what ``audit`` holds in ``result.json``, see ``docs/json.md``.

    `draws` are the net returns, (D,) each, of random entries, where its depth makes none; `refitted` by label the
    fingerprints of the run's fits and of the same on noise after their window; `extra` what the caller has checked.
    """
    set_threads(1)
    panel, weights = asked.panel, asked.weights
    fits = {
        _label(OURS, fold.number): (model.trained_until, fold.test_start)
        for fold, model in zip(asked.evaluation.folds, asked.networks, strict=True)
    }
    states = {**_refit_first(asked), **(refitted or {})}
    curve, cliff = checks.lag_curve(asked.trade, panel, weights)
    if asked.depth.draws:
        chance = {"seed": asked.config.seed, "draws": asked.depth.draws}
        entries = random_entries(weights, changed(weights), **chance)
        draws = [asked.trade(panel, one, trade=trade).returns_net for one, trade in entries]
    placebo, rank, timing = checks.placebos(
        asked.trade, panel, weights, asked.strategy.returns_net, draws
    )
    found = [
        *extra,
        checks.prefix_invariance(asked, panel, asked.cuts, known=asked.known),
        checks.fit_window(fits, panel.sessions, horizon=asked.forecasts.horizon),
        *([checks.refit(states)] if states else []),
        cliff,
        timing,
    ]
    return {
        "passed": all(one.passed for one in found),
        "scope": asked.depth.name,
        "checks": [asdict(one) for one in found],
        "lag_curve": curve,
        "placebos": [placebo],
        "rank": rank,
    }


def _label(name: Any, fold: Any) -> str:
    return f"{name} of fold {fold}"


def _refit_first(asked: Audited) -> dict[str, tuple[str, str]]:
    """Reference and bins of the first fold, and the same on prices that are noise after training."""
    fold, task, config = asked.evaluation.folds[0], asked.networks[0].task, asked.networks[0].config
    if task.tokenizer.data_hash != asked.panel.between(fold.train_start, fold.train_end).sha256:
        return {}  # a model that was trained on other prices than these
    noise = checks.noise_after(asked.panel, fold.train_end, seed=asked.config.seed)
    again = PriceTask.fit(
        noise.between(fold.train_start, fold.train_end),
        horizon=config.horizon,
        num_bins=config.num_bins,
        volatility=config.volatility,
    )
    state, other = (
        fingerprint([one.to_json(), one.tokenizer.fingerprint]) for one in (task, again)
    )
    return {_label(OURS, fold.number): (state, other)}


def badge(found: Mapping[str, Any]) -> str:
    """What the manifest says of an audit: ``passed``, or ``failed:`` and the names."""
    failed = [one["name"] for one in found["checks"] if not one["passed"]]
    return f"failed: {', '.join(failed)}" if failed else "passed"


def describe_audit(found: Mapping[str, Any]) -> str:
    """The audit in one line."""
    failed = [one["reading"] for one in found["checks"] if not one["passed"]]
    count, rank = sum(one["n"] for one in found["placebos"]), found["rank"]
    place = "" if rank is None or np.isnan(rank) else f"; ahead of {rank:.0%} of {count} placebos"
    if failed:
        return f"Look-ahead audit ({found['scope']}) {badge(found)}. {' '.join(failed)}"
    return f"Look-ahead audit ({found['scope']}): {len(found['checks'])} checks passed{place}."


# ------------------------------------------------------------------------------ the command


@dataclass(frozen=True, eq=False)
class AuditOutcome:
    """What `audit` returns: the run's folder, and ``audit`` as in its ``result.json``."""

    folder: Path
    audit: Mapping[str, Any]


def audit(
    folder: Path,
    *,
    places: Places = Places(),
    panel: Panel | None = None,
    model: Seq2SeqForecaster | None = None,
    ahead: Mapping[str, Any] = MappingProxyType({}),
    jobs: int = 1,
    progress: Progress = SILENT,
) -> AuditOutcome:
    """Make a run again, audit it in full, and record the result in its folder.

    ``audit`` in ``manifest.json`` and ``result.json`` is replaced and the report rendered again; no other figure
    changes, the verdict included, and the ledger gets no line. Where the audit failed the report shows no edge
    (`Run.verdict`).

    `panel` are the prices, where the run was made from a file, `model` the trained model, where it scored one, and
    `ahead` what `resolve_panel` is to know of events and a covariate, where they were not as stored; the others are as in `backtest`. RunError if the folder is damaged or the prices are not those of the run, ConfigError
    if the run scored a trained model and it is not the one given.
    """
    stored = Run.load(folder)
    ensure_writable(folder)
    if not stored.manifest.get("config") or stored.manifest.get("kind", "backtest") != "backtest":
        raise RunError(
            f"The manifest of {str(folder)!r} holds no config of a backtest, so there is nothing to make "
            "again. Audit a run that a backtest wrote."
        )
    prices = find_prices(stored.manifest, places, panel, ahead)
    again, states = _make_again(stored, prices, model, jobs=jobs, progress=progress)
    found = audit_run(again, refitted=states, extra=[_reproduction(stored, again)])
    manifest, result = {**stored.manifest, "audit": badge(found)}, {**stored.result, "audit": found}
    rewrite(folder, replace(stored, manifest=manifest, result=result), also=write_report)
    return AuditOutcome(folder, found)


def find_prices(
    manifest: Mapping[str, Any],
    places: Places,
    panel: Panel | None = None,
    ahead: Mapping[str, Any] = MappingProxyType({}),
) -> Panel:
    """The prices of a run, proved by their hashes: from the panel given, the store, or the sample; else RunError."""
    look_in: dict[str, Callable[[str], Bars]] = {
        "the store": Store(places.data).read,
        "the bundled sample": SampleSource().fetch,
    }
    if panel is not None:
        look_in = {"the panel": panel.__getitem__}
    chosen, wrong = [], []
    for symbol, facts in manifest.get("data", {}).items():
        found: dict[str, Bars] = {}
        for where, look in look_in.items():
            with suppress(DataError):
                found[where] = look(symbol).between(facts.get("first"), facts.get("last"))
        own = [bars for bars in found.values() if bars.sha256 == facts.get("sha256")]
        chosen += own[:1]
        if not own:
            other = (f"those in {where} ({len(found[where])} bars)" for where in found)
            said = "; ".join(f"{one} are not those of the run" for one in other)
            wrong.append(f"{symbol}: {said or 'no bars were found'}")
    if wrong or not chosen:
        raise RunError(
            f"The run cannot be made again, its data differ. {'. '.join(wrong) or 'It names none'}. "
            "Give the run's own prices with --panel, or restore the backup that fetch kept of them."
        )
    prices, told = Panel(chosen), manifest.get("ahead")
    if not told:
        return prices
    if panel is None:
        asked = {"covariate": told["covariate"]} | {k: v for k, v in ahead.items() if v is not None}
        panel = resolve_panel(prices.symbols, places=places, **asked)
    whole = Panel(prices.values(), events=panel.events, covariate=panel.covariate)
    if whole.sha256 != told["sha256"]:
        raise RunError(
            "The run cannot be made again, its events or its covariate differ. Give those of the run with --events, "
            "--assumed-notice and --covariate, beside its --panel if it had one."
        )
    return whole


def _fit_on_noise(fit: Fit, panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
    """A `Fit` on prices that are noise after the fold's window: whatever the loop failed to cut is noise now."""
    return fit(checks.noise_after(panel, fold.validation_end, seed=seed), fold, seed, jobs)


def _make_again(
    stored: Run, panel: Panel, model: Seq2SeqForecaster | None, **how: Any
) -> tuple[Audited, dict[str, tuple[str, str]]]:
    """The run as it comes out here, and per fit its fingerprint and that of the fit on rewritten futures."""
    config, told = RunConfig.from_mapping(stored.manifest["config"]), stored.manifest.get("model")
    if told is None:
        if model is not None:
            raise ConfigError(
                "The run fitted its own models and scored none that was given. Leave --model out."
            )
    elif model is None or any(
        model.describe()[n] != told[n] for n in ("tokenizer", "trained_until")
    ):
        raise ConfigError(
            f"The run scored a model that was trained until {told['trained_until']}, and it is not the one "
            "that is given, if any. Name its folder with --model."
        )
    folds = split_calendar(panel, config, model=model)
    names = models_of(stored.scores)
    models = traded_models(config, [name for name in names if name != OURS], model)

    def forecast(models: list[ModelSpec], title: str) -> Audited:
        found = run_models(panel, models, folds, config, title=title, **how)
        moments = held_moments(found.forecasts[OURS], config.fill, symbols=panel.symbols)
        return Audited(panel, found, config.make_policy().weights(moments), config, _FULL)

    noisy = [replace(one, fit=partial(_fit_on_noise, one.fit)) for one in models]
    plain = found = forecast(noisy, f"fit {len(folds)} folds again, futures rewritten")
    if _difference(stored, found) > 0:
        plain = forecast(models, f"fit {len(folds)} folds again")
    before, after = _states(plain.evaluation.scores), _states(found.evaluation.scores)
    if model is not None:  # a model that was given has not been fitted again
        before = {label: state for label, state in before.items() if not label.startswith(OURS)}
    return plain, {label: (state, after[label]) for label, state in before.items()}


def _states(scores: pd.DataFrame) -> dict[str, str]:
    """By label the fingerprint of all that a model of a fold forecast, and of how it was scored."""
    parts = scores.drop(columns=["symbol", "cutoff"]).groupby(["model", "fold"], observed=True)
    return {
        _label(name, fold): sha256_bytes(rows.drop(columns="model").to_numpy(np.float64).tobytes())
        for (name, fold), rows in parts
    }


def _difference(stored: Run, again: Audited) -> float:
    """Largest difference of a stored figure from the one made again; infinite where rows differ."""
    net = again.strategy.to_frame().reset_index().rename(columns={"returns_net": "strategy_net"})
    largest = 0.0
    for old, new in (
        (stored.scores, again.evaluation.scores),
        (stored.forecasts, again.forecasts.to_frame()),
        (stored.weights, long_weights(again.weights)),
        (stored.equity, net),
    ):
        if len(old) != len(new):
            return np.inf
        for column in new.columns.intersection(old.columns):
            one, two = old[column].to_numpy(), new[column].to_numpy()
            apart = (one != two) & ~(pd.isna(one) & pd.isna(two))
            if apart.any():
                if not np.issubdtype(two.dtype, np.floating):
                    return np.inf
                gap = np.nan_to_num(np.abs(one[apart] - two[apart]), nan=np.inf)
                largest = max(largest, float(gap.max()))
    return largest


def _reproduction(stored: Run, again: Audited) -> checks.Check:
    apart, old, new = _difference(stored, again), stored.manifest.get("versions", {}), versions()
    moved = [f"{name} {old.get(name)} → {new[name]}" for name in new if old.get(name) != new[name]]
    elsewhere = bool(moved) and np.isfinite(apart)
    counts = len(stored.forecasts), len(stored.weights), len(stored.equity)
    what = "{} forecasts, {} weights and {} returns".format(*counts)
    if apart == 0:
        return checks.Check("reproduction", True, f"{what} come out the same, bit for bit.")
    size = "in their rows" if np.isinf(apart) else f"by up to {apart:.1e}"
    why = f"not held against it: {', '.join(moved)}" if elsewhere else f"{_ROUNDING:g} is allowed"
    reading = f"{what}, made again, differ {size} ({why})."
    return checks.Check("reproduction", apart <= _ROUNDING or elsewhere, reading)


def describe_checks(outcome: AuditOutcome) -> list[str]:
    """Every check with its reading, and the placebos."""
    found = outcome.audit
    width = max(len(one["name"]) for one in found["checks"])
    lines = [
        f"{'passed' if one['passed'] else 'FAILED'}  {one['name']:{width}}  {one['reading']}"
        for one in found["checks"]
    ]
    for one in found["placebos"]:
        middle, low, high = (number(one[name]) for name in ("sharpe", "low", "high"))
        lines.append(f"{one['name']}: Sharpe {middle} ({low} to {high}) in {one['n']} draws")
    return lines
