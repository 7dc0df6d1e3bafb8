"""The process of ``quantseq``: streams that outlast their reader, Ctrl-C from the first moment, and its exit code.

Owns what only a process of its own may touch. Knows no command: nothing heavy is imported before an
interrupt would be told in one line.
"""

import codecs
import errno
import io
import os
import signal
import sys
from typing import Any

_SPELLED = {
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "·": "*",
    "…": "...",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
}


class _Lasting(io.FileIO):
    """A standard stream whose reader may leave, and whose disk may fill: the work goes on."""

    fault: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.fault = self.fault or error
            return memoryview(data).nbytes


def _spell(error: UnicodeError) -> tuple[str, int]:
    """What an old encoding lacks, in characters that it has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_SPELLED.get(c) or ascii(c)[1:-1] for c in lacking), error.end


def _lasting_stream(name: str, number: int) -> _Lasting | None:
    """Put a stream in place that takes every character, and that nobody can close or fill."""
    stream = getattr(sys, name)
    buffer = getattr(stream, "buffer", None)
    if buffer is not None and type(getattr(buffer, "raw", buffer)) is not io.FileIO:
        # a console of Windows, whose bytes are no file's
        stream.reconfigure(errors="quantseq")
        return None
    raw = _Lasting(number, "w", closefd=False)
    lines = name == "stderr" or raw.isatty() or getattr(stream, "write_through", False)
    encoding = "utf-8" if stream is None else stream.encoding
    how: Any = {"encoding": encoding, "errors": "quantseq", "line_buffering": lines}
    setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(raw), **how))
    return raw


def run() -> int:
    """Run the command line and give its exit code."""
    code: Any = 0
    out = None
    ends: list[int] = []

    def stop(number: int, frame: Any) -> None:
        ends.append(number)
        raise KeyboardInterrupt

    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, stop)
        codecs.register_error("quantseq", _spell)
        while (free := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next file would be stdout
            pass
        os.close(free)
        out = _lasting_stream("stdout", 1)
        _lasting_stream("stderr", 2)
        from quantseq.cli import app

        app(prog_name="quantseq")
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        print("interrupted: Nothing was overwritten.", file=sys.stderr)
        code = 143 if ends else 130
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if out is not None and out.fault is not None and out.fault.errno != errno.EPIPE:
        said = f"error: Cannot print: {out.fault.strerror}. What was asked for is done, but not all of it is shown."
        print(said, file=sys.stderr)
        code = code or 3
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(run())
