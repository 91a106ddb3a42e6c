"""The scores that a report compares: read from the arms' results, checked to be complete."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rankclip import files
from rankclip.errors import DataError, InputError

if TYPE_CHECKING:
    import pyarrow as pa

Cell = tuple[str, str]
"""Benchmark and metric. A metric that the headline's protocol knows is named `metric (protocol)` under every
other one, and so is any that a benchmark reports under several protocols."""


class Source(NamedTuple):
    """Where a cell is from: the metric and the protocol as results name them."""

    metric: str
    protocol: str


MEASURED = {
    "data_digest": "data",
    "classes_digest": "class names",
    "templates_digest": "prompts",
    "precision": "precision",
    "resize": "resizing",
}
"""Columns that say what was measured and how, in words; arms are compared only where these are equal."""

MAY_LACK = {"mistake_severity": "has no value for a run without a mistake"}
"""Metrics that a run may lack though it was scored, and why, in words."""

WEIGHTS = ["checkpoint_digest", "config_digest"]
COLUMNS = ["arm", "seed", "step", "benchmark", "split", "metric", "protocol", "value", *WEIGHTS, *MEASURED]


@dataclass(frozen=True)
class Subject:
    """What is reported on: a study's name, question, leave to claim anything, seeds and arms."""

    name: str
    question: str
    claims: bool
    seeds: tuple[int, ...]
    arms: tuple[str, ...]

    def __post_init__(self) -> None:
        for what, values in (("arm", self.arms), ("seed", self.seeds)):
            if not values:
                raise InputError(f"study {self.name} has no {what}; add one and run `rankclip use` again")
            if len(set(values)) != len(values):
                raise InputError(f"study {self.name} names a {what} twice in {list(values)}; name it once")


@dataclass(frozen=True)
class Scores:
    """Scores of the final checkpoints on one split.

    `values[arm][cell][seed]` is a score; `steps[arm][seed]` the step it was taken at; `digests[arm][seed]`
    the digests of checkpoint and config by name; `measured[benchmark, protocol]` what was measured and how,
    by the columns of `MEASURED`; `sources[cell]` names metric and protocol. `lacking` has the cells left out,
    of `MAY_LACK`, that some run has no value of.
    """

    values: Mapping[str, Mapping[Cell, Mapping[int, float]]]
    steps: Mapping[str, Mapping[int, int]]
    digests: Mapping[str, Mapping[int, Mapping[str, str]]]
    measured: Mapping[tuple[str, str], Mapping[str, str | None]]
    sources: Mapping[Cell, Source]
    lacking: tuple[Cell, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        """Every benchmark and metric, in the order in which they were evaluated."""
        return list(next(iter(self.values.values())))


def read_results(folder: Path, subject: Subject) -> pa.Table:
    """The arms' `results.parquet` as one table.

    Raises:
        DataError: an arm's file is missing, damaged, of another arm, or holds a value that is not finite.
    """
    import pyarrow as pa

    tables = []
    for arm in subject.arms:
        path = folder / arm / "results.parquet"
        remedy = f"run `dvc repro evaluate@{arm}`"
        table = files.read_table(path, COLUMNS, remedy)
        others = sorted(set(table.column("arm").to_pylist()) - {arm})
        if others:
            raise DataError(
                f"{path} holds results of {', '.join(map(str, others))}, not only of {arm}; {remedy}"
            )
        tables.append(table)
    return pa.concat_tables(tables)


def read_scores(results: pa.Table, subject: Subject, protocol: str, split: str = "test") -> Scores:
    """The scores on the splits of a name at each run's last evaluated step.

    Args:
        results: of `read_results`.
        protocol: whose metrics keep their bare name.

    Raises:
        DataError: a seed, benchmark or metric is missing for an arm that needs it, stands there twice, is not
            finite or was measured on other data than the other arms'.
    """
    rows = [row for row in results.to_pylist() if row["split"] == split and row["seed"] in subject.seeds]
    steps = _last_steps(rows)
    rows = [row for row in rows if row["step"] == steps[row["arm"]][row["seed"]]]
    names = _metric_names(rows, protocol)
    values: dict[str, dict[Cell, dict[int, float]]] = {arm: {} for arm in subject.arms}
    digests: dict[str, dict[int, dict[str, str]]] = {arm: {} for arm in subject.arms}
    measured: dict[tuple[str, str], dict[str, str | None]] = {}
    sources: dict[Cell, Source] = {}
    for row in rows:
        arm, seed = row["arm"], row["seed"]
        cell = (row["benchmark"], names[row["benchmark"], row["metric"], row["protocol"]])
        sources[cell] = Source(row["metric"], row["protocol"])
        by_seed = values[arm].setdefault(cell, {})
        if seed in by_seed:
            raise DataError(f"results of {arm} hold {_words(cell)} of seed {seed} twice; {_again(arm)}")
        if row["value"] is None or not math.isfinite(row["value"]):
            raise DataError(f"{_words(cell)} of {arm}, seed {seed}, is {row['value']}; {_again(arm)}")
        by_seed[seed] = row["value"]
        digests[arm].setdefault(seed, {name: row[name] for name in WEIGHTS})
        own = {name: row[name] for name in MEASURED}
        _check_alike(
            arm, row["benchmark"], own, measured.setdefault((row["benchmark"], row["protocol"]), own)
        )
    lacking = _take_lacking(values, sources, subject)
    scores = Scores(values, steps, digests, measured, sources, lacking)
    _check_complete(scores, subject)
    return scores


def _last_steps(rows: list[dict[str, Any]]) -> dict[str, dict[int, int]]:
    steps: dict[str, dict[int, int]] = defaultdict(dict)
    for row in rows:
        by_seed = steps[row["arm"]]
        by_seed[row["seed"]] = max(row["step"], by_seed.get(row["seed"], row["step"]))
    return steps


def _take_lacking(
    values: dict[str, dict[Cell, dict[int, float]]], sources: dict[Cell, Source], subject: Subject
) -> tuple[Cell, ...]:
    """Removes the cells that some run has no value of and need not have, and names them."""
    runs = len(subject.arms) * len(subject.seeds)
    lacking = tuple(
        cell
        for cell, source in sources.items()
        if source.metric in MAY_LACK and sum(len(cells.get(cell, {})) for cells in values.values()) < runs
    )
    for cell in lacking:
        del sources[cell]
        for cells in values.values():
            cells.pop(cell, None)
    return lacking


def _metric_names(rows: list[dict[str, Any]], protocol: str) -> dict[tuple[str, str, str], str]:
    protocols = defaultdict(set)
    for row in rows:
        protocols[row["benchmark"], row["metric"]].add(row["protocol"])
    known = {metric for (_, metric), found in protocols.items() if protocol in found}
    return {
        (*key, each): key[1]
        if each == protocol or (len(found) == 1 and key[1] not in known)
        else f"{key[1]} ({each})"
        for key, found in protocols.items()
        for each in found
    }


def _check_alike(
    arm: str, benchmark: str, own: Mapping[str, str | None], others: Mapping[str, str | None]
) -> None:
    for name, words in MEASURED.items():
        if own[name] != others[name]:
            raise DataError(
                f"{arm} was not tested on the same {benchmark} as the others: {words} {own[name]}, not "
                f"{others[name]}; {_again(arm)}"
            )


def _check_complete(scores: Scores, subject: Subject) -> None:
    expected = {cell: None for arm in subject.arms for cell in scores.values[arm]}
    for arm in subject.arms:
        missing = [seed for seed in subject.seeds if seed not in scores.steps.get(arm, {})]
        if missing:
            raise DataError(
                f"results of {arm} lack seed {', '.join(map(str, missing))} of the test splits; {_again(arm)}"
            )
        for cell in expected:
            for seed in subject.seeds:
                if seed not in scores.values[arm].get(cell, {}):
                    raise DataError(f"results of {arm} lack {_words(cell)} of seed {seed}; {_again(arm)}")


def _words(cell: Cell) -> str:
    return f"{cell[1]} on {cell[0]}"


def _again(arm: str) -> str:
    return f"run `dvc repro -f -s evaluate@{arm}`"
