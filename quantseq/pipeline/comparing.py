"""Several runs side by side: growth on common sessions, scores and tests on common forecasts.

Owns what is common, how much of each run is left out to get there, and which numbers are compared. Does
not know how they are shown (`quantseq.reporting.comparison`).
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.errors import ConfigError, RunError
from quantseq.evaluation.significance import diebold_mariano
from quantseq.forecasting.scores import Scores
from quantseq.reporting.comparison import Comparison
from quantseq.reporting.embedded import SCORES, model_of
from quantseq.reporting.run import Run
from quantseq.reporting.sections.proof import settings
from quantseq.trading.luck import verdict
from quantseq.trading.performance import align, summarise

KEYS = ["symbol", "cutoff", "step"]


def compare(folders: Sequence[Path]) -> Comparison:
    """Compare run folders.

    Parameters
    ----------
    folders : sequence of Path
        Two or more. The first is what the others are tested against.

    Raises
    ------
    ConfigError
        If there are fewer than two different folders.
    RunError
        If one cannot be read, or they have neither a session nor a forecast in common.
    """
    distinct = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    if len(distinct) < 2:
        raise ConfigError(
            f"A comparison needs two or more different run folders. Got {len(distinct)}; name them one "
            "after the other."
        )
    runs = {_label(folder, distinct): Run.load(folder) for folder in distinct}
    growth, sessions = _growth(runs)
    rows = _common_rows(runs)
    if growth.empty and not len(next(iter(rows.values()))):
        spans = "; ".join(
            f"{name}: {run.manifest['test_start']} to {run.manifest['test_end']} on "
            f"{', '.join(run.symbols[:6])}"
            for name, run in runs.items()
        )
        raise RunError(
            f"The runs have neither a session nor a forecast in common ({spans}). Compare runs over "
            "the same span."
        )
    return Comparison(
        runs=runs,
        growth=growth,
        sessions=sessions,
        metrics=_metrics(runs, growth),
        against=_against(runs, growth),
        scores={name: _scores(frame) for name, frame in rows.items()},
        rows={name: (len(rows[name]), len(run.forecasts)) for name, run in runs.items()},
        tests=_tests(rows),
        settings=_settings(runs),
        data=_data(runs),
    )


def _label(folder: Path, all_of_them: Sequence[Path]) -> str:
    """The folder's name, with its parent's where two share it."""
    shared = sum(other.name == folder.name for other in all_of_them) > 1
    return f"{folder.parent.name}/{folder.name}" if shared else folder.name


def _growth(runs: Mapping[str, Run]) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    """Net returns over the intervals between common sessions, and what was left out for it."""
    series = {name: run.daily("strategy_net") for name, run in runs.items()}
    known = {name: one for name, one in series.items() if one is not None}
    counts = {
        name: {"sessions": 0 if one is None else len(one), "merged": 0, "dropped": 0}
        for name, one in series.items()
    }
    if len(known) < len(runs):
        return pd.DataFrame(), counts
    common = None
    for one in known.values():
        common = one.index if common is None else common.intersection(one.index)
    assert common is not None
    alike = len(common) > 0 and all(one.index[0] == common[0] for one in known.values())
    if len(common) < (1 if alike else 2):
        for name, one in known.items():
            counts[name]["dropped"] = len(one)
        return pd.DataFrame(), counts
    columns = {}
    for name, one in known.items():
        part = align(one, pd.Series(0.0, common))
        kept = part.returns if alike else part.returns.loc[common[1] :]
        surplus = len(part.returns) - len(kept)
        columns[name] = kept
        counts[name] |= {"merged": part.merged, "dropped": part.dropped_returns + surplus}
    return pd.DataFrame(columns), counts


def _metrics(runs: Mapping[str, Run], growth: pd.DataFrame) -> dict[str, dict[str, float]]:
    periods = {name: run.periods for name, run in runs.items()}
    return {str(name): summarise(growth[name], periods=periods[str(name)]) for name in growth}


def _against(runs: Mapping[str, Run], growth: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Sharpe ratio of each less the first's, with its paired bootstrap interval."""
    if growth.empty:
        return {}
    first = next(iter(runs))
    found = {}
    for name, run in runs.items():
        if name != first:
            judged = verdict(growth[name], growth[first], seed=0, periods=run.periods)
            found[name] = {
                "sharpe_difference": judged.sharpe_difference,
                "interval": list(judged.interval),
            }
    return found


def _common_rows(runs: Mapping[str, Run]) -> dict[str, pd.DataFrame]:
    """Forecasts with an outcome that every run has, in the same order."""
    frames = {}
    for name, run in runs.items():
        frame = run.forecasts
        if not {"pit", *SCORES} <= set(frame):
            frame = pd.DataFrame(columns=[*KEYS, "pit", *SCORES])
        known = frame.loc[frame["pit"].notna(), [*KEYS, "pit", *SCORES]]
        frames[name] = known.drop_duplicates(KEYS).set_index(KEYS)
    common = None
    for frame in frames.values():
        common = frame.index if common is None else common.intersection(frame.index)
    assert common is not None
    common = common.sort_values()
    return {name: frame.reindex(common).reset_index() for name, frame in frames.items()}


def _scores(rows: pd.DataFrame) -> dict[str, float]:
    """Scores one step ahead, on the common rows."""
    first = rows.loc[rows["step"] == 1]
    columns = [first[name].to_numpy(dtype=np.float64)[:, None] for name in (*SCORES, "pit")]
    return Scores(*columns).summary()


def _tests(rows: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Diebold-Mariano between every two runs' models, by score and step."""
    found = []
    steps = sorted({int(step) for frame in rows.values() for step in frame["step"].unique()})
    for (name, own), (rival, other) in combinations(rows.items(), 2):
        for score in SCORES:
            for step in steps:
                at = (own["step"] == step).to_numpy()
                dates = own["cutoff"].to_numpy()[at].astype("datetime64[D]")
                mine, theirs = (x[score].to_numpy(dtype=np.float64)[at] for x in (own, other))
                test = diebold_mariano(mine, theirs, dates, step=step)
                found.append(
                    {"run": name, "rival": rival, "score": score, "step": step, **vars(test)}
                )
    return found


def _settings(runs: Mapping[str, Run]) -> dict[str, dict[str, str]]:
    """Settings that are not the same in all runs: by name, then by run."""
    told = {
        name: dict(settings(run.manifest.get("config") or {}))
        | {f"version of {k}": str(v) for k, v in (run.manifest.get("versions") or {}).items()}
        | {"model": model_of(run.result), "symbols": ", ".join(run.symbols)}
        for name, run in runs.items()
    }
    names = dict.fromkeys(name for one in told.values() for name in one)
    values = {name: {run: one.get(name, "") for run, one in told.items()} for name in names}
    return {name: found for name, found in values.items() if len(set(found.values())) > 1}


def _data(runs: Mapping[str, Run]) -> dict[str, dict[str, str]]:
    """Symbols whose prices are not the same in all runs that have them: hashes by run."""
    data = {name: run.manifest.get("data") or {} for name, run in runs.items()}
    symbols = dict.fromkeys(symbol for one in data.values() for symbol in one)
    found = {}
    for symbol in symbols:
        hashes = {
            name: str((one.get(symbol) or {}).get("sha256") or "") for name, one in data.items()
        }
        if len({digest for digest in hashes.values() if digest}) > 1:
            found[str(symbol)] = hashes
    return found
