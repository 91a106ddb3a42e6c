"""What a study can choose from, with a line on each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml

from rankclip import config


def entries(what: str, conf: Path = config.CONF) -> Iterator[tuple[str, str]]:
    """Names of objectives, models, studies or benchmarks, each with a line on it.

    Raises:
        InputError: there is no `conf/` here.
    """
    if what == "benchmarks":
        yield from benchmarks()
        return
    group = {"objectives": "objective", "models": "model", "studies": "study"}[what]
    for name in config.names(group, conf):
        path = conf / group / f"{name}.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield name, comment(path) or summary(group, values)


def comment(path: Path) -> str:
    """The first comment of a file that says something, as one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    said = [line[1:].strip() for line in lines if line.startswith("#") and "@package" not in line]
    return " ".join(said)


def summary(group: str, values: dict[str, Any]) -> str:
    """A configuration without a comment."""
    return ", ".join(f"{key} {value}" for key, value in values.items()) if group == "model" else ""


def benchmarks() -> Iterator[tuple[str, str]]:
    """Every benchmark there is, by the union that is their registry."""
    from rankclip.data.benchmarks import BenchmarkSpec

    for kind in get_args(get_args(BenchmarkSpec)[0]):
        line = (inspect.getdoc(kind) or "").splitlines()[0]
        for name in get_args(kind.model_fields["name"].annotation):
            yield name, line
