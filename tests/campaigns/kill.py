"""Kill commands at random moments, and count what is lost.

Each trial starts a command of `COMMANDS` on a fresh copy of a small prepared folder, sends SIGKILL, SIGTERM or SIGINT
at a moment drawn uniformly over the time that the undisturbed command takes, and looks: is everything that lay there
before still there and whole, is any process left after ten seconds, is any result half written? Then the same
command runs again (a training with ``--resume``), and must end well, find no lock in its way, leave no unfinished
file, and come to the bits of the undisturbed run. ::

    python tests/campaigns/kill.py --times 30 --seed 0            # all commands, all signals in turn
    python tests/campaigns/kill.py --times 30 --commands train sweep
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 10.0  # seconds until no process may be left
CONFIG = """
seed = 7
num_paths = 10
[forecaster]
members = 2
epochs = 1
horizon = 2
[walk_forward]
test_size = 300
validation_size = 100
min_train = 500
purge = 2
"""
DAYS = 400  # sessions of a fetch


@dataclass(frozen=True)
class Command:
    """What is typed, what is typed to go on, and what it comes to."""

    words: str
    results: tuple[
        str, ...
    ]  # patterns of the files that must come out the same, in the newest folder that has them
    again: str = ""
    before: tuple[str, ...] = ()  # commands that make what it needs
    kept: tuple[str, ...] = ()  # patterns of files that were there and must stay whole
    source: str = ""


WALK = "IBM MSFT --config run.toml"
RUN = ("scores.parquet", "forecasts.parquet", "weights.parquet", "equity.parquet", "trades.parquet")
STORE = ("data/bars/1d/*.parquet",)
COMMANDS = {
    "import": Command(
        "data import prices.csv --symbol OWN", ("data/bars/1d/OWN.parquet",), kept=STORE
    ),
    "fetch": Command(
        "fetch AAA BBB CCC DDD --rate 1000",
        ("data/bars/1d/*.parquet",),
        source="replay",
        kept=STORE,
    ),
    "train": Command(
        "train --task price --symbols IBM,MSFT --config run.toml --out model",
        ("model/member-*/model.safetensors", "model/t*.json"),
        again=" --resume",
        before=("train --task price --symbols IBM --config run.toml --out model",),
        kept=(*STORE, "model/**/*"),
    ),
    "backtest": Command(f"backtest {WALK}", tuple(f"reports/*/{name}" for name in RUN), kept=STORE),
    "evaluate": Command(
        f"evaluate {WALK} --baselines har-pooled-t --jobs 2",
        tuple(f"reports/*/{name}" for name in RUN[:2]),
        kept=STORE,
    ),
    "sweep": Command(
        f"sweep {WALK} --policies probability,vol_target --costs-bps 0,5 --jobs 2",
        ("reports/sweep-*/points.csv", "reports/sweep-*/best.toml"),
        kept=STORE,
    ),
    "report": Command(
        "report", ("reports/*/report.html",), before=(f"backtest {WALK}",), kept=("reports/**/*",)
    ),
}


@dataclass
class Tally:
    """What was counted over the trials of a command."""

    seconds: float = 0.0
    killed: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)

    def fault(self, kind: str, what: str) -> None:
        self.faults[kind] += 1
        self.said.append(f"{kind}: {what}")


KINDS = ("lost", "half", "workers left", "stale lock", "not resumed", "other result", "litter")


def typed(words: str, source: str, port: int) -> list[str]:
    child = (
        [sys.executable, str(Path(__file__)), "--child", str(port)]
        if source
        else [sys.executable, "-m", "quantseq"]
    )
    return [*child, *words.split()]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


def digest(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """Hashes of the files of each pattern; of several folders that have them the newest counts."""
    found = {}
    for pattern in patterns:
        files = [one for one in folder.glob(pattern) if one.is_file()]
        newest = max(
            (one.parent for one in files), key=lambda one: one.stat().st_mtime, default=None
        )
        if pattern.startswith("reports"):
            files = [one for one in files if one.parent == newest]
        for file in files:
            name = f"{file.parent.name if 'member' in file.parent.name else ''}/{file.name}"
            found[f"{pattern}:{name}"] = content(file)
    return found


def content(file: Path) -> str:
    """Hash of what a file says: of stored prices without the moment of fetching."""
    if "bars" in file.parts:
        import pyarrow.parquet as pq

        table = pq.read_table(file).replace_schema_metadata(None)
        return hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest()
    return hashlib.sha256(file.read_bytes()).hexdigest()


def processes_of(session: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def half_folders(folder: Path) -> list[str]:
    """Run folders that are there without all of their files."""
    found = []
    for one in folder.glob("reports/[!.]*/"):
        if one.name.startswith("sweep-") or not one.is_dir():
            continue
        there = {path.name for path in one.iterdir()}
        if not {"manifest.json", "result.json", "SHA256SUMS", "report.html"} <= there:
            found.append(one.name)
    return found


def litter(folder: Path) -> list[str]:
    return [str(one.relative_to(folder)) for one in folder.rglob(".quantseq-*")]


def snapshot(folder: Path, patterns: tuple[str, ...]) -> dict[Path, bytes]:
    files = {one for pattern in patterns for one in folder.glob(pattern)} | {folder / "thesis.txt"}
    return {one.relative_to(folder): one.read_bytes() for one in files if one.is_file()}


def run(folder: Path, words: list[str], **how: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600, **how
    )


def prepare(folder: Path, command: Command, port: int) -> None:
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(CONFIG)
    (folder / "thesis.txt").write_text("mine")
    rng, lines, price = random.Random(1), ["date,open,high,low,close,volume"], 100.0
    for day in range(3000):
        stamp = time.strftime("%Y-%m-%d", time.gmtime(86400 * (10_000 + day)))
        opened, price = price, price * (1 + rng.gauss(0, 0.01))
        low, high = sorted((opened, price))
        lines.append(f"{stamp},{opened:.4f},{high:.4f},{low:.4f},{price:.4f},{1000 + day}")
    (folder / "prices.csv").write_text("\n".join(lines) + "\n")
    span = "--start 2003-01-01 --end 2006-12-31"
    for words in (f"fetch IBM MSFT --source sample {span}", *command.before):
        done = run(folder, typed(words, "", port))
        assert done.returncode == 0, done.stderr


def trial(
    folder: Path,
    command: Command,
    kind: signal.Signals,
    moment: float,
    expected: dict[str, str],
    tally: Tally,
    port: int,
) -> None:
    name, before = kind.name, snapshot(folder, command.kept)
    words = typed(command.words, command.source, port)
    child = subprocess.Popen(
        words,
        cwd=folder,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(moment)
    if child.poll() is None:
        tally.killed[name] += 1
        # as a terminal does, Ctrl-C reaches all processes; a manager's SIGTERM and the kernel's SIGKILL one
        (os.killpg if kind == signal.SIGINT else os.kill)(child.pid, kind)
    late = time.monotonic() + PATIENCE
    while time.monotonic() < late and (child.poll() is None or processes_of(child.pid)):
        time.sleep(0.2)
    if left := processes_of(child.pid):
        tally.fault("workers left", f"{name} at {moment:.1f} s: {len(left)}")
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    at = f"{name} at {moment:.2f} s"
    for path, data in before.items():
        there = folder / path
        if not there.is_file():
            tally.fault("lost", f"{at}: {path}")
        elif there.read_bytes() != data and not finished(folder, path, command, expected):
            tally.fault("lost", f"{at}: {path} changed")
    for one in half_folders(folder):
        tally.fault("half", f"{at}: {one}")
    done = run(folder, typed(command.words + command.again, command.source, port))
    if done.returncode:
        kind_ = "stale lock" if "Another quantseq process" in done.stderr else "not resumed"
        tally.fault(kind_, f"{at}: {done.stderr.strip()[-300:]}")
    elif (found := digest(folder, command.results)) != expected:
        differ = [one for one in expected if found.get(one) != expected[one]]
        tally.fault("other result", f"{at}: {differ}")
    if rest := litter(folder):
        tally.fault("litter", f"{at}: {rest}")


def finished(folder: Path, path: Path, command: Command, expected: dict[str, str]) -> bool:
    """Whether an older model has changed because the whole new one has taken its place."""
    return path.parts[0] == "model" and digest(folder, command.results) == expected


@contextmanager
def replay() -> Iterator[int]:
    """A server on loopback that plays Yahoo."""
    sys.path.insert(0, str(ROOT))
    from tests.market.conftest import ReplayHandler, chart, good, serving

    days = [time.strftime("%Y-%m-%d", time.gmtime(86400 * (18_000 + k))) for k in range(DAYS)]
    days = [day for day in days if time.strptime(day, "%Y-%m-%d").tm_wday < 5]

    def answer(symbol: str, query: dict[str, str]) -> object:
        close = [50.0 + len(symbol) + (k * 7 % 13) / 10 for k in range(len(days))]
        return good(chart(days, close=close))

    with serving(ReplayHandler) as server:
        server.answer = answer
        yield server.port


def child(port: int, words: list[str]) -> None:
    """`quantseq` whose Yahoo is the replay server."""
    sys.path.insert(0, str(ROOT))
    import quantseq.pipeline.data as data
    from quantseq.cli import main
    from quantseq.market.yahoo import YahooSource
    from tests.market.conftest import LoopbackSession

    def made(name: str, **how: object) -> YahooSource:
        return YahooSource(session=LoopbackSession(port), wait=0.0, timeout=5.0, rate=1e9)

    data.make_source = made
    sys.argv = ["quantseq", *words]
    main()


def undisturbed(
    folder: Path, base: Path, command: Command, port: int
) -> tuple[float, dict[str, str]]:
    """How long the command takes, at best of two, and what it comes to."""
    seconds, found = [], []
    for _ in range(2):
        shutil.copytree(base, folder)
        begun = time.monotonic()
        done = run(folder, typed(command.words, command.source, port))
        seconds.append(time.monotonic() - begun)
        assert done.returncode == 0, done.stderr
        found.append(digest(folder, command.results))
        shutil.rmtree(folder)
    assert found[0], f"nothing is left to compare by {command.words!r}"
    assert found[0] == found[1], f"{command.words!r} comes out differently twice"
    return min(seconds), found[0]


def campaign(
    names: list[str], times: int, seed: int, tell: Callable[[str], None] = print
) -> dict[str, Tally]:
    """Every command, `times` times, the signals in turn."""
    rng, tallies = random.Random(seed), {}
    with replay() as port, tempfile.TemporaryDirectory(prefix="kill-") as place:
        for name in names:
            command, tally = COMMANDS[name], Tally()
            base = Path(place) / name
            prepare(base, command, port)
            work = Path(place) / "work"
            if name not in ("import", "fetch", "report"):  # the gate's record, once
                gates = Path(place) / "gates"
                if gates.exists():
                    shutil.copytree(gates, base / "data/models/gates", dirs_exist_ok=True)
                else:
                    shutil.copytree(base, work)
                    run(work, typed(command.words, command.source, port))
                    shutil.copytree(work / "data/models/gates", gates)
                    shutil.copytree(gates, base / "data/models/gates", dirs_exist_ok=True)
                    shutil.rmtree(work)
            tally.seconds, expected = undisturbed(work, base, command, port)
            for number in range(times):
                shutil.copytree(base, work)
                moment = rng.uniform(0, tally.seconds)
                kind = SIGNALS[number % len(SIGNALS)]
                trial(work, command, kind, moment, expected, tally, port)
                shutil.rmtree(work)
            tallies[name] = tally
            tell(row(name, times, tally))
            for one in tally.said:
                tell(f"    {one}")
    return tallies


def row(name: str, times: int, tally: Tally) -> str:
    caught = "/".join(str(tally.killed[one.name]) for one in SIGNALS)
    counts = " | ".join(str(tally.faults[kind]) for kind in KINDS)
    return f"| {name} | {tally.seconds:.1f} s | {times} ({caught}) | {counts} |"


def main() -> None:
    if "--child" in sys.argv:
        child(int(sys.argv[2]), sys.argv[3:])
        return
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # in the background a shell has it ignored
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--times", type=int, default=30, help="trials of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=list(COMMANDS))
    asked = parser.parse_args()
    print(
        f"| command | undisturbed | trials (still running at KILL/TERM/INT) | {' | '.join(KINDS)} |"
    )
    print("|---" * (3 + len(KINDS)) + "|", flush=True)
    tallies = campaign(
        asked.commands, asked.times, asked.seed, lambda line: print(line, flush=True)
    )
    sys.exit(any(tally.faults for tally in tallies.values()))


if __name__ == "__main__":
    main()
