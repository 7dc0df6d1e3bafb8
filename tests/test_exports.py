"""The public names: they exist, they are documented, and no module hides behind one."""

import subprocess
import sys
from pathlib import Path

import pytest

import quantseq
from quantseq.cli import app, data


@pytest.mark.parametrize("name", quantseq.__all__)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    assert getattr(quantseq, name).__doc__


def test_public_names_and_their_homes_agree() -> None:
    assert {*quantseq._MODULES, "data"} == set(quantseq.__all__)
    assert quantseq.__all__ == sorted(quantseq.__all__)


def test_no_public_name_is_also_a_module() -> None:
    package = Path(quantseq.__file__).parent
    assert not {path.stem for path in package.iterdir()} & set(quantseq.__all__)


def test_what_a_command_does_the_function_of_its_name_does() -> None:
    commands = {one.name for one in app.registered_commands} - {"trials"}
    assert commands <= set(quantseq.__all__)
    assert all(callable(getattr(quantseq, name)) for name in commands)
    for one in data.registered_commands:
        name = {"import": "import_", "list": "list_"}.get(str(one.name), one.name)
        assert callable(getattr(quantseq.data, str(name).replace("-", "_")))


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = quantseq.nonsense


def test_python_m_quantseq_is_quantseq() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "quantseq", "--help"], capture_output=True, text=True, check=True
    )
    assert "quantseq" in result.stdout
