"""Two more looks at the forecasts: reliability by level, and profit by confidence.

Owns their wording. What they show is computed in the evaluation room.
"""

import numpy as np
import pandas as pd

from quantseq.evaluation.conviction import profit_by_confidence
from quantseq.reporting import words
from quantseq.reporting.drawing import profiles, score_charts
from quantseq.reporting.drawing.axes import plain_text
from quantseq.reporting.page import HALF, Chart, Key, Table, chart
from quantseq.reporting.sections.overview import days, floats

GROUPS = 10
LEVELS = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
LEAST = 40
"""Outcomes below which no share is drawn."""


def reliability(forecasts: pd.DataFrame) -> Chart | None:
    """Share of outcomes below each level, one step ahead; None without outcomes."""
    if "pit" not in forecasts:
        return None
    pit = floats(forecasts.loc[forecasts["step"] == 1, "pit"].dropna())
    if len(pit) < LEAST:
        return None
    held = np.searchsorted(np.sort(pit), LEVELS, "right") / len(pit)
    grid = np.linspace(0, 1, 101)
    gap = np.searchsorted(np.sort(pit), grid, "right") / len(pit) - grid
    worst = int(np.argmax(np.abs(gap)))
    rows = [
        [
            words.percent(level, 0),
            words.percent(share),
            f"{words.number(100 * (share - level), 1, sign=True)} points",
        ]
        for level, share in zip(LEVELS, held, strict=True)
    ]
    return chart(
        "reliability",
        "Reliability by level",
        f"The largest gap is {words.number(100 * gap[worst], 1, sign=True)} points, at the "
        f"{words.percent(grid[worst], 0)} quantile: "
        f"{'more' if gap[worst] > 0 else 'fewer'} outcomes lay below it than forecast.",
        score_charts.reliability({"": pit}),
        sizes=HALF,
        table=Table(
            ["level", "outcomes below", "gap"], rows, "Outcomes below each forecast quantile"
        ),
        legend=[Key("accent", "line", "observed less forecast"), Key("ink", "line", "calibrated")],
    )


def confidence(forecasts: pd.DataFrame) -> Chart | None:
    """Profit of following the forecast's sign, by how sure it was; None where it never calls one."""
    if not {"prob_up", "realised"} <= set(forecasts):
        return None
    first = forecasts.loc[forecasts["step"] == 1].sort_values(["cutoff", "symbol"], kind="stable")
    found = profit_by_confidence(
        floats(first["prob_up"]), floats(first["realised"]), days(first["cutoff"]), groups=GROUPS
    )
    if not found:
        return None
    means = np.array([one.value for one in found])
    errors = np.array([abs(one.value / one.t) if one.t else np.nan for one in found])
    errors = np.where(np.isfinite(errors), errors, 0.0)
    names = [str(number) for number in range(1, len(found) + 1)]
    shown = [f"{words.number(1e4 * mean, 1, sign=True)}{words.SPACE}bps" for mean in means]
    rows = [
        [
            f"{name}{', least sure' if name == '1' else ', surest' if name == names[-1] else ''}",
            text,
            words.number(one.t, 2, sign=True),
            words.DASH if words.known(one.p) is None else words.p_value(one.p),
            words.count(one.n_days),
        ]
        for name, text, one in zip(names, shown, found, strict=True)
    ]
    top = found[-1]
    sure = abs(top.t) >= 2 if np.isfinite(top.t) else False
    return chart(
        "confidence",
        "Profit by confidence",
        f"Following the surest tenth earned {shown[-1]} a session before costs, the least sure "
        f"{shown[0]}; the surest {'is' if sure else 'is not'} told from 0 by two errors.",
        profiles.bars(
            names,
            1e4 * means,
            show=plain_text,
            across="tenth of forecasts, surest last",
            up="bps a session",
            errors=2e4 * errors,
        ),
        sizes=HALF,
        table=Table(
            ["tenth", "mean profit", "t", "p", "days"], rows, "Profit of following the sign"
        ),
        legend=[
            Key("accent", "box", "gain"),
            Key("loss", "box", "loss"),
            Key("ink", "line", "two errors"),
        ],
    )
