"""Bars that say what is happening, how fast, and for how long still; or silence.

Owns how progress looks. Knows nothing of what is being done.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol, TextIO

_LOG_SECONDS = 10.0  # a log gets a line this often, and none for work that is done sooner


class Bar(Protocol):
    """One piece of long work."""

    def step(self, count: int = 1, **figures: float | str) -> None:
        """Move on by `count`, showing the latest figures."""
        ...


class _Silent:
    def step(self, count: int = 1, **figures: float | str) -> None:
        """Say nothing."""


class _Shown:
    def __init__(self, title: str, total: int, unit: str, done: int) -> None:
        from tqdm import tqdm

        watched = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=title,
            unit=unit,
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.2 if watched else _LOG_SECONDS,
            delay=0 if watched else _LOG_SECONDS,
            bar_format="{desc}: {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} "
            "[{elapsed} so far, {remaining} left, {rate_fmt}{postfix}]",
        )

    def step(self, count: int = 1, **figures: float | str) -> None:
        """Move on and show."""
        if figures:
            self._bar.set_postfix(figures, refresh=False)
        self._bar.update(count)

    def close(self) -> None:
        """Leave the finished bar on the screen."""
        self._bar.close()


class Progress:
    """Makes bars and prints lines of news to standard error; if `quiet`, nothing at all."""

    def __init__(self, *, quiet: bool = True) -> None:
        self._quiet = quiet

    @contextmanager
    def bar(self, title: str, total: int, *, unit: str = "it", done: int = 0) -> Iterator[Bar]:
        """Show a bar while the block runs; what was `done` before it does not count as speed."""
        if self._quiet:
            yield _Silent()
            return
        shown = _Shown(title, total, unit, done)
        try:
            yield shown
        finally:
            shown.close()

    def say(self, line: str) -> None:
        """One line of news, on standard error."""
        self._write(line, sys.stderr)

    def tell(self, line: str) -> None:
        """One line of the result, on standard output, as soon as it is known."""
        self._write(line, sys.stdout)

    def _write(self, line: str, file: TextIO) -> None:
        """Write above an open bar, which moves down."""
        if self._quiet:
            return
        with ExitStack() as stack:
            if sys.stderr.isatty():
                from tqdm import tqdm

                stack.enter_context(tqdm.external_write_mode(file=file))
            print(line, file=file, flush=True)


SILENT = Progress(quiet=True)
"""For callers from Python who did not ask for bars."""
