"""Pages of finished runs: one rendered again, several side by side.

Owns what is common to several runs, how much of each is left out to get there, and which numbers are
compared. Does not know how they are shown (`quantseq.reporting.compare`).
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.errors import ConfigError, RunError
from quantseq.evaluation.scores import summary
from quantseq.evaluation.significance import diebold_mariano
from quantseq.files import Places
from quantseq.reporting.compare import Comparison, newest, write_comparison, write_index
from quantseq.reporting.render import export_figures, page_of, write_report
from quantseq.reporting.run import Run, readable
from quantseq.reporting.sections import SCORE_NAMES, settings
from quantseq.trading.inference import verdict
from quantseq.trading.metrics import summarise_returns

_KEYS = ["symbol", "cutoff", "step"]


def report(
    folder: Path | str | None = None,
    *,
    index: bool = False,
    figures: Path | None = None,
    places: Places = Places(),
) -> Path:
    """Render the page of a folder into its ``report.html`` again, or the index of all runs.

    `folder` is that of a backtest, an evaluation or a toy task, by default the newest under the reports of `places`;
    with `index` it is ``index.html``, a page of all runs of `places`, that is written instead. Every figure is also
    written as SVG and PNG into the folder `figures`, if given. RunError if the folder is none of the three,
    incomplete or damaged.
    """
    reports = places.reports
    if index:
        return write_index(reports)
    chosen = newest(reports) if folder is None else Path(folder)
    page = page_of(chosen)
    if figures is not None:
        export_figures(page, figures)
    return write_report(chosen, page)


def compare(folders: Sequence[Path | str], *, out: Path | None = None) -> Comparison:
    """Compare two or more run folders, the others with the first; the page goes to `out`, if given.

    ConfigError if there are fewer than two different folders, RunError if one cannot be read, or they have neither a
    session nor a forecast in common.
    """
    distinct = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    if len(distinct) < 2:
        raise ConfigError(
            f"A comparison needs two or more different run folders. Got {len(distinct)}; name them one "
            "after the other."
        )
    runs = {_label(folder, distinct): Run.load(folder) for folder in distinct}
    with readable(*runs):
        (growth, sessions), rows = _growth(runs), _common_rows(runs)
        if growth.empty and not len(next(iter(rows.values()))):
            spans = "; ".join(
                f"{name}: {run.manifest['test_start']} to {run.manifest['test_end']}"
                for name, run in runs.items()
            )
            raise RunError(
                f"The runs have neither a session nor a forecast in common ({spans}). Compare runs over "
                "the same span."
            )
        years = {name: run.periods for name, run in runs.items()}
        found = Comparison(
            runs=runs,
            growth=growth,
            sessions=sessions,
            metrics={n: summarise_returns(growth[n], periods=years[n]) for n in map(str, growth)},
            against=_against(runs, growth),
            scores={name: summary(frame.loc[frame["step"] == 1]) for name, frame in rows.items()},
            rows={name: (len(rows[name]), len(_own_scores(run))) for name, run in runs.items()},
            tests=_tests(rows),
            settings=_settings(runs),
            data=_data(runs),
        )
        if out is not None:
            write_comparison(found, out)
    return found


def _label(folder: Path, all_of_them: Sequence[Path]) -> str:
    """The folder's name, with its parent's where two share it."""
    shared = sum(other.name == folder.name for other in all_of_them) > 1
    return f"{folder.parent.name}/{folder.name}" if shared else folder.name


def _growth(runs: Mapping[str, Run]) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    """Net returns over the intervals between common sessions, and what was left out for it."""
    series = {name: run.daily("strategy_net") for name, run in runs.items()}
    known = {name: one for name, one in series.items() if one is not None}
    counts = {
        name: {"sessions": len(known.get(name, ())), "merged": 0, "dropped": 0} for name in runs
    }
    if len(known) < len(runs):
        return pd.DataFrame(), counts
    common: Any = reduce(pd.Index.intersection, (one.index for one in known.values()))
    alike = len(common) > 0 and all(one.index[0] == common[0] for one in known.values())
    if len(common) < (1 if alike else 2):
        for name, one in known.items():
            counts[name]["dropped"] = len(one)
        return pd.DataFrame(), counts
    columns, ends = {}, common if alike else common[1:]
    for name, one in known.items():
        start = one.index.searchsorted(common[0], "left" if alike else "right")
        inside = one.iloc[int(start) :].loc[: common[-1]]
        # Sessions of one calendar alone are compounded into the next common one: none of its return is lost.
        place = np.searchsorted(np.searchsorted(ends, inside.index), np.arange(len(ends)))
        columns[name] = pd.Series(np.multiply.reduceat(1 + inside.to_numpy(), place) - 1, ends)
        counts[name] |= {"merged": len(inside) - len(ends), "dropped": len(one) - len(inside)}
    return pd.DataFrame(columns), counts


def _against(runs: Mapping[str, Run], growth: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Sharpe ratio of each less the first's, with its paired bootstrap interval."""
    found, (first, *others) = {}, runs
    for name in others if len(growth) else ():
        judged = verdict(growth[name], growth[first], seed=0, periods=runs[name].periods)
        gap, interval = judged.sharpe_difference, list(judged.interval)
        found[name] = {"sharpe_difference": gap, "interval": interval}
    return found


def _own_scores(run: Run) -> pd.DataFrame:
    """Scores of the run's own model."""
    return run.scores.loc[run.scores["model"] == run.model]


def _common_rows(runs: Mapping[str, Run]) -> dict[str, pd.DataFrame]:
    """Forecasts with an outcome that every run has, in the same order."""
    columns, frames = [*_KEYS, "pit", *SCORE_NAMES], {}
    for name, run in runs.items():
        known = _own_scores(run).reindex(columns=columns).dropna(subset="pit")
        frames[name] = known.astype({"symbol": str}).drop_duplicates(_KEYS).set_index(_KEYS)
    common: Any = reduce(pd.Index.intersection, (frame.index for frame in frames.values()))
    common = common.sort_values()
    return {name: frame.reindex(common).reset_index() for name, frame in frames.items()}


def _tests(rows: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Diebold-Mariano between every two runs' models, by score and step."""
    found = []
    for (name, own), (other, theirs) in combinations(rows.items(), 2):
        for score, step in product(SCORE_NAMES, sorted(map(int, own["step"].unique()))):
            at = (own["step"] == step).to_numpy()
            dates = own["cutoff"].to_numpy()[at].astype("datetime64[D]")
            mine, others = (x[score].to_numpy(dtype=np.float64)[at] for x in (own, theirs))
            place = {"run": name, "other": other, "score": score, "step": step}
            found.append({**place, **vars(diebold_mariano(mine, others, dates, step=step))})
    return found


def _settings(runs: Mapping[str, Run]) -> dict[str, dict[str, str]]:
    """Settings that are not the same in all runs: by name, then by run."""
    told = {
        name: dict(settings(run.manifest.get("config") or {}))
        | {f"version of {k}": str(v) for k, v in (run.manifest.get("versions") or {}).items()}
        | {"model": run.model, "symbols": ", ".join(run.symbols)}
        for name, run in runs.items()
    }
    return _differing(told)


def _data(runs: Mapping[str, Run]) -> dict[str, dict[str, str]]:
    """Symbols whose prices are not the same in all runs that have them: hashes by run."""
    told = {
        name: {s: (one or {}).get("sha256") for s, one in (run.manifest.get("data") or {}).items()}
        for name, run in runs.items()
    }
    return _differing(told, {""})


def _differing(told: Mapping[str, Mapping[str, Any]], besides: Any = ()) -> dict[str, Any]:
    """Texts by name and run, "" where a run has none, of names with two or more besides those."""
    names = dict.fromkeys(name for one in told.values() for name in one)
    rows = {name: {run: str(told[run].get(name) or "") for run in told} for name in names}
    return {name: row for name, row in rows.items() if len({*row.values()}.difference(besides)) > 1}
