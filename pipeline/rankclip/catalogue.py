"""What a study can choose from, with a line on each, and the runs of the active one."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from rankclip import composition, config

What = Literal[
    "objectives", "models", "studies", "recipes", "benchmarks", "data", "captions", "sweeps", "arms", "runs"
]

GROUPS: dict[What, str] = {
    "objectives": "objective",
    "models": "model",
    "studies": "study",
    "recipes": "train",
    "data": "data",
    "captions": "captions",
    "sweeps": "sweep",
    "arms": "arm",
}
"""Folder of `conf/` of each but the benchmarks, whose registry is a union, and the runs."""


def entries(what: What, conf: Path = composition.CONF) -> Iterator[tuple[str, str]]:
    """Names of what can be chosen, each with a line on it; of runs the arm, and its seed.

    Raises:
        InputError: there is no `conf/` here, or no active study.
    """
    if what == "runs":
        study = config.load()
        yield from ((arm, str(seed)) for seed in study.study.seeds for arm in study.arms)
        return
    if what == "benchmarks":
        yield from benchmarks()
        return
    group = GROUPS[what]
    for name in composition.names(group, conf):
        yield name, comment(conf / group / f"{name}.yaml")


def comment(path: Path) -> str:
    """The first line of a file's comment; empty where it has none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    said = (line[1:].strip() for line in lines if line.startswith("#") and "@package" not in line)
    return next(said, "")


def benchmarks() -> Iterator[tuple[str, str]]:
    """Every benchmark there is, by the union that is their registry."""
    from rankclip.data.benchmarks import BenchmarkSpec

    for kind in get_args(get_args(BenchmarkSpec)[0]):
        line = (inspect.getdoc(kind) or "").splitlines()[0]
        for name in get_args(kind.model_fields["name"].annotation):
            yield name, getattr(kind, "lines", {}).get(name, line)
