"""A real git repository that says of which code something is made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rankclip import versions

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """git in a repository at `tmp_path` with one commit, of a copy of the module among others."""

    def run(*arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    package = tmp_path / "pipeline" / "rankclip"
    package.mkdir(parents=True)
    shutil.copy(versions.__file__, package)
    (package / "__init__.py").touch()
    run("init", "-q")
    run("add", ".")
    run("commit", "-qm", "first")
    return run


def test_a_commit_says_when_the_code_differs_from_it(git: Git, tmp_path: Path) -> None:
    commit = git("rev-parse", "HEAD")
    (tmp_path / "dvc.lock").touch()  # changes in every run
    below = tmp_path / "pipeline" / "rankclip"
    assert versions.code(below) == {"git_commit": commit, "git_dirty": False}
    assert versions.git_commit(tmp_path) == commit
    (below / "__init__.py").write_text("2")
    assert versions.code(below) == {"git_commit": commit, "git_dirty": True}
    assert versions.git_commit(tmp_path) == f"{commit}-dirty"


def test_outside_git_the_commit_is_unknown_and_nothing_is_said_of_changes(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        assert versions.code(folder) == {"git_commit": "unknown"}
        assert versions.git_commit(folder) == "unknown"


def test_a_process_in_another_folder_names_the_commit_of_its_code(
    git: Git, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from rankclip import versions; print(versions.git_commit())"],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={
            "PYTHONPATH": str(tmp_path / "pipeline"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": os.environ["PATH"],
        },
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == git("rev-parse", "HEAD")
