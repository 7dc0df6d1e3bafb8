"""A third party's package with a source of prices, written to disk as pip would install it."""

from pathlib import Path

MODULE = '''
import os, time
from pathlib import Path

import numpy as np

from quantseq import errors
from quantseq.market.bars import Bars

HERE = Path(__file__).parent


class TinySource:
    """Answers by the name of the symbol; remembers what it was asked in a file."""

    name = "whatever"

    def fetch(self, symbol, *, start=None, end=None, interval="1d"):
        with (HERE / "asked.txt").open("a") as log:
            log.write(symbol + "\\n")
        if symbol.startswith("SLOW") and not (HERE / "awake").exists():
            time.sleep(60)
        if symbol.startswith("CTRLC") and not (HERE / "awake").exists():
            raise KeyboardInterrupt
        for prefix, kind in [
            ("MISS", errors.SymbolNotFoundError),
            ("NONE", errors.NoDataError),
            ("DOWN", errors.SourceUnavailableError),
            ("LIMIT", errors.RateLimitedError),
            ("STRANGE", errors.BadResponseError),
            ("BROKEN", errors.BarsError),
        ]:
            if symbol.startswith(prefix) and not (HERE / "awake").exists():
                raise kind(f"{symbol}: no.")
        n = 30
        close = 100.0 + np.arange(n)
        fields = dict(open=close, high=close, low=close, close=close, adj_close=close)
        zeros = np.zeros(n)
        days = np.datetime64("2020-01-01") + np.arange(n)
        bars = Bars(symbol, days, **fields, volume=zeros, dividends=zeros, splits=zeros)
        return bars.between(start, end)


def broken():
    raise RuntimeError("no licence key")


def leaving():
    raise SystemExit("no licence")


class Escaped(BaseException):
    pass


class Escaping(TinySource):
    def fetch(self, symbol, *, start=None, end=None, interval="1d"):
        raise Escaped("out of here")


class Nothing:
    name = "nothing"
'''
ENTRY_POINTS = """[quantseq.sources]
tiny = tiny_source_package:TinySource
broken = tiny_source_package:broken
escaping = tiny_source_package:Escaping
leaving = tiny_source_package:leaving
nothing = tiny_source_package:Nothing
gone = tiny_source_package:Missing
yahoo = tiny_source_package:TinySource
"""


def install(folder: Path) -> None:
    """Write the package and its metadata into `folder`, which then goes on ``sys.path``."""
    (folder / "tiny_source_package.py").write_text(MODULE)
    metadata = folder / "tiny_source-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-source\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)


def asked(folder: Path) -> list[str]:
    """What the source was asked so far."""
    log = folder / "asked.txt"
    return log.read_text().split() if log.exists() else []
