"""Results as plain files, a row a number or a prediction; report, tables and MLflow read these alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa

from rankclip import files
from rankclip.evaluation.conditions import Conditions
from rankclip.evaluation.scores import ZERO_SHOT, Scores

RESULTS = "results.parquet"
PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"
HEADLINE = ("top1", "image_to_text_r1", "text_to_image_r1", "image_to_text_ndcg10", "text_to_image_ndcg10")
"""Metrics that `dvc metrics show` lists; results.parquet has all."""

RESULTS_SCHEMA = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("step", pa.int64()),
        ("benchmark", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("protocol", pa.string()),
        ("value", pa.float64()),
        ("data_digest", pa.string()),
        ("checkpoint_digest", pa.string()),
        ("config_digest", pa.string()),
        ("classes_digest", pa.string()),
        ("templates_digest", pa.string()),
        ("precision", pa.string()),
        ("resize", pa.string()),
    ]
)
"""One row a run, benchmark, split, metric and protocol; see `scores.Measured` for its value."""

PREDICTIONS_SCHEMA = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("step", pa.int64()),
        ("benchmark", pa.string()),
        ("split", pa.string()),
        ("protocol", pa.string()),
        ("metric", pa.string()),
        ("item", pa.int64()),
        ("target", pa.int64()),
        ("prediction", pa.int64()),
        ("value", pa.float64()),
    ]
)
"""One row an item; the mean of `value` over the items of a metric is that metric in the results."""


@dataclass(frozen=True)
class RunIdentity:
    """Which model the numbers belong to."""

    arm: str
    seed: int
    step: int
    """Optimiser steps that the checkpoint has seen."""
    checkpoint_digest: str
    """sha256 of the weights."""
    config_digest: str
    """Digest of the run's config."""


def results_table(identity: RunIdentity, scores: Scores, conditions: Conditions) -> pa.Table:
    """The scores of one run in the form of `RESULTS_SCHEMA`."""
    rows = [
        {
            **asdict(identity),
            "precision": conditions.precision,
            "resize": conditions.resize,
            "classes_digest": row.classes_digest,
            "templates_digest": row.templates_digest,
            "benchmark": row.benchmark,
            "split": row.split,
            "metric": row.measured.metric,
            "protocol": row.measured.protocol,
            "value": row.measured.value,
            "data_digest": row.data_digest,
        }
        for row in scores.rows
    ]
    return pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA)


def predictions_table(identity: RunIdentity, scores: Scores) -> pa.Table:
    """The items of one run's scores in the form of `PREDICTIONS_SCHEMA`."""
    parts: list[pa.Table] = []
    for row in scores.rows:
        items = row.measured.items
        if items is None:
            continue
        count = len(items.value)
        constants: dict[str, Any] = {
            "arm": identity.arm,
            "seed": identity.seed,
            "step": identity.step,
            "benchmark": row.benchmark,
            "split": row.split,
            "protocol": row.measured.protocol,
            "metric": row.measured.metric,
        }
        columns = {name: pa.repeat(value, count) for name, value in constants.items()}
        columns["item"] = pa.array(np.arange(count))
        for name in ("target", "prediction", "value"):
            columns[name] = pa.array(getattr(items, name).numpy())
        parts.append(pa.table(columns).cast(PREDICTIONS_SCHEMA))
    return pa.concat_tables(parts) if parts else PREDICTIONS_SCHEMA.empty_table()


def metrics_summary(results: pa.Table) -> dict[str, dict[str, float]]:
    """`{benchmark: {metric: mean over seeds}}` on the test split; under `mean` the mean zero-shot top-1.

    A metric under a second protocol of its benchmark stands as `metric/protocol`.
    """
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    first: dict[tuple[str, str], str] = {}
    zero_shot: dict[str, None] = {}
    for row in results.to_pylist():
        if row["split"] == "test":
            benchmark, metric, protocol = row["benchmark"], row["metric"], row["protocol"]
            own = first.setdefault((benchmark, metric), protocol) == protocol
            values[benchmark][metric if own else f"{metric}/{protocol}"].append(row["value"])
            if protocol == ZERO_SHOT:
                zero_shot[benchmark] = None
    summary = {
        benchmark: {metric: fmean(of) for metric, of in metrics.items()}
        for benchmark, metrics in values.items()
    }
    if zero_shot:
        summary["mean"] = {"top1": fmean(summary[benchmark]["top1"] for benchmark in zero_shot)}
    return summary


def headline(summary: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The few of these metrics that a table for the terminal has room for."""
    return {
        benchmark: {metric: value for metric, value in metrics.items() if metric in HEADLINE}
        for benchmark, metrics in summary.items()
    }


def write_scores(folder: Path, identity: RunIdentity, scores: Scores, conditions: Conditions) -> None:
    """Writes one run's `results.parquet` and `predictions.parquet` into `folder`."""
    files.write_table(folder / PREDICTIONS, predictions_table(identity, scores))
    files.write_table(folder / RESULTS, results_table(identity, scores, conditions))


def merge(parts: Sequence[Path], out: Path) -> dict[str, int]:
    """Joins the files of several runs in `out`, in the order given, with `metrics.json`; returns row counts.

    Raises:
        DataError: a file of a part is missing or damaged.
    """
    remedy = "delete its folder and run `dvc repro` again"
    results = pa.concat_tables([files.read_table(part / RESULTS, remedy=remedy) for part in parts])
    predictions = pa.concat_tables([files.read_table(part / PREDICTIONS, remedy=remedy) for part in parts])
    files.write_table(out / RESULTS, results)
    files.write_table(out / PREDICTIONS, predictions)
    files.write_json(out / METRICS, headline(metrics_summary(results)))
    return {"results": len(results), "predictions": len(predictions)}
