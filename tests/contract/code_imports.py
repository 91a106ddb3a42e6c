"""Which of our modules a module uses, by the import graph."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pipeline" / "rankclip"

PLUMBING = frozenset(
    f"rankclip.{name}"
    for name in (
        "config",
        "lifecycle",
        "errors",
        "spec",
        "complaints",
        "progress",
        "estimate",
        "launch",
        "launching",
        "storage",
        "tracking",
        "versions",
        "data.bars",
    )
)
"""What decides how work runs and how it is told, and no result."""

VALUES = frozenset(
    f"rankclip.{name}"
    for name in ("evaluation.spec", "data.sources", "data.captions.slots", "data.ingestion.form")
)
"""Modules that only hold sections of the study, whose values stand in params.yaml, or names of columns; see
`holds_values`."""


@functools.cache
def graph() -> grimp.ImportGraph:
    """Imports between our modules, those within functions included."""
    return grimp.build_graph("rankclip", "stages", exclude_type_checking_imports=True, cache_dir=None)


def used(*starts: str, besides: frozenset[str] = frozenset()) -> set[str]:
    """Modules that `starts` import, near and far, with themselves, but for plumbing, values and `besides`."""
    found: set[str] = set()
    todo = list(starts)
    while todo:
        module = todo.pop()
        if module in found or left_out(module, besides):
            continue
        found.add(module)
        todo += graph().find_modules_directly_imported_by(module)
    return found


def left_out(module: str, besides: frozenset[str]) -> bool:
    """Whether a module, or the package it lies in, does not count."""
    around = {module, ".".join(module.split(".")[:2])}
    return (
        bool(around & (PLUMBING | besides))
        or module in VALUES
        or module == "rankclip"
        or holds_values(module)
    )


def holds_values(module: str) -> bool:
    """Whether a module called `spec` or `*_spec` defines nothing but Specs of fields and validators."""
    if not module.endswith(("_spec", ".spec")):
        return False
    classes = [node for node in ast.parse(source(module).read_text()).body if isinstance(node, ast.ClassDef)]
    functions = [node for kind in classes for node in kind.body if isinstance(node, ast.FunctionDef)]
    return bool(classes) and all(
        function.decorator_list and "validator" in ast.unparse(function.decorator_list[0])
        for function in functions
    )


def source(module: str) -> Path:
    """The file of a module."""
    path = ROOT.joinpath("pipeline" if module.startswith("rankclip") else "", *module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
