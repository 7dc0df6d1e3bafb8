"""The page of an evaluation: who forecast better, by how much, and whether that is more than noise.

Owns the order and wording of that page. Scores, tests and sentences were stored by the evaluation; here
they are only shown, so that the same folder gives the same page.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from quantseq.evaluation.scores import in_words, negligible
from quantseq.evaluation.significance import MCS_SIZE, SHOWN
from quantseq.reporting import charts, page, sections
from quantseq.reporting.page import (
    DASH,
    FULL_WIDTH,
    SPACE,
    Cell,
    Figure,
    Section,
    bps,
    count,
    figure,
    known,
    listing,
    number,
    percent,
    plain,
    plural,
    section,
    sheet,
    spread,
)
from quantseq.reporting.run import Run
from quantseq.reporting.sections import SCORE_NAMES, ends

_DRAWN = ("gjr-garch-skewt", "har-range-t", "ewma-t")  # baselines beside the model in figures
_DIRECTION = {"ic": "IC", "rank_ic": "rank IC", "hit_rate": "hit rate"}
_DIRECTION["pesaran_timmermann"] = "Pesaran-Timmermann"

# Nats in thousandths: whole nats a day do not occur.
_milli = partial(number, sign=True, factor=1000)
_t = partial(number, digits=1, sign=True)


def evaluation_page(run: Run) -> page.Page:
    """The page in its parts, in the order in which it is read."""
    result, models = run.result, run.result.get("models") or {}
    main, reference = next(iter(models), ""), str(result.get("reference") or "")
    own, config = models.get(main) or {}, run.manifest.get("config") or {}
    tests = [test for test in result.get("tests") or [] if test.get("model") == main]
    shown = {k: v for k, v in config.items() if k not in ("costs", "fill", "policy")}
    seeds = {"run": run.seed} if "seed" in config else None
    told = {**run.manifest, "config": shown, "seeds": seeds}
    parts = [
        _cards(models, main, reference),
        _verdict(own, reference, tests),
        _scores(models, main),
        _calibration(run, own, [main, reference, *_DRAWN]),
        _over_time(models, main, reference),
        _gallery(result.get("gallery") or []),
        section("folds", "Folds", _folds(result, main)),
        section("null", "What does it see where nothing is?", _null(result, own, reference)),
        section("definitions", "Definitions", page.terms("evaluation")),
        section("notes", "Notes", *sections.notes(result)),
        section(
            "manifest", "Manifest", *sections.manifest_blocks(told), *sections.file_hashes(run)
        ),
    ]
    footer = "Scores are about past prices and no advice. Made by quantseq from the folder of evaluation "
    footer += f"{run.manifest['run_id']}; the same folder gives the same page."
    return page.Page(_header(run, own, main, reference, tests), parts, footer)


def _header(
    run: Run, own: Mapping[str, Any], main: str, reference: str, tests: Sequence[Mapping[str, Any]]
) -> page.Header:
    low, high = ends(own.get("skill_interval"))
    answer, better = "Scored", False
    if low is not None and high is not None and reference not in ("", main):
        answer, better = "Not shown to be better than its reference", low > 0
        answer = "Better than its reference" if better else answer
        answer = "Worse than its reference" if high < 0 else answer
    days, span = int(own.get("n_days") or 0), plural(int(own.get("n") or 0), "forecast")
    span += f" on {plural(days, 'day')}" if days else ""
    badges = [Cell(plural(len(run.result.get("folds") or []), "fold"))]
    badges += sections.gate_badges(run.result.get("gate"))
    if null := run.result.get("null"):
        clean = null.get("ok") is True
        said = "found nothing" if clean else "saw what is not there"
        badges.append(Cell(f"null run {said}", "good" if clean else "warn"))
    sentence = _sentence(own, main, reference, tests)
    return sections.header(run, "evaluate", span, badges, better, answer, sentence)


def _sentence(
    own: Mapping[str, Any], main: str, reference: str, tests: Sequence[Mapping[str, Any]]
) -> str:
    """Against how many baselines the model won, and its skill over the reference."""
    found, parts = list(_next_day(tests).values()), []
    sure = [t for one in found if (t := known(one.get("t"))) is not None and not negligible(one)]
    won, lost = (sum(sign * t >= SHOWN for t in sure) for sign in (-1, 1))
    if found:
        over = f"On the next day {main} is better than {won} of {plural(len(found), 'baseline')} by more "
        parts.append(
            f"{over}than noise, worse than {lost}, undecided against {len(found) - won - lost}."
        )
    text, gain = spread(*ends(own.get("skill_interval")), _milli), _milli(own.get("skill_nats"))
    if DASH not in (text, gain) and reference not in ("", main):
        over = f"Its skill over its own reference, {reference}, is {gain} thousandths of a nat a day, 95 % "
        parts.append(f"{over}interval {text}.")
    return " ".join(parts) or "No baseline took part, so nothing was compared."


def _next_day(tests: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """One test per baseline on the next day: by log score where it has one, else by CRPS."""
    found: dict[str, Mapping[str, Any]] = {}
    for test in tests:
        name, by_density = str(test.get("baseline")), test.get("score") == "log_score"
        if test.get("step") == 1 and (by_density or name not in found):
            found[name] = test
    return found


def _sign_skill(own: Mapping[str, Any]) -> Mapping[str, Any]:
    """What hits prove: Pesaran-Timmermann, beyond the commoner sign; null prices have none to beat."""
    return own.get("pesaran_timmermann" if "pesaran_timmermann" in own else "hit_rate") or {}


def _called(measure: str, value: Any) -> str:
    """A measure of direction with its unit."""
    return percent(value) if measure == "hit_rate" else number(value, 4, sign=True)


def _cards(models: Mapping[str, Any], main: str, reference: str) -> Section:
    own, beside = models.get(main) or {}, models.get(reference) if reference != main else None
    text = spread(*ends(own.get("skill_interval")), _milli)
    interval = "" if text == DASH else f"95 %: {text}"
    over = f"over {reference}" if beside else "no reference took part"
    items = [["Skill, nat/1000 a day", _milli(own.get("skill_nats")), interval, over]]
    for label, key, show in (
        ("Log score, nats", "log_score", partial(number, digits=4, sign=True)),
        ("CRPS", "crps", partial(bps, digits=2, factor=1e4)),
        ("CRPS, all steps", "crps_cumulative", partial(bps, factor=1e4)),
        (f"Held in the 90{SPACE}% band", "coverage_90", percent),
        ("PIT distance", "pit_ks", partial(number, digits=4)),
    ):
        other = "" if beside is None else f"{reference} {show(beside.get(key))}"
        items.append([label, show(own.get(key)), other])
    ic, hits = own.get("ic") or {}, own.get("hit_rate") or {}
    items.append(["IC", _called("ic", ic.get("value")), f"t = {_t(ic.get('t'))}"])
    beyond = f"beyond the commoner sign t = {_t(_sign_skill(own).get('t'))}"
    items.append(["Hit rate", _called("hit_rate", hits.get("value")), beyond])
    lead = f"{main} on the next day, beside its reference. Lower scores are better."
    return section("figures", "Headline figures", page.Cards(items), lead=lead)


def _verdict(own: Mapping[str, Any], reference: str, tests: Sequence[Mapping[str, Any]]) -> Section:
    """The answer against every baseline in words, the skill over the reference, and all tests."""
    title = "Is it better, and by more than noise?"
    if not tests:
        said = "No baseline took part, so there is nothing to be better than."
        return section("verdict", title, said)
    rows = []
    for name, test in _next_day(tests).items():
        label = f"{name} (reference)" if name == reference else name
        score = SCORE_NAMES.get(str(test.get("score")), DASH)
        rows.append([label, in_words(test), score, *sections.test_cells(test)])
    (low, high), gain, skill = ends(own.get("skill_interval")), known(own.get("skill_nats")), []
    if low is not None and high is not None and gain is not None and reference:
        skill = [_skill(low, gain, high, reference)]
    return section(
        "verdict", title, sheet("verdict", rows, least=SHOWN), *skill, sections.test_sheet(tests)
    )


def _skill(low: float, gain: float, high: float, reference: str) -> Figure | str:
    if max(abs(low), abs(high)) < 5e-6:  # would be printed as 0.00
        said = f"Skill over {reference}: 0.00 thousandths of a nat, and so are both ends of its interval. "
        return f"{said}The two forecast alike on the next day."
    said = "0 lies inside: chance alone can explain it" if low <= 0 <= high else "0 lies outside"
    reading = f"{_milli(gain)} thousandths of a nat a day, {_milli(low)} to {_milli(high)}; {said}."
    frame = pd.DataFrame({"low": [low], "estimate": [gain], "high": [high]}, ["skill, nat/1000"])
    drawn, words = 1000 * frame.set_axis([""]), {"reference": reference}
    return figure("skill", reading, frame, _milli, of=drawn, words=words)


def _scores(models: Mapping[str, Any], main: str) -> Section:
    """Every model's scores: the main ones, then all others, then direction."""
    if not models:
        return section("scores", "Scores", "This evaluation stored no scores.")
    rows, calls, own = [], [], models[main]
    for name, one in models.items():
        skill = [_milli(one.get("skill_nats")), spread(*ends(one.get("skill_interval")), _milli)]
        sets = [number(one.get(f"mcs_{score}")) for score in SCORE_NAMES]
        keys = ("crps_cumulative", "pinball", "winkler_90")
        more = [bps(one.get(key), factor=1e4) for key in keys]
        rows.append([name, *skill, *sets, *more, number(one.get("mase"), 3)])
    staying = [n for n, one in models.items() if (known(one.get("mcs_log_score")) or 0) >= MCS_SIZE]
    said = f"May be the best by log score, with 90 % confidence: {listing(staying)}."
    said = said if staying else "No confidence set was stored."
    further = sheet("skills", rows, strong=list(models).index(main), said=said)
    for key, label in _DIRECTION.items():
        found = own.get(key) or {}
        t, needed = number(found.get("t"), sign=True), count(found.get("n_needed"))
        t, needed = (DASH, DASH) if key == "hit_rate" else (t, needed)
        value = _called(key, found.get("value"))
        calls.append([label, value, t, count(found.get("n_days")), needed])
    direction = sheet("direction", calls, main=main, least=SHOWN)
    return section("scores", "Scores", sections.score_sheet(models, main), further, direction)


def _calibration(run: Run, own: Mapping[str, Any], names: Sequence[str]) -> Section:
    """Coverage, PIT and reliability of the next day."""
    first, pits = run.scores.loc[run.scores["step"] == 1], {}
    if "pit" in first:
        known_pits = first.dropna(subset="pit").groupby(first["model"].astype(str))["pit"]
        stored = {str(name): part.to_numpy(dtype=np.float64) for name, part in known_pits}
        pits = {name: stored[name] for name in dict.fromkeys(names) if name in stored}
    mine = pits.get(names[0], np.zeros(0))
    drawn = {names[0]: mine, **dict(list(pits.items())[:3])}
    pair, below = (
        [sections.coverage_figure(own), sections.pit_figure(mine)],
        sections.reliability_figure(drawn, FULL_WIDTH),
    )
    return section("calibration", "Are the probabilities right?", pair, below)


def _over_time(models: Mapping[str, Any], main: str, reference: str) -> Section:
    """Scores by step ahead and by year, relative to the reference's."""
    title, blocks = "By step and by year", list[Any]()
    if reference not in models or reference == main:
        said = "The reference did not take part, and scores are shown relative to it."
        return section("steps", title, said)
    names = [name for name in (main, *_DRAWN) if name in models and name != reference]
    for column, what in (("step", "by step ahead"), ("year", "next day, by year")):
        stored = {name: models[name].get(f"by_{column}") or [] for name in (*names, reference)}
        parts = {n: pd.DataFrame(s, columns=[column, *SCORE_NAMES]) for n, s in stored.items()}
        tables = {n: one.astype(np.float64).set_index(column) for n, one in parts.items()}
        base = tables[reference]
        frame = pd.DataFrame({n: tables[n]["log_score"] - base["log_score"] for n in names})
        frame = frame.reindex(base.index).dropna(axis="columns", how="all")
        if frame.empty or main not in frame:
            blocks.append(f"No log scores {what} were stored.")
            continue
        frame.index = frame.index.astype(int)
        ahead, among = int((frame[main] < 0).sum()), plural(len(frame), column)
        crps = {f"CRPS {name}": tables[name]["crps"] for name in (main, reference)}
        show: Any = dict.fromkeys(frame, _milli)
        show |= dict.fromkeys(crps, partial(bps, digits=2, factor=1e4))
        reading = f"Lower is better, 0 is {reference}. {main} is ahead at {ahead} of {among}."
        words: Any = {"words": {"reference": reference}, "shown": frame.assign(**crps)}
        words |= {"of": 1000 * frame, "how": {"ticks": frame.index.tolist()}}
        made = figure(f"score_by_{column}", reading, frame, show, **words)
        blocks.append(made if len(frame) > 1 else page.Sheet(made.title, reading, made.table))
    return section("steps", title, *blocks)


def _gallery(picked: Sequence[Mapping[str, Any]]) -> Section:
    """The forecasts that were picked when they were made."""
    fans = []
    for one in picked:
        labels = [f"+{step}" for step in range(1, len(one["prices"]) + 1)]
        parts = (np.array(one[key], dtype=np.float64) for key in ("levels", "prices", "realised"))
        dates = np.array(one["dates"], dtype="datetime64[D]")
        closes = np.array(one["closes"], dtype=np.float64)
        fan = charts.Fan(str(one["symbol"]), dates, closes, labels, *parts)
        fans.append(sections.fan_figure(str(one["pick"]), fan, float(one["crps"])))
    of = int(picked[0]["of"]) if picked else 0
    return section("gallery", "What it looked like", sections.gallery(fans, of))


def _folds(result: Mapping[str, Any], main: str) -> page.Sheet | str:
    folds, rows = result.get("folds") or [], []
    kept, told = result.get("kept_weight") or [], (result.get("details") or {}).get(main) or []
    if not folds:
        return "This evaluation stored no folds."
    for place, fold in enumerate(folds):
        tilt = (told[place].get("recalibration") or {}) if place < len(told) else {}
        text = "none" if place < len(told) else DASH
        if tilt.get("width") or tilt.get("skew"):
            width, skew = (number(tilt.get(name), 3, sign=True) for name in ("width", "skew"))
            text = f"width {width}\nskew {skew}"
        gaps = [count(fold.get(key)) for key in ("purge", "embargo")]
        share = percent(kept[place] if place < len(kept) else None, 0)
        rows.append([*sections.fold_cells(fold, place), *gaps, share, text])
    return sheet("fits", rows)


def _null(result: Mapping[str, Any], own: Mapping[str, Any], reference: str) -> page.Sheet | str:
    """What the line found where nothing is to be found, beside what it found in the prices."""
    if not (null := result.get("null")):
        return "No null run was made; `quantseq evaluate --null garch` makes one."
    wanted, rows = ("log_score", 1, reference), []
    tests: Any = result.get("tests") or []
    found = [x for x in tests if (x.get("score"), x.get("step"), x.get("baseline")) == wanted]
    own = {**own, "interval": own.get("skill_interval"), "t": found[0].get("t") if found else None}
    truth = "the true density" if known(null.get("skill_nats")) is not None else DASH
    for name, yardstick, one in (
        ("these prices", reference, own),
        (f"{null['kind']}, nothing to find", truth, null),
    ):
        gain = [_milli(one.get("skill_nats")), spread(*ends(one.get("interval")), _milli)]
        several = (one, one.get("ic") or {}, one.get("rank_ic") or {}, _sign_skill(one))
        rows.append([name, plain(yardstick), *gain, *(_t(each.get("t")) for each in several)])
    return sheet("null", rows, said=null.get("sentence") or "")
