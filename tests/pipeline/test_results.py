"""What a manifest says of where it comes from."""

import subprocess
from pathlib import Path

import pytest

import quantseq
from quantseq.pipeline.results import git_commit


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@y")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def installed(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that lies under `root`, as if it were this one."""
    package = root / "quantseq"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(quantseq, "__file__", str(package / "__init__.py"))
    return package


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Somebody's repository with a commit."""
    git(tmp_path, "init")
    (tmp_path / "thesis.tex").write_text("mine")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "mine")
    return tmp_path


@pytest.mark.parametrize("where", [".", "venv/lib/site-packages"])
def test_the_commit_of_the_users_repository_is_not_ours(
    repository: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(repository / where, monkeypatch)
    assert git_commit() is None
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))  # as a hook sets it
    assert git_commit() is None


def test_the_commit_of_our_own_checkout_is(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(repository, monkeypatch)
    (repository / "pyproject.toml").write_text('[project]\nname = "thesis"\n')
    git(repository, "add", ".")
    git(repository, "commit", "-m", "theirs, with our package in it")
    assert git_commit() is None
    (repository / "pyproject.toml").write_text('[project]\nname = "quantseq"\n')
    commit = git_commit()
    assert commit is not None
    assert len(commit) == 40
