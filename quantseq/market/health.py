"""Can these bars be trusted? Counted findings with dates and a severity.

Owns the list of rules and the comparison with the exchange's calendar. Knows nothing of sources, of
files or of the store. The rules themselves live in `plausibility` (prices alone) and
`corporate_actions` (splits and dividends); ``docs/data_health.md`` defines each, with hits and false
alarms on real faults.
"""

from collections.abc import Callable

import numpy as np

from quantseq.errors import ConfigError
from quantseq.market import corporate_actions, plausibility
from quantseq.market.bars import Bars
from quantseq.market.calendars import calendar_name, expected_sessions, listing
from quantseq.market.findings import Finding, finding
from quantseq.market.intervals import DATE_DTYPE, require_daily

NOT_DAILY = 0.5
"""Where more than this share of the sessions is missing, the bars are not daily bars of the exchange."""


def check(bars: Bars) -> tuple[Finding, ...]:
    """Look for what is implausible, errors first.

    Parameters
    ----------
    bars : Bars
        Raw or adjusted; the rules on returns use the adjusted close. Sessions are compared with the
        exchange's calendar.

    Returns
    -------
    tuple of Finding
        Empty if nothing was found.
    """
    require_daily(bars.symbol, bars.interval)
    if not len(bars):
        return ()
    rules: tuple[Callable[[Bars], Finding | None], ...] = (
        plausibility.ohlc,
        plausibility.digit_glitches,
        corporate_actions.unadjusted_splits,
        _jumps,
        _suspected_splits,
        corporate_actions.dividend_adjustment,
        corporate_actions.dividend_sizes,
        corporate_actions.duplicate_dividends,
        corporate_actions.unrecorded_adjustments,
        plausibility.forward_filled,
        plausibility.stale,
        plausibility.zero_volume,
    )
    with np.errstate(all="ignore"):  # the ratio of two prices that `Bars` allows may overflow
        found = [*(rule(bars) for rule in rules), *_sessions(bars)]
    return tuple(sorted(filter(None, found), key=lambda one: one.severity))


def _explained(bars: Bars) -> np.ndarray:
    """Moves into, or out of, a bar that another rule has found already."""
    glitch = plausibility.is_glitch(bars)
    explained: np.ndarray = corporate_actions.is_unadjusted(bars) | glitch
    explained[1:] |= glitch[:-1]
    return explained


def _jumps(bars: Bars) -> Finding | None:
    return plausibility.jumps(bars, _explained(bars))


def _suspected_splits(bars: Bars) -> Finding | None:
    return plausibility.suspected_splits(bars, _explained(bars) | (bars.splits > 0))


def _sessions(bars: Bars) -> list[Finding | None]:
    """Sessions that are missing or too many, or why they could not be compared."""
    name = calendar_name(bars.symbol, bars.timezone, **listing(bars))
    reason = ""
    if name is None:
        reason = f"no exchange calendar for the time zone {bars.timezone or 'unknown'}"
    else:
        try:
            expected, days = expected_sessions(name, bars.sessions.astype(DATE_DTYPE))
        except ConfigError as error:
            reason = str(error)
    if reason:
        return [Finding("calendar", "warning", 0, (), f"sessions not compared: {reason}")]
    missing = np.setdiff1d(expected, days, assume_unique=True)
    extra = np.setdiff1d(days, expected, assume_unique=True)
    sparse = len(missing) > NOT_DAILY * len(expected)
    why = ", more than half of them: these are not daily bars" if sparse else ""
    return [
        finding(
            "missing_session",
            sparse,
            missing,
            f"days on which the exchange was open, but there is no bar{why}",
        ),
        finding("extra_session", False, extra, "bars on days on which the exchange was closed"),
    ]
