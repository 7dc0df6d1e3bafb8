"""Bars of trainings: one per network, moved by its training steps.

Knows reports of steps, and neither models nor tasks.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

from quantseq.progress import Bar, Progress
from quantseq.seq2seq.learning.history import StepReport


class StepBars:
    """Shows one bar per network as its training steps are reported.

    Parameters
    ----------
    progress : Progress
        Makes the bars.
    title : callable
        Gives the text of a bar from the number of its network.
    """

    def __init__(self, progress: Progress, title: Callable[[int], str]) -> None:
        self._progress, self._title = progress, title
        self._open: ExitStack | None = None
        self._bar: Bar | None = None
        self._member = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.close()

    def member(self, member: int, report: StepReport) -> None:
        """Move the bar of this member, opening it with its first report."""
        if self._bar is None or member != self._member:
            self.__exit__()
            self._open = ExitStack()
            self._bar = self._open.enter_context(
                self._progress.bar(
                    self._title(member), report.steps, unit="batch", done=report.step
                )
            )
            self._member = member
        figures: dict[str, float | str] = {"loss": f"{report.loss:.4f}"}
        if report.best_loss is not None:
            figures["validation"] = f"{report.best_loss:.4f}"
        self._bar.step(1, **figures)

    def only(self, report: StepReport) -> None:
        """Move the one bar there is."""
        self.member(0, report)
