"""What a run says of itself: who made it, from what, with what."""

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from quantseq.files import fingerprint
from quantseq.market.bars import Dates

PACKAGES = ("quantseq", "torch", "numpy", "pandas", "scipy", "arch")


def versions() -> dict[str, str]:
    """Versions of Python, of the packages and of the processor's instructions that decide numbers."""
    from torch.backends.cpu import get_cpu_capability

    found = {"python": platform.python_version()}
    found["processor"] = f"{platform.machine()} {get_cpu_capability()}"
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_commit() -> str | None:
    """Commit of the checkout that this package runs from, None outside of one."""
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def new_manifest(
    *,
    command: str,
    title: str,
    config: Mapping[str, Any],
    data: Mapping[str, Mapping[str, Any]],
    symbols: list[str],
    sessions: Dates,
    extra: Mapping[str, Any],
    reports: Path,
) -> dict[str, Any]:
    """The manifest of a run that ends now.

    Parameters
    ----------
    command, title : str
    config, data : mapping
        Resolved configuration, and per symbol hash, span and source.
    symbols : list of str
    sessions : (D,) datetime64[D]
        Sessions of the result.
    extra : mapping
        Further entries.
    reports : Path
        Where the run folder will lie; the run id is one that is free there.
    """
    now = datetime.now(UTC)
    tag = fingerprint({"config": config, "data": data, "command": command, "extra": extra})[:6]
    return {
        "run_id": _free(reports, f"{now:%Y%m%d-%H%M%S}-{tag}"),
        "created": now.isoformat(timespec="seconds"),
        "command": command,
        "title": title,
        "sample_data": any(one["source"] == "sample" for one in data.values()),
        "config": dict(config),
        "data": dict(data),
        "symbols": symbols,
        "test_start": str(sessions[0]),
        "test_end": str(sessions[-1]),
        "versions": versions(),
        "git_commit": git_commit(),
        **extra,
    }


def _free(reports: Path, name: str) -> str:
    """The name itself, or with a number after it where a run of the same second has taken it."""
    number, free = 1, name
    while (reports / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free
