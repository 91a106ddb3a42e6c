"""Of which code and which packages something is made."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parent
RECORDED_PACKAGES = (
    "rankclip",
    "img2dataset",
    "numpy",
    "open_clip_torch",
    "pillow",
    "pyarrow",
    "ray",
    "torch",
)


def installed() -> dict[str, str]:
    """Versions of Python and of the packages that shape results."""
    found = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def code(folder: Path = PACKAGE) -> dict[str, str | bool]:
    """The `git_commit` of the work tree around `folder`, and `git_dirty` where that is known.

    By default of the running code's own: workers have another working folder than their driver. Outside git
    the commit is "unknown".
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {"git_commit": "unknown"}
    # dvc.lock and reports change in every run and say nothing about the code
    changed = _git(folder, "status", "--porcelain", "--", ":/pipeline", ":/stages", ":/params.yaml")
    return {"git_commit": commit} | ({} if changed is None else {"git_dirty": bool(changed)})


def git_commit(folder: Path = PACKAGE) -> str:
    """What `code` finds as one text: the commit, with "-dirty" when code or parameters differ from it."""
    found = code(folder)
    return f"{found['git_commit']}{'-dirty' * bool(found.get('git_dirty'))}"


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None where it fails or is missing."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
