"""A model on a suite of benchmarks. Validation and test never mix: each function names the split it reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch

from rankclip.data.benchmarks import benchmark_folder, gains
from rankclip.data.benchmarks.benchmark import BenchmarkSplit
from rankclip.data.benchmarks.content import SplitName
from rankclip.evaluation import retrieval, zero_shot
from rankclip.evaluation.encoder import Encoder
from rankclip.evaluation.scores import Row, Scores


def evaluate(encoder: Encoder, benchmarks: Path, names: Sequence[str], split: SplitName) -> Scores:
    """All metrics of `encoder` on one split of the benchmarks `names` in the folder `benchmarks`.

    Raises:
        DataError: a benchmark is missing or damaged, or the model gives embeddings that are not finite.
    """
    return Scores([row for name in names for row in _rows(encoder, benchmarks / f"wds_{name}", name, split)])


def _rows(encoder: Encoder, folder: Path, name: str, split: SplitName) -> list[Row]:
    data = benchmark_folder.read_split(folder, split)
    if data.task == "classification":
        return [Row(name, split, one, data.digest) for one in zero_shot.measure(encoder, data)]
    captions = sum(len(sample.captions) for sample in data.samples)
    graded = gains.read(folder / split, len(data.samples), captions)
    measured = retrieval.measure(encoder, data, None if graded is None else torch.from_numpy(graded))
    return [Row(name, split, one, gains.data_digest(data.digest, graded)) for one in measured]


def validation_top1(encoder: Encoder, sets: Sequence[BenchmarkSplit]) -> dict[str, float]:
    """`val/<benchmark>/top1` of each classification set and `val/mean_top1`, their mean; for use in training.

    Raises:
        ValueError: a set is not a validation split, or none is a classification set.
    """
    scored = {}
    for data in sets:
        if data.split != "val":
            raise ValueError(f"split {data.split} of {data.name} must not be read in training; give val")
        if data.task == "classification":
            first = zero_shot.predict(encoder, data, 1)[:, 0]
            scored[f"val/{data.name}/top1"] = float((first == zero_shot.labels(data)).double().mean())
    if not scored:
        raise ValueError(
            "no classification benchmark among the validation sets; add one to evaluation.benchmarks"
        )
    return {**scored, "val/mean_top1": fmean(scored.values())}
