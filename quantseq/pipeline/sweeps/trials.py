"""The ledger as people read it: every line, whether it counts, and whether anything is wrong with it."""

import math
from statistics import stdev
from typing import Any

from quantseq.config import Places
from quantseq.trading import ledger

YEAR = 252
"""Sessions a year by which the Sharpe ratio per session is shown annualised."""

SHOWN = ("run_id", "date", "command", "label", "start", "end", "sessions", "sharpe")
HASHES = ("config_sha256", "data_sha256", "returns_sha256", "returns_file", "hash")


def list_trials(places: Places | None = None) -> dict[str, Any]:
    """Everything in the ledger, its chain and its files checked.

    Parameters
    ----------
    places : Places, optional

    Returns
    -------
    dict
        ``ledger`` (path), ``intact``, ``fault`` (None or what is wrong), ``n_trials``, ``trial_sd`` (None
        below two trials), ``head``, ``torn`` (line numbers), ``sentence`` and ``trials``, one per line.

    Raises
    ------
    CorruptFileError
        If the file exists and cannot be read at all.
    """
    where = places or Places()
    record = ledger.read(where.ledger)
    fault = record.verify(ledger.kept_heads(where.reports))
    rows = []
    lines = zip(record.lines, record.entries, record.standing(), strict=True)
    for line, entry, counts in lines:
        sharpe = entry.get("sharpe")
        rows.append(
            {
                "line": line,
                "kind": entry.get("kind", "trial"),
                "counts": counts,
                **{name: entry.get(name) for name in (*SHOWN, *HASHES)},
                "sharpe_annual": sharpe * math.sqrt(YEAR)
                if isinstance(sharpe, (int, float))
                else None,
                "returns": ledger.check_returns(where.reports, entry),
            }
        )
    sharpes = record.trial_sharpes()
    return {
        "ledger": str(where.ledger),
        "intact": fault is None,
        "fault": fault,
        "n_trials": record.n_trials(),
        "trial_sd": stdev(sharpes) if len(sharpes) > 1 else None,
        "head": record.head,
        "torn": list(record.torn),
        "sentence": _sentence(record, fault, rows),
        "trials": rows,
    }


def _sentence(record: ledger.Ledger, fault: str | None, rows: list[dict[str, Any]]) -> str:
    lines, trials = len(rows), record.n_trials()
    text = f"{trials} distinct trial{'s' * (trials != 1)} in {lines} line{'s' * (lines != 1)}. "
    if record.torn:
        numbers = ", ".join(map(str, record.torn))
        text += f"Torn, as a killed process leaves them: line {numbers}. "
    changed = [row["line"] for row in rows if row["returns"] == "changed"]
    if changed:
        numbers = ", ".join(map(str, changed))
        text += f"Net returns that are no longer those that were scored: line {numbers}. "
    return text + ("The chain is intact." if fault is None else f"The ledger is damaged: {fault}.")
