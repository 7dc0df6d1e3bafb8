"""From a folder to its one self-contained HTML page, and to its figures as files.

Owns which folder makes which page. `render` is pure: the same run gives the same bytes, with everything
inline, nothing loaded from anywhere, and readable without scripts.
"""

from pathlib import Path

from quantseq.reporting.page import Figure, Page, fill, write_page
from quantseq.reporting.run import REPORT, Run, readable
from quantseq.reporting.score_page import evaluation_page
from quantseq.reporting.sections import backtest_page
from quantseq.reporting.toy_page import SAMPLES, toy_page


def page_of(what: Run | Path | str) -> Page:
    """The page of a run, or of the folder of a backtest, an evaluation or a toy task, in its parts.

    RunError if the folder is none of the three, incomplete or damaged.
    """
    name = what.manifest["run_id"] if isinstance(what, Run) else str(what)
    with readable(name):
        if not isinstance(what, Run) and (Path(what) / SAMPLES).is_file():
            return toy_page(Path(what))
        run = what if isinstance(what, Run) else Run.load(Path(what))
        return backtest_page(run) if run.kind == "backtest" else evaluation_page(run)


def render(what: Run | Path | str) -> str:
    """The page as HTML; see `page_of`."""
    return fill(page_of(what))


def write_report(folder: Path, page: Page | None = None) -> Path:
    """Render the page of a folder, if made already `page`, into its ``report.html``; errors as of `page_of`."""
    return write_page(Path(folder) / REPORT, page or page_of(folder))


def figures(what: Run | Path | str) -> dict[str, Figure]:
    """Every figure of a run, or of a folder with a page, by its key and in the order of the page.

    Each has its numbers as ``.frame``, pictures as ``.svg()`` and ``.png()``, and ``.save(folder)`` writes
    both. RunError as `page_of`.

    Examples
    --------
    ::

        shown = quantseq.figures("reports/20260101-120000-abc123")
        shown["equity"].frame.tail()
        shown["equity"].save(Path("slides"))
    """
    return page_of(what).figures


def export_figures(page: Page, folder: Path) -> list[Path]:
    """Write every chart of a page as SVG and PNG, named by its key, in the order of the page."""
    return [path for figure in page.figures.values() for path in figure.save(folder)]
