"""Whether a run, or a page alone, says what its data say: every printed text and every stored figure.

Owns the order of the checks and what is said about them. A page is judged by its own data: every
text must be what these data give, or what the page recorded where they do not suffice; every figure
of its result must follow from its series. A run folder is judged by its files: their hashes, the
figures from equity, weights and forecasts, the ledger's line, and the page against all of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.errors import RunError
from quantseq.files import sha256_bytes, sha256_file
from quantseq.pipeline.checks.recomputing import Figure, figures, not_recomputed
from quantseq.pipeline.scored import FromForecasts, FromPage
from quantseq.reporting import embedded
from quantseq.reporting.embedded import Embedded, read_embedded, without_data
from quantseq.reporting.printed import printed
from quantseq.reporting.render import REPORT, expected, expected_of
from quantseq.reporting.run import FILES, FRAMES, SUMS, Run
from quantseq.trading import ledger

LEDGER = "ledger.jsonl"


@dataclass(frozen=True)
class Difference:
    """What does not agree.

    Attributes
    ----------
    name : str
        The figure, text or file.
    printed, recomputed : str or number
        What stands there, and what follows from the data.
    tolerance : float or None
        How far the two may differ; None where they must be the same.
    """

    name: str
    printed: Any
    recomputed: Any
    tolerance: float | None = None

    def __str__(self) -> str:
        room = "" if self.tolerance is None else f", tolerance {self.tolerance:.2g}"
        return (
            f"{self.name}: printed {_show(self.printed)}, recomputed {_show(self.recomputed)}{room}"
        )


def _show(value: Any) -> str:
    return "nothing" if value is None else f"{value!r}"


@dataclass
class Verification:
    """What was checked, and what does not agree.

    Attributes
    ----------
    what : str
        The run folder or page.
    checked : dict
        How many of each kind were checked.
    differences : list of Difference
    notes : list of str
        What could not be checked, and why.
    """

    what: str
    checked: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def count(self, kind: str, amount: int, found: Iterator[Difference] | list[Difference]) -> None:
        """Add a check."""
        self.checked[kind] = self.checked.get(kind, 0) + amount
        self.differences += found

    def to_json(self) -> dict[str, Any]:
        """The result with its documented keys."""
        return {
            "what": self.what,
            "passed": self.passed,
            "checked": self.checked,
            "differences": [vars(one) for one in self.differences],
            "notes": self.notes,
        }


def verify(path: Path) -> Verification:
    """Recompute everything that a run folder or a page says.

    Parameters
    ----------
    path : Path
        A run folder, or a ``report.html`` that may lie anywhere.

    Raises
    ------
    RunError
        If there is nothing to verify, as in an evaluation, or the data are damaged.
    """
    if path.is_dir():
        return _verify_folder(path)
    return _verify_page(path)


def _read_page(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(
            f"Cannot read {str(path)!r}: {error}. Name a run folder or a report.html that quantseq wrote."
        ) from error


def _verify_page(path: Path) -> Verification:
    html = _read_page(path)
    data, result = read_embedded(html), Verification(str(path))
    run = data.as_run()
    _compare_texts(result, html, data, expected(data))
    _compare_figures(result, run, figures(run, FromPage(data)))
    kept = len(data.recorded)
    result.notes.append(
        f"{kept} of the printed texts need closes or single forecasts, which a page does not hold: they "
        "were compared with what the page recorded. Verify the run folder to recompute them."
    )
    if data.left_out:
        result.notes.append(f"Too large to be embedded: {', '.join(data.left_out)}.")
    return result


def _compare_texts(
    result: Verification, html: str, data: Embedded, wanted: Mapping[str, str]
) -> None:
    """Every text of the page, and every byte that is not text."""
    shown = printed(html)
    different = [
        Difference(name, shown.get(name), wanted.get(name))
        for name in dict.fromkeys([*wanted, *shown])
        if shown.get(name) != wanted.get(name)
    ]
    result.count("printed texts", len(wanted), different)
    if sha256_bytes(without_data(html).encode()) != data.page and not different:
        what = "something that is no text: a drawing, an attribute, the style or the script"
        result.differences.append(Difference("page", what, "as it was rendered"))


def _compare_figures(result: Verification, run: Run, found: list[Figure]) -> None:
    wrong = [
        Difference(one.name, one.stored, one.recomputed, one.tolerance)
        for one in found
        if not one.agrees
    ]
    result.count("figures", len(found), wrong)
    left = not_recomputed(run, found)
    if run.result.get("rivals"):
        left.append("turnover, costs and random range of the rivals")
    if left:
        result.notes.append(
            f"Not recomputed, for want of prices or of what was tried: {', '.join(left)}."
        )


def _verify_folder(folder: Path) -> Verification:
    tables = [f"{name}.parquet" for name in FRAMES]
    if not any((folder / name).is_file() for name in tables):
        raise RunError(
            f"{str(folder)!r} is no backtest: it lacks {', '.join(tables)}. Only what `quantseq backtest` "
            "wrote is verified, not an evaluation, a toy task or a sweep."
        )
    result = Verification(str(folder))
    sums = _sums(folder)
    result.count("files", len(FILES), list(_changed_files(folder, sums)))
    try:
        run = Run.load(folder)
    except RunError as error:
        if not result.differences:
            raise
        result.differences.append(
            Difference("run folder", " ".join(str(error).split()), "readable")
        )
        return result
    found = [*figures(run, FromForecasts(run)), *_counts(run), *_trials(folder, run)]
    _compare_figures(result, run, found)
    rows, wrong = _forecast_rows(run)
    result.count("forecast rows", rows, wrong)
    _check_ledger(result, folder, run)
    page = folder / REPORT
    if page.is_file():
        html = _read_page(page)
        data = read_embedded(html)
        _compare_texts(result, html, data, expected_of(run))
        result.count("embedded tables", 3, list(_embedded(data, run)))
    else:
        result.notes.append(f"There is no {REPORT}: `quantseq report {folder}` renders it.")
    return result


def _sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _changed_files(folder: Path, sums: Mapping[str, str]) -> Iterator[Difference]:
    for name in FILES:
        if (folder / name).is_file():
            digest = sha256_file(folder / name)
            if sums.get(name) != digest:
                yield Difference(f"{SUMS}: {name}", sums.get(name), digest)


def _counts(run: Run) -> Iterator[Figure]:
    """Sizes that the result states."""
    frame = run.forecasts
    if "fold" in frame:
        rows = frame.loc[frame["step"] == 1].groupby("fold").size()
        for place, fold in enumerate(run.result.get("folds") or []):
            number = fold.get("fold", place)
            if fold.get("n_test") is not None and number in rows.index:
                yield Figure(f"folds.{number}.n_test", fold["n_test"], int(rows[number]))


def _trials(folder: Path, run: Run) -> Iterator[Figure]:
    """How many trials the ledger counted up to the line at which the run froze them, and their spread."""
    stored = run.result.get("verdict") or {}
    book = ledger.read(folder.absolute().parent / LEDGER)
    heads = [one.get("hash") for one in book.entries]
    if stored.get("ledger_head") not in heads:
        return
    last = heads.index(stored["ledger_head"]) + 1
    seen = ledger.Ledger(book.entries[:last], book.lines[:last])
    if "n_trials" in stored:
        yield Figure("verdict.n_trials", stored["n_trials"], max(1, seen.n_trials()))
    if "trial_sd" in stored:
        sharpes = np.array(seen.trial_sharpes())
        spread = (
            float(np.std(sharpes, ddof=1)) if len(sharpes) > 1 and np.ptp(sharpes) > 0 else None
        )
        if spread is None and stored["trial_sd"]:  # frozen as the deviation of a Sharpe ratio of 0
            spread = 1 / float(np.sqrt(max(len(run.equity) - 1, 1)))
        yield Figure("verdict.trial_sd", stored["trial_sd"] or None, spread)


def _forecast_rows(run: Run) -> tuple[int, list[Difference]]:
    """Outcomes against the closes, and the PIT against the quantiles, row by row."""
    frame, wrong = run.forecasts, []
    if not {"realised", "pit"} <= set(frame):
        return 0, []
    first = run.equity["session"].iloc[0]
    for symbol, rows in frame.groupby("symbol", sort=False):
        closes = run.daily(f"close:{symbol}")
        if closes is None:
            continue
        known = closes.dropna()
        moves = np.diff(np.log(known.to_numpy()), prepend=np.nan)
        place = known.index.searchsorted(rows["cutoff"], "right") - 1 + rows["step"].to_numpy()
        inside = (place >= 1) & (place < len(known)) & (rows["cutoff"] >= first).to_numpy()
        again = moves[place[inside]]
        stated = rows["realised"].to_numpy(dtype=np.float64)[inside]
        off = np.abs(again - stated) > 1e-9
        wrong += _rows(rows[inside][off], "realised", stated[off], again[off])
    for name in (str(name) for name in frame):
        if name[0] == "q" and name[1:].isdigit():
            level = int(name[1:]) / 10 ** len(name[1:])
            both = frame["pit"].notna() & frame[name].notna()
            rows = frame.loc[both & (np.abs(frame["pit"] - level) > 1e-9)]
            apart = np.abs(rows["realised"] - rows[name]) > 1e-12
            off = apart & ((rows["pit"] < level) != (rows["realised"] < rows[name]))
            wrong += _rows(rows[off], f"pit and {name}", rows["pit"][off], rows[name][off])
    return len(frame), wrong


def _rows(rows: pd.DataFrame, what: str, stated: Any, again: Any) -> list[Difference]:
    return [
        Difference(
            f"forecasts.parquet: {what} of {one.symbol} at {one.cutoff:%Y-%m-%d}, step {one.step}",
            float(printed_),
            float(value),
            PRECISE_ROW,
        )
        for one, printed_, value in zip(rows.itertuples(), stated, again, strict=True)
    ]


PRECISE_ROW = 1e-9
"""Tolerance of a log return."""


def _check_ledger(result: Verification, folder: Path, run: Run) -> None:
    path = folder.absolute().parent / LEDGER
    if not path.is_file():
        result.notes.append(f"There is no {LEDGER} beside the run: its line was not checked.")
        return
    book, net = ledger.read(path), run.daily("strategy_net")
    broken = book.verify()
    if broken is not None:
        result.differences.append(Difference(f"{path.name}", broken, "an intact chain"))
    lines = [one for one in book.entries if one.get("run_id") == run.manifest["run_id"]]
    if not lines or net is None:
        result.differences.append(
            Difference(f"{path.name}: {run.manifest['run_id']}", None, "a line of this run")
        )
        return
    digest = ledger.returns_hash(net)
    wrong = [
        Difference(f"{path.name}: returns_sha256", lines[-1].get("returns_sha256"), digest)
        for _ in range(lines[-1].get("returns_sha256") != digest)
    ]
    result.count("ledger lines", 1, wrong)


def _embedded(data: Embedded, run: Run) -> Iterator[Difference]:
    """The data in the page against the run's."""
    fresh = embedded.unpacked(embedded.packed(embedded.gather(embedded.rounded(run))))
    for name in ("manifest", "result"):
        if getattr(data, name) != getattr(fresh, name):
            yield Difference(f"page data: {name}", "another one", f"that of {name}.json")
    for name in ("equity", "weights", "scores"):
        if not getattr(data, name).equals(getattr(fresh, name)):
            yield Difference(f"page data: {name}", "other numbers", "those of the run folder")
    if {k: v.tolist() for k, v in data.pits.items()} != {
        k: v.tolist() for k, v in fresh.pits.items()
    }:
        yield Difference("page data: PIT", "other counts", "those of the run folder")
