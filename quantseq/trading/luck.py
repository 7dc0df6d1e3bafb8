"""How much of a result is luck: what may be claimed from it, by a stated rule.

Owns the verdict and the sentence that states it. Knows nothing of trades: it reads return series, and
how many were tried before. Intervals come from `bootstrap`, the deflated Sharpe ratio from `deflation`,
tests over many trials at once from `overfitting`.

The verdict's rule
------------------
An *edge* is claimed only if the 95 % interval of the net Sharpe ratio minus the rival's, from a
paired stationary bootstrap, lies above 0 **and** the deflated Sharpe ratio is above 0.95 **and** the
look-ahead audit passes **and** the ledger that counted the trials is whole. What was not audited is no
edge. "No edge was found" is a verdict like any other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantseq.trading.chance.bootstrap import (
    HEADLINES,
    LEVEL,
    RESAMPLES,
    Interval,
    block_length,
    bootstrap_interval,
    metric_intervals,
    paired_columns,
)
from quantseq.trading.chance.deflation import (
    deflated_sharpe,
    dsr_curve,
    expected_best_sharpe,
    min_track_record,
    psr,
    sharpe_per_session,
    trial_spread,
)
from quantseq.trading.measures import METRICS, Floats, Sample, make_sample

__all__ = [
    "HEADLINES",
    "LEVEL",
    "MIN_SESSIONS",
    "RESAMPLES",
    "Interval",
    "Verdict",
    "block_length",
    "bootstrap_interval",
    "deflated_sharpe",
    "dsr_curve",
    "expected_best_sharpe",
    "metric_intervals",
    "min_track_record",
    "psr",
    "sharpe_per_session",
    "trial_spread",
    "verdict",
]

MIN_SESSIONS = 60
"""Below this many sessions nothing is claimed: about a quarter of a year."""


@dataclass(frozen=True)
class Verdict:
    """What may be claimed.

    Attributes
    ----------
    edge : bool
        Whether an edge may be claimed, by the rule in the module docstring.
    sentence : str
        The claim in words, with its numbers.
    sharpe, rival_sharpe : float
        Annualised Sharpe ratios.
    sharpe_difference : float
        The first minus the second; NaN where undefined.
    interval : (float, float)
        Paired bootstrap interval of the difference; NaN where nothing can be claimed.
    dsr : float
        Deflated Sharpe ratio of the net returns.
    n_trials : int
        Trials it was deflated by.
    trial_sd : float
        Spread of their Sharpe ratios per session that it was deflated by: with `n_trials` all that is
        needed to compute it again.
    min_track_record : int or None
        Sessions from which on PSR reaches 0.95; None where never.
    audit_passed : bool or None
        Whether the look-ahead audit passed; None where none was run.
    """

    edge: bool
    sentence: str
    sharpe: float
    rival_sharpe: float
    sharpe_difference: float
    interval: Interval
    dsr: float
    n_trials: int
    trial_sd: float = math.nan
    min_track_record: int | None = None
    audit_passed: bool | None = None


def verdict(
    net: Any,
    benchmark: Any,
    *,
    seed: int,
    n_trials: int = 1,
    trial_sharpes: Sequence[float] = (),
    audit_passed: bool | None = None,
    ledger_fault: str | None = None,
    cost_bps: float | None = None,
    rival: str = "buy-and-hold",
    risk_free: float = 0.0,
    periods: int = 252,
    resamples: int = RESAMPLES,
) -> Verdict:
    """Judge net returns against a rival's, by the rule in the module docstring.

    Parameters
    ----------
    net, benchmark : (T,) Series or array
        Net simple returns per session of the strategy and its rival over the same sessions.
    seed : int
        Of the bootstrap.
    n_trials, trial_sharpes
        As in `deflated_sharpe`: what the ledger counts.
    audit_passed : bool, optional
        What the look-ahead audit found; None where none was run.
    ledger_fault : str, optional
        What is wrong with the ledger that counted the trials, as `Ledger.verify` says it.
    cost_bps : float, optional
        Trading costs, for the sentence.
    rival : str
        The rival's name, for the sentence.
    risk_free, periods
        As in `performance.summarise`.
    resamples : int
        As in `bootstrap_interval`.
    """
    sample = make_sample(net, benchmark, risk_free, periods)
    own, other = (METRICS["sharpe"].of(one) for one in (sample, _rival(sample)))
    sessions = len(sample.returns)
    dsr = deflated_sharpe(sample.returns, trial_sharpes, n_trials=n_trials)
    spread = trial_spread(trial_sharpes, sessions) if sessions > 1 else math.nan
    interval = (math.nan, math.nan)
    if math.isfinite(own - other) and sessions >= MIN_SESSIONS:
        interval = bootstrap_interval(
            _sharpe_difference(sample), paired_columns(sample), seed=seed, resamples=resamples
        )
    edge = interval[0] > 0 and dsr > LEVEL and audit_passed is True and ledger_fault is None
    after = f"after {'' if cost_bps is None else f'{cost_bps:g} bps '}costs"
    least = min_track_record(sample.returns)
    draft = Verdict(
        edge, "", own, other, own - other, interval, dsr, n_trials, spread, least, audit_passed
    )
    return replace(draft, sentence=_sentence(draft, rival, after, sessions, ledger_fault))


def _sentence(v: Verdict, rival: str, after: str, sessions: int, fault: str | None) -> str:
    if not sessions:
        return "No verdict: there is not a single session to judge."
    if math.isnan(v.sharpe):
        return (
            "No verdict: the strategy's returns never moved, so no position was held and there is "
            f"nothing to compare with {rival}."
        )
    if math.isnan(v.rival_sharpe):
        return f"No verdict: the returns of {rival} never moved, so there is no rival to beat."
    numbers = (
        f"Sharpe {_signed(v.sharpe, plus='')} against {_signed(v.rival_sharpe, plus='')}, "
        f"difference {_signed(v.sharpe_difference)}"
    )
    failed = " The look-ahead audit failed." if v.audit_passed is False else ""
    if sessions < MIN_SESSIONS:
        return (
            f"Too short to judge against {rival} {after}: {sessions} sessions of the "
            f"{MIN_SESSIONS} needed; {numbers}.{failed}"
        )
    low, high = v.interval
    if math.isnan(low):
        return (
            f"Too few trades to judge against {rival} {after}: in many resampled histories no "
            f"position is held; {numbers}.{failed}"
        )
    numbers += f" (95 % interval {_signed(low)} to {_signed(high)})"
    if low > 0:
        return _better(v, rival, after, numbers, fault)
    if high < 0:
        return f"Worse than {rival} {after}: {numbers}.{failed}"
    return f"No edge over {rival} was found {after}: {numbers}.{failed}"


def _better(v: Verdict, rival: str, after: str, numbers: str, fault: str | None) -> str:
    """The interval lies above 0: either all other conditions hold, or name those that do not."""
    trials = "1 trial" if v.n_trials == 1 else f"{v.n_trials} trials"
    deflated = f"the deflated Sharpe is {_percent(v.dsr)} after {trials}"
    if v.edge:
        return (
            f"An edge over {rival} was found {after}: {numbers}; {deflated}; the look-ahead audit "
            "passed."
        )
    why = [] if v.dsr > LEVEL else [f"{deflated} and more than 95 % is needed"]
    if v.audit_passed is not True:
        ran = v.audit_passed is False
        why.append("the look-ahead audit failed" if ran else "no look-ahead audit was run")
    if fault is not None:
        why.append(f"the ledger that counts the trials is damaged ({fault})")
    return f"No edge over {rival} was established {after}: {numbers}, but {', and '.join(why)}."


def _rival(sample: Sample) -> Sample:
    assert sample.benchmark is not None
    return Sample(sample.benchmark, None, sample.free, sample.periods)


def _sharpe_difference(sample: Sample) -> Callable[[Floats], float]:
    scale = math.sqrt(sample.periods)

    def difference(drawn: NDArray[np.float64]) -> float:
        if not np.ptp(drawn, axis=0).all():
            return math.nan
        ratio = (drawn.mean(axis=0) - sample.free) / drawn.std(axis=0, ddof=1)
        return float(ratio[0] - ratio[1]) * scale

    return difference


def _signed(value: float, *, plus: str = "+") -> str:
    return f"{plus if value >= 0 else '−'}{abs(value):.2f}"


def _percent(share: float) -> str:
    """Percent with one digit, rounded down so that a miss never reads as a hit."""
    return "undefined" if math.isnan(share) else f"{math.floor(share * 1000) / 10:.1f} %"
