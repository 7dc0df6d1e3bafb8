"""What a run says of itself and what it came to: manifest, figures from its tables, verdict, line in the ledger, notes."""

import os
import platform
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import quantseq
from quantseq.config import RunConfig
from quantseq.evaluation import scores as scoring
from quantseq.evaluation.run import Evaluation
from quantseq.evaluation.walkforward import cutoffs_of
from quantseq.files import Places, fingerprint
from quantseq.forecasting.rows import STALE_RULE, stale_rows
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.pipeline.data import describe_events
from quantseq.reporting.page import plural
from quantseq.reporting.run import Run
from quantseq.trading import inference, ledger
from quantseq.trading.metrics import summarise_returns

OURS = "seq2seq"
REFERENCE = "har-pooled-t"

# rules that the test of superior predictive ability leaves out: its benchmark, and a placebo
NOT_TRIED = ("buy_and_hold", "random_entry")


def versions() -> dict[str, str]:
    """Versions of Python, of the packages and of the processor's instructions that decide numbers."""
    from torch.backends.cpu import get_cpu_capability

    return {
        "python": platform.python_version(),
        "processor": f"{platform.machine()} {get_cpu_capability()}",
        "quantseq": quantseq.__version__,
        **{name: version(name) for name in ("torch", "numpy", "pandas", "scipy", "arch")},
    }


def git_commit() -> str | None:
    """Commit of quantseq's own checkout, None if this package runs from anywhere else."""
    package = Path(quantseq.__file__).resolve()
    root = package.parent.parent
    # A hook of the user's repository may have set GIT_DIR. Around an installed package lies somebody's repository, if any.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    how: Any = {
        "cwd": root,
        "env": plain,
        "text": True,
        "timeout": 10,
        "stderr": subprocess.DEVNULL,
    }
    try:
        ask = ["git", "rev-parse", "--show-toplevel", "HEAD"]
        top, commit = subprocess.check_output(ask, **how).splitlines()  # noqa: S603
        ask = ["git", "ls-files", "--error-unmatch", str(package), "pyproject.toml"]
        subprocess.check_output(ask, **how)  # noqa: S603
        about = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        ours = Path(top).resolve() == root and about["project"]["name"] == "quantseq"
        return commit if ours else None
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None


def new_manifest(
    panel: Panel,
    config: RunConfig,
    sessions: Dates,
    *,
    command: str,
    title: str,
    reports: Path,
    **extra: Any,
) -> dict[str, Any]:
    """The manifest of a run that ends now, with further entries `extra`.

    `sessions`, (D,) datetime64[D], are those of the result; the run id is one that is free in `reports`.
    """
    settings, now = config.to_mapping(), datetime.now(UTC)
    data = {
        symbol: {
            "sha256": bars.sha256,
            "rows": len(bars),
            "first": str(bars.sessions[0]),
            "last": str(bars.sessions[-1]),
            "source": str(bars.provenance.get("source", "memory")),
        }
        for symbol, bars in panel.items()
    }
    tag = fingerprint({"config": settings, "data": data, "command": command, "extra": extra})[:6]
    return {
        "run_id": _free(reports, f"{now:%Y%m%d-%H%M%S}-{tag}"),
        "created": now.isoformat(timespec="seconds"),
        "command": command,
        "title": title,
        "sample_data": any(one["source"] == "sample" for one in data.values()),
        "config": settings,
        "data": data,
        "symbols": list(panel.symbols),
        "ahead": _ahead(panel),
        "test_start": str(sessions[0]),
        "test_end": str(sessions[-1]),
        "versions": versions(),
        "git_commit": git_commit(),
        **extra,
    }


def _ahead(panel: Panel) -> dict[str, Any] | None:
    """What was known beside the prices, and the hash of all together; None if there was nothing."""
    if not panel.events and panel.covariate is None:
        return None
    return {
        "events": {symbol: len(several) for symbol, several in panel.events.items()},
        "covariate": None if panel.covariate is None else panel.covariate.symbol,
        "sha256": panel.sha256,
    }


def _free(reports: Path, name: str) -> str:
    """The name itself, or with a number after it where a run of the same second has taken it."""
    names = (f"{name}-{number}" if number > 1 else name for number in count(1))
    return next(one for one in names if not (reports / one).exists())


def trial_line(
    net: Floats, config: RunConfig, panel: Panel, sessions: Dates, **told: str
) -> dict[str, Any]:
    """What the ledger is told of a trial; `told` is who scored it, when, and where its returns lie."""
    return {
        "config_sha256": fingerprint(config.to_mapping()),
        "data_sha256": panel.sha256,
        "start": str(sessions[0]),
        "end": str(sessions[-1]),
        "sessions": len(net),
        "sharpe": inference.sharpe_per_session(net),
        "periods": config.costs.year,
        "returns_sha256": ledger.returns_hash(net),
        **told,
    }


def count_trials(places: Places, sessions: int) -> dict[str, Any]:
    """What the ledger holds now: how many trials, the spread of their Sharpe ratios, and whether it is whole."""
    record = ledger.read(places.ledger)
    return {
        "n_trials": max(1, record.n_trials()),
        "trial_sd": inference.trial_spread(record.trial_sharpes(), sessions)
        if sessions > 1
        else None,
        "ledger": record.verify(ledger.kept_heads(places.reports)) or "intact",
        "ledger_head": record.head,
    }


def judge_returns(
    net: Floats,
    held: Floats,
    counted: Mapping[str, Any],
    *,
    spa_p: float,
    seed: int,
    periods: int,
    cost_bps: float,
    audit_passed: bool | None = None,
) -> dict[str, Any]:
    """``verdict``, ``metrics`` and ``intervals`` of net returns beside those of buy-and-hold, (D,) each.

    `counted` is what `count_trials` said when they were scored, `spa_p` the test over all that was tried.
    """
    judged = inference.verdict(
        net,
        held,
        seed=seed,
        n_trials=counted["n_trials"],
        trial_sd=counted["trial_sd"],
        audit_passed=audit_passed,
        ledger_fault=None if counted["ledger"] == "intact" else counted["ledger"],
        cost_bps=cost_bps,
        periods=periods,
    )
    intervals = inference.metric_intervals(net, seed=seed, periods=periods)
    return {
        "verdict": {
            **asdict(judged),
            "interval": list(judged.interval),
            "psr": inference.psr(net),
            "dsr_curve": inference.dsr_curve(net, n_trials=judged.n_trials, spread=judged.trial_sd),
            "spa_p": spa_p,
            "ledger": counted["ledger"],
            "ledger_head": counted["ledger_head"],
        },
        "metrics": {
            "strategy": summarise_returns(net, benchmark=held, periods=periods),
            "buy_and_hold": summarise_returns(held, periods=periods),
        },
        "intervals": {name: list(ends) for name, ends in intervals.items()},
    }


def figures_of_run(run: Run) -> dict[str, Any]:
    """The content of ``result.json``: every figure from the tables and the manifest, beside what was stated.

    Stated is what follows from prices, other runs or measurements of their own. Called on a finished run it returns
    the same again.
    """
    stated, periods, seed = run.result, run.periods, run.seed
    columns = {str(name): run.equity[name].to_numpy() for name in run.equity}
    net, held = columns["strategy_net"], columns["buy_and_hold"]
    untried = {f"benchmark:{name}" for name in NOT_TRIED}
    tried = ["strategy_net", *(name for name in columns if name.startswith("policy:"))]
    tried += [name for name in columns if name.startswith("benchmark:") and name not in untried]
    counted = stated["verdict"]
    found = judge_returns(
        net,
        held,
        counted,
        spa_p=inference.spa(np.column_stack([columns[name] for name in tried]), held, seed=seed),
        seed=seed,
        periods=periods,
        cost_bps=run.manifest["cost_bps"],
        audit_passed=counted.get("audit_passed", stated["audit"]["passed"]),
    )
    found["verdict"]["spa_over"] = tried
    first = run.scores.loc[(run.scores["model"] == run.model) & (run.scores["step"] == 1)]
    per_fold = first.groupby("fold").size()
    found |= {
        "folds": [
            fold | {"n_test": int(per_fold.get(place, 0))}
            for place, fold in enumerate(stated["folds"])
        ],
        "forecast": _forecast_quality(run.scores),
        "benchmarks": {
            name: {
                **rule,
                "metrics": dict(
                    summarise_returns(columns[f"benchmark:{name}"], benchmark=held, periods=periods)
                ),
                "turnover": float(columns[f"benchmark_turnover:{name}"].mean()) * periods,
                "costs": float(columns[f"benchmark_cost:{name}"].mean()) * periods,
            }
            for name, rule in stated["benchmarks"].items()
        },
        "trades": _trades(run.trades),
    }
    return found | {key: value for key, value in stated.items() if key not in found}


def _trades(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Round trips by column, dates in ISO."""
    dates = {name: table[name].dt.strftime("%Y-%m-%d") for name in ("entered", "left")}
    return {
        str(name): [None if pd.isna(value) else value for value in column.tolist()]
        for name, column in table.assign(**dates).items()
    }


def figures_of_evaluation(run: Run) -> dict[str, Any]:
    """The content of ``result.json`` of an evaluation: from its scores, beside what was stated."""
    tests = scoring.compare_models(run.scores, OURS)
    return {
        **run.result,
        "models": scoring.summarise_models(run.scores, REFERENCE, run.seed),
        "tests": tests,
        "verdict": scoring.verdicts(tests, own_reference=REFERENCE),
    }


def _forecast_quality(scores: pd.DataFrame) -> dict[str, Any]:
    """Scores of every model, tests of ours against each baseline, and the skill over the reference."""
    steps = range(1, int(scores["step"].max()) + 1)
    by_step = {
        name: [scoring.summary(scoring.at_step(scores, name, step)) for step in steps]
        for name in scoring.models_of(scores)
    }
    plain, ours = (
        scoring.at_step(scores, name)["log_score"].to_numpy() for name in (REFERENCE, OURS)
    )
    return {
        "models": {name: one[0] for name, one in by_step.items()},
        "by_step": by_step,
        "skill_nats": float(np.nanmean(plain - ours)),
        "tests": [
            one for one in scoring.compare_models(scores, OURS) if one["step"] != scoring.CUMULATIVE
        ],
    }


def forecast_frame(evaluation: Evaluation) -> pd.DataFrame:
    """Our forecasts as the run folder keeps them: one row per symbol, cutoff and step."""
    frame = evaluation.forecasts[OURS].to_frame()
    ours = evaluation.scores["model"] == OURS
    return frame.assign(fold=evaluation.scores.loc[ours, "fold"].to_numpy())


def long_weights(weights: pd.DataFrame) -> pd.DataFrame:
    """Weights as the run folder keeps them: one row per decision date and symbol."""
    wide = weights.rename_axis("decision").reset_index()
    return wide.melt("decision", var_name="symbol", value_name="weight")


def notes_on_symbols(panel: Panel, evaluation: Evaluation, lost: str) -> list[str]:
    """Sentences about what was known in advance, symbols that were `lost`, and prices that stood still.

    No model forecast those that stood still.
    """
    forecast = set(evaluation.forecasts[OURS].symbols)
    days = np.unique(np.concatenate([cutoffs_of(panel, fold) for fold in evaluation.folds]))
    resting = stale_rows(panel, days)
    short = [
        f"{symbol}: too few sessions ({len(bars):,}), or none in the tests; it was {lost}."
        for symbol, bars in panel.items()
        if symbol not in forecast and symbol not in resting
    ]
    return (
        describe_events(panel)
        + short
        + [
            f"{symbol}: its price stood still, with {STALE_RULE}, at {plural(len(rows), 'cutoff')} "
            f"from {rows[0]} to {rows[-1]}; no model forecast it then."
            for symbol, rows in resting.items()
        ]
    )
