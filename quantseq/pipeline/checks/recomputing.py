"""Every stored figure again, from the series it was computed from: of a run folder, or inside a page.

Owns which figure follows from which series, and how far rounding may take the two apart. Uses the same
one definition of each figure as the backtest did, and reads nothing from the disk. What follows from
neither is named by `not_recomputed`.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from quantseq.pipeline.results import REFERENCE
from quantseq.pipeline.scored import PRECISE, Scored
from quantseq.reporting import words
from quantseq.reporting.embedded import SLICES, model_of
from quantseq.reporting.run import Run
from quantseq.trading.attribution import ACCOUNT
from quantseq.trading.broker.costs import MOST_BPS
from quantseq.trading.chance.deflation import min_track_record
from quantseq.trading.chance.overfitting import spa
from quantseq.trading.luck import LEVEL, expected_best_sharpe, metric_intervals, psr, verdict
from quantseq.trading.measures import METRICS
from quantseq.trading.performance import summarise

FIRST_ORDER = 0.1
"""Costs of a session up to which the account is first-order in them."""

RECORDS = ("gate", "folds", "data_findings")
"""Parts of a result that say how it came about, and follow from no series of the run."""


@dataclass(frozen=True)
class Figure:
    """One figure: as it stands, as it follows from the data, and how far the two may differ."""

    name: str
    stored: Any
    recomputed: Any
    tolerance: float = PRECISE

    @property
    def agrees(self) -> bool:
        """Whether both are unknown, or equal within the tolerance."""
        if isinstance(self.recomputed, (bool, str)) or isinstance(self.stored, (bool, str)):
            return type(self.stored) is type(self.recomputed) and self.stored == self.recomputed
        one, other = words.known(self.stored), words.known(self.recomputed)
        if one is None or other is None:
            return one is None and other is None
        return abs(one - other) <= self.tolerance * max(1.0, abs(other))


def figures(run: Run, scored: Scored) -> list[Figure]:
    """Every figure of the run's result that follows from its series.

    Parameters
    ----------
    run : Run
        As it was saved, or as its page embeds it (then on the page's grids).
    scored : Scored
        Where the scores of its forecasts are.
    """
    loose = 1.0 if scored.precise else 2e-4 / PRECISE
    with np.errstate(over="ignore", invalid="ignore"):  # of damaged numbers, which then differ
        found = [*_money(run, loose), *_luck(run, loose)]
        found += _rivals(run, PRECISE if scored.precise else 2e-3)
        found += [*_forecast(run, scored), *_attribution(run, loose), *_costs(run)]
    return found


def not_recomputed(run: Run, found: Sequence[Figure]) -> list[str]:
    """Parts of the result that hold numbers of which none was recomputed."""
    parts: dict[str, Any] = {}
    for key, value in run.result.items():
        if key in ("verdict", "forecast") and isinstance(value, Mapping):
            parts |= {f"{key}.{name}": one for name, one in value.items()}
        elif key not in RECORDS:
            parts[key] = value
    known = tuple(f"{one.name}." for one in found)
    return [
        name
        for name, value in parts.items()
        if _holds_numbers(value) and not any(one.startswith(f"{name}.") for one in known)
    ]


def _holds_numbers(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_numbers, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_holds_numbers, value))
    return words.known(value) is not None


def _money(run: Run, loose: float) -> Iterator[Figure]:
    net, held = run.daily("strategy_net"), run.daily("buy_and_hold")
    stored = run.result.get("metrics") or {}
    for who, series, rival in (("strategy", net, held), ("buy_and_hold", held, None)):
        if series is None:
            continue
        again = summarise(series, benchmark=rival, periods=run.periods)
        for name, value in (stored.get(who) or {}).items():
            if name in again:
                counted = METRICS[name].unit == "sessions" or name == "hit_rate"
                room = PRECISE if counted else PRECISE * loose
                yield Figure(f"metrics.{who}.{name}", value, again[name], room)
    ends = run.result.get("intervals") or {}
    names = [name for name in ends if name in METRICS]
    if net is None or not names:
        return
    seed = _seed(run)
    drawn = metric_intervals(net, names, seed=seed, periods=run.periods)
    for name in names:
        for place, end in enumerate(("low", "high")):
            value = drawn[name][place]
            yield Figure(f"intervals.{name}.{end}", ends[name][place], value, PRECISE * loose)


def _seed(run: Run) -> int:
    """The seed of every bootstrap of a run."""
    seed = (run.manifest.get("seeds") or {}).get(
        "run", (run.manifest.get("config") or {}).get("seed")
    )
    return seed if isinstance(seed, int) else 0


def _luck(run: Run, loose: float) -> Iterator[Figure]:
    stored = run.result.get("verdict") or {}
    net, held = run.daily("strategy_net"), run.daily("buy_and_hold")
    if net is None or held is None or not stored:
        return
    trials, spread = stored.get("n_trials"), words.known(stored.get("trial_sd"))
    again = verdict(net, held, seed=_seed(run), periods=run.periods)
    tolerance = PRECISE * loose
    for name in ("sharpe", "rival_sharpe", "sharpe_difference"):
        if name in stored:
            yield Figure(f"verdict.{name}", stored[name], getattr(again, name), tolerance)
    low, high = again.interval
    for end, value, other in zip(("low", "high"), stored["interval"], (low, high), strict=True):
        yield Figure(f"verdict.interval.{end}", value, other, tolerance)
    if "psr" in stored:
        yield Figure("verdict.psr", stored["psr"], psr(net), tolerance)
    if isinstance(trials, int) and "trial_sd" in stored:
        dsr = _deflated(net, trials, spread)
        yield Figure("verdict.dsr", stored.get("dsr"), dsr, tolerance)
        for place, point in enumerate(stored.get("dsr_curve") or []):
            value = _deflated(net, point["n"], spread)
            yield Figure(f"verdict.dsr_curve.{place}.dsr", point["dsr"], value, tolerance)
        allowed = low > 0 and dsr > LEVEL
        if stored.get("edge") or not allowed:  # an audit may refuse what these two allow
            yield Figure("verdict.edge", stored.get("edge"), allowed)
    if "min_track_record" in stored:
        need = min_track_record(net)
        value = stored["min_track_record"]
        yield Figure("verdict.min_track_record", value, need, max(1 / (need or 1), 10 * tolerance))
    over = list(stored.get("spa_over") or [])
    columns = [one for name in over if (one := run.daily(name)) is not None]
    if over and len(columns) == len(over) and loose == 1:  # a page has the policies coarsely
        p = spa(np.column_stack(columns), held.to_numpy(), seed=_seed(run))
        yield Figure("verdict.spa_p", stored["spa_p"], p, tolerance)
    yield from _sentence(str(stored.get("sentence")), again)


def _deflated(net: "pd.Series[float]", trials: int, spread: float | None) -> float:
    """The deflated Sharpe ratio with the number and the spread of trials that the run froze."""
    known = spread or 1 / math.sqrt(max(len(net) - 1, 1))
    return psr(net, benchmark_sharpe=expected_best_sharpe(trials, known))


def _sentence(text: str, again: Any) -> Iterator[Figure]:
    """The numbers in the verdict's sentence, where it states them."""
    sign = "[+−]?"
    pattern = (
        rf"Sharpe ({sign}\d+\.\d\d) against ({sign}\d+\.\d\d), difference ({sign}\d+\.\d\d)"
        rf"(?: \(95 % interval ({sign}\d+\.\d\d) to ({sign}\d+\.\d\d)\))?"
    )
    found = re.search(pattern, text)
    values = (again.sharpe, again.rival_sharpe, again.sharpe_difference, *again.interval)
    for place, shown in enumerate(found.groups() if found else ()):
        if shown is not None:
            stated = float(shown.replace("−", "-"))
            tolerance = 0.00501 / max(1.0, abs(values[place]))
            yield Figure(f"verdict.sentence.{place + 1}", stated, values[place], tolerance)


def _rivals(run: Run, tolerance: float) -> Iterator[Figure]:
    held = run.daily("buy_and_hold")
    for rival, one in (run.result.get("rivals") or {}).items():
        series = run.daily(f"rival:{rival}")
        if series is None:
            continue
        again = summarise(series, benchmark=held, periods=run.periods)
        for name, value in (one.get("metrics") or {}).items():
            if tolerance == PRECISE or METRICS[name].unit != "sessions":
                room = PRECISE if name == "hit_rate" else tolerance
                yield Figure(f"rivals.{rival}.metrics.{name}", value, again[name], room)


def _forecast(run: Run, scored: Scored) -> Iterator[Figure]:
    found = run.result.get("forecast") or {}
    for model, stored in (found.get("models") or {}).items():
        yield from _model(f"forecast.models.{model}", model, stored, scored)
    if scored.precise:
        for model, steps in (found.get("by_step") or {}).items():
            for step, stored in enumerate(steps, start=1):
                for score in ("log_score", "crps"):
                    value = scored.mean(model, score, step)
                    if value is not None:
                        label = f"forecast.by_step.{model}.{step}.{score}"
                        yield Figure(label, stored.get(score), value)
    own, base = (scored.mean(name, "log_score", 1) for name in (model_of(run.result), REFERENCE))
    if "skill_nats" in found and own is not None and base is not None:
        room = scored.room(REFERENCE, "log_score", 1)
        yield Figure("forecast.skill_nats", found["skill_nats"], base - own, room)
    for test in found.get("tests") or []:
        case = str(test["rival"]), str(test["score"]), int(test["step"])
        again = scored.test(*case)
        if again is None:
            continue
        label = f"forecast.tests.{test['rival']}.{test['score']}.{test['step']}"
        room = PRECISE if scored.precise else 0.02
        yield Figure(f"{label}.t", test.get("t"), again.t, room)
        yield Figure(f"{label}.p", test.get("p"), again.p, room)
        yield Figure(f"{label}.n_days", test.get("n_days"), again.n_days)
        if "mean_difference" in test:
            value = test["mean_difference"]
            yield Figure(
                f"{label}.mean_difference", value, again.mean_difference, scored.room(*case)
            )


def _model(label: str, model: str, stored: Mapping[str, Any], scored: Scored) -> Iterator[Figure]:
    for score in ("log_score", "crps"):
        value = scored.mean(model, score, 1)
        if value is not None and score in stored:
            yield Figure(f"{label}.{score}", stored[score], value, scored.room(model, score, 1))
    again = scored.calibration(model)
    for name, value in (again or {}).items():
        if name in stored:
            room = 1.01 / SLICES if name == "pit_ks" and not scored.precise else PRECISE
            yield Figure(f"{label}.{name}", stored[name], value, room)


def _attribution(run: Run, loose: float) -> Iterator[Figure]:
    parts, net = run.result.get("attribution") or [], run.daily("strategy_net")
    grand = 0.0
    for one in parts:
        total = sum(words.known(v) or 0.0 for k, v in one.items() if k not in ("symbol", "total"))
        yield Figure(f"attribution.{one.get('symbol')}.total", one.get("total"), total)
        grand += words.known(one.get("total")) or 0.0
    if net is not None and any(one.get("symbol") == ACCOUNT for one in parts):
        earned = METRICS["total_return"](net)
        yield Figure("attribution.total", grand, earned, max(PRECISE * loose, 1e-8))


def _costs(run: Run) -> Iterator[Figure]:
    """Net is gross less cost; the break-even cost, where it follows from the series."""
    net, gross, cost = (run.daily(name) for name in ("strategy_net", "strategy_gross", "cost"))
    if net is None or gross is None or cost is None:
        return
    yield Figure("equity.net = gross − cost", float((gross - cost - net).abs().max()), 0.0, 3e-7)
    turnover = run.daily("turnover")
    terms = (run.manifest.get("config") or {}).get("costs") or {}
    charged = words.known(terms.get("cost_bps"))
    bent = ("min_commission", "impact", "volume_cap", "whole_shares", "cash_rate")
    if turnover is None or charged is None or any(map(terms.get, bent)):
        return
    if "break_even_bps" in run.result:
        free = gross - (cost - 1e-4 * charged * turnover)
        yield from _break_even(words.known(run.result["break_even_bps"]), free, turnover, charged)


def _break_even(
    level: float | None,
    free: "pd.Series[float]",
    turnover: "pd.Series[float]",
    charged: float,
) -> Iterator[Figure]:
    """The cost at which returns `free` of it compound to nothing, where no session costs too much.

    Holds the turnover as it was at `charged` basis points, which is right to first order in the cost
    of a session. Measured against the engine on 144 accounts of 40 to 1,500 sessions: off by at most
    1 % of the break-even cost, or of what was charged.
    """
    from scipy.optimize import brentq

    def left(bps: float) -> float:
        return float(np.log1p(free - 1e-4 * bps * turnover).sum())

    again: float | None = None
    if turnover.any():
        reach = min(FIRST_ORDER / (1e-4 * float(turnover.max())), MOST_BPS)
        with np.errstate(divide="ignore"):
            most = left(reach)
        if not np.isfinite(most) or (most > 0 and reach < MOST_BPS):
            return
        if left(0.0) > 0:
            again = MOST_BPS if most > 0 else float(brentq(left, 0.0, reach))
    room = 0.05 * max(1.0, 0.2 * charged / max(1.0, again or 0.0))
    if (level is None) != (again is None) and (level or again or 0.0) <= room:
        return  # too near to nothing to be told from it
    yield Figure("break_even_bps.first_order", level, again, room)
