"""Bars that say what is happening, how fast, and for how long still; or silence.

Owns how progress looks, and that Ctrl-C ends the work. Knows nothing of what is being done.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from quantseq.errors import visible

_LOG_SECONDS = 10.0  # a log gets a line this often, and none for work that is done sooner
_interrupts: list[int] = []  # Ctrl-C since the command began


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the block, even where a library swallows it: then the next step of a bar raises it again."""

    def note(number: int, frame: Any) -> None:
        _interrupts.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    try:
        if before is not signal.SIG_IGN:  # as for work in the background
            signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread: Ctrl-C does not come here
        yield
        return
    try:
        yield
    except Exception:
        if _interrupts:  # an import that was cut in two, for one
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        _interrupts.clear()


class Bar:
    """One piece of long work, shown by tqdm or not at all."""

    def __init__(self, shown: Any = None) -> None:
        self._shown = shown

    def step(self, count: int = 1, **figures: float | str) -> None:
        """Move on by `count`, showing the latest figures; KeyboardInterrupt if one was lost before."""
        if _interrupts:
            raise KeyboardInterrupt
        if self._shown is not None:
            if figures:
                shown = {n: visible(v) if isinstance(v, str) else v for n, v in figures.items()}
                self._shown.set_postfix(shown, refresh=False)
            self._shown.update(count)


class Progress:
    """Makes bars and prints lines of news to standard error; if `quiet`, nothing at all."""

    def __init__(self, *, quiet: bool = True) -> None:
        self._quiet = quiet

    @contextmanager
    def bar(self, title: str, total: int, *, unit: str = "it", done: int = 0) -> Iterator[Bar]:
        """Show a bar while the block runs; what was `done` before it does not count as speed."""
        if self._quiet:
            yield Bar()
            return
        from tqdm import tqdm

        watched = sys.stderr.isatty()
        with tqdm(
            total=total,
            initial=done,
            desc=visible(title),
            unit=unit,
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.2 if watched else _LOG_SECONDS,
            delay=0 if watched else _LOG_SECONDS,
            bar_format="{desc}: {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} "
            "[{elapsed} so far, {remaining} left, {rate_fmt}{postfix}]",
        ) as shown:
            yield Bar(shown)

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
        line = visible(line)
        if sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.write(line, file=file)
        else:
            print(line, file=file)
        file.flush()


SILENT = Progress(quiet=True)
"""For callers from Python who did not ask for bars."""
