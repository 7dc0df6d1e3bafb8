"""The import law: data moves left to right and never back."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "quantseq"
ORDER = [
    {"errors"},
    {"files", "progress"},
    {"market", "seq2seq"},
    {"forecasting"},
    {"evaluation"},
    {"trading"},
    {"reporting"},
    {"config"},
    {"pipeline"},
    {"cli"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def imports(path: Path) -> list[str]:
    """Every quantseq module that a file imports, inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.split(".")[0] == "quantseq"]


FILES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py", PACKAGE / "__main__.py"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_rooms_to_its_left(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports(path):
        other = name.split(".")[1] if "." in name else ""
        if other not in LEVEL or other == room:
            continue
        assert LEVEL[other] < LEVEL[room], f"{path.name} ({room}) may not import {name}"


def test_every_room_has_a_place_in_the_law() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert rooms == set(LEVEL)


def test_no_cycles_inside_a_room() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}
    graph = {
        module: {name if name in modules else name.rsplit(".", 1)[0] for name in imports(path)}
        for module, path in modules.items()
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail, module))
        if module in done or module not in graph:
            return
        for other in graph[module]:
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_no_file_is_called_by_what_it_is_not() -> None:
    vague = {"utils", "helpers", "common", "misc"}
    assert not vague & {path.stem for path in FILES}


def test_importing_the_package_stays_light() -> None:
    heavy = "torch pandas yfinance sklearn matplotlib arch exchange_calendars scipy"
    code = (
        "import sys, quantseq, quantseq.cli; "
        f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_no_public_name_is_defined_in_two_modules() -> None:
    homes: dict[str, set[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            else:
                continue
            for name in names:
                if not name.startswith("_"):
                    homes.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_the_tree_in_the_architecture_is_what_lies_on_the_disk() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = text.split("```text\nquantseq/\n")[1].split("```")[0]
    room, told = "", set()
    for line in tree.splitlines():
        match = re.match(r"(│  )?[├└]─ (\S+)", line)
        assert match, line
        if match[1] is None and match[2].endswith("/"):
            room = match[2]
        elif match[1] is None:
            told.add(match[2])
        else:
            told.add(room + match[2])
    files = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    assert {name for name in told if name.endswith(".py")} == {
        path.as_posix() for path in files if path.name != "__init__.py"
    }
