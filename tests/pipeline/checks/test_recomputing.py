"""Every figure that is stored follows from its series, and a changed one is named."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.pipeline.backtesting import BacktestOutcome
from quantseq.pipeline.checks.recomputing import Figure, figures, not_recomputed
from quantseq.pipeline.scored import FromForecasts, FromPage
from quantseq.reporting.embedded import Embedded, gather, packed, rounded, unpacked
from quantseq.reporting.run import Run


@pytest.fixture(scope="module")
def saved(small_run: BacktestOutcome) -> Run:
    return Run.load(small_run.folder)


@pytest.fixture(scope="module")
def data(saved: Run) -> Embedded:
    return unpacked(packed(gather(rounded(saved))))


@pytest.fixture(scope="module")
def from_folder(saved: Run) -> list[Figure]:
    return figures(saved, FromForecasts(saved))


@pytest.fixture(scope="module")
def from_page(data: Embedded) -> list[Figure]:
    return figures(data.as_run(), FromPage(data))


EXPECTED = (
    "metrics.strategy.sharpe",
    "metrics.buy_and_hold.max_drawdown",
    "intervals.sharpe.low",
    "verdict.sharpe_difference",
    "verdict.interval.high",
    "verdict.psr",
    "verdict.dsr",
    "verdict.edge",
    "verdict.sentence.3",
    "rivals.momentum_12m.metrics.cagr",
    "forecast.models.seq2seq.log_score",
    "forecast.models.hist-vol.coverage_90",
    "forecast.models.ewma-t.pit_ks",
    "forecast.skill_nats",
    "forecast.tests.ewma-t.crps.1.t",
    "forecast.tests.har-pooled-t.log_score.1.p",
    "attribution.IBM.total",
    "attribution.total",
    "equity.net = gross − cost",
)


def test_a_clean_run_agrees_with_its_series(from_folder: list[Figure]) -> None:
    assert [one for one in from_folder if not one.agrees] == []
    assert set(EXPECTED) <= {one.name for one in from_folder}
    assert len(from_folder) > 250


def test_a_clean_page_agrees_with_its_series(from_page: list[Figure]) -> None:
    assert [one for one in from_page if not one.agrees] == []
    assert set(EXPECTED) <= {one.name for one in from_page}


def test_a_page_recomputes_what_a_folder_does(
    from_folder: list[Figure], from_page: list[Figure]
) -> None:
    missing = {one.name for one in from_folder} - {one.name for one in from_page}
    assert all(
        name.startswith("forecast.by_step.") or name.endswith(("longest_drawdown", "spa_p"))
        for name in missing
    )


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for key, item in enumerate(value) for leaf in _leaves(item, (*path, key))]
    number = isinstance(value, float) and np.isfinite(value) and not isinstance(value, bool)
    return [path] if number else []


def _changed(result: Any, paths: list[tuple[Any, ...]], change: Callable[[float], float]) -> Any:
    altered = copy.deepcopy(result)
    for path in paths:
        inner = altered
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = change(inner[path[-1]])
    return altered


UNCHECKED = ("gate", "overnight_gap", "folds", "break_even_bps", "audit", "trades")


def _checkable(result: Any) -> list[tuple[Any, ...]]:
    """Every number of a result but those that its series do not hold."""
    return [
        path
        for path in _leaves(result)
        if path[0] not in UNCHECKED
        and path[-1] not in ("turnover", "costs", "trial_sd")
        and "sharpe_range" not in path
        and not ("dsr_curve" in path and path[-1] == "n")
        and not (path[:2] == ("forecast", "by_step") and path[-1] not in ("log_score", "crps"))
        and not (path[0] == "attribution" and path[-1] != "total")
    ]


def test_every_number_that_is_changed_is_named(saved: Run) -> None:
    result: Any = saved.result
    paths = _checkable(result)
    assert len(paths) > 250
    lied = _changed(result, paths, lambda value: value + 1e-6 * max(1.0, abs(value)))
    forged = replace(saved, result=lied)
    wrong = {one.name for one in figures(forged, FromForecasts(forged)) if not one.agrees}
    for path in paths:
        name = ".".join(str(key) for key in path)
        if path[0] in ("intervals", "verdict") and path[-1] in (0, 1):
            name = ".".join([*map(str, path[:-1]), ("low", "high")[path[-1]]])
        elif path[:2] == ("forecast", "tests"):
            test = result["forecast"]["tests"][path[2]]
            name = f"forecast.tests.{test['rival']}.{test['score']}.{test['step']}.{path[-1]}"
        elif path[:2] == ("forecast", "by_step"):
            name = f"forecast.by_step.{path[2]}.{path[3] + 1}.{path[-1]}"
        elif path[0] == "attribution":
            name = f"attribution.{result['attribution'][path[1]]['symbol']}.total"
        assert name in wrong, name


def test_a_page_with_a_changed_result_is_caught(data: Embedded) -> None:
    result: Any = data.result
    paths = [
        ("metrics", "strategy", "cagr"),
        ("intervals", "max_drawdown", 1),
        ("verdict", "psr"),
        ("verdict", "dsr"),
        ("verdict", "interval", 0),
        ("rivals", "equal_weight", "metrics", "sharpe"),
        ("forecast", "models", "seq2seq", "coverage_90"),
        ("forecast", "models", "hist-vol", "crps"),
        ("forecast", "tests", 0, "t"),
    ]
    lied = _changed(result, paths, lambda value: value * 1.05 + 1e-3)
    forged = replace(data, result=lied)
    wrong = {one.name for one in figures(forged.as_run(), FromPage(forged)) if not one.agrees}
    assert len(wrong) == len(paths)


def test_an_edge_that_the_rule_refuses_is_named(saved: Run) -> None:
    verdict = {**saved.result["verdict"], "edge": True}
    verdict["sentence"] = verdict["sentence"].replace("difference +", "difference +9")
    forged = replace(saved, result={"verdict": verdict})
    wrong = {one.name for one in figures(forged, FromForecasts(forged)) if not one.agrees}
    assert "verdict.edge" in wrong
    assert wrong <= {"verdict.edge", "verdict.sentence.3"}


@pytest.mark.parametrize("column", ["strategy_net", "buy_and_hold", "rival:equal_weight"])
def test_a_changed_return_moves_figures(saved: Run, column: str) -> None:
    equity = saved.equity.copy()
    equity.loc[40, column] += 1e-4
    forged = replace(saved, equity=equity)
    assert [one for one in figures(forged, FromForecasts(forged)) if not one.agrees]


def test_unknown_agrees_with_unknown_only() -> None:
    assert Figure("x", None, float("nan")).agrees
    assert not Figure("x", None, 0.0).agrees
    assert not Figure("x", 0.0, None).agrees
    assert Figure("x", 1e6, 1e6 + 1e-4).agrees
    assert not Figure("x", True, 1.0).agrees
    assert not Figure("x", True, False).agrees


def test_the_frozen_track_record_and_curve_are_recomputed(saved: Run) -> None:
    net = saved.equity["strategy_net"] + 2e-4
    equity = saved.equity.assign(strategy_net=net, strategy_gross=net + saved.equity["cost"])
    plain = replace(saved, equity=equity)
    again = {one.name: one.recomputed for one in figures(plain, FromForecasts(plain))}
    verdict = {
        **saved.result["verdict"],
        "dsr_curve": [{"n": 1, "dsr": again["verdict.psr"]}, {"n": 50, "dsr": 0.99}],
        "min_track_record": None,
    }
    forged = replace(plain, result={"verdict": verdict})
    found = {one.name: one for one in figures(forged, FromForecasts(forged))}
    assert found["verdict.dsr_curve.0.dsr"].agrees
    assert not found["verdict.dsr_curve.1.dsr"].agrees
    assert not found["verdict.min_track_record"].agrees
    sessions = round(found["verdict.min_track_record"].recomputed)
    from quantseq.trading.luck import psr

    repeated = pd.concat([net] * 40)  # the same moments, more sessions
    assert psr(repeated.iloc[: 40 * len(net)]) > 0.95 or sessions > 40 * len(net)


def _traded(saved: Run, turnover: Any, level: float | None) -> Run:
    """A run that pays 5 basis points of a turnover, earns 0.1 % a day before, and states a break-even cost."""
    cost = 5e-4 * np.broadcast_to(turnover, len(saved.equity))
    equity = saved.equity.assign(
        turnover=turnover, cost=cost, strategy_gross=1e-3, strategy_net=1e-3 - cost
    )
    manifest = {**saved.manifest, "config": {"costs": {"cost_bps": 5.0}}}
    return Run(manifest, {"break_even_bps": level}, saved.forecasts, saved.weights, equity)


@pytest.mark.parametrize("stated", [20.0, 25.0, 9_000.0, 10_000.0, None])
def test_a_break_even_cost_follows_from_turnover(saved: Run, stated: float | None) -> None:
    run = _traded(saved, 0.5, stated)
    (found,) = (one for one in figures(run, FromForecasts(run)) if "break_even" in one.name)
    assert found.recomputed == pytest.approx(20.0)
    assert found.agrees == (stated == 20.0)


@pytest.mark.parametrize("turnover", [0.0, 1e-3])
def test_without_trades_there_is_none_and_at_most_the_whole_notional(
    saved: Run, turnover: float
) -> None:
    run = _traded(saved, turnover, None if turnover == 0 else 10_000.0)
    (found,) = (one for one in figures(run, FromForecasts(run)) if "break_even" in one.name)
    assert found.agrees
    assert found.recomputed == run.result["break_even_bps"]


def test_a_break_even_cost_that_takes_most_of_the_account_is_named_and_not_judged(
    saved: Run,
) -> None:
    once = np.zeros(len(saved.equity))
    once[1] = 1.0
    run = _traded(saved, once, 8_000.0)
    found = figures(run, FromForecasts(run))
    assert [one for one in found if not one.agrees] == []
    assert not_recomputed(run, found) == ["break_even_bps"]
