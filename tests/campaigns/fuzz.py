"""Fuzz: inputs that nobody means well, given to the commands as a user gives them; none may end in a traceback.

Tables (CSV and Parquet), TOML configurations, words of the command line, and the files of strangers: run folders,
toy folders, models, ledgers. Bounded and seeded: the same count and seed give the same cases.

    python tests/campaigns/fuzz.py --count 12000 --seed 0

It prints a Markdown table, then each kind of fault once, with the first case that showed it. A fault is what is
not refused on purpose: exit code 1, an exception, a raw control character, or a line without end.
"""

import argparse
import contextlib
import copy
import decimal
import io
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import typer

from quantseq.cli import app
from quantseq.config import RunConfig
from quantseq.files import fingerprint
from quantseq.market.sources import SampleSource
from quantseq.market.store import Store
from quantseq.pipeline.sweep import to_toml
from quantseq.reporting.run import sign

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.report_folders import evaluation, toy_folder

WORDS: list[Any] = [
    *("", " ", "0", "-1", "1", "1e999", "-1e308", "1e-320", "nan", "inf", "-inf", "null", "true", "N/A", "--", "-"),
    *("2020-01-02", "0000-00-00", "9999-12-31", "02/30/2020", "31.12.20", "20200102", "1577923200000", "١٢"),
    *("1,234.5", "1.234,5", "1'234", "１２", "1 234,5", "12.5K", "3.4B", "€5", "5%", "=1+1", "1_000", "0x10", "1e5"),
    *("\x1b[31mred", "\x00", "\u202egpj", "a\tb", "\r", "\x85", "\ufeff", "\ud7ff", "🙂", "日付", "שלום", "x" * 5000),
    *("'", '"', '"unclosed', "a,b", "a;b", "[[[", "{", "a/b", "%s%n", "AAPL", "^GSPC", "EURUSD=X", "BRK-B", "close"),
    *("9" * 400, "10000000000000000000000", "1e400", "0.1.2", "..", ".", "\\", "\\u0000", "#", "NaT", "None"),
]  # fmt: skip
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 10**9, 10**30, -(10**18), 0.5, -0.1, 1e308, "", "x", "\x1b[31m\u202e", "2020-01-01"),
    *([], {}, [1], [None], [[]], {"a": 1}, {"": {}}, ["x"] * 3, [0.1] * 5, "x" * 3000, "0" * 64, [{}], {"a": [{"b": []}]}),
]  # fmt: skip
PATHS = [
    *(".", "nowhere", "folder.parquet", "folder.csv", "plain.txt", "deep.json", "deep.toml", "x" * 300, "y" * 10_000),
    *("/proc/x/y", "\x1b[31mz", "plain.txt/below", "run", "toy", "bytes.parquet", "empty.csv", "\u202e.csv", " "),
]  # fmt: skip

Case = tuple[list[str], Callable[[], None]]


def damaged(random_: random.Random, data: bytes) -> bytes:
    """Bytes that were cut, flipped or filled."""
    kind, place = random_.randrange(5), random_.randrange(len(data) + 1)
    if kind == 0:
        return data[:place]
    if kind == 1 and data:
        changed = bytearray(data)
        for _ in range(random_.choice((1, 1, 5, 50))):
            changed[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        return bytes(changed)
    if kind == 2:
        return data[:place] + random_.randbytes(random_.randrange(40)) + data[place:]
    if kind == 3:
        return data[:place] + data[: random_.randrange(200)] + data[place:]
    return data


# ------------------------------------------------------------------------------------------------- tables


def csv_bytes(random_: random.Random) -> bytes:
    """A table of prices as text, spoilt here and there."""
    names = [
        "Date",
        "Open",
        "High",
        "Low",
        "Close",
        "Adj Close",
        "Volume",
        "Dividends",
        "Stock Splits",
    ]
    names = names[: random_.choice((5, 6, 7, 9, 9))]
    if random_.random() < 0.3:
        names += random_.choices(
            ["Symbol", "Ticker", "Name", "Change %", "Currency", "", "Time", "Close"], k=2
        )
    rows = []
    day = np.datetime64(random_.choice(("1970-01-02", "2020-01-02", "1899-12-29", "2024-02-27")))
    form = random_.choice(
        ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%y", "%Y%m%d", "%b %d, %Y", "%s")
    )
    for _ in range(random_.choice((0, 1, 5, 5, 30, 30))):
        day += np.timedelta64(random_.choice((0, 1, 1, 1, 3, -1, 7)), "D")
        close = round(random_.lognormvariate(4, 1), 2)
        text = str(day) if form == "%Y-%m-%d" else pd.Timestamp(day).strftime(form)
        row = [text, close, close + 1, close - 1, close, close, random_.randrange(10**7), 0, 0]
        rows.append([str(x) for x in row[: len(names)]] + ["x"] * max(len(names) - 9, 0))
    table = [names, *rows]
    if random_.random() < 0.15:
        table = rows or [[]]
    for _ in range(random_.choice((0, 0, 1, 3, 20))):
        line = random_.choice(table)
        if line:
            line[random_.randrange(len(line))] = random_.choice(WORDS)
    if random_.random() < 0.2:
        table.insert(
            random_.randrange(len(table) + 1), random_.choices(WORDS, k=random_.randrange(12))
        )
    separator = random_.choice((",", ",", ",", ";", "\t", "|", ", ", " ", "&"))
    ending = random_.choice(("\n", "\n", "\r\n", "\r", "\n\n"))
    text = ending.join(separator.join(line) for line in table) + random_.choice(("", ending))
    if random_.random() < 0.1:
        text = (
            random_.choice(
                ("sep=;\n", "Prices of X\n\n", "#", '"', "\x1a", "<html>", "Ticker,X,X\n")
            )
            + text
        )
    encoding = random_.choice(
        ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-32", "shift-jis")
    )
    data = text.encode(encoding, "replace")
    return damaged(random_, data) if random_.random() < 0.4 else data


def frame(random_: random.Random) -> pd.DataFrame:
    """A table of prices with columns of any type."""
    n = random_.choice((0, 1, 5, 30, 30))
    days = pd.date_range("2020-01-01", periods=n)
    numbers = np.linspace(10, 20, n)
    kinds: list[Callable[[], Any]] = [
        lambda: numbers,
        lambda: [random_.choice(WORDS) for _ in range(n)],
        lambda: [b"\xff\x00"] * n,
        lambda: [[1.0, 2.0]] * n,
        lambda: [{"a": 1}] * n,
        lambda: [decimal.Decimal("1.5")] * n,
        lambda: [None] * n,
        lambda: np.full(n, random_.choice((np.nan, np.inf, -np.inf, 0.0, -1.0, 1e308, 5e-324))),
        lambda: np.arange(n, dtype=random_.choice(("int8", "uint64", "float32", "bool"))),
        lambda: pd.Categorical(["a"] * n),
        lambda: days.tz_localize("UTC"),
        lambda: pd.to_timedelta(np.arange(n), unit="D"),
        lambda: [day.date() for day in days],
        lambda: pd.array([1] * n, dtype="Int64"),
        lambda: np.full(n, 2**62),
        lambda: days,
    ]
    columns: dict[str, Any] = {
        "date": days,
        **dict.fromkeys(("open", "high", "low", "close"), numbers),
    }
    columns |= {"volume": numbers, "symbol": ["A"] * n}
    for name in list(columns):
        chance = random_.random()
        if chance < 0.08:
            del columns[name]
        elif chance < 0.2:
            columns[name] = random_.choice(kinds)()
    made = pd.DataFrame(columns, index=range(n))
    if random_.random() < 0.2 and "date" in made:
        made = made.set_index(random_.choice(list(made.columns)))
    if random_.random() < 0.05:
        made = made[[]]
    if random_.random() < 0.1:
        made.columns = pd.Index([random_.choice([*map(str, WORDS), "close"]) for _ in made.columns])
    return made


def table(random_: random.Random, place: Path) -> Case:
    """A table at the doors for prices."""
    path = place / "table.csv"
    if random_.random() < 0.3:
        path = path.with_suffix(".parquet")
        try:
            frame(random_).to_parquet(path)
        except Exception:  # no Parquet can hold it
            path.write_bytes(b"PAR1")
        if random_.random() < 0.3:
            path.write_bytes(damaged(random_, path.read_bytes()))
    else:
        path.write_bytes(csv_bytes(random_))
    words = random_.choice((["data", "import", str(path)], ["data", "check", "--file", str(path)]))
    if random_.random() < 0.2:
        words += ["--symbol", str(random_.choice(WORDS))]
    if random_.random() < 0.1:
        words = ["data", "check", "--panel", str(path)]
    data = place / "fresh"

    def clear() -> None:
        path.unlink()
        shutil.rmtree(data, ignore_errors=True)

    return [*words, "--data-dir", str(data)], clear


# ----------------------------------------------------------------------------------------- configurations


def toml_value(random_: random.Random) -> str:
    """A value in TOML, or nearly."""
    value = random_.choice(VALUES)
    if random_.random() < 0.3:
        return str(random_.choice(WORDS))
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = 1" for k in value) + "}"
    return json.dumps(value)


def configuration(random_: random.Random, place: Path) -> Case:
    """A TOML text at the door of every run."""
    kept = RunConfig().to_mapping()
    if random_.random() < 0.5:
        lines = []
        for section in random_.sample(
            ["forecaster", "walk_forward", "policy", "costs", "nowhere"], 3
        ):
            lines.append(f"[{section}]")
            known = [*kept.get(section, {"x": 1}), "x"]
            lines += [f"{random_.choice(known)} = {toml_value(random_)}" for _ in range(3)]
        text = "\n".join(lines)
    else:
        text = to_toml(kept)
        for _ in range(random_.choice((1, 1, 3))):
            line = random_.choice([one for one in text.splitlines() if "=" in one])
            text = text.replace(line, f"{line.partition('=')[0]}= {toml_value(random_)}")
    if random_.random() < 0.05:
        text += "\nx = " + "[" * random_.choice((70, 2000)) + "]" * random_.choice((70, 2000))
    path = place / "config.toml"
    data = text.encode("utf-8", "surrogatepass")
    path.write_bytes(damaged(random_, data) if random_.random() < 0.3 else data)
    command = random_.choice(("backtest", "evaluate", "sweep"))
    words = [command, "NONE", "--config", str(path), "--data-dir", str(place / "none")]
    if random_.random() < 0.3:
        section = random_.choice(["forecaster", "walk_forward", "policy", "costs"])
        name = random_.choice([*kept[section], "x"])
        words += ["--set", f"{section}.{name}={toml_value(random_)}"]
    return words, path.unlink


# ---------------------------------------------------------------------------------- words of the command line


def commands() -> dict[tuple[str, ...], Any]:
    """Every command with its parameters, as typer made them."""
    root: Any = typer.main.get_command(app)
    found = {(name,): one for name, one in root.commands.items() if name != "data"}
    return found | {("data", name): one for name, one in root.commands["data"].commands.items()}


COMMANDS = commands()


def option(random_: random.Random, place: Path) -> Case:
    """A command with words that are as wrong as they come; nothing that would train or ask the network."""
    name = random_.choice(list(COMMANDS))
    words, positional = list(name), []
    for parameter in COMMANDS[name].params:
        if random_.random() > (0.7 if parameter.param_type_name == "argument" else 0.15):
            continue
        if parameter.name in ("open_", "source", "help"):
            continue
        value = str(random_.choice([*WORDS, *PATHS]))
        if random_.random() < 0.3:
            value = random_.choice(("2020-01-02", "5", "0.5", "A,B", "kelly", "kelly.fraction=0.1"))
        if parameter.param_type_name == "argument":
            positional.append(value)
        elif getattr(parameter, "is_flag", False):
            words.append(parameter.opts[0])
        else:
            words += [parameter.opts[0], value]
    words += positional
    if name == ("fetch",):
        words += ["--source", random_.choice(("sample", "sample", "\x1b[31m", ""))]
    if name == ("train",):
        words += ["--task", random_.choice(("price", "price", "toy", "\x1b[31m"))]
    if name == ("demo",) or random_.random() < 0.03:
        words.append(
            random_.choice(("--nonsense", "--jobs=x", "--jobs=0", "--seed=-1", "\x1b[31m" * 300))
        )
    if not any(one.startswith("--data-dir") for one in words) and random_.random() < 0.5:
        with contextlib.suppress(StopIteration):
            next(one for one in COMMANDS[name].params if one.name == "data_dir")
            words += ["--data-dir", str(place / "none")]
    return words, lambda: None


# ------------------------------------------------------------------------------------- files of strangers


def spoilt(random_: random.Random, tree: Any) -> Any:
    """A JSON tree of which some parts are others."""
    tree = json.loads(json.dumps(tree))
    for _ in range(random_.choice((1, 1, 1, 3))):
        here: Any = tree
        while isinstance(here, (dict, list)) and here:
            keys = list(here) if isinstance(here, dict) else range(len(here))
            key = random_.choice(list(keys)[:50])
            if not isinstance(here[key], (dict, list)) or not here[key] or random_.random() < 0.25:
                if random_.random() < 0.2:
                    del here[key]
                else:
                    here[key] = copy.deepcopy(random_.choice(VALUES))
                break
            here = here[key]
    return tree


def spoil_file(random_: random.Random, path: Path) -> None:
    """Spoil one file of a folder, by its content or by its bytes."""
    if path.suffix == ".json" and random_.random() < 0.8:
        text = json.dumps(spoilt(random_, json.loads(path.read_text("utf-8"))))
        if random_.random() < 0.05:
            text = text.replace("0.", random_.choice(("NaN, 0.", "1e999", "-Infinity")), 1)
        path.write_text(text, "utf-8")
    elif path.suffix == ".parquet" and random_.random() < 0.7:
        made = pd.read_parquet(path)
        column = random_.choice(list(made.columns))
        change = random_.randrange(5)
        if change == 0:
            made = made.drop(columns=column)
        elif change == 1:
            made = made.iloc[: random_.choice((0, 1, 2))]
        else:
            made[column] = [random_.choice((1.5, "x", None, np.nan, 10**12))] * len(made)
        made.to_parquet(path)
    else:
        path.write_bytes(damaged(random_, path.read_bytes()))


def reseal(folder: Path) -> None:
    """Let a stranger's hashes fit what he has written, so that what comes behind them is tried."""
    with contextlib.suppress(Exception):
        if (folder / "SHA256SUMS").exists():
            sign(folder)
        if (folder / "tokenizer.json").exists():
            token = json.loads((folder / "tokenizer.json").read_text("utf-8"))
            token.pop("fingerprint", None)
            (folder / "tokenizer.json").write_text(
                json.dumps(token | {"fingerprint": fingerprint(token)})
            )
            state = json.loads((folder / "forecaster.json").read_text("utf-8"))
            state.pop("fingerprint", None)
            state["tokenizer"] = fingerprint(token)
            state["task"] = fingerprint(json.loads((folder / "task.json").read_text("utf-8")))
            (folder / "forecaster.json").write_text(
                json.dumps(state | {"fingerprint": fingerprint(state)})
            )


def strangers(random_: random.Random, place: Path) -> Case:
    """A folder, a page or a ledger of somebody else at the doors that read them."""
    kinds = [name for name in ("run", "toy", "model", "backtest") if (place / name).is_dir()]
    kind = random_.choice(kinds)
    folder = place / "reports" / "theirs"
    folder.parent.mkdir(exist_ok=True)
    shutil.copytree(place / kind, folder)
    files = [
        one
        for one in folder.rglob("*")
        if one.suffix in (".json", ".parquet", ".safetensors", ".html", "")
    ]
    path = random_.choice([one for one in files if one.is_file()])
    spoil_file(random_, path)
    if random_.random() < 0.7:
        reseal(folder)
    here, reports = str(folder), str(folder.parent)
    if random_.random() < 0.1:
        ledger = folder.parent / "ledger.jsonl"
        entry: Any = {"returns_sha256": "0" * 64, "sharpe": 0.1, "run_id": "theirs", "label": "x"}
        lines = [json.dumps(spoilt(random_, entry)) for _ in range(3)]
        ledger.write_bytes(damaged(random_, "\n".join(lines).encode()))
        words = ["trials", "--reports-dir", reports]
    elif kind == "model":
        panel = str(place / "panel.parquet")
        words = [
            "forecast",
            "--panel",
            panel,
            "--model",
            here,
            "--paths",
            "100",
            "--reports-dir",
            reports,
        ]
        words += ["--horizon", "2", "--jobs", "1"]
    else:
        other = str(place / kind)
        several = [
            ["report", here],
            ["verify", here],
            ["report", "--index", "--reports-dir", reports],
        ]
        words = random_.choice(
            [*several, *several, ["compare", here, other], ["audit", here, "--jobs", "1"]]
        )
        if words[0] == "audit" and kind == "backtest":
            words = ["verify", here]  # it would train
    return words, lambda: shutil.rmtree(folder.parent)


# ----------------------------------------------------------------------------------------------- the campaign

KINDS: dict[str, tuple[Callable[[random.Random, Path], Case], float]] = {
    "tables": (table, 0.45),
    "TOML texts": (configuration, 0.2),
    "option strings": (option, 0.25),
    "files of strangers": (strangers, 0.1),
}


@contextlib.contextmanager
def ground(models: bool = True) -> Iterator[Path]:
    """A folder to do all of it in, with what is spoilt."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        place = Path(name)
        (place / "folder.parquet").mkdir()
        (place / "folder.csv").mkdir()
        (place / "plain.txt").write_text("in the way")
        (place / "empty.csv").write_text("")
        (place / "deep.json").write_text("[" * 100_000)
        (place / "deep.toml").write_text("a = " + "[" * 100_000)
        pd.DataFrame({"date": [b"\xff"], "close": [b"\xff"]}).to_parquet(place / "bytes.parquet")
        bars = SampleSource().fetch("IBM", start="2012-01-01")
        Store(place / "data").write(bars)
        evaluation().save(place / "run")
        toy_folder(place / "toy")
        if models:
            from quantseq.forecasting.model_folder import save_forecaster
            from tests.prices import loud_forecaster, recent_prices
            from tests.reporting.conftest import build_run

            build_run().save(place / "backtest")
            panel = recent_prices()
            save_forecaster(place / "model", loud_forecaster())
            frames = [
                one.to_frame().reset_index().assign(symbol=name) for name, one in panel.items()
            ]
            pd.concat(frames).to_parquet(place / "panel.parquet")
        yield place


def fault_of(words: list[str]) -> tuple[str, bool]:
    """Run a command: what about it is a fault, or nothing; and whether what it was given was taken."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            app(words)
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        return (
            f"{type(error).__name__} escaped: {traceback.extract_tb(error.__traceback__)[-1]}",
            False,
        )
    lines = err.getvalue().splitlines()
    said = lines[-1] if lines else ""
    if code == 1 or "Traceback" in err.getvalue():
        return re.sub(r"0x\w+|'[^']*'", "…", said)[:300], False
    if raw := re.search(r"[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e]", out.getvalue() + err.getvalue()):
        return f"a raw {raw[0]!r} was printed: {words[0]}", False
    if code and len(said) > 1_200:
        return f"a line of {len(said)} characters", False
    if code and not said:
        return f"left with {code} and no word: {words[:2]}", False
    return "", not code


def campaign(count: int, seed: int, *, models: bool = True) -> tuple[str, dict[str, list[str]]]:
    """Run `count` cases: the Markdown table, and the first command of every kind of fault."""
    lines = [
        "| input | cases | taken | refused in one line | faults | seconds |",
        "|---|---|---|---|---|---|",
    ]
    faults: dict[str, list[str]] = {}
    with ground(models) as place, patch.object(typer, "launch"):
        for kind, (make, share) in KINDS.items():
            began, found = time.perf_counter(), Counter[str]()
            for number in range(round(count * share)):
                random_ = random.Random(f"{seed}/{kind}/{number}")
                words, clear = make(random_, place)
                try:
                    fault, taken = fault_of(words)
                    found["taken"] += taken
                    if fault:
                        found["faults"] += 1
                        faults.setdefault(f"{kind}: {fault}", [f"case {number}", *words])
                finally:
                    with contextlib.suppress(OSError):
                        clear()
                    os.chdir(place)
            cases, seconds = round(count * share), time.perf_counter() - began
            refused = cases - found["taken"] - found["faults"]
            counts = f"{cases:,} | {found['taken']:,} | {refused:,} | {found['faults']:,}"
            lines.append(f"| {kind} | {counts} | {seconds:.0f} |")
    return "\n".join(lines), faults


def main() -> int:
    """Run the campaign that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=12_000, help="cases of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    table_, faults = campaign(given.count, given.seed)
    print(table_)
    for fault, words in faults.items():
        print(f"\n{fault}\n    {[one[:120] for one in words]}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
