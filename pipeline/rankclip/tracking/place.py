"""Where results are tracked, and of which code they are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, else the database of the repository at `root`, as an absolute address."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlflow.db'}"


def artifacts(root: Path) -> Path:
    """Absolute folder of artifacts where the tracker has no store of its own."""
    return root.resolve() / "mlartifacts"


def git_commit(root: Path) -> str:
    """The commit at `root`, with "-dirty" when code or parameters differ from it; "unknown" outside git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        # dvc.lock and reports change in every run and say nothing about the code
        changed = git("status", "--porcelain", "--", ":/pipeline", ":/stages", ":/params.yaml")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit
