"""The page of an evaluation: who forecast better, by how much, and whether that is more than noise.

Owns the order and wording of that page. Scores, tests and sentences were stored by the evaluation; here
they are only shown, so that the same folder gives the same page.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from quantseq.evaluation.scores import in_words, negligible, next_day, told_the_same
from quantseq.evaluation.significance import MCS_SIZE, SHOWN
from quantseq.reporting import page, sections
from quantseq.reporting.page import (
    DASH,
    FULL_WIDTH,
    Cell,
    Figure,
    Section,
    figure,
    known,
    not_drawn,
    number,
    percent,
    plain,
    plural,
    section,
    sheet,
    spelling,
    spread,
)
from quantseq.reporting.run import Run
from quantseq.reporting.sections import SCORE_NAMES, TEST_KEYS, ends

_DRAWN = ("gjr-garch-skewt", "har-range-t", "ewma-t")  # baselines beside the model in figures
_DIRECTION = {"ic": "IC", "rank_ic": "rank IC", "hit_rate": "hit rate"}
_DIRECTION["pesaran_timmermann"] = "Pesaran-Timmermann"

_milli = spelling("+number 2 1000")  # nats in thousandths: whole nats a day do not occur


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
        section("evaluation.gallery", sections.gallery(result.get("gallery") or [])),
        section("evaluation.folds", _folds(result, main)),
        section("evaluation.null", _null(result, own, reference)),
        section("evaluation.definitions", page.terms("evaluation")),
        section("evaluation.notes", *sections.notes(result)),
        section("evaluation.manifest", *sections.manifest_blocks(told), *sections.file_hashes(run)),
    ]
    header = _header(run, own, main, reference, tests)
    return page.Page(header, parts, page.stands("evaluation", run=run.manifest["run_id"]))


def _header(
    run: Run, own: Mapping[str, Any], main: str, reference: str, tests: Sequence[Mapping[str, Any]]
) -> page.Header:
    (low, high), result = ends(own.get("skill_interval")), run.result
    compared = reference not in ("", main)
    judged = compared and low is not None and high is not None
    days, span = int(own.get("n_days") or 0), plural(int(own.get("n") or 0), "forecast")
    span += f" on {plural(days, 'day')}" if days else ""
    folds = plural(len(run.part("folds")), "fold")
    badges = [Cell(folds), *sections.gate_badges(result.get("gate"))]
    if null := result.get("null"):
        clean = null.get("ok") is True
        said = "found nothing" if clean else "saw what is not there"
        badges.append(Cell(f"null run {said}", "good" if clean else "warn"))
    found = list(next_day(tests).values())
    sure = [t for one in found if (t := known(one.get("t"))) is not None and not negligible(one)]
    won, lost = (sum(sign * t >= SHOWN for t in sure) for sign in (-1, 1))
    words: Any = {"won": won, "lost": lost, "all": len(found)}
    words |= {"main": main, "reference": reference, "low": low, "high": high, "judged": judged}
    words["gain"] = own.get("skill_nats") if compared else None
    told = [page.stands("evaluation", name, **words) for name in ("answer", "sentence")]
    better = low is not None and judged and low > 0
    return sections.header(run, "evaluate", span, badges, better, *told)


def _sign_skill(own: Mapping[str, Any]) -> Mapping[str, Any]:
    """What hits prove: Pesaran-Timmermann, beyond the commoner sign; null prices have none to beat."""
    return own.get("pesaran_timmermann" if "pesaran_timmermann" in own else "hit_rate") or {}


def _cards(models: Mapping[str, Any], main: str, reference: str) -> Section:
    own, beside = models.get(main) or {}, models.get(reference) if reference != main else None
    words: Any = {"own": own, "beside": beside, "reference": reference}
    words |= {"ic": own.get("ic") or {}, "hits": own.get("hit_rate") or {}}
    words |= {"interval": spread(*ends(own.get("skill_interval")), _milli)}
    shown = page.cards("evaluation", beyond=_sign_skill(own).get("t"), **words)
    return section("evaluation.figures", shown, main=main)


def _verdict(own: Mapping[str, Any], reference: str, tests: Sequence[Mapping[str, Any]]) -> Section:
    """The answer against every baseline in words, the skill over the reference, and all tests."""
    if not tests:
        return section("evaluation.verdict")
    rows = []
    for name, test in next_day(tests).items():
        label = f"{name} (reference)" if name == reference else name
        score = SCORE_NAMES.get(str(test.get("score")))
        rows.append([label, in_words(test), score, *(test.get(key) for key in TEST_KEYS)])
    answers, skill = sheet("verdict", rows, least=SHOWN), _skill(own, reference)
    told = "".join(told_the_same(tests))
    return section("evaluation.verdict", answers, skill, sections.test_sheet(tests), told=told)


def _skill(own: Mapping[str, Any], reference: str) -> Figure | str | None:
    """The skill over the reference, where one took part."""
    (low, high), gain = ends(own.get("skill_interval")), known(own.get("skill_nats"))
    if low is None or high is None or gain is None or not reference:
        return None
    if max(abs(low), abs(high)) < 5e-6:  # would be printed as 0.00
        return not_drawn("skill", reference=reference)
    frame = pd.DataFrame({"low": [low], "estimate": [gain], "high": [high]}, ["skill, nat/1000"])
    words: Any = {"reference": reference, "gain": gain, "low": low, "high": high}
    return figure("skill", frame, of=1000 * frame.set_axis([""]), **words)


def _scores(models: Mapping[str, Any], main: str) -> Section:
    """Every model's scores: the main ones, then all others, then direction."""
    if not models:
        return section("evaluation.scores")
    rows, calls, own = [], [], models[main]
    keys = (*(f"mcs_{score}" for score in SCORE_NAMES), "crps_cumulative", "pinball", "winkler_90")
    for name, one in models.items():
        interval = spread(*ends(one.get("skill_interval")), _milli)
        several = (one.get(key) for key in (*keys, "mase"))
        rows.append([name, one.get("skill_nats"), interval, *several])
    staying = [n for n, one in models.items() if (known(one.get("mcs_log_score")) or 0) >= MCS_SIZE]
    further = sheet("skills", rows, strong=list(models).index(main), staying=staying)
    for key, label in _DIRECTION.items():
        found = own.get(key) or {}
        t, needed = (None if key == "hit_rate" else found.get(k) for k in ("t", "n_needed"))
        show = percent if key == "hit_rate" else spelling("+number 4")
        calls.append([label, show(found.get("value")), t, found.get("n_days"), needed])
    direction = sheet("direction", calls, main=main, least=SHOWN)
    return section("evaluation.scores", sections.score_sheet(models, main), further, direction)


def _calibration(run: Run, own: Mapping[str, Any], names: Sequence[str]) -> Section:
    """Coverage, PIT and reliability of the next day."""
    first, pits = run.scores.loc[run.scores["step"] == 1], {}
    if "pit" in first:
        known_pits = first.dropna(subset="pit").groupby(first["model"].astype(str))["pit"]
        stored = {str(name): part.to_numpy(dtype=np.float64) for name, part in known_pits}
        pits = {name: stored[name] for name in dict.fromkeys(names) if name in stored}
    mine = pits.get(names[0], np.zeros(0))
    drawn = {names[0]: mine, **dict(list(pits.items())[:3])}
    pair = [sections.coverage_figure(own), sections.pit_figure(mine)]
    below = sections.reliability_figure(drawn, FULL_WIDTH)
    return section("evaluation.calibration", pair, below)


def _over_time(models: Mapping[str, Any], main: str, reference: str) -> Section:
    """Scores by step ahead and by year, relative to the reference's."""
    if reference not in models or reference == main:
        return section("evaluation.steps")
    blocks, names = list[Any](), [n for n in (main, *_DRAWN) if n in models and n != reference]
    for column in ("step", "year"):
        stored = {name: models[name].get(f"by_{column}") or [] for name in (*names, reference)}
        parts = {n: pd.DataFrame(s, columns=[column, *SCORE_NAMES]) for n, s in stored.items()}
        tables = {n: one.astype(np.float64).set_index(column) for n, one in parts.items()}
        base = tables[reference]
        frame = pd.DataFrame({n: tables[n]["log_score"] - base["log_score"] for n in names})
        frame = frame.reindex(base.index).dropna(axis="columns", how="all")
        if frame.empty or main not in frame:
            blocks.append(not_drawn(f"score_by_{column}"))
            continue
        frame.index = frame.index.astype(int)
        crps = {f"CRPS {name}": tables[name]["crps"] for name in (main, reference)}
        show: Any = dict.fromkeys(crps, spelling("bps 2 10000")) | {"*": _milli}
        words: Any = {"reference": reference, "main": main, "among": len(frame)}
        words |= {"of": 1000 * frame, "how": {"ticks": frame.index.tolist()}}
        changes, ahead = {"shown": frame.assign(**crps)}, int((frame[main] < 0).sum())
        made = figure(f"score_by_{column}", frame, show, changes=changes, ahead=ahead, **words)
        alone = page.Sheet(made.title, made.reading, made.table)
        blocks.append(made if len(frame) > 1 else alone)
    return section("evaluation.steps", *blocks)


def _folds(result: Mapping[str, Any], main: str) -> page.Sheet | str:
    folds, rows = result.get("folds") or [], []
    kept, told = result.get("kept_weight") or [], (result.get("details") or {}).get(main) or []
    for place, fold in enumerate(folds):
        tilt = (told[place].get("recalibration") or {}) if place < len(told) else {}
        text = "none" if place < len(told) else DASH
        if tilt.get("width") or tilt.get("skew"):
            width, skew = (number(tilt.get(name), 3, sign=True) for name in ("width", "skew"))
            text = f"width {width}\nskew {skew}"
        share = kept[place] if place < len(kept) else None
        gaps = [fold.get(key) for key in ("purge", "embargo")]
        rows.append([*sections.fold_cells(fold, place), *gaps, share, text])
    return sheet("fits", rows)


def _null(result: Mapping[str, Any], own: Mapping[str, Any], reference: str) -> page.Sheet | str:
    """What the line found where nothing is to be found, beside what it found in the prices."""
    if not (null := result.get("null")):
        return sheet("null", [])
    wanted, rows = ("log_score", 1, reference), []
    tests: Any = result.get("tests") or []
    found = [x for x in tests if (x.get("score"), x.get("step"), x.get("baseline")) == wanted]
    own = {**own, "interval": own.get("skill_interval"), "t": found[0].get("t") if found else None}
    truth = "the true density" if known(null.get("skill_nats")) is not None else DASH
    for name, yardstick, one in (
        ("these prices", reference, own),
        (f"{null['kind']}, nothing to find", truth, null),
    ):
        gain = [one.get("skill_nats"), spread(*ends(one.get("interval")), _milli)]
        several = (one, one.get("ic") or {}, one.get("rank_ic") or {}, _sign_skill(one))
        rows.append([name, plain(yardstick), *gain, *(each.get("t") for each in several)])
    return sheet("null", rows, said=null.get("sentence") or "")
