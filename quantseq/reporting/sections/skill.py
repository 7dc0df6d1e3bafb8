"""Whether the forecast earned it: scores, tests, calibration, and three forecasts to look at.

Owns the wording of the forecast section. Scores and tests were stored in the run by the evaluation
room; here they are only shown.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from quantseq.evaluation.assessment import LEAST, negligible
from quantseq.reporting import words
from quantseq.reporting.drawing import charts
from quantseq.reporting.page import (
    HALF,
    THIRD,
    Block,
    Cell,
    Chart,
    Key,
    Missing,
    Row,
    Section,
    Sheet,
    Table,
    chart,
)
from quantseq.reporting.run import Run
from quantseq.reporting.sections.calibration import confidence, reliability
from quantseq.reporting.sections.overview import days, floats

COVERAGES = (50, 80, 90, 95)
SCORES = {"log_score": "log score", "crps": "CRPS"}
UNITS = {"log_score": (1.0, 4, ", nats"), "crps": (1e4, 2, ", bps")}
"""What a stored difference is multiplied by, its digits, and its unit."""

PIT_SLICES = 20
HISTORY = 40
"""Sessions up to the cutoff in a fan chart."""

LEAST_HISTORY = 15
"""A forecast with fewer sessions before it in the run is not picked for a fan chart."""

SIGNIFICANT = 0.05
NOTHING = LEAST["log_score"]
"""Nats a day that would be printed as 0.0000."""


def forecast(run: Run) -> Section:
    """The whole section."""
    found = run.result.get("forecast") or {}
    models: Mapping[str, Any] = found.get("models") or {}
    tests = found.get("tests") or []
    main = str(tests[0].get("model")) if tests else next(iter(models), "")
    blocks: list[Block] = []
    blocks.append(
        score_sheet(models, main) if models else Missing("This run stored no forecast scores.")
    )
    blocks.append(
        test_sheet(tests) if tests else Missing("This run stored no tests against rivals.")
    )
    calibration = [
        part
        for part in (coverage_chart(models.get(main)), pit_chart(run.forecasts))
        if part is not None
    ]
    if calibration:
        blocks.append(Row("pair", calibration))
    if len(calibration) < 2:
        blocks.append(
            Missing("This run lacks coverage or PIT values, so not all of calibration shows.")
        )
    further = [
        part for part in (reliability(run.forecasts), confidence(run.forecasts)) if part is not None
    ]
    if further:
        blocks.append(Row("pair", further))
    if not any(part.key == "confidence" for part in further):
        blocks.append(
            Missing("No forecast calls a direction, so there is no confidence to sort profits by.")
        )
    blocks.append(_gallery(run))
    return Section("forecast", "Did the forecast earn it?", _lead(run, found), blocks)


def _lead(run: Run, found: Mapping[str, Any]) -> str:
    skill = words.known(found.get("skill_nats"))
    parts = []
    if skill is not None and abs(skill) < NOTHING:
        parts.append("The network added nothing measurable to the econometric reference.")
    elif skill is not None:
        verb = "added" if skill >= 0 else "lost"
        parts.append(
            f"The network {verb} {words.number(abs(skill), 4)} nats a day "
            f"{'to' if skill >= 0 else 'against'} the econometric reference it starts from."
        )
    kept = [words.known(fold.get("survived")) for fold in run.result.get("folds") or []]
    shares = [share for share in kept if share is not None]
    if shares:
        parts.append(
            f"Validation kept {words.percent(float(np.mean(shares)), 0)} of what it had to say, on average "
            f"over {words.plural(len(shares), 'fold')}."
        )
    return " ".join(parts)


def score_sheet(models: Mapping[str, Any], main: str) -> Block:
    """Every model's scores of the next step, best first, `main` standing out."""

    def order(name: str) -> float:
        score = words.known(models[name].get("log_score"))
        return np.inf if score is None else score

    names = sorted(models, key=order)
    rows = [
        [
            name,
            words.number(models[name].get("log_score"), 4, sign=True),
            words.number(_scaled(models[name].get("crps"), 1e4), 2),
            *(words.percent(models[name].get(f"coverage_{level}")) for level in COVERAGES),
            words.number(models[name].get("pit_ks"), 3),
            words.count(models[name].get("n")),
        ]
        for name in names
    ]
    reading = "Lower scores are better; coverage should match its heading."
    if main in names and len(names) > 1 and np.isfinite(order(main)):
        better = sum(order(name) < order(main) - NOTHING for name in names)
        level = [n for n in names if n != main and abs(order(n) - order(main)) <= NOTHING]
        tie = f", level with {' and '.join(level)}" if level else ""
        reading = f"By log score, {main} is number {better + 1} of {len(names)}{tie}. {reading}"
    headers = ["model", "log score, nats", "CRPS, bps"]
    headers += [f"in {level}{words.SPACE}% band" for level in COVERAGES] + [
        "PIT distance",
        "forecasts",
    ]
    return Sheet(
        "Scores one step ahead, best first",
        reading,
        Table(
            headers,
            rows,
            style="dense",
            strong=frozenset(i for i, name in enumerate(names) if name == main),
        ),
    )


def _scaled(value: Any, factor: float) -> float | None:
    finite = words.known(value)
    return None if finite is None else factor * finite


def sign(test: Mapping[str, Any]) -> int:
    """-1 where a test shows the model to be better, 1 where worse, 0 where it decides nothing."""
    t, p = words.known(test.get("t")), words.known(test.get("p"))
    if t is None or p is None or p >= SIGNIFICANT or negligible(test):
        return 0
    return int(np.sign(t))


def test_sheet(tests: list[Mapping[str, Any]]) -> Block:
    """One line per rival and score, one column per step; all numbers behind it.

    A step that is no number is the sum of all steps.
    """
    lines: dict[tuple[str, str], dict[str, Cell]] = {}
    rows, won, lost = [], 0, 0
    models = list(dict.fromkeys(str(test.get("model", words.DASH)) for test in tests))
    for test in tests:
        name = f"against {test.get('rival', words.DASH)}"
        if len(models) > 1:
            name = f"{test.get('model', words.DASH)} {name}"
        kind, ahead = str(test.get("score")), test.get("step")
        score = SCORES.get(kind, words.text(test.get("score")))
        step = "all" if isinstance(ahead, str) else words.count(ahead)
        t, p = words.known(test.get("t")), words.known(test.get("p"))
        side = sign(test)
        better, worse = side < 0, side > 0
        won, lost = won + better, lost + worse
        tone = "up3" if better else "down3" if worse else ""
        factor, digits, unit = UNITS.get(kind, (1.0, 4, ""))
        gap = words.number(_scaled(test.get("mean_difference"), factor), digits, sign=True)
        chance = words.DASH if p is None else words.p_value(p)
        lines.setdefault((name, f"{score}{unit}"), {})[step] = Cell(f"{gap}\np {chance}", tone)
        shown = words.number(t, 2, sign=True)
        rows.append([name, score, step, gap, shown, chance, words.count(test.get("n_days"))])
    steps = list(dict.fromkeys(step for line in lines.values() for step in line))
    table = Table(
        ["", "score", *("all steps" if step == "all" else f"step {step}" for step in steps)],
        [
            [*names, *(line.get(step, Cell(words.DASH)) for step in steps)]
            for names, line in lines.items()
        ],
        align="tt" + "l" * len(steps),
        style="heat",
    )
    return Sheet(
        f"Is {words.listing(models)} better by more than noise? Score difference and p",
        f"Of {words.plural(len(tests), 'comparison')}, {won} clearly better (blue), {lost} clearly worse "
        f"(orange), {len(tests) - won - lost} undecided at 5{words.SPACE}%. A negative difference "
        "favours it, one printed as 0 neither; p by Diebold and Mariano.",
        table,
        Table(
            ["", "score", "step", "difference", "t", "p", "days"],
            rows,
            "All tests with t",
            "ttnnnnn",
        ),
    )


def coverage_chart(scores: Mapping[str, Any] | None) -> Chart | None:
    """How often each central band held; None without coverages."""
    held = [
        (level / 100, value)
        for level in COVERAGES
        if scores is not None
        and (value := words.known(scores.get(f"coverage_{level}"))) is not None
    ]
    if not held:
        return None
    widest = max(held, key=lambda pair: abs(pair[0] - pair[1]))
    nearest_90 = min(held, key=lambda pair: abs(pair[0] - 0.9))
    return chart(
        "coverage",
        "Do the bands hold what they promise?",
        f"The {words.percent(nearest_90[0], 0)} band held {words.percent(nearest_90[1])} of the days; the "
        f"largest miss is {words.number(100 * (widest[1] - widest[0]), 1, sign=True)} points, at "
        f"{words.percent(widest[0], 0)}.",
        charts.coverage([level for level, _ in held], [value for _, value in held]),
        sizes=HALF,
        table=Table(
            ["band", "held", "difference"],
            [
                [
                    words.percent(level, 0),
                    words.percent(value),
                    f"{words.number(100 * (value - level), 1, sign=True)} points",
                ]
                for level, value in held
            ],
            "Share of outcomes inside the central band",
        ),
        legend=[Key("accent", "box", "held"), Key("ink", "line", "promised")],
    )


def pit_chart(forecasts: pd.DataFrame) -> Chart | None:
    """Histogram of the next step's column ``pit``; None with less than two outcomes per slice."""
    if "pit" not in forecasts:
        return None
    values = forecasts.loc[forecasts["step"] == 1, "pit"].to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2 * PIT_SLICES:
        return None
    counts = np.histogram(values, bins=PIT_SLICES, range=(0, 1))[0]
    shares = counts / (len(values) / PIT_SLICES)
    reach = 1.96 * np.sqrt((PIT_SLICES - 1) / len(values))
    outside = int(((shares < 1 - reach) | (shares > 1 + reach)).sum())
    return chart(
        "pit",
        "Where outcomes fell in the forecast",
        f"{PIT_SLICES - outside} of {PIT_SLICES} slices lie in the 95 % band of a calibrated forecast, "
        "drawn as if all outcomes were independent; symbols of one day are not.",
        charts.pit_histogram(shares, low=1 - reach, high=1 + reach),
        sizes=HALF,
        table=Table(
            ["slice of probability", "outcomes", "against expected"],
            [
                [
                    f"{place / PIT_SLICES:.2f} to {(place + 1) / PIT_SLICES:.2f}",
                    words.count(counts[place]),
                    f"{words.number(share)} ×",
                ]
                for place, share in enumerate(shares)
            ],
            "Probability integral transform, one step ahead",
        ),
        legend=[
            Key("accent", "box", "in the band"),
            Key("loss", "box", "outside it"),
            Key("neutral", "box", "95 % band"),
        ],
    )


def _gallery(run: Run) -> Block:
    """The forecasts with the lowest, the middle and the highest CRPS, averaged over their steps."""
    ranked = _ranked(run)
    columns = _fan_columns(run)
    fans = []
    for name, place in picks(len(ranked)).items():
        symbol, cutoff = ranked.index[place]
        fan = _fan(run, str(symbol), cutoff, columns)
        fans.append(fan_chart(name, fan, float(ranked.iloc[place])))
    return gallery(fans, len(ranked))


def picks(count: int) -> dict[str, int]:
    """Which of `count` forecasts, ranked from the lowest CRPS, a gallery shows; none of fewer than 3.

    Examples
    --------
    >>> picks(9), picks(2)
    ({'best': 0, 'median': 4, 'worst': 8}, {})
    """
    return {"best": 0, "median": count // 2, "worst": count - 1} if count >= 3 else {}


def gallery(fans: Sequence[Chart], of: int) -> Block:
    """Forecasts picked by rule, side by side; `of` is how many there were to pick from."""
    if not fans:
        return Missing("No forecast has cumulative quantiles, CRPS and outcome, so none is drawn.")
    return Row(
        "trio",
        fans,
        "Three forecasts, picked by rule",
        f"Lowest, middle and highest mean CRPS over the steps, of {words.count(of)} forecasts.",
        (
            Key("neutral", "line", "adjusted close"),
            Key("accent", "box", "forecast bands and median"),
            Key("ink", "line", "what happened"),
        ),
    )


def _fan_columns(run: Run) -> list[str]:
    return sorted(str(name) for name in run.forecasts if re.fullmatch(r"cum_q\d{2,}", str(name)))


def _ranked(run: Run) -> "pd.Series[float]":
    """Mean CRPS by symbol and cutoff, lowest first, of all forecasts that can be drawn."""
    frame, columns = run.forecasts, _fan_columns(run)
    if len(columns) < 3 or not {"crps", "realised"} <= set(frame):
        return pd.Series(dtype=np.float64)
    whole = frame[["crps", "realised", *columns]].notna().all(axis=1)
    keys = [frame["symbol"], frame["cutoff"]]
    mean = frame["crps"].groupby(keys).mean()[whole.groupby(keys).all()]
    symbols, cutoffs = (mean.index.get_level_values(name) for name in ("symbol", "cutoff"))
    shown = np.zeros(len(mean), dtype=bool)
    for symbol in symbols.unique():
        closes = run.daily(f"close:{symbol}")
        if closes is not None:
            shown |= (symbols == symbol) & cutoffs.isin(closes.dropna().index[LEAST_HISTORY - 1 :])
    return mean[shown].sort_values(kind="stable")


def _fan(run: Run, symbol: str, cutoff: Any, columns: list[str]) -> charts.Fan:
    frame = run.forecasts
    rows = frame.loc[(frame["symbol"] == symbol) & (frame["cutoff"] == cutoff)].sort_values("step")
    closes = run.daily(f"close:{symbol}")
    assert closes is not None, "only forecasts with closes are ranked"
    past = closes.loc[:cutoff].dropna().iloc[-HISTORY:]
    start = float(past.iloc[-1])
    digits = [name.removeprefix("cum_q") for name in columns]
    return charts.Fan(
        symbol,
        days(past.index),
        floats(past),
        [f"+{step}" for step in rows["step"]],
        np.array([int(text) / 10 ** len(text) for text in digits]),
        start * np.exp(rows[columns].to_numpy(dtype=np.float64)),
        start * np.exp(np.cumsum(rows["realised"].to_numpy(dtype=np.float64))),
    )


def fan_chart(name: str, fan: charts.Fan, crps: float) -> Chart:
    """One forecast of a gallery: `name` says why it was picked, `crps` is the mean over its steps."""
    assert fan.realised is not None, "only forecasts with outcomes are ranked"
    low, high, middle = fan.prices[:, 0], fan.prices[:, -1], fan.prices[:, len(fan.levels) // 2]
    inside = int(((fan.realised >= low) & (fan.realised <= high)).sum())
    width = words.percent(float(fan.levels[-1] - fan.levels[0]), 0)
    edges = [words.percent(float(fan.levels[place]), 0) for place in (0, len(fan.levels) // 2, -1)]
    rows = [
        [
            label,
            *(words.number(float(column[step])) for column in (low, middle, high, fan.realised)),
        ]
        for step, label in enumerate(fan.labels)
    ]
    return chart(
        f"fan-{name}",
        f"{name.capitalize()}: {fan.symbol}",
        f"From {fan.dates[-1]} on, in the {width} band on {inside} of {words.plural(len(fan.labels), 'session')}; mean CRPS "
        f"{words.number(1e4 * crps, 1)}{words.SPACE}bps.",
        charts.fan(fan),
        sizes=THIRD,
        table=Table(["step", *edges, "realised"], rows, f"Quantiles of the adjusted close, {name}"),
    )
