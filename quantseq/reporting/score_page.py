"""The page of an evaluation: who forecast better, by how much, and whether that is more than noise.

Owns the order and wording of that page. Scores, tests and sentences were stored by the evaluation; here
they are only shown, so that the same folder gives the same page.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from quantseq.errors import CorruptFileError, RunError
from quantseq.files import read_json
from quantseq.reporting import words
from quantseq.reporting.page import (
    Badge,
    Block,
    Facts,
    Header,
    Missing,
    Notes,
    Page,
    Section,
    Sheet,
    Table,
)
from quantseq.reporting.sections import proof, standings, track_record
from quantseq.reporting.sections.overview import ends

RESULT, SCORES = "evaluation.json", "scores.parquet"
TERMS = (
    (
        "Skill",
        "Log score of the reference less that of the model on the same rows, in thousandths of a nat. Above "
        "0 the model is better. Its 95 % interval is a stationary bootstrap over days.",
    ),
    *(term for term in proof.TERMS if term[0] in ("Log score", "CRPS", "Band", "PIT")),
    (
        "CRPS, all steps",
        "CRPS of the sum of all steps' log returns, from sampled paths, fair in their number.",
    ),
    (
        "Pinball",
        "Pinball loss, mean over the quantile levels 5 % to 95 %, in bps. Lower is better.",
    ),
    ("Interval score", "Winkler score of the central 90 % band, in bps. Lower is better."),
    ("MASE", "Distance of the median over the mean absolute return of training. Lower is better."),
    *(term for term in proof.TERMS if term[0] == "Diebold-Mariano"),
    (
        "Confidence set",
        "Models that may be the best with 90 % confidence (Hansen, Lunde & Nason 2011); p is that of staying.",
    ),
    (
        "IC, rank IC",
        "Correlation across the symbols of a day of expected and realised return, mean over days; the "
        "rank IC takes ranks. Undefined with few symbols.",
    ),
    ("Hit rate", "Share of days' signs that came as called, against one half."),
    (
        "Pesaran-Timmermann",
        "Hits beyond what calling the commoner sign would hit (Pesaran & Timmermann 1992).",
    ),
    (
        "Days needed",
        "Days after which t = 2 is to be expected if the effect stays as large as it was.",
    ),
    *(term for term in proof.TERMS if term[0] == "Network kept"),
    (
        "Null run",
        "The identical line on prices in which nothing is to be found. Skill or direction there is a leak.",
    ),
)


def assemble(result: Mapping[str, Any], scores: pd.DataFrame) -> Page:
    """The page in its parts, in the order in which it is read.

    Parameters
    ----------
    result : mapping
        Content of ``evaluation.json``, see ``docs/json.md``.
    scores : DataFrame
        Content of ``scores.parquet``.
    """
    models: Mapping[str, Any] = result.get("models") or {}
    main = next(iter(models), "")
    own: Mapping[str, Any] = models.get(main) or {}
    tests = [test for test in result.get("tests") or [] if test.get("model") == main]
    reference = str(result.get("reference") or "")
    manifest = result["manifest"]
    return Page(
        _header(result, main, reference, tests),
        [
            standings.cards(models, main, reference),
            standings.verdict(own, reference, tests),
            standings.scores(models, main),
            track_record.calibration(own, scores, [main, reference, *track_record.DRAWN]),
            track_record.over_time(models, main, reference),
            track_record.gallery(result.get("gallery") or []),
            _folds(result, main),
            _null(result, own, reference),
            Section("definitions", "Definitions", blocks=[Facts(TERMS)]),
            _notes(result),
            proof.manifest_of(_told(manifest)),
        ],
        "Scores are about past prices and no advice. Made by quantseq from the folder of evaluation "
        f"{manifest['run_id']}; the same folder gives the same page.",
    )


def load(folder: Path) -> Page:
    """The page of an evaluation's folder.

    Raises
    ------
    RunError
        If the folder is incomplete or damaged.
    """
    folder = Path(folder)
    try:
        result = read_json(folder / RESULT)
        scores = pd.read_parquet(folder / SCORES)
        return assemble(result, scores)
    except (OSError, CorruptFileError, pa.ArrowException, KeyError) as error:
        raise RunError(
            f"{str(folder)!r} holds no evaluation that can be shown: {error!r:.200}. Name a folder that "
            "`quantseq evaluate` wrote, or evaluate again."
        ) from error


def _told(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The manifest without the settings that only matter to a backtest."""
    config = dict(manifest.get("config") or {})
    kept = {
        name: value for name, value in config.items() if name not in ("costs", "fill", "policy")
    }
    seeds = {"run": config["seed"]} if "seed" in config else None
    return {**manifest, "config": kept, "seeds": seeds}


def _header(
    result: Mapping[str, Any], main: str, reference: str, tests: Sequence[Mapping[str, Any]]
) -> Header:
    manifest, own = result["manifest"], (result.get("models") or {}).get(main) or {}
    symbols = [str(symbol) for symbol in manifest.get("symbols") or []]
    low, high = ends(own.get("skill_interval"))
    measured = low is not None and high is not None and reference not in ("", main)
    better = measured and low is not None and low > 0
    if not measured:
        answer = "Scored"
    elif better:
        answer = "Better than its reference"
    else:
        worse = high is not None and high < 0
        answer = (
            "Worse than its reference" if worse else "Not shown to be better than its reference"
        )
    days = int(own.get("n_days") or 0)
    span = (
        f"out of sample {words.date(manifest.get('test_start'))} to "
        f"{words.date(manifest.get('test_end'))}, {words.plural(int(own.get('n') or 0), 'forecast')}"
    )
    return Header(
        title=str(manifest.get("title") or "Evaluation"),
        run_id=str(manifest["run_id"]),
        created=str(manifest.get("created") or ""),
        universe=words.listing(symbols)
        if len(symbols) <= 12
        else f"{len(symbols)} symbols, listed under Manifest",
        span=f"{span} on {words.plural(days, 'day')}" if days else span,
        badges=_badges(result),
        edge=better,
        answer=answer,
        sentence=standings.sentence(own, main, reference, tests),
        kind="evaluate",
    )


def _badges(result: Mapping[str, Any]) -> list[Badge]:
    gate, null = result.get("gate") or {}, result.get("null")
    badges = []
    if result["manifest"].get("sample_data"):
        badges.append(Badge("bundled sample data", "warn"))
    badges.append(Badge(words.plural(len(result.get("folds") or []), "fold")))
    if gate.get("passed"):
        score, bar = (words.percent(gate.get(name)) for name in ("score", "bar"))
        badges.append(Badge(f"copy gate passed: {score} exact, {bar} needed", "good"))
    if null:
        clean = null.get("ok") is True
        said = "found nothing" if clean else "saw what is not there"
        badges.append(Badge(f"null run {said}", "good" if clean else "warn"))
    return badges


def _tilt(told: Mapping[str, Any]) -> str:
    """What recalibration changed after the pool, in the words of `Recalibration`."""
    tilt = told.get("recalibration") or {}
    if not (tilt.get("width") or tilt.get("skew")):
        return "none"
    width, skew = (words.number(tilt.get(name), 3, sign=True) for name in ("width", "skew"))
    return f"width {width}\nskew {skew}"


def _folds(result: Mapping[str, Any], main: str) -> Section:
    kept = list(result.get("survived") or [])
    told = list((result.get("details") or {}).get(main) or [])
    rows = []
    for place, fold in enumerate(result.get("folds") or []):
        spans = (
            f"{words.date(fold.get(f'{part}_start'))} to\n{words.date(fold.get(f'{part}_end'))}"
            for part in ("train", "validation", "test")
        )
        share = kept[place] if place < len(kept) else None
        rows.append(
            [
                str(fold.get("fold", place)),
                *spans,
                words.count(fold.get("purge")),
                words.count(fold.get("embargo")),
                words.percent(share, 0),
                _tilt(told[place]) if place < len(told) else words.DASH,
            ]
        )
    headers = ["fold", "train", "validation", "test", "purge", "embargo", "network kept", "tilt"]
    block: Block = (
        Sheet(
            "Who was fitted on what, and tested where",
            "Every model is fitted anew in every fold, on its training and validation blocks alone. The tilt is "
            "what recalibration changed after network and reference were pooled.",
            Table(headers, rows, align="trrrnnnn"),
        )
        if rows
        else Missing("This evaluation stored no folds.")
    )
    return Section("folds", "Folds", blocks=[block])


def _null(result: Mapping[str, Any], own: Mapping[str, Any], reference: str) -> Section:
    """What the line found where nothing is to be found, beside what it found in the prices."""
    title, null = "What does it see where nothing is?", result.get("null")
    if not null:
        said = "No null run was made; `quantseq evaluate --null garch` makes one."
        return Section("null", title, blocks=[Missing(said)])
    low, high = ends(own.get("skill_interval"))
    against = {
        str(test.get("rival")): test for test in result.get("tests") or [] if _is_skill(test)
    }
    real_t = (against.get(reference) or {}).get("t")
    rows = []
    for name, yardstick, one, span, t in (
        ("these prices", reference, own, (low, high), real_t),
        (
            f"{null['kind']}, nothing to find",
            "the true density" if words.known(null.get("skill_nats")) is not None else words.DASH,
            null,
            ends(null.get("interval")),
            null.get("t"),
        ),
    ):
        shown = (
            words.DASH
            if span[0] is None
            else f"{standings.milli(span[0])} to {standings.milli(span[1])}"
        )
        directions = (
            words.number(found.get("t"), 1, sign=True)
            for found in (one.get("ic") or {}, one.get("rank_ic") or {}, standings.sign_skill(one))
        )
        skills = [standings.milli(one.get("skill_nats")), shown, words.number(t, 1, sign=True)]
        rows.append([name, yardstick or words.DASH, *skills, *directions])
    headers = ["prices", "skill over", "skill, nat/1000", "95 % interval", "t of its score"]
    headers += ["t of IC", "t of rank IC", "t of hits"]
    sentence = str(null.get("sentence") or "")
    sheet = Sheet(
        "The identical line, real and null",
        words.tidy(f"{sentence}."),
        Table(headers, rows, align="ttnnnnnn"),
    )
    return Section("null", title, "", [sheet])


def _is_skill(test: Mapping[str, Any]) -> bool:
    return test.get("score") == "log_score" and test.get("step") == 1


def _notes(result: Mapping[str, Any]) -> Section:
    said = [str(note) for note in result.get("notes") or []]
    blocks: list[Block] = [Notes(said) if said else Missing("Nothing to note.")]
    return Section("notes", "Notes", blocks=[*blocks, *proof.health(result.get("data_findings"))])
