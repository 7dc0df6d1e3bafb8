"""The page of any folder that a command wrote: a backtest, an evaluation or a toy task.

Owns which files make which page. Knows nothing of what stands on it.
"""

from collections.abc import Callable
from pathlib import Path

from quantseq.reporting import render, score_page, toy_page
from quantseq.reporting.figures import Figure, figures_of
from quantseq.reporting.page import Page
from quantseq.reporting.run import Run


def page_of(folder: Path) -> Page:
    """The page of a folder, in its parts.

    Raises
    ------
    RunError
        If the folder is none of the three, incomplete or damaged.
    """
    load = _loader(folder)
    return render.assemble(Run.load(folder)) if load is None else load(folder)


def rewrite(folder: Path) -> Path:
    """Render the page of a folder into its ``report.html`` again.

    Raises
    ------
    RunError
        If the folder is none of the three, incomplete or damaged.
    StorageError
        If it is not writable.
    """
    load = _loader(folder)
    return render.write_report(folder) if load is None else render.write_page(load(folder), folder)


def _loader(folder: Path) -> Callable[[Path], Page] | None:
    """What reads the page of this folder; None for a backtest's."""
    if (Path(folder) / score_page.RESULT).is_file():
        return score_page.load
    return toy_page.load if (Path(folder) / toy_page.SAMPLES).is_file() else None


def figures(what: Run | Path | str) -> dict[str, Figure]:
    """Every figure of a run, or of a folder with a page, by its key.

    Parameters
    ----------
    what : Run or path
        A run, or the folder of a backtest, an evaluation or a toy task.

    Returns
    -------
    dict of str to Figure
        In the order of the page. ``.frame`` has the numbers as a DataFrame, ``.svg()`` and ``.png()``
        the picture, ``.save(folder)`` writes both.

    Raises
    ------
    RunError
        If the folder has no page, is incomplete or damaged.

    Examples
    --------
    ::

        shown = quantseq.figures("reports/20260101-120000-abc123")
        shown["equity"].frame.tail()
        shown["equity"].save(Path("slides"))
    """
    return figures_of(render.assemble(what) if isinstance(what, Run) else page_of(Path(what)))
