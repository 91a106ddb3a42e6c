"""What each test example contributed to the scores: the arms' predictions, checked against their results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rankclip import files
from rankclip.errors import DataError
from rankclip.report.scores import Cell, Scores, Subject

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ["seed", "step", "benchmark", "split", "metric", "protocol", "item", "target", "value"]
AGREE = 1e-6
"""Largest difference of the mean over items and the score that rounding explains."""


@dataclass(frozen=True)
class Items:
    """One cell's test examples.

    `values[arm]` is `[S, N]`, seeds in the order of the study; `clusters` `[N]` names the image of each
    caption where captions are asked for, and is None where each example stands alone.
    """

    values: Mapping[str, NDArray[np.float64]]
    clusters: NDArray[np.int64] | None


def read_items(folder: Path, subject: Subject, scores: Scores, cells: Sequence[Cell]) -> dict[Cell, Items]:
    """The examples of those `cells` whose metric is a mean over examples, at the steps that were scored.

    Args:
        folder: holds `<arm>/predictions.parquet`.

    Raises:
        DataError: an arm's predictions are missing, damaged, of other examples than another arm's, or do not
            give the scores.
    """
    values: dict[Cell, dict[str, NDArray[np.float64]]] = {cell: {} for cell in cells}
    clusters: dict[Cell, NDArray[np.int64] | None] = {}
    for arm in subject.arms:  # one arm's table at a time: a row an example adds up
        path = folder / arm / "predictions.parquet"
        table = files.read_table(path, COLUMNS, _remedy(arm))
        for cell in cells:
            part = _rows(table, cell, scores)
            if len(part):
                values[cell][arm] = _by_seed(path, arm, part, cell, subject, scores)
                clusters[cell] = _clusters(cell, part, subject)
    for cell, by_arm in values.items():
        _require_equal(cell, by_arm, subject)
    return {cell: Items(by_arm, clusters[cell]) for cell, by_arm in values.items() if by_arm}


def _require_equal(cell: Cell, by_arm: Mapping[str, NDArray[np.float64]], subject: Subject) -> None:
    """Refuses to pair examples of different sets."""
    counts = {arm: by_arm[arm].shape[1] if arm in by_arm else 0 for arm in subject.arms}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{arm} {count}" for arm, count in counts.items())
        raise DataError(
            f"the arms' predictions on {cell[0]} ({cell[1]}) are of different numbers of examples ({said}); "
            "run `dvc repro -f evaluate`"
        )


def _rows(table: pa.Table, cell: Cell, scores: Scores) -> pa.Table:
    import pyarrow.compute as pc

    metric, protocol = scores.sources[cell]
    wanted = {"benchmark": cell[0], "split": "test", "metric": metric, "protocol": protocol}
    found = table.filter(reduce(and_, [pc.field(name) == value for name, value in wanted.items()]))
    return found.sort_by([("seed", "ascending"), ("item", "ascending")])


def _by_seed(
    path: Path, arm: str, part: pa.Table, cell: Cell, subject: Subject, scores: Scores
) -> NDArray[np.float64]:
    seeds, steps, values = (np.asarray(part[name]) for name in ("seed", "step", "value"))
    found = []
    for seed in subject.seeds:
        own = values[(seeds == seed) & (steps == scores.steps[arm][seed])].astype(np.float64)
        scored = scores.values[arm][cell][seed]
        mean = float(own.mean()) if len(own) else math.nan
        if not math.isclose(mean, scored, abs_tol=AGREE):
            raise DataError(
                f"{path}: the {len(own)} predictions of seed {seed} on {cell[0]} have mean {mean}, but the "
                f"results say {scored} ({cell[1]}); {_remedy(arm)}"
            )
        found.append(own)
    if len({len(own) for own in found}) > 1:
        raise DataError(
            f"{path} has different numbers of predictions on {cell[0]} for different seeds; {_remedy(arm)}"
        )
    return np.stack(found)


def _clusters(cell: Cell, part: pa.Table, subject: Subject) -> NDArray[np.int64] | None:
    if not cell[1].startswith("text_to_image_"):
        return None
    seeds, targets = (np.asarray(part[name]) for name in ("seed", "target"))
    steps = np.asarray(part["step"])
    first = seeds == subject.seeds[0]
    own: NDArray[np.int64] = targets[first & (steps == steps[first].max())].astype(np.int64)
    return own


def _remedy(arm: str) -> str:
    return f"run `dvc repro -f -s evaluate@{arm}`"
