"""The public names: they exist, they are documented, and no module hides behind one."""

import subprocess
import sys
from pathlib import Path

import pytest

import quantseq


@pytest.mark.parametrize("name", quantseq.__all__)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    assert getattr(quantseq, name).__doc__


def test_public_names_and_their_homes_agree() -> None:
    assert set(quantseq._HOMES) == set(quantseq.__all__)
    assert quantseq.__all__ == sorted(quantseq.__all__)


def test_no_public_name_is_also_a_module() -> None:
    package = Path(quantseq.__file__).parent
    assert not {path.stem for path in package.iterdir()} & set(quantseq.__all__)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = quantseq.nonsense


def test_python_m_quantseq_is_quantseq() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "quantseq", "--help"], capture_output=True, text=True, check=True
    )
    assert "quantseq" in result.stdout
