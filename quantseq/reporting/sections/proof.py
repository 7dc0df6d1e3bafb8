"""What a reviewer needs to take the page apart: definitions, notes, and how to run it again.

Owns the wording of the terms that are no figure of the registry; the registry's own are shown as it
states them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from quantseq.reporting import words
from quantseq.reporting.page import Block, Facts, Missing, Notes, Section, Sheet, Table
from quantseq.reporting.run import Run
from quantseq.trading.performance import METRICS

TERMS = (
    ("Timing", "Weights are decided from data up to a close and filled in the next session."),
    (
        "Turnover",
        "Buys plus sales of a session over equity at the fill; a year's is the daily mean times A.",
    ),
    ("Break-even cost", "Cost in bps of traded notional at which net return equals that of cash."),
    (
        "Interval",
        "95 % percentile interval of the stationary bootstrap (Politis & Romano 1994). For the "
        "Sharpe difference, strategy and benchmark are resampled together.",
    ),
    (
        "PSR, DSR",
        "Probability that the true Sharpe ratio exceeds 0, or the best to expect from all trials "
        "without skill (Bailey & López de Prado 2012, 2014).",
    ),
    (
        "Log score",
        "Mean negative log density of the realised log return, in nats. Lower is better.",
    ),
    (
        "CRPS",
        "Continuous ranked probability score of the log return, in bps (0.0001). Lower is better.",
    ),
    ("Band", "Central interval: the 90 % band runs from the 5 % to the 95 % quantile."),
    (
        "PIT",
        "Forecast probability of a return below the realised one: uniform if calibrated. Its "
        "distance is the largest gap to the uniform distribution (Kolmogorov-Smirnov).",
    ),
    (
        "SPA p",
        "If nothing tried truly beat buy-and-hold, how often the best of it would look as good as it does: "
        "Hansen's consistent test of superior predictive ability (2005), by stationary bootstrap.",
    ),
    (
        "Reliability",
        "Share of outcomes below each forecast quantile, less the quantile's level; 0 if calibrated.",
    ),
    (
        "Profit by confidence",
        "Simple return of following the sign of P(up) − ½ for one session, before costs, grouped by "
        "|P(up) − ½|. Whiskers are twice the error, clustered by day (Bartlett HAC).",
    ),
    (
        "Diebold-Mariano",
        "Test of equal mean score on per-date averages over symbols, Bartlett HAC variance, "
        "Harvey-Leybourne-Newbold correction. A negative difference: the first model is better.",
    ),
    (
        "Network kept",
        "Weight of the network's distribution against the reference's, chosen on validation.",
    ),
)


def evidence(run: Run) -> Section:
    """Definitions, notes and manifest: the last section of the page."""
    parts = [definitions(run), notes(run), manifest(run)]
    blocks = [block for part in parts for block in part.blocks]
    return Section("definitions", "Definitions and manifest", parts[0].lead, blocks)


def definitions(run: Run) -> Section:
    """One definition of each figure, as the trading room's registry states it."""
    rows = [
        [
            metric.label,
            metric.formula,
            metric.unit,
            words.DASH if metric.ddof is None else str(metric.ddof),
            metric.annualisation,
            metric.source,
        ]
        for metric in METRICS.values()
    ]
    headers = ["figure", "formula", "unit", "ddof", "annualised", "source"]
    return Section(
        "definitions",
        "Definitions",
        f"r are simple returns per session, A = {run.periods} sessions per year, W the wealth (1 before the first "
        "session), b the benchmark's returns, f the risk-free rate per session, which is 0 on this page. "
        f"{words.DASH} stands for undefined or unknown, never for 0.",
        [
            Sheet("Figures", "Nothing is trimmed.", Table(headers, rows, align="twtntw")),
            Facts(TERMS, "Terms"),
        ],
    )


def notes(run: Run) -> Section:
    """What the health check found in the prices, and what the run itself has to say."""
    said = [str(note) for note in run.result.get("notes") or []]
    blocks: list[Block] = [Notes(said, "Notes") if said else Missing("This run left no notes.")]
    return Section("notes", "Notes", "", [*blocks, *health(run.result.get("data_findings"))])


def health(found: Sequence[Mapping[str, Any]] | None) -> list[Block]:
    """What the health check found, or that it found nothing; no block where it was not made."""
    if found is None:
        return []
    if found:
        return [_findings(found)]
    return [Notes(["The health check found nothing implausible in the prices."])]


def _findings(found: Sequence[Mapping[str, Any]]) -> Block:
    """One row per rule and severity, errors first, with the symbols it concerns."""
    rules: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in found:
        rules.setdefault((str(one.get("severity")), str(one.get("rule"))), []).append(one)
    rows = []
    for (severity, rule), several in sorted(rules.items()):
        names = [str(one.get("symbol")) for one in several]
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        first = min((day for one in several for day in one.get("sessions") or []), default="")
        rows.append(
            [
                severity,
                rule,
                ", ".join(names[:6]) + more,
                words.count(sum(int(one.get("count") or 0) for one in several)),
                str(first)[:10] or words.DASH,
                words.text(several[0].get("message")),
            ]
        )
    return Sheet(
        "Data health",
        "What was implausible in the prices. An error is something that no market did; a warning is rare "
        "but may be real. No bar was dropped or changed.",
        Table(["severity", "rule", "symbols", "sessions", "first", "what"], rows, align="ttwntw"),
    )


def manifest(run: Run) -> Section:
    """Everything needed to run it again and get the same."""
    head = words.text((run.result.get("verdict") or {}).get("ledger_head"))
    return manifest_of(run.manifest, [("Ledger at this run", head)])


def manifest_of(source: Mapping[str, Any], more: Sequence[tuple[str, str]] = ()) -> Section:
    """The same from the content of any ``manifest.json``; only ``run_id`` must be there.

    Parameters
    ----------
    source : Mapping
    more : sequence of (str, str)
        Facts that stand elsewhere.
    """
    facts = [
        ("Run", str(source["run_id"])),
        ("Created", words.text(source.get("created"))),
        ("Command", words.text(source.get("command"))),
        ("Git commit", words.text(source.get("git_commit"))),
        *more,
        ("Seeds", _pairs(source.get("seeds"))),
        ("Versions", _pairs(source.get("versions"))),
    ]
    blocks: list[Block] = [Facts(facts, "Manifest")]
    data = source.get("data")
    if data:
        blocks.append(_data(data))
    else:
        blocks.append(Missing("This run did not record its data."))
    config = source.get("config")
    if config:
        rows = [[name, value] for name, value in settings(config)]
        blocks.append(Sheet("Configuration", "", Table(["setting", "value"], rows, align="tw")))
    else:
        blocks.append(Missing("This run did not record its configuration."))
    return Section("manifest", "Manifest", "", blocks)


def _data(data: Mapping[str, Any]) -> Block:
    rows = []
    for symbol, entry in data.items():
        known = entry if isinstance(entry, Mapping) else {}
        rows.append(
            [
                str(symbol),
                words.text(known.get("source")),
                words.date(known.get("first")),
                words.date(known.get("last")),
                words.count(known.get("rows")),
                words.text(known.get("sha256")),
            ]
        )
    headers = ["symbol", "source", "first", "last", "bars", "SHA-256"]
    return Sheet("Data", "Prices that the run read.", Table(headers, rows, align="ttttnh"))


def _pairs(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items()) or words.DASH
    return words.text(value)


def settings(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names."""
    rows: list[tuple[str, str]] = []
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            rows += settings(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            rows.append((f"{prefix}{name}", ", ".join(map(str, value)) or words.DASH))
        else:
            rows.append((f"{prefix}{name}", words.text(value)))
    return rows
