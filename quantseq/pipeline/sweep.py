"""`sweep`: forecasts made once per horizon, many policies and costs scored on them, and the best judged.

Owns the grid, whose points are whole configurations that can be backtested alone, to the same returns; how points
are scored, kept and entered into the ledger; what the choice among them is worth; and the ledger as people read it.
Knows no rule of trading and no test.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import stdev
from typing import Any, Self

import numpy as np
import pandas as pd
from joblib import delayed

from quantseq.config import PolicyConfig, RunConfig, least_purge
from quantseq.errors import ConfigError, CorruptFileError
from quantseq.evaluation.run import DECIDING_ROOMS, code_fingerprint
from quantseq.files import (
    SUMS,
    Places,
    atomic_path,
    check_ours,
    check_sums,
    ensure_writable,
    fingerprint,
    read_json,
    read_parquet,
    read_sums,
    sha256_file,
    sums_of,
    write_json,
    write_sums,
    write_text,
)
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.pipeline.backtest import settled
from quantseq.pipeline.data import as_rows, describe_events, refuse_errors
from quantseq.pipeline.evaluate import resumable, run_models, split_calendar, traded_models
from quantseq.pipeline.results import (
    OURS,
    count_trials,
    judge_returns,
    new_manifest,
    trial_line,
)
from quantseq.pipeline.train import pass_gate
from quantseq.progress import SILENT, Bar, Progress, parallel
from quantseq.reporting.page import SPACE, number, percent, plural
from quantseq.reporting.sections import break_even
from quantseq.trading import ledger
from quantseq.trading.backtest import break_even_bps, buy_and_hold, simulate
from quantseq.trading.inference import overfitting, psr, spa
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import POLICIES, changed, held_moments

COSTS_BPS = (0.0, 5.0, 10.0, 20.0)

# what is varied unless told otherwise; the other policies are tried as they are
KNOBS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "kelly": {"fraction": (0.25, 0.5, 1.0)},
    "mean_variance": {"risk_aversion": (1.0, 2.0, 5.0)},
    "probability": {"threshold": (0.5, 0.51, 0.52, 0.55)},
    "over_cost": {"multiple": (0.5, 1.0, 2.0)},
    "vol_target": {"target": (0.1, 0.15, 0.2)},
    "rank": {"share": (0.2, 1 / 3, 0.5)},
}

_CHUNK = 32  # most points that a process scores before they are written down: what a kill can lose
_RESULTS = ("manifest.json", "points.csv", "best.toml", "result.json")
_SHOWN = 10  # points that are printed


# ------------------------------------------------------------------------------ what is tried


@dataclass(frozen=True)
class Grid:
    """The values of each choice; points are all their combinations.

    ``knobs``, by policy and parameter, take the place of `KNOBS`, parameter by parameter; ``costs_bps`` is commission
    and whatever else is proportional; ``horizons`` are the configuration's if empty. ConfigError if a policy or
    parameter is unknown, a list is empty, or a value is repeated.
    """

    policies: tuple[str, ...] = tuple(POLICIES)
    knobs: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    costs_bps: tuple[float, ...] = COSTS_BPS
    horizons: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, values in (
            ("policies", self.policies),
            ("costs_bps", self.costs_bps),
            ("horizons", self.horizons),
            *((f"{p}.{k}", v) for p, knobs in self.knobs.items() for k, v in knobs.items()),
        ):
            if len(set(values)) < len(values) or not (values or name == "horizons"):
                raise ConfigError(
                    f"A sweep needs one or more different values of {name!r}. Got {list(values)!r}."
                )
        unknown = [name for name in self.knobs if name not in self.policies]
        if unknown:
            raise ConfigError(
                f"{unknown[0]!r} is varied, but is none of the policies of this sweep: "
                f"{', '.join(self.policies)}. Add it, or leave its values out."
            )

    @classmethod
    def parse(
        cls,
        *,
        policies: str = "all",
        thresholds: str | None = None,
        vary: Sequence[str] = (),
        costs_bps: str = "0,5,10,20",
        horizons: str = "",
    ) -> Self:
        """A grid from texts: values between commas; ConfigError if one cannot be read, or breaks a rule.

        Examples
        --------
        >>> Grid.parse(policies="kelly", vary=["kelly.fraction=0.1,0.5"], costs_bps="5").knobs
        {'kelly': {'fraction': (0.1, 0.5)}}
        """
        names = tuple(POLICIES) if policies == "all" else _values(policies)
        knobs: dict[str, dict[str, Any]] = {}
        threshold = [] if thresholds is None else [f"probability.threshold={thresholds}"]
        for text in (*vary, *threshold):
            look = re.fullmatch(r"(\w+)\.(\w+)=(.*)", text)
            if look is None:
                raise ConfigError(
                    "--vary must look like kelly.fraction=0.1,0.5: policy, parameter, values. "
                    f"Got {text!r}."
                )
            policy, parameter, values = look.groups()
            if parameter in knobs.setdefault(policy, {}):
                raise ConfigError(f"{policy}.{parameter} is varied twice. Give its values once.")
            knobs[policy][parameter] = _values(values)
        try:
            costs = tuple(float(one) for one in _values(costs_bps))
            steps = tuple(int(one) for one in horizons.split(",") if one)
        except ValueError as error:
            raise ConfigError(
                "--costs-bps must be numbers between commas, --horizons whole numbers. "
                f"Got {costs_bps!r} and {horizons!r}."
            ) from error
        return cls(names, knobs, costs, steps)

    def points(self, base: RunConfig, progress: Progress = SILENT) -> tuple[RunConfig, ...]:
        """Every point as a configuration, in the order of horizons, policies, values, costs.

        All have the same purge, so that they are tested on the same sessions; `progress` hears of one that was
        raised. Parameters of the policy of `base` hold for that policy, but ``long_only``, which holds for all.
        ConfigError if a point breaks a rule of `RunConfig`.
        """
        horizons = self.horizons or (base.forecaster.horizon,)
        purge = least_purge(base.walk_forward.purge, max(horizons), progress)
        walk = replace(base.walk_forward, purge=purge)
        found: dict[str, RunConfig] = {}
        for horizon, policy, bps in product(horizons, self._policies(base), self.costs_bps):
            point = replace(
                base,
                forecaster=replace(base.forecaster, horizon=horizon),
                walk_forward=walk,
                policy=policy,
                costs=replace(base.costs, cost_bps=float(bps)),
            )
            found.setdefault(_key(point), point)
        return tuple(found.values())

    def _policies(self, base: RunConfig) -> Iterator[PolicyConfig]:
        asked = base.policy.parameters
        for name in self.policies:
            same = name == base.policy.name
            fixed = {k: v for k, v in asked.items() if same or k == "long_only"}
            usual = {k: v for k, v in KNOBS.get(name, {}).items() if k not in fixed}
            knobs = {**usual, **self.knobs.get(name, {})}
            for values in product(*knobs.values()):
                yield PolicyConfig(name, {**fixed, **dict(zip(knobs, values, strict=True))})


def _values(text: str) -> tuple[Any, ...]:
    """Numbers, or words that are no numbers, between commas."""
    return tuple(_value(word.strip()) for word in text.split(",") if word.strip())


def _value(word: str) -> Any:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(word)
    return {"true": True, "false": False}.get(word, word)


def _key(point: RunConfig) -> str:
    return fingerprint(point.to_mapping())[:16]


def label(point: RunConfig) -> str:
    """A point in a few words: ``kelly fraction=0.5, 5 bps, horizon 5``."""
    return f"{_policy_label(point)}, {point.costs.one_way_bps:g} bps, horizon {point.forecaster.horizon}"


def _policy_label(point: RunConfig) -> str:
    values = point.policy.parameters.items()
    told = (f"{n}={v:.4g}" if isinstance(v, float) else f"{n}={v}" for n, v in values)
    return " ".join([point.policy.name, *told])


def to_toml(values: Mapping[str, Any], section: str = "") -> str:
    """Nested values as a file that ``--config`` reads back to the same; None, which TOML lacks, is left out."""
    inner = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    # plain values and lists read the same in JSON and in TOML
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
        for name, value in values.items()
        if name not in inner and value is not None
    ]
    text = "".join([f"\n[{section}]\n"] * bool(section) + lines)
    return text + "".join(to_toml(inner[name], f"{section}.{name}".lstrip(".")) for name in inner)


# ------------------------------------------------------------------------------ the sweep


@dataclass(frozen=True, eq=False)
class SweepOutcome:
    """What `sweep` returns; `manifest` and `result` are as written, see ``docs/json.md``.

    In `folder` lie ``result.json``, ``points.csv``, ``best.toml`` and every point's net returns.
    """

    folder: Path
    manifest: Mapping[str, Any]
    result: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The result with its documented, stable keys."""
        return {"folder": str(self.folder), "manifest": self.manifest, **self.result}


@dataclass(frozen=True, eq=False)
class _Point:
    """One scored point: ``session``, ``net``, ``turnover`` of D sessions, and their file beside the ledger."""

    config: RunConfig
    earned: pd.DataFrame
    file: str

    @property
    def net(self) -> Floats:
        return self.earned["net"].to_numpy()

    @property
    def sessions(self) -> Dates:
        return self.earned["session"].to_numpy().astype("datetime64[D]")


def sweep(
    panel: Panel,
    *,
    grid: Grid = Grid(),
    config: RunConfig = RunConfig(),
    model: Seq2SeqForecaster | None = None,
    places: Places = Places(),
    jobs: int = 1,
    allow_bad_data: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> SweepOutcome:
    """Score every point of a grid, write each into the ledger, and judge the best of them.

    Forecasts are made once per horizon and kept in the cache. A point is written down, with its net returns, as
    soon as it is scored; a sweep that was interrupted goes on with the points that are missing, and one that is
    finished gives back its result as it stands. `config` is everything that the grid does not vary; with a trained
    `model`, used after its ``trained_until``, its horizon is the only one. The others, and what is raised, are as in
    `backtest`; ConfigError also where the grid or a point of it breaks a rule.
    """
    chosen = settled(config, panel, model, progress)
    points = grid.points(chosen, progress)
    ensure_writable(places.reports)
    ledger.check_ledger(places.ledger)
    checked = refuse_errors(panel, places=places, allow_bad_data=allow_bad_data)
    identity = {
        "code": code_fingerprint((*DECIDING_ROOMS, "trading")),
        "data": panel.sha256,
        "model": None if model is None else model.describe(),
    }
    key = fingerprint({**identity, "points": [one.to_mapping() for one in points]})
    folder = places.reports / f"sweep-{key[:12]}"
    files = {f"points/{_key(point)}.parquet": point for point in points}
    if (check_ours(folder, SUMS) / "result.json").exists():
        try:
            check_sums(folder, [*files, *_RESULTS])
            progress.say(f"This sweep is finished; its result stands as it was judged: {folder}.")
            return _written(folder)
        except CorruptFileError as error:
            progress.say(f"{error}; this sweep is judged again.")
    write_sums(folder, read_sums(folder))  # from now on it is ours
    folds = split_calendar(panel, points[0], model=model)  # those of all points
    horizons = {one.forecaster.horizon: one for one in points}
    how: dict[str, Any] = {"cache": places.cache, "jobs": jobs, "progress": progress}
    moments = {}
    with resumable(f"Forecasts are kept in {places.cache}, scored points in {folder}"):
        gate = pass_gate(chosen.forecaster, places, seed=chosen.seed, progress=progress)
        for horizon, one in horizons.items():
            models, title = traded_models(one, (), model), f"forecast, horizon {horizon}"
            found = run_models(panel, models, folds, one, title=title, **how)
            moments[horizon] = held_moments(found.forecasts[OURS], one.fill, symbols=panel.symbols)
        with progress.bar(f"score {len(points)} points", len(points), unit="point") as bar:
            told: dict[str, Any] = {
                "command": command,
                "jobs": jobs,
                "bar": bar,
                "say": progress.say,
            }
            scored = _score(files, panel, moments, folder, **told)
    manifest = new_manifest(
        panel,
        chosen,
        scored[0].sessions,
        command=command,
        title=f"Sweep of {len(points)} points on {len(panel)} symbols",
        reports=places.reports,
        kind="sweep",
        gate=gate.fingerprint,
        model=identity["model"],
    )
    result, best = _judge(panel, moments, scored, chosen, places)
    result |= {"gate": asdict(gate), "data_findings": as_rows(checked)}
    table = pd.DataFrame(result["sweep"]["points"])
    table["parameters"] = table["parameters"].map(json.dumps)
    write_text(folder / "points.csv", table.to_csv(index=False))
    write_text(folder / "best.toml", to_toml(best.to_mapping()))
    write_json(folder / "manifest.json", {**manifest, "run_id": folder.name})
    write_json(folder / "result.json", result)
    sums = {name: digest for name, digest in read_sums(folder).items() if name in files}
    write_sums(folder, sums | sums_of(folder, _RESULTS))  # last: with it the sweep is finished
    return _written(folder)


def _written(folder: Path) -> SweepOutcome:
    manifest, result = (read_json(folder / f"{name}.json") for name in ("manifest", "result"))
    return SweepOutcome(folder, manifest, result)


def _score(
    files: Mapping[str, RunConfig],
    panel: Panel,
    moments: Mapping[int, pd.DataFrame],
    folder: Path,
    *,
    command: str,
    jobs: int,
    bar: Bar,
    say: Callable[[str], None],
) -> list[_Point]:
    """Score what is not there yet, write it down and into the ledger; all points in the order of their `files`."""
    done, ledger_file = dict[str, _Point](), Places(reports=folder.parent).ledger

    def enter(scored: Sequence[_Point]) -> None:
        """Write the ledger's line of every point that has none of this sweep yet."""
        there = {one.get("returns_file") for one in ledger.read(ledger_file).entries}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        told = {"run_id": folder.name, "date": now, "command": command}
        lines = []
        for one in scored:
            if (place := f"{one.file}#net") not in there:
                own = {"returns_file": place, "label": label(one.config)}
                lines.append(trial_line(one.net, one.config, panel, one.sessions, **told, **own))
        if lines:
            ledger.append(ledger_file, *lines)
        done.update({one.file: one for one in scored})
        bar.step(len(scored))

    sums, kept = read_sums(folder), []
    for name, point in files.items():
        if sums.get(name) is None or not (folder / name).is_file():
            continue
        if sha256_file(folder / name) == sums[name]:
            kept.append(_Point(point, read_parquet(folder / name), f"{folder.name}/{name}"))
        else:
            say(f"{name} in {str(folder)!r} is damaged; this point is scored again.")
    enter(kept)  # a kill may have come between
    beside = {f"{folder.name}/{name}": point for name, point in files.items()}
    missing = [pair for pair in beside.items() if pair[0] not in done]
    size = min(_CHUNK, max(1, len(missing) // (4 * jobs)))
    chunks = [missing[k : k + size] for k in range(0, len(missing), size)]
    work = (delayed(_score_chunk)(panel, moments, chunk) for chunk in chunks)
    processes = min(jobs, max(len(chunks), 1))
    for scored in parallel(processes, return_as="generator_unordered")(work):
        for one in scored:
            with atomic_path(folder.parent / one.file) as temporary:
                one.earned.to_parquet(temporary, index=False, compression="zstd")
        sums |= sums_of(folder, [f"points/{_key(one.config)}.parquet" for one in scored])
        write_sums(folder, {name: sums[name] for name in files if name in sums})
        enter(scored)
    return [done[file] for file in beside]


def _score_chunk(
    panel: Panel, moments: Mapping[int, pd.DataFrame], chunk: list[tuple[str, RunConfig]]
) -> list[_Point]:
    found = []
    for file, point in chunk:
        weights = point.make_policy().weights(moments[point.forecaster.horizon])
        how: Any = {"costs": point.costs, "fill": point.fill, "trade": changed(weights)}
        result = simulate(panel, weights, **how)
        columns = {"session": result.sessions.astype("datetime64[s]"), "net": result.returns_net}
        found.append(_Point(point, pd.DataFrame({**columns, "turnover": result.turnover}), file))
    return found


# ------------------------------------------------------------------------------ what it came to


def _judge(
    panel: Panel,
    moments: Mapping[int, pd.DataFrame],
    points: Sequence[_Point],
    config: RunConfig,
    places: Places,
) -> tuple[dict[str, Any], RunConfig]:
    """Compare all points with buy-and-hold, and judge the best one at the sweep's cost.

    Costs are a fact of the market and no choice: the best point is chosen among those that pay the same, as the
    configuration does where that was swept, else the highest. Points that never moved come last.
    """
    symbols = list(dict.fromkeys(str(name) for one in moments.values() for name in one["symbol"]))
    sessions, seed = points[0].sessions, config.seed
    assert all(np.array_equal(one.sessions, sessions) for one in points)
    span: dict[str, Any] = {"start": sessions[0], "end": sessions[-1], "fill": config.fill}
    costs = {one.config.costs.one_way_bps: one.config.costs for one in points}
    held = {
        bps: buy_and_hold(panel, symbols, costs=one, **span).returns_net
        for bps, one in sorted(costs.items())
    }
    scored = [(_row(one, held[one.config.costs.one_way_bps]), one) for one in points]
    scored.sort(key=lambda one: np.nan_to_num(one[0]["sharpe"], nan=-np.inf), reverse=True)
    levels = {bps: [one for one in scored if one[0]["cost_bps"] == bps] for bps in held}
    by_cost = {bps: _level(level, held[bps], config) for bps, level in levels.items()}
    cost = config.costs.one_way_bps if config.costs.one_way_bps in levels else max(levels)
    here, best = by_cost[cost], levels[cost][0][1]
    weights = best.config.make_policy().weights(moments[best.config.forecaster.horizon])
    everything = np.column_stack([one.net for _, one in scored])
    beside = np.column_stack([held[row["cost_bps"]] for row, _ in scored])
    terms: dict[str, Any] = {"seed": seed, "periods": config.costs.year, "cost_bps": cost}
    counted = count_trials(places, len(best.net))
    result: dict[str, Any] = {
        **judge_returns(best.net, held[cost], counted, spa_p=here["spa_p"], **terms),
        "sweep": {
            "sentence": _sentence(best.config, here, len(points)),
            "best": label(best.config),
            "cost_bps": cost,
            "pbo": here["pbo"],
            "spa_p": spa(everything, beside, seed=seed),
            "by_cost": list(by_cost.values()),
            "points": [row for level in levels.values() for row, _ in level],
        },
        "break_even_bps": break_even_bps(
            panel, weights, costs=best.config.costs, fill=config.fill, trade=changed(weights)
        ),
        "notes": describe_events(panel),
    }
    return result, best.config


_Scored = tuple[dict[str, Any], _Point]  # a point with its row of the table


def _level(level: Sequence[_Scored], held: Floats, config: RunConfig) -> dict[str, Any]:
    """Points that pay the same, best first: their best, and the two tests over all of them."""
    returns, (row, best) = np.column_stack([one.net for _, one in level]), level[0]
    found = asdict(overfitting(returns))
    return {
        "cost_bps": row["cost_bps"],
        "points": len(level),
        "best": label(best.config),
        "sharpe": row["sharpe"],
        "benchmark_sharpe": METRICS["sharpe"](held, periods=config.costs.year),
        "spa_p": spa(returns, held, seed=config.seed),
        "pbo_loss": found["loss"],
        **{name: found[name] for name in ("pbo", "configurations", "halves")},
    }


def _row(point: _Point, held: Floats) -> dict[str, Any]:
    config, net, year = point.config, point.net, point.config.costs.year
    names = ("sharpe", "cagr", "volatility", "max_drawdown")
    figures = {name: METRICS[name](net, periods=year) for name in names}
    return {
        "policy": config.policy.name,
        "parameters": dict(config.policy.parameters),
        "label": _policy_label(config),
        "cost_bps": config.costs.one_way_bps,
        "horizon": config.forecaster.horizon,
        **figures,
        "sharpe_difference": figures["sharpe"] - METRICS["sharpe"](held, periods=year),
        "psr": psr(net),
        "turnover": float(point.earned["turnover"].to_numpy().mean()) * year,
        "returns_file": point.file,
        "returns_sha256": ledger.returns_hash(net),
    }


def _sentence(best: RunConfig, here: Mapping[str, Any], count: int) -> str:
    """What the choice is worth, in words."""
    chosen = f"Best of {here['points']} points at {here['cost_bps']:g} bps ({count} in all)"
    horizon, pbo, p = best.forecaster.horizon, here["pbo"], here["spa_p"]
    said = f"{chosen}: {_policy_label(best)}, horizon {horizon}, Sharpe {number(here['sharpe'])}."
    if math.isfinite(pbo):
        verb = "is a coin toss or worse" if pbo >= 0.5 else "is better than a coin toss"
        said += (
            f" Choosing by the past {verb}: what was best on one half of the sessions was no better than "
            f"the median on the other in {pbo:.0%} of {here['halves']:,} halves (PBO)."
        )
    if math.isfinite(p):
        found = f"{'beats' if p < 0.05 else 'does not beat'} buy-and-hold"
        said += f" The best of them {found} by more than so many tries explain (SPA p = {p:.3f})."
    return said


def describe_sweep(result: Mapping[str, Any]) -> tuple[list[dict[str, str]], list[str]]:
    """The best points at the sweep's cost as a table, and what each cost level came to in lines."""
    found, judged = result["sweep"], result["verdict"]
    rows = [one for one in found["points"] if one["cost_bps"] == found["cost_bps"]][:_SHOWN]
    table = [
        {
            f"at {found['cost_bps']:g} bps": one["label"],
            "horizon": str(one["horizon"]),
            "Sharpe": number(one["sharpe"], sign=True),
            "to buy-and-hold": number(one["sharpe_difference"], sign=True),
            "CAGR": _share(one["cagr"], sign=True),
            "max drawdown": _share(one["max_drawdown"]),
            "turnover a year": number(one["turnover"], 1),
        }
        for one in rows
    ]
    lines = [
        f"{one['cost_bps']:g} bps: best of {one['points']} is {one['best']}, Sharpe "
        f"{number(one['sharpe'], sign=True)} against {number(one['benchmark_sharpe'], sign=True)}; SPA p "
        f"{number(one['spa_p'], 3)}, PBO {_share(one['pbo'])}."
        for one in found["by_cost"]
    ]
    even = break_even(result, [one["turnover"] for one in rows]).replace(SPACE, " ")
    lines.append(
        f"Break-even cost of the best: {even}. Deflated Sharpe {_share(judged['dsr'])} after "
        f"{judged['n_trials']} trials; ledger {judged['ledger']}."
    )
    return table, lines


def _share(value: float | None, *, sign: bool = False) -> str:
    return percent(value, sign=sign).replace(SPACE, "")


# ------------------------------------------------------------------------------ the ledger


_LINE = (
    *("run_id", "date", "command", "label", "start", "end", "sessions", "sharpe", "config_sha256"),
    *("data_sha256", "returns_sha256", "returns_file", "hash"),
)


def list_trials(places: Places = Places()) -> dict[str, Any]:
    """Everything in the ledger, its chain and its files checked; the keys are those of ``docs/json.md``."""
    record = ledger.read(places.ledger)
    fault = record.verify(ledger.kept_heads(places.reports))
    rows = []
    for line, entry, counts in zip(record.lines, record.entries, record.standing(), strict=True):
        row = {"line": line, "kind": entry.get("kind", "trial"), "counts": counts}
        row |= {name: entry.get(name) for name in _LINE}
        # by the year of the run that scored it, where the line says which
        known = isinstance(row["sharpe"], (int, float)) and isinstance(entry.get("periods"), int)
        row["sharpe_annual"] = row["sharpe"] * math.sqrt(entry["periods"]) if known else None
        rows.append({**row, "returns": ledger.check_returns(places.reports, entry)})
    sharpes, edited = record.trial_sharpes(), [r["line"] for r in rows if r["returns"] == "changed"]
    said = [f"{plural(record.n_trials(), 'distinct trial')} in {plural(len(rows), 'line')}."]
    for what, lines in (
        ("Torn, as a killed process leaves them", () if record.foreign else record.torn),
        ("Net returns that are no longer those that were scored", edited),
    ):
        said += [f"{what}: line {', '.join(map(str, lines))}."] if lines else []
    if record.foreign:
        said = [
            f"{str(places.ledger)!r} is no ledger of quantseq: line 1 is none of its lines. Nothing is ever added to "
            "it; move it away, or choose another reports folder."
        ]
    else:
        said.append("The chain is intact." if fault is None else f"The ledger is damaged: {fault}.")
    return {
        "ledger": str(places.ledger),
        "intact": fault is None,
        "fault": fault,
        "n_trials": record.n_trials(),
        "trial_sd": stdev(sharpes) if len(sharpes) > 1 else None,
        "head": record.head,
        "torn": list(record.torn),
        "sentence": " ".join(said),
        "trials": rows,
    }


def describe_trials(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The ledger's lines as a table."""
    return [
        {
            "line": row["line"],
            "date": str(row["date"] or "")[:16],
            "counts": row["counts"],
            "Sharpe": number(row["sharpe_annual"], sign=True),
            "sessions": row["sessions"] or "—",
            "span": f"{row['start']} to {row['end']}" if row["start"] else "—",
            "returns": row["returns"],
            "run": row["run_id"] or "—",
            "trial": row["label"] or "—",
        }
        for row in found["trials"]
    ]
