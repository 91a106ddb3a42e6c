"""One checkpoint, whosever it is, on test splits: our JSON and that of CLIP_benchmark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from rankclip import versions
from rankclip.data.benchmarks.public_sets import SETS
from rankclip.evaluation import conditions, suite
from rankclip.evaluation.asked_sets import AskedSets
from rankclip.evaluation.conditions import Conditions
from rankclip.evaluation.opening import Opened, opened
from rankclip.evaluation.results import RunIdentity
from rankclip.evaluation.retrieval import Direction
from rankclip.evaluation.scores import ZERO_SHOT, Scores
from rankclip.evaluation.store import Store, rows_folder

KARPATHY = ("five_captions", "all_captions")
"""Protocols of retrieval that CLIP_benchmark has too: it takes all captions that there are."""


@dataclass(frozen=True)
class CheckpointScores:
    """What a checkpoint scores, and under which conditions."""

    opened: Opened
    scores: Scores
    conditions: Conditions
    classes: Mapping[str, int]
    """Of each classification benchmark."""
    missing: Mapping[str, str]
    """Benchmarks that were asked for and are not here: a line with the remedy."""

    @property
    def identity(self) -> RunIdentity:
        """As results name it; what was not trained here has no arm, no seed and no step."""
        digests = self.opened.checkpoint_digest, self.opened.config_digest
        return RunIdentity(self.opened.name, 0, 0, *digests)

    def ours(self) -> dict[str, Any]:
        """All numbers with all that they depend on, as plain JSON; null stands for no value."""
        checkpoint = {
            "name": self.opened.name,
            "model": self.opened.model,
            "pretrained": self.opened.pretrained,
            "sha256": self.opened.checkpoint_digest,
            "config": self.opened.config_digest,
        }
        results = [
            {
                "benchmark": row.benchmark,
                "split": row.split,
                "metric": row.measured.metric,
                "protocol": row.measured.protocol,
                "value": row.measured.value if math.isfinite(row.measured.value) else None,
                "data": row.data_digest,
                "classnames": row.classes_digest,
                "templates": row.templates_digest,
            }
            for row in self.scores.rows
        ]
        return {
            "checkpoint": checkpoint,
            **self.conditions.dump(),
            "results": results,
            "missing": dict(self.missing),
            **versions.code(),
            "versions": versions.installed(),
        }

    def theirs(self) -> dict[str, dict[str, Any]]:
        """By the name of its file, each result that CLIP_benchmark has too, as its 1.6 writes it."""
        found = {}
        for benchmark in dict.fromkeys(row.benchmark for row in self.scores.rows):
            for task, metrics in self._tasks(benchmark):
                dataset = benchmark.replace("vtab-", "vtab/", 1) if benchmark in SETS else benchmark
                model, pretrained = self.opened.model, self.opened.pretrained
                parts = (dataset, pretrained, model, "en", task)
                name = "_".join(part.strip("/").replace("/", "_") for part in parts)
                found[f"{name}.json"] = {
                    "dataset": f"wds/{dataset}",
                    "model": model,
                    "pretrained": pretrained,
                    "task": task,
                    "metrics": metrics,
                    "language": "en",
                }
        return found

    def _tasks(self, benchmark: str) -> Iterator[tuple[str, dict[str, float | None]]]:
        """Its tasks with its metrics; where it would write NaN, which is no JSON, stands null."""
        of = {
            (row.measured.protocol, row.measured.metric): row.measured.value
            for row in self.scores.rows
            if row.benchmark == benchmark
        }
        if (ZERO_SHOT, "top1") in of:
            top5 = of.get((ZERO_SHOT, "top5"), 1.0 if self.classes[benchmark] == 5 else None)
            top1, mean = of[ZERO_SHOT, "top1"], of[ZERO_SHOT, "mean_per_class"]
            yield "zeroshot_classification", {"acc1": top1, "acc5": top5, "mean_per_class_recall": mean}
        for protocol in KARPATHY:
            if (protocol, "text_to_image_r1") in of:
                yield (
                    "zeroshot_retrieval",
                    {
                        f"{theirs}_retrieval_recall@{k}": float(np.float32(of[protocol, f"{ours}_r{k}"]))
                        for k in (1, 5, 10)
                        for theirs, ours in (("image", "text_to_image"), ("text", "image_to_text"))
                    },
                )


def score(
    checkpoint: str,
    sets: AskedSets,
    work: Path,
    *,
    model: str | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    shots: Sequence[int] = (),
    probes: bool = True,
) -> CheckpointScores:
    """All metrics of a checkpoint on the test splits of benchmarks.

    Args:
        checkpoint: as `opening.opened` takes it.
        sets: the benchmarks.
        work: folder whose `embeddings` keep the rows of images and texts.
        model: that a file of weights is of.
        device: where the model works.
        precision: of products of matrices and convolutions; `auto`: bfloat16 on a GPU.
        shots: images a class from which few-shot probes learn.
        probes: whether linear probes are fitted, where a benchmark has a train split.

    Raises:
        InputError: the checkpoint cannot be opened, or a benchmark has no test split.
        DataError: a benchmark is damaged, or the model's rows are of no use.
    """
    where, how = conditions.resolved(device, precision)
    found = opened(checkpoint, model, where, how)
    folder = rows_folder(work, found.checkpoint_digest, found.encoder, where)
    store = Store(found.encoder, folder, where)
    scores = suite.evaluate(store, sets.folders, "test", shots, probes=probes)
    classes = {name: len(about.classnames) for (name, split), about in store.seen.items() if split == "test"}
    return CheckpointScores(found, scores, conditions.of(found.encoder, where), classes, sets.missing)


def lines(scores: Scores) -> list[str]:
    """A table for the terminal: a line for each benchmark and protocol, of retrieval one for each way."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for row in scores.rows:
        one = row.measured
        way = next((way for way in get_args(Direction) if one.metric.startswith(f"{way}_")), "")
        metric = one.metric.removeprefix(f"{way}_") if way else one.metric
        rows.setdefault((row.benchmark, one.protocol, way), []).append(f"{metric} {one.value:.4f}")
    widths = [max((len(key[place]) for key in rows), default=0) for place in (0, 1)]
    return [
        f"{name.ljust(widths[0])}  {protocol.ljust(widths[1])}  {way and f'{way}: '}{'  '.join(said)}"
        for (name, protocol, way), said in rows.items()
    ]
