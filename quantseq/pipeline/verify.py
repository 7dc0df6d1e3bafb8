"""Whether a run folder, or a page that travels alone, says what its data say.

Owns the order of the checks and what is said about them. A run folder is judged by three: its files match
``SHA256SUMS``, every figure of ``result.json`` computed again from the tables equals it, and the page
rendered again equals ``report.html``, byte for byte. A page alone is judged by the daily returns it carries.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd

from quantseq.errors import QuantseqError, RunError
from quantseq.files import SUMS, Places, read_sums, sha256_file, to_json
from quantseq.pipeline.results import figures_of_evaluation, figures_of_run
from quantseq.reporting.page import known, number, percent, spread
from quantseq.reporting.render import render
from quantseq.reporting.run import REPORT, Run, readable
from quantseq.reporting.sections import metric_text
from quantseq.reporting.toy_page import SAMPLES
from quantseq.trading import ledger
from quantseq.trading.inference import metric_intervals, psr, verdict
from quantseq.trading.metrics import summarise_returns

_TOLERANCE = 1e-9  # relative above 1: another processor may take sums in another order
_SHOWN_LINES = 5
_PAGE_NOTE = (
    "A page alone shows that its headline figures follow from the returns it carries. Whether these are the "
    "run's, and scores, costs, trades, audit, trials and drawings, only the run folder tells: verify that."
)


@dataclass(frozen=True)
class Difference:
    """What does not agree: its name, what stands there, what follows from the data, and the tolerance."""

    name: str
    printed: Any
    recomputed: Any
    tolerance: float | None = None

    def __str__(self) -> str:
        room = "" if self.tolerance is None else f", tolerance {self.tolerance:.2g}"
        return f"{self.name}: printed {self.printed!r}, recomputed {self.recomputed!r}{room}"


@dataclass
class Verification:
    """How many of each kind were checked, what does not agree, and what could not be checked."""

    what: str
    checked: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def compare(self, name: str, printed: Any, recomputed: Any) -> None:
        """Note a difference, if it is one."""
        if printed != recomputed:
            self.differences.append(Difference(name, printed, recomputed))

    def to_json(self) -> dict[str, Any]:
        """The result with its documented keys."""
        differences = [vars(one) for one in self.differences]
        return {**vars(self), "passed": self.passed, "differences": differences}


def verify(path: Path | str) -> Verification:
    """Compute again everything that a run folder, or the headline figures that a page alone, says.

    `path` is the folder of a backtest, an evaluation or a toy task, or a ``report.html`` from anywhere; RunError if
    there is nothing to verify, or it is damaged beyond reading.
    """
    path = Path(path)
    found = Verification(str(path))
    if not path.is_dir():
        _check_page_alone(found, _read_page(path))
        return found
    if (path / SAMPLES).is_file():
        found.notes.append(
            "Of a toy's folder the checksums were compared, and its page was made again."
        )
        what: Path | Run = path
    elif (run := _check_run(found, path)) is None:
        return found
    else:
        what = run
    if not (path / REPORT).is_file():
        found.notes.append(f"There is no {REPORT}: `quantseq report {path}` renders it.")
        return found
    shown, fresh = (text.split("\n") for text in (_read_page(path / REPORT), render(what)))
    found.checked["lines of the page"] = len(fresh)
    lines = enumerate(zip_longest(shown, fresh, fillvalue=""), start=1)
    wrong = [(place, *pair) for place, pair in lines if pair[0] != pair[1]]
    for place, printed, again in wrong[:_SHOWN_LINES]:
        at = next((i for i, (a, b) in enumerate(zip(printed, again, strict=False)) if a != b), 0)
        part = slice(max(at - 60, 0), at + 60)
        found.compare(f"{REPORT}, line {place}", printed[part], again[part])
    return found


def recompute(run: Run) -> dict[str, Any]:
    """The content of ``result.json`` again, by the function that made it."""
    return figures_of_run(run) if run.kind == "backtest" else figures_of_evaluation(run)


def _check_run(found: Verification, folder: Path) -> Run | None:
    """Files, figures and the ledger's line; None if the run cannot be read because its files were changed."""
    sums, files = read_sums(folder), [*folder.glob("*.json"), *folder.glob("*.parquet")]
    fresh = {path.name: sha256_file(path) for path in files}
    for name in {**sums, **fresh}:
        found.compare(f"{SUMS}: {name}", sums.get(name), fresh.get(name))
    found.checked["files"] = len(fresh)
    try:
        with readable(str(folder)):
            run = Run.load(folder, sealed=False)
            again = json.loads(to_json(recompute(run)))
    except RunError as error:
        if found.passed or not sums:
            raise
        found.compare("run folder", f"{error!r:.200}", "readable")
        return None
    figures = list(_pairs("", run.result, again))
    found.checked["figures"] = len(figures)
    found.differences += [one for one in figures if not _agree(one.printed, one.recomputed)]
    if run.kind == "backtest":
        _check_ledger(found, Places(reports=folder.absolute().parent).ledger, run)
    return run


def _pairs(name: str, stored: Any, again: Any) -> Iterator[Difference]:
    """Every value of two JSON trees beside its twin, by its dotted name."""
    if isinstance(stored, (Mapping, list)) and isinstance(again, (Mapping, list)):
        trees = (t if isinstance(t, Mapping) else dict(enumerate(t)) for t in (stored, again))
        one, other = trees
        for key in {**one, **other}:
            yield from _pairs(f"{name}.{key}" if name else str(key), one.get(key), other.get(key))
    else:
        yield Difference(name, stored, again, _TOLERANCE if isinstance(again, float) else None)


def _agree(stored: Any, again: Any) -> bool:
    if {type(stored), type(again)} <= {int, float}:
        return bool(abs(stored - again) <= _TOLERANCE * max(1.0, abs(again)))
    return type(stored) is type(again) and stored == again


def _check_ledger(found: Verification, path: Path, run: Run) -> None:
    """The ledger's chain, and the hash of the returns in the run's line."""
    if not path.is_file():
        found.notes.append(f"There is no {path.name} beside the run: its line was not checked.")
        return
    book, name = ledger.read(path), str(run.manifest["run_id"])
    found.compare(path.name, book.verify(), None)
    lines = [one.get("returns_sha256") for one in book.entries if one.get("run_id") == name]
    digest = ledger.returns_hash(run.daily("strategy_net"))
    found.compare(f"{path.name}: {name}", lines[-1] if lines else None, digest)
    found.checked["ledger lines"] = 1


def _read_page(path: Path) -> str:
    try:
        return path.read_bytes().decode()  # every byte counts, line ends too
    except (OSError, UnicodeDecodeError) as error:
        text = "Name a run folder or a report.html that quantseq wrote."
        raise RunError(f"Cannot read {str(path)!r}: {error}. {text}") from error


def _check_page_alone(found: Verification, page: str) -> None:
    link = re.search(r'data-year="(\d+)" data-seed="(\d+)" href="data:text/csv[^,]*,([^"]*)"', page)
    if link is None:
        raise RunError(
            f"The page {found.what!r} carries no returns. It must be the page of a backtest: a "
            "report.html that `quantseq backtest`, or `quantseq report` for its folder, wrote."
        )
    try:
        with readable("the page"):
            returns = pd.read_csv(StringIO(unquote(html.unescape(link[3]))), index_col=0)
            expected = _headline(returns, periods=int(link[1]), seed=int(link[2]))
    except QuantseqError as error:
        raise RunError(f"The returns in the page are damaged: {error}") from error
    texts = re.findall(r'data-figure="([^"]+)">([^<]*)<', page)
    printed = [(name, html.unescape(text)) for name, text in texts if name in expected]
    head = html.unescape(re.sub(r"<[^>]+>", "", page[: page.find("<main>")]))
    if expected["sentence"] in head.replace("\u00a0", " "):
        printed.append(("sentence", expected["sentence"]))
    if "claim" in expected:
        printed.append(("claim", "An edge" if "An edge over" in head else "No edge"))
    for name, text in [*printed, *((name, None) for name in set(expected) - dict(printed).keys())]:
        found.compare(name, text, expected[name])
    found.checked["figures"] = len(expected)
    found.notes.append(_PAGE_NOTE)


def _headline(returns: pd.DataFrame, *, periods: int, seed: int) -> dict[str, str]:
    """What a page must print, by the name under which it prints it."""
    net, held = returns["strategy"], returns["buy-and-hold"]
    figures = {
        "strategy": summarise_returns(net, benchmark=held, periods=periods),
        "buy_and_hold": summarise_returns(held, periods=periods),
    }
    found = {f"{w}.{n}": metric_text(n, x) for w, own in figures.items() for n, x in own.items()}
    for name, (low, high) in metric_intervals(net, seed=seed, periods=periods).items():
        found[f"interval.{name}"] = spread(low, high, partial(metric_text, name))
    found |= {"psr": percent(psr(net)), "sentence": ""}
    judged = verdict(net, held, seed=seed, periods=periods)
    ends = dict(zip(("low", "high"), judged.interval, strict=True))
    if known(ends["low"]) is not None:
        ends["estimate"] = judged.sharpe_difference
        found |= {f"difference.{name}": number(x, sign=True) for name, x in ends.items()}
        if judged.interval[0] <= 0:
            found["claim"] = "No edge"  # whatever trials, audit and ledger are
    pattern = r"Sharpe \S+ against \S+, difference [+−]\d+\.\d\d( \(.*?\))?"
    if numbers := re.search(pattern, judged.sentence):
        found["sentence"] = numbers[0]
    return found
