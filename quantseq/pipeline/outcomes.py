"""What a training returns: its ``metrics.json`` as a dictionary that knows its folder and shows itself.

Owns nothing but that. Keys and values are the training's own.
"""

from pathlib import Path
from typing import Any

from quantseq.notebook import card
from quantseq.reporting import toy_page
from quantseq.reporting.figures import Figure, figures_of


class TrainingOutcome(dict[str, Any]):
    """The content of ``metrics.json``.

    Parameters
    ----------
    metrics : dict
        Its content.
    folder : Path
        The model folder.
    report : Path, optional
        The page, if the task has one.
    """

    def __init__(self, metrics: dict[str, Any], folder: Path, report: Path | None = None) -> None:
        super().__init__(metrics)
        self.folder, self.report = folder, report

    def figures(self) -> dict[str, Figure]:
        """Every figure of the page by key, with its numbers as ``.frame``; empty without a page."""
        return {} if self.report is None else figures_of(toy_page.load(self.folder))

    def _repr_html_(self) -> str:
        """Shown by notebooks: what is a single value; the rest stands in ``metrics.json``."""
        rows = [
            [key, f"{value:,.6g}" if isinstance(value, float) else str(value)]
            for key, value in self.items()
            if isinstance(value, (bool, int, float, str))
        ]
        note = str(self.report or self.folder)
        return card(f"Trained: {self.get('task')}", "", ["", "value"], rows, note)
