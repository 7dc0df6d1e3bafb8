"""Bars that say what is happening, how fast, and for how long still; or silence.

Owns how progress looks, that Ctrl-C and SIGTERM end the work, and the processes it is shared out to. Knows nothing
of what is being done.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from quantseq.errors import visible

_LOG_SECONDS = 10.0  # a log gets a line this often, and none for work that is done sooner
_stops: list[list[int]] = []  # signals, as every open `on_stop` has heard them


@contextmanager
def on_stop(act: Callable[[list[int]], None]) -> Iterator[list[int]]:
    """Call `act` at Ctrl-C and at SIGTERM while the block runs, with the numbers of the signals so far.

    What this process ignores, as work in the background does, it goes on to ignore.
    """
    heard: list[int] = []

    def note(number: int, frame: Any) -> None:
        for one in _stops:
            one.append(number)
        act(heard)

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    before = {one: how for one, how in before.items() if how not in (None, signal.SIG_IGN)}
    try:
        for one in before:
            signal.signal(one, note)
    except ValueError:  # not the main thread: no signal comes here
        yield heard
        return
    _stops.append(heard)
    try:
        yield heard
    finally:
        _stops.pop()
        for one, how in before.items():
            signal.signal(one, how)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Let Ctrl-C and SIGTERM end the block, even where a library swallows it: then the next step of a bar raises it again."""

    def stop(heard: list[int]) -> None:
        raise KeyboardInterrupt

    with on_stop(stop) as heard:
        try:
            yield heard
        except Exception:
            if heard:  # an import that was cut in two, for one
                raise KeyboardInterrupt from None
            raise


def parallel(jobs: int, **how: Any) -> Any:
    """Joblib's ``Parallel`` over processes of one thread each, which end with this one, however it ends.

    One thread, for sums of several may differ in their last bits.
    """
    from joblib import Parallel, parallel_config

    end: dict[str, Any] = {"initializer": _end_with, "initargs": (os.getpid(),)}
    with parallel_config(backend="loky", inner_max_num_threads=1, **end):
        return Parallel(n_jobs=jobs, **how)


def _end_with(parent: int) -> None:
    """Have this worker notice within a second that its parent was killed; loky's own would wait for minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Bar:
    """One piece of long work, shown by tqdm or not at all."""

    def __init__(self, shown: Any = None) -> None:
        self._shown = shown

    def step(self, count: int = 1, **figures: float | str) -> None:
        """Move on by `count`, showing the latest figures; KeyboardInterrupt if one was lost before."""
        if any(_stops):
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
