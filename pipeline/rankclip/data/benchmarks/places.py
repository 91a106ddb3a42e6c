"""Where published sets lie: in one folder for all studies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLACE = "RANKCLIP_BENCHMARKS"
"""Environment variable that names the folder of public sets; by default `data/public`."""


def root() -> Path:
    """The folder of all public sets, absolute: a worker has another working folder than its driver."""
    return Path(os.environ.get(PLACE) or "data/public").absolute()


def listed(name: str, benchmarks: Path, entry: Mapping[str, Any]) -> Path:
    """The folder of a set that the manifest of `benchmarks` lists with this entry."""
    return (root() if entry.get("public") else benchmarks) / f"wds_{name}"
