"""What a run in training is judged by: accuracy on validation splits, which are in memory."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import torch

from rankclip.data.benchmarks.benchmark import BenchmarkSplit
from rankclip.evaluation import zero_shot
from rankclip.evaluation.embedding import embed
from rankclip.evaluation.encoder import Encoder


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
            first = zero_shot.predict(embed(encoder, data), 1)[:, 0]
            labels = torch.tensor([sample.label for sample in data.samples])
            scored[f"val/{data.name}/top1"] = float((first == labels).double().mean())
    if not scored:
        raise ValueError(
            "no classification benchmark among the validation sets; add one to evaluation.benchmarks"
        )
    return {**scored, "val/mean_top1": fmean(scored.values())}
