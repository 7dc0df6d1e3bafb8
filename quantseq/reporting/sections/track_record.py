"""Whether forecast probabilities were right, when, and what the forecasts looked like.

Owns the wording of these parts of an evaluation's page. Every score was stored by the evaluation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from quantseq.market.bars import Floats
from quantseq.reporting import words
from quantseq.reporting.drawing import charts
from quantseq.reporting.drawing.score_charts import LEVELS, reliability, score_lines
from quantseq.reporting.page import Block, Chart, Missing, Row, Section, Sheet, Table, chart
from quantseq.reporting.sections import skill
from quantseq.reporting.sections.standings import MILLI, bps

DRAWN = ("gjr-garch-skewt", "har-range-t", "ewma-t")
"""Rivals with a density that are drawn beside the model, where they took part."""


def calibration(own: Mapping[str, Any], scores: pd.DataFrame, names: Sequence[str]) -> Section:
    """Coverage, PIT and reliability of the next day."""
    first = scores.loc[scores["step"] == 1]
    pits: dict[str, Floats] = {}
    for name in dict.fromkeys(names):
        if f"pit:{name}" in first:
            values = first[f"pit:{name}"].to_numpy(dtype=np.float64)
            pits[name] = values[np.isfinite(values)]
    main = names[0]
    pit = skill.pit_chart(pd.DataFrame({"step": 1, "pit": pits[main]})) if main in pits else None
    pair = [part for part in (skill.coverage_chart(own), pit) if part is not None]
    blocks: list[Block] = [Row("pair", pair)] if pair else []
    drawn = {name: values for name, values in list(pits.items())[:3] if len(values)}
    if main in drawn:
        blocks.append(_reliability(drawn, main))
    else:
        blocks.append(Missing("No outcome is known yet, so calibration cannot be judged."))
    return Section("calibration", "Are the probabilities right?", "", blocks)


def _reliability(pits: Mapping[str, Floats], main: str) -> Chart:
    drawing = reliability(pits)
    gaps = drawing.numbers().drop(columns="probability")
    at = int(np.argmax(np.abs(gaps[main])))
    gap = float(gaps[main].iloc[at])
    rows = [
        [f"{LEVELS[i]:.2f}", *(words.number(100 * gap, 2, sign=True) for gap in gaps.iloc[i])]
        for i in range(5, len(LEVELS) - 1, 5)
    ]
    return chart(
        "reliability",
        "Do outcomes fall below each quantile as often as they should?",
        f"The largest gap of {main} is {words.number(100 * gap, 1, sign=True)} points, where the forecast "
        f"says {words.percent(LEVELS[at], 0)}.",
        drawing,
        sizes=((900, 300), (340, 280)),
        table=Table(
            ["level", *gaps], rows, "Observed share below the quantile less its level, points"
        ),
    )


def over_time(models: Mapping[str, Any], main: str, reference: str) -> Section:
    """Scores by step ahead and by year, relative to the reference's."""
    title = "By step and by year"
    if reference not in models or reference == main:
        said = "The reference did not take part, and scores are shown relative to it."
        return Section("steps", title, blocks=[Missing(said)])
    known = [name for name in (main, *DRAWN) if name in models and name != reference]
    unit = f"log score less that of {reference}, nat/1000"
    up = "difference, nat/1000"
    blocks: list[Block] = []
    for key, column, across, what in (
        ("score_by_step", "step", "steps ahead", "by step ahead"),
        ("score_by_year", "year", "year of the cutoff", "next day, by year"),
    ):
        entries = {name: models[name].get(f"by_{column}") or [] for name in (*known, reference)}
        where = [int(entry[column]) for entry in entries[reference]]
        series = {
            name: MILLI * (_column(entries[name]) - _column(entries[reference])) for name in known
        }
        series = {name: values for name, values in series.items() if np.isfinite(values).any()}
        if not where or main not in series:
            blocks.append(Missing(f"No log scores {what} were stored."))
            continue
        ahead = int((series[main] < 0).sum())
        rows = [
            [
                str(at),
                *(words.number(values[i], 2, sign=True) for values in series.values()),
                *_absolute(entries, main, reference, i),
            ]
            for i, at in enumerate(where)
        ]
        head = [column, *(f"{name}, nat/1000" for name in series)]
        head += [f"CRPS {name}" for name in (main, reference)]
        heading = f"Log score against {reference}, {what}"
        reading = (
            f"Lower is better, 0 is {reference}. {main} is ahead at {ahead} of "
            f"{words.plural(len(where), column)}."
        )
        table = Table(head, rows, f"Mean {unit}; CRPS in bps")
        if len(where) < 2:
            blocks.append(Sheet(heading, reading, table))
            continue
        blocks.append(
            chart(
                key,
                heading,
                reading,
                score_lines(where, series, across=across, up=up),
                sizes=((900, 300), (340, 300)),
                table=table,
            )
        )
    return Section("steps", title, "", blocks)


def _column(entries: Sequence[Mapping[str, Any]]) -> Floats:
    return np.array([words.known(entry.get("log_score")) for entry in entries], dtype=np.float64)


def _absolute(
    entries: Mapping[str, Sequence[Mapping[str, Any]]], main: str, reference: str, place: int
) -> list[str]:
    return [bps(entries[name][place].get("crps")) for name in (main, reference)]


def gallery(picked: Sequence[Mapping[str, Any]]) -> Section:
    """The forecasts that were picked when they were made."""
    fans = []
    for one in picked:
        fan = charts.Fan(
            str(one["symbol"]),
            np.array(one["dates"], dtype="datetime64[D]"),
            np.array(one["closes"], dtype=np.float64),
            [f"+{step + 1}" for step in range(len(one["prices"]))],
            np.array(one["levels"], dtype=np.float64),
            np.array(one["prices"], dtype=np.float64),
            np.array(one["realised"], dtype=np.float64),
        )
        fans.append(skill.fan_chart(str(one["pick"]), fan, float(one["crps"])))
    of = int(picked[0]["of"]) if picked else 0
    return Section("gallery", "What it looked like", blocks=[skill.gallery(fans, of)])
