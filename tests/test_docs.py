"""The documents are true: commands, tree, options, JSON keys and the Python example."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantseq.cli import app
from quantseq.pipeline.backtest import BacktestOutcome
from quantseq.pipeline.train import train_toy

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_stands_in_the_readme() -> None:
    for group in ([], ["data"]):
        text = CliRunner().invoke(app, [*group, "--help"]).stdout
        for name in re.findall(r"^  (\w+)  ", text.split("Commands:")[1], re.M):
            command = " ".join(["quantseq", *group, name])
            assert command in README, f"{command} is missing in README.md"


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make (demo|test|lint|bench|clean)", README)):
        assert re.search(rf"^{target}:", makefile, re.M)


@pytest.mark.parametrize(
    "page",
    ["README.md", "ARCHITECTURE.md", "data/README.md", "reports/README.md"]
    + [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))],
)
def test_links_between_documents_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{page}: {target}"


def test_the_documented_keys_of_a_backtest_are_there(small_run: BacktestOutcome) -> None:
    text = (ROOT / "docs/json.md").read_text(encoding="utf-8").split("## `backtest`, `demo`")[1]
    result = small_run.to_json()
    for cell in re.findall(r"^\| (`.*?`) \|", text, re.M):
        for key in re.findall(r"`([^`]+)`", cell):
            names = key.replace("[]", ".0").replace("NAME", "seq2seq").split(".")
            value = result
            for name in names:
                value = value[int(name)] if name.isdigit() else value[name]


@pytest.mark.slow
def test_the_documented_keys_of_the_toys_are_all_there_are(tmp_path: Path) -> None:
    text = (ROOT / "docs/json.md").read_text(encoding="utf-8")
    text = text.split("## `train --task copy`")[1].split("\n## ")[0]
    documented = {
        key
        for cell in re.findall(r"^\| (`.*?`) \|", text, re.M)
        for key in re.findall(r"`([^`]+)`", cell)
    }
    assert documented == set(train_toy("seed", out=tmp_path, batches=1))


def test_generated_pages_are_what_the_registries_say() -> None:
    pages = runpy.run_path(str(ROOT / "docs/generate.py"))["PAGES"]
    for page, make in pages.items():
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert make() == text, f"run python docs/generate.py: {page} is old"


def test_the_version_is_one() -> None:
    import quantseq

    assert f'version = "{quantseq.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.slow
def test_the_python_example_runs(tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", README, re.S)
    assert example
    result = subprocess.run(
        [sys.executable, "-c", example.group(1)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert "buy-and-hold" in result.stdout
    assert list(tmp_path.glob("reports/*/report.html"))
