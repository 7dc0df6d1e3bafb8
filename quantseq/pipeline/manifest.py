"""What a run says of itself: who made it, from what, with what."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import quantseq
from quantseq.config import RunConfig
from quantseq.files import fingerprint
from quantseq.market.bars import Dates, Panel


def versions() -> dict[str, str]:
    """Versions of Python, of the packages and of the processor's instructions that decide numbers."""
    from torch.backends.cpu import get_cpu_capability

    return {
        "python": platform.python_version(),
        "processor": f"{platform.machine()} {get_cpu_capability()}",
        "quantseq": quantseq.__version__,
        **{name: version(name) for name in ("torch", "numpy", "pandas", "scipy", "arch")},
    }


def git_commit() -> str | None:
    """Commit of the checkout that this package runs from, None outside of one."""
    where, quiet = Path(__file__).parent, subprocess.DEVNULL
    ask = ["git", "rev-parse", "HEAD"]
    try:
        return subprocess.check_output(ask, cwd=where, text=True, timeout=10, stderr=quiet).strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None


def new_manifest(
    panel: Panel,
    config: RunConfig,
    sessions: Dates,
    *,
    command: str,
    title: str,
    reports: Path,
    **extra: Any,
) -> dict[str, Any]:
    """The manifest of a run that ends now, with further entries `extra`.

    `sessions`, (D,) datetime64[D], are those of the result; the run id is one that is free in `reports`.
    """
    settings, now = config.to_mapping(), datetime.now(UTC)
    data = {
        symbol: {
            "sha256": bars.sha256,
            "rows": len(bars),
            "first": str(bars.sessions[0]),
            "last": str(bars.sessions[-1]),
            "source": str(bars.provenance.get("source", "memory")),
        }
        for symbol, bars in panel.items()
    }
    tag = fingerprint({"config": settings, "data": data, "command": command, "extra": extra})[:6]
    return {
        "run_id": _free(reports, f"{now:%Y%m%d-%H%M%S}-{tag}"),
        "created": now.isoformat(timespec="seconds"),
        "command": command,
        "title": title,
        "sample_data": any(one["source"] == "sample" for one in data.values()),
        "config": settings,
        "data": data,
        "symbols": list(panel.symbols),
        "test_start": str(sessions[0]),
        "test_end": str(sessions[-1]),
        "versions": versions(),
        "git_commit": git_commit(),
        **extra,
    }


def _free(reports: Path, name: str) -> str:
    """The name itself, or with a number after it where a run of the same second has taken it."""
    names = (f"{name}-{number}" if number > 1 else name for number in count(1))
    return next(one for one in names if not (reports / one).exists())
