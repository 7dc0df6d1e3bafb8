"""Whether the result is luck: the difference to the benchmark, what was tried, audit and folds.

Owns the wording of this section. Every figure comes from the run or from the trading room.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from quantseq.reporting import words
from quantseq.reporting.drawing import charts, profiles
from quantseq.reporting.page import (
    HALF,
    Block,
    Cell,
    Chart,
    Facts,
    Key,
    Missing,
    Row,
    Section,
    Sheet,
    Table,
    chart,
)
from quantseq.reporting.run import Run
from quantseq.reporting.sections.folds import fold_sheet
from quantseq.reporting.sections.overview import audit, ends, entries
from quantseq.trading.luck import psr, trial_spread

NEEDED = 0.95
"""Deflated Sharpe ratio that an edge must exceed."""

RANGE = ("low", "sharpe", "high")
"""Ends and middle of a placebo's Sharpe ratios."""


def luck(run: Run) -> Section:
    """Whether the result could be chance."""
    verdict = run.result.get("verdict") or {}
    low, high = ends(verdict.get("interval"))
    middle = words.known(verdict.get("sharpe_difference"))
    blocks: list[Block] = []
    if low is None or high is None or middle is None:
        blocks.append(Missing("This run stored no interval of the Sharpe difference."))
    else:
        blocks.append(_difference(low, middle, high))
    blocks.append(Facts(_facts(run, verdict)))
    drawn = [part for part in (_deflated(verdict), _placebos(run)) if part is not None]
    if drawn:
        blocks.append(Row("pair", drawn))
    if not any(part.key == "deflated" for part in drawn):
        blocks.append(Missing("This run stored no curve of the deflated Sharpe against trials."))
    if not any(part.key == "placebos" for part in drawn):
        blocks.append(Missing("This run stored no placebos to compare with."))
    blocks.append(_checks(run))
    blocks.append(fold_sheet(run))
    return Section("luck", "Is it luck?", "", blocks)


def _facts(run: Run, verdict: Mapping[str, Any]) -> list[tuple[str, str]]:
    net, trials = run.daily("strategy_net"), verdict.get("n_trials")
    spread = words.known(verdict.get("trial_sd"))
    spa, needed = verdict.get("spa_p"), words.known(verdict.get("min_track_record"))
    seeds = run.manifest.get("seeds")
    found = [str(value) for value in (seeds if isinstance(seeds, Mapping) else {}).values()]
    return [
        (
            "Probability that the true Sharpe is above 0 (PSR)",
            words.percent(verdict.get("psr", None if net is None else psr(net))),
        ),
        (
            "The same, discounted for all trials (DSR)",
            f"{words.percent(verdict.get('dsr'))}; an edge needs more than {words.percent(NEEDED, 0)}",
        ),
        (
            "Trials counted",
            f"{words.count(trials)}, from the ledger of every backtest in this folder"
            + ("" if spread is None else f"; {_scatter(spread, len(run.equity))}"),
        ),
        (
            "Test that nothing tried beats buy-and-hold (SPA)",
            "not stored for this run"
            if words.known(spa) is None
            else f"p {words.p_value(spa)}, by Hansen over everything tried on these sessions",
        ),
        (
            "Sessions needed for a PSR of 95 %",
            (
                "not stored for this run"
                if "min_track_record" not in verdict
                else "no number would do: the Sharpe ratio is not above 0"
                if needed is None
                else f"{words.count(np.ceil(needed))} at this Sharpe ratio; "
                f"this run has {words.count(len(run.equity))}"
            ),
        ),
        ("Ledger", words.text(verdict.get("ledger"))),
        (
            "Seeds",
            f"{', '.join(found) or words.DASH}; how much a seed matters is not known from one run",
        ),
        (
            "Rule",
            "an edge is claimed only if the whole interval lies above 0, the DSR exceeds 95 %, the "
            "look-ahead audit passes and the ledger is whole",
        ),
    ]


def _scatter(spread: float, sessions: int) -> str:
    """What the trials are discounted by: their own scatter, or chance's where they show none."""
    shown = words.number(spread, 4)
    if sessions > 1 and np.isclose(spread, trial_spread([], sessions), rtol=1e-9, atol=0):
        return f"they show no scatter, so that of chance is taken, {shown} in Sharpe per session"
    return f"their Sharpe ratios per session scatter by {shown}"


def _difference(low: float, middle: float, high: float) -> Block:
    if low > 0:
        reading = "the whole interval lies above 0: chance alone rarely does that."
    elif high < 0:
        reading = "the whole interval lies below 0: worse than doing nothing."
    else:
        reading = "0 lies inside, so chance alone can explain the difference."
    shown = [words.number(value, sign=True) for value in (low, middle, high)]
    return chart(
        "difference",
        "Sharpe ratio against buy-and-hold's, with its 95 % interval",
        f"Difference {shown[1]}, interval {shown[0]} to {shown[2]}: {reading}",
        charts.whisker(low, middle, high, unit="Sharpe ratio of the strategy minus buy-and-hold's"),
        sizes=((900, 110), (340, 110)),
        table=Table(
            ["", "low", "estimate", "high"],
            [["strategy − buy-and-hold", *shown]],
            "Stationary bootstrap",
        ),
    )


def _deflated(verdict: Mapping[str, Any]) -> Chart | None:
    points = [
        (n, value)
        for one in entries(verdict, "dsr_curve")
        if (n := words.known(one.get("n"))) is not None
        and n >= 1
        and (value := words.known(one.get("dsr"))) is not None
    ]
    if len(points) < 2:
        return None
    where, what = (np.array(column) for column in zip(*sorted(points), strict=True))
    trials, now = words.known(verdict.get("n_trials")), words.known(verdict.get("dsr"))
    passing = where[what > NEEDED]
    reading = (
        "Not even as the only trial would it exceed 95 %."
        if not len(passing)
        else f"It would exceed 95 % with up to {words.plural(int(passing.max()), 'trial')}."
    )
    if trials is not None:
        reading = (
            f"After the {words.plural(int(trials), 'trial')} in the ledger {words.percent(now)} are "
            f"left. {reading}"
        )
    return chart(
        "deflated",
        "Deflated Sharpe against the number of trials",
        reading,
        profiles.profile(
            where,
            what,
            across="trials",
            show=lambda value: words.percent(value, 0),
            mark=None if trials is None else profiles.Mark(trials, f"N = {trials:.0f}"),
            level=NEEDED,
            top=1.02,
            log=True,
            ticks=[tick for tick in (1, 10, 100, 1000, 10_000) if where[0] <= tick <= where[-1]],
        ),
        sizes=HALF,
        table=Table(
            ["trials", "DSR"],
            [[words.count(n), words.percent(value)] for n, value in zip(where, what, strict=True)],
            "Deflated Sharpe ratio if so many trials had been made",
        ),
        legend=[Key("accent", "line", "DSR"), Key("ink", "line", "needed for an edge")],
    )


def _placebos(run: Run) -> Chart | None:
    own = words.known(((run.result.get("metrics") or {}).get("strategy") or {}).get("sharpe"))
    stored = entries(audit(run), "placebos")
    found = [one for one in stored if all(words.known(one.get(k)) is not None for k in RANGE)]
    if not found or own is None:
        return None
    names = [words.text(one.get("name")) for one in found]
    table = np.array([[one[k] for k in RANGE] for one in found], dtype=np.float64)
    rank = words.known(audit(run).get("rank"))
    beaten = (
        ""
        if rank is None
        else f" It beats {words.percent(rank)} of all placebos, a tie counting half."
    )
    rows: list[list[str]] = []
    for name, values, one in zip(names, table.tolist(), found, strict=True):
        shown = [words.number(value, sign=True) for value in values]
        rows.append([name, *shown, words.count(one.get("n"))])
    return chart(
        "placebos",
        "Sharpe ratio beside placebos without any forecast",
        f"The strategy's Sharpe ratio is {words.number(own, sign=True)}.{beaten}",
        profiles.ranges(
            names,
            *table.T,
            mark=profiles.Mark(own, f"strategy {words.number(own, sign=True)}"),
            unit="Sharpe ratio a year, net of costs",
        ),
        sizes=((440, 130 + 30 * len(found)), (340, 130 + 30 * len(found))),
        table=Table(["", "low", "middle", "high", "runs"], rows, "Sharpe ratios of placebos"),
        legend=[Key("accent", "line", "strategy"), Key("neutral", "box", "range of placebos")],
    )


def _checks(run: Run) -> Block:
    checks = entries(audit(run), "checks")
    if not checks:
        return Missing("This run was not audited for look-ahead.")
    rows: list[list[str | Cell]] = [
        [
            words.text(one.get("name")),
            Cell("passed" if one.get("passed") else "failed", "" if one.get("passed") else "loss"),
            str(one.get("reading") or ""),
        ]
        for one in checks
    ]
    failed = sum(not one.get("passed") for one in checks)
    return Sheet(
        "Look-ahead audit",
        f"All {len(checks)} checks passed: nothing that was decided knew what came after."
        if not failed
        else f"{words.plural(failed, 'check')} of {len(checks)} failed: the result may not be claimed.",
        Table(["check", "result", "reading"], rows, align="ttw"),
    )
