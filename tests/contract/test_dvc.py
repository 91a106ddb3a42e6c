"""dvc.yaml, the stages and the import graph agree: a change re-runs what it touches and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from code_imports import PACKAGE, ROOT, source, used

from rankclip.data.indexing import index
from rankclip.data.sharding import shards
from rankclip.data.sources import Crawled
from rankclip.evaluation import score_request, store
from rankclip.training import request

DVC: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = {name: stage.get("do", stage) for name, stage in DVC["stages"].items()}
FILES = frozenset({"rankclip.files"})
"""Moves bytes and is tested for that; a run that is finished stays good when it changes."""

SOURCES = {name: [kind.__module__ for kind in get_args(Crawled)] for name in ("ingest", "download")}
"""Called through a section of the study, which no import shows."""

each_stage = pytest.mark.parametrize("name", STAGES)


def tree_of(name: str) -> ast.Module:
    return ast.parse((ROOT / "stages" / f"{name}.py").read_text())


def sections(tree: ast.Module) -> set[str]:
    """Parameters that a stage reads, as dvc.yaml writes them: every use of the variable `study`."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    read = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Name) and node.id == "study" and isinstance(node.ctx, ast.Load)):
            continue
        section = parents[node]
        assert isinstance(section, ast.Attribute), "a stage passes sections on, never the whole study"
        below = parents[section]
        if section.attr == "study" and isinstance(below, ast.Attribute):
            read.add(f"study.{below.attr}")
        elif section.attr == "arms" and isinstance(below, ast.Subscript):
            read.add("arms.${key}")
        else:
            read.add(section.attr)
    return read


def paths(entries: list[Any]) -> list[str]:
    """Paths of outs, metrics or plots, which may carry options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def covers(dependency: str, module: str) -> bool:
    file, place = source(module), ROOT / dependency
    return file == place or place in file.parents


def test_every_stage_has_its_module_and_every_module_its_stage() -> None:
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert modules == set(STAGES)


@each_stage
def test_a_stage_reads_exactly_the_sections_that_it_declares(name: str) -> None:
    assert sections(tree_of(name)) == set(STAGES[name]["params"])


@each_stage
def test_a_stage_depends_on_the_code_that_it_uses_and_on_no_other(name: str) -> None:
    modules = used(f"stages.{name}", *SOURCES.get(name, ()))
    dependencies = [path for path in STAGES[name]["deps"] if path.startswith(("stages/", "pipeline/"))]
    uncovered = {module for module in modules if not any(covers(path, module) for path in dependencies)}
    unused = {path for path in dependencies if not any(covers(path, module) for module in modules)}
    assert (uncovered, unused) == (set(), set())
    assert all((ROOT / path).exists() for path in dependencies)


READ_BY_DIGEST = frozenset({"rankclip.data.curation.crawl_tar", "rankclip.data.tar_members"})
"""Give a shard images that are compared with their digests: whatever they do, its bytes stay the same."""

BESIDE_PARTS = frozenset({"rankclip.data.sources.expected", "rankclip.data.curation.crawl_tar"})
"""What is said of a whole set, and tars of a crawl: nothing of what is in one tar of somebody else."""


@pytest.mark.parametrize(
    ("entry", "code", "besides"),
    [
        ("rankclip.training.run", request.CODE, FILES),
        ("rankclip.evaluation.scoring", score_request.CODE, FILES),
        ("rankclip.data.sharding.packing", shards.CODE, FILES | READ_BY_DIGEST),
        ("rankclip.data.indexing.parts", index.CODE, FILES | BESIDE_PARTS),
    ],
    ids=["training", "scoring", "shards", "parts"],
)
def test_the_digest_of_a_run_covers_the_code_that_it_uses_and_no_other(
    entry: str, code: tuple[str, ...], besides: frozenset[str]
) -> None:
    assert differing(used(entry, besides=besides), code) == (set(), set())


def differing(modules: set[str], code: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """Modules that none of the places of `code` has, and places of none of the modules."""
    places = [str((PACKAGE / place).relative_to(ROOT)) for place in code]
    uncovered = {module for module in modules if not any(covers(place, module) for place in places)}
    unused = {place for place in places if not any(covers(place, module) for module in modules)}
    return uncovered, unused


BESIDE_ROWS = frozenset(
    {"rankclip.evaluation.conditions", "rankclip.evaluation.embedded", "rankclip.evaluation.zero_shot"}
)
"""Of them rows have precision and device, nothing, and texts, which their folder and their files name."""


def test_the_digest_of_kept_rows_covers_the_code_that_makes_them_and_no_other() -> None:
    encoders = ("rankclip.models.trained", "rankclip.models.published")
    modules = used("rankclip.evaluation.store", *encoders, besides=FILES | BESIDE_ROWS)
    assert differing(modules, store.EMBEDDING) == (set(), set())


@each_stage
def test_every_output_lies_under_the_name_of_its_study(name: str) -> None:
    stage = STAGES[name]
    outputs = [path for kind in ("outs", "metrics", "plots") for path in paths(stage.get(kind, []))]
    assert outputs
    assert [path for path in outputs if "${study.name}" not in path] == []


@each_stage
def test_what_a_stage_needs_is_made_by_another(name: str) -> None:
    made = [
        path
        for stage in STAGES.values()
        for kind in ("outs", "metrics")
        for path in paths(stage.get(kind, []))
    ]
    needed = [path for path in STAGES[name]["deps"] if "${" in path]
    orphans = [path for path in needed if not any(out == path or out.startswith(f"{path}/") for out in made)]
    assert orphans == []


@each_stage
def test_the_command_of_a_stage_gives_every_option_and_no_other(name: str) -> None:
    command = STAGES[name]["cmd"]
    (main,) = (node for node in tree_of(name).body if isinstance(node, ast.FunctionDef))
    assert command.startswith(f"python -m stages.{name} ")
    assert set(re.findall(r" --([a-z_]+)", command)) == {argument.arg for argument in main.args.args}


@each_stage
def test_a_stage_is_thin(name: str) -> None:
    text = (ROOT / "stages" / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 40
    imported = {node.module for node in ast.walk(tree_of(name)) if isinstance(node, ast.ImportFrom)}
    imported |= {
        alias.name for node in ast.walk(tree_of(name)) if isinstance(node, ast.Import) for alias in node.names
    }
    assert not any(str(module).split(".")[0] in ("torch", "pyarrow", "numpy", "ray") for module in imported)
    assert not any(isinstance(node, ast.For | ast.While) for node in ast.walk(tree_of(name)))


def test_each_arm_is_a_stage_of_its_own() -> None:
    assert all(DVC["stages"][name]["foreach"] == "${arms}" for name in ("pretrain", "evaluate"))


def test_a_list_is_crawled_and_tars_that_are_there_are_indexed() -> None:
    routes = {name: stage["foreach"] for name, stage in DVC["stages"].items() if "route" in str(stage)}
    crawled = dict.fromkeys(("ingest", "download", "curate", "shard"), "${route.crawl}")
    assert routes == crawled | {"index": "${route.index}"}


def test_large_folders_are_neither_hashed_nor_copied_by_dvc() -> None:
    outputs = [path for stage in STAGES.values() for path in paths(stage.get("outs", []))]
    assert not any(Path(path).name in ("crawl", "shards", "benchmarks") for path in outputs)
