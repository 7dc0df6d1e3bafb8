"""The look-ahead audit of a run: its own line, asked again with less of a future, or with another one.

Owns which checks of `trading.audit` and `trading.placebos` a run goes through, and what is kept of them.
Nothing is fitted here but reference and bins, whose fit is repeated. Knows no files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from quantseq.evaluation.walkforward import Fold
from quantseq.files import fingerprint
from quantseq.forecasting.windows import PriceTask
from quantseq.market.bars import Dates, Panel
from quantseq.pipeline.checks.audited import OURS, Audited
from quantseq.trading.audit import (
    Check,
    Fit,
    cut_points,
    fill_timing,
    fit_window,
    future_corruption,
    in_words,
    prefix_invariance,
    rewritten,
    warm_up,
)
from quantseq.trading.backtest import buy_and_hold
from quantseq.trading.broker.costs import Costs
from quantseq.trading.chance.placebos import (
    Draw,
    dealt_anew,
    lag_curve,
    nothing_to_find,
    permuted_tests,
    placebos,
    simulated,
)
from quantseq.trading.decisions.holding import held_moments
from quantseq.trading.measures import METRICS
from quantseq.trading.policy import changed
from quantseq.trading.rivals import random_entries


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]  # sums split as in the run
def audit_run(
    run: Audited,
    *,
    refitted: Mapping[str, tuple[str, str]] | None = None,
    extra: Sequence[Check] = (),
    step: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Check a run, as deeply as it says.

    Parameters
    ----------
    run : Audited
    refitted : mapping, optional
        Fingerprints of fits by label, of the run and again on prices rewritten after the fit's
        window. Where the first fold's network is not among them, its reference and bins are fitted
        again.
    extra : sequence of Check
        What the caller has checked.
    step : callable, optional
        Called as the work goes on, `Depth.steps` times.

    Returns
    -------
    dict
        ``passed``, ``scope``, ``checks[]`` (name, passed, reading), ``lag_curve[]`` (delay, sharpe),
        ``placebos[]`` (name, sharpe, n, low, high) and ``rank``.
    """
    from quantseq.seq2seq.training import set_threads

    set_threads(1)
    panel, cuts, config = run.panel, run.cuts, run.config

    def done(check: Check) -> Check:
        step()
        return check

    again: dict[str, Any] = {"known": cache(run.known), "step": step}
    checks = [
        *extra,
        prefix_invariance(run, panel, cuts, **again),
        future_corruption(run, panel, cuts, seed=config.seed, **again),
        done(
            fit_window(
                _fits(run, {**_refit_first(run), **(refitted or {})}),
                panel.sessions,
                horizon=run.forecasts.horizon,
            )
        ),
        done(_warm_up(run)),
        done(fill_timing(replace(run.trader, costs=_free(config.costs)), panel, run.weights, cuts)),
    ]
    curve, cliff = lag_curve(run.trader, panel, run.weights)
    checks.append(done(cliff))
    dealt = _dealt(run, step)
    empty = _worlds(run, step)
    periods = config.costs.year
    if empty:
        checks.append(nothing_to_find(empty, periods=periods))
    real = METRICS["sharpe"](run.strategy.returns_net, periods=periods)
    found, rank = placebos(real, {**dealt, **empty}, periods=periods)
    return {
        "passed": all(one.passed for one in checks),
        "scope": run.depth.name,
        "checks": [asdict(one) for one in checks],
        "lag_curve": [asdict(one) for one in curve],
        "placebos": [asdict(one) for one in found],
        "rank": rank,
    }


def badge(audit: Mapping[str, Any]) -> str:
    """What the manifest says of an audit: ``passed``, or ``failed:`` and the names."""
    return in_words(Check(**one) for one in audit["checks"])


def describe_audit(audit: Mapping[str, Any]) -> str:
    """The audit in one line."""
    failed = [one["reading"] for one in audit["checks"] if not one["passed"]]
    count, rank = sum(one["n"] for one in audit["placebos"]), audit["rank"]
    place = "" if rank is None or np.isnan(rank) else f"; ahead of {rank:.0%} of {count} placebos"
    if failed:
        return f"Look-ahead audit ({audit['scope']}) {badge(audit)}. {' '.join(failed)}"
    return f"Look-ahead audit ({audit['scope']}): {len(audit['checks'])} checks passed{place}."


def _free(costs: Costs) -> Costs:
    return Costs(
        cost_bps=0.0,
        borrow_bps=0.0,
        capital=costs.capital,
        max_gross=costs.max_gross,
        periods=costs.year,
    )


def _fits(run: Audited, refitted: Mapping[str, tuple[str, str]]) -> list[Fit]:
    fits = []
    for fold, models in zip(run.evaluation.folds, run.evaluation.models, strict=True):
        for name, model in models.items():
            label = fit_label(name, fold)
            states = refitted.get(label, ("", ""))
            fits.append(Fit(label, model.trained_until, fold.test_start, *states))
    return fits


def fit_label(name: str, fold: Fold) -> str:
    """What a model of a fold is called in the fit window's check."""
    return f"{name} of fold {fold.number}"


def _refit_first(run: Audited) -> dict[str, tuple[str, str]]:
    """Reference and bins of the first fold, and the same on prices rewritten after training."""
    fold, task = run.evaluation.folds[0], run.model(0).task
    config = run.model(0).config
    block = rewritten(run.panel, fold.train_end, "noise", seed=run.config.seed)
    block = block.between(fold.train_start, fold.train_end)
    if task.tokenizer.data_hash != run.panel.between(fold.train_start, fold.train_end).sha256:
        return {}  # a model that was trained on other prices than these
    again = PriceTask.fit(
        block, horizon=config.horizon, num_bins=config.num_bins, volatility=config.volatility
    )
    return {fit_label(OURS, fold): (task_state(task), task_state(again))}


def task_state(task: PriceTask) -> str:
    """Fingerprint of a fitted reference and its bins."""
    return fingerprint([task.to_json(), task.tokenizer.fingerprint])


def _warm_up(run: Audited) -> Check:
    last = len(run.evaluation.folds) - 1

    def moments(panel: Panel, days: Dates) -> pd.DataFrame:
        return run.predict(last, panel, days).fill_moments(run.config.fill)

    return warm_up(moments, run.panel, cut_points(run.days(last), run.depth.cuts))


def _dealt(run: Audited, step: Callable[[], object]) -> dict[str, list[Draw]]:
    """Placebos on the run's own prices: its decisions, and its forecasts, at other dates."""
    held, seed = run.benchmark.returns_net, run.config.seed
    mask = changed(run.weights)
    entries = [
        Draw(run.trader(run.panel, weights, trade=trade).returns_net, held)
        for weights, trade in random_entries(run.weights, mask, seed=seed, draws=run.depth.draws)
    ]
    step()
    policy, shuffled = run.config.trial.make_policy(), []
    for number in range(run.depth.draws):
        weights = policy.weights(dealt_anew(run.moments, seed=seed + number))
        shuffled.append(Draw(run.trader(run.panel, weights).returns_net, held))
    step()
    return {"random entry": entries, "shuffled targets": shuffled}


def _worlds(run: Audited, step: Callable[[], object]) -> dict[str, list[Draw]]:
    """The fitted line on prices without anything to find."""
    span = (run.strategy.sessions[0], run.strategy.sessions[-1])
    found: dict[str, list[Draw]] = {}
    for number in range(run.depth.worlds):
        seed = run.config.seed + 1000 * (number + 1)
        for name, world in (
            ("block-permuted returns", permuted_tests(run.panel, run.evaluation.folds, seed=seed)),
            ("simulated GARCH", simulated(run.panel, span, seed=seed)),
        ):
            found.setdefault(name, []).append(_on(world, run))
            step()
    return found


def _on(world: Panel, run: Audited) -> Draw:
    """What the run's models and policy earn on other prices. Two steps ahead are all a policy reads."""
    horizon = min(2, run.forecasts.horizon)
    parts = [
        held_moments(run.predict(number, world, run.days(number), horizon=horizon), run.config.fill)
        for number in range(len(run.evaluation.folds))
    ]
    weights = run.config.trial.make_policy().weights(pd.concat(parts))
    result = run.trader(world, weights)
    held = buy_and_hold(
        world,
        list(weights.columns),
        result.sessions[0],
        result.sessions[-1],
        costs=run.config.costs,
        fill=run.config.fill,
    )
    return Draw(result.returns_net, held.returns_net)
