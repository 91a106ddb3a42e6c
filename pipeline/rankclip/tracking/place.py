"""Where results are tracked."""

from __future__ import annotations

import os
from pathlib import Path


def uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, else the database of the repository at `root`, as an absolute address."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database(root)}"


def database(root: Path) -> Path:
    """The repository's own database, which may not be there yet."""
    return root.resolve() / "mlflow.db"


def artifacts(root: Path) -> Path:
    """Absolute folder of artifacts where the tracker has no store of its own."""
    return root.resolve() / "mlartifacts"
