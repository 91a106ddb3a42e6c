"""Retrieval between images and captions, several captions an image, with one true match or with graded gains.

Plain recall follows Karpathy & Fei-Fei, CVPR 2015: an image counts as found when any of its own captions is
among the first k. Where captions are vague that punishes right answers, so the graded metrics count every
caption that is true of the image and every image of which the caption is true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rankclip.data.benchmarks.benchmark import BenchmarkSplit
from rankclip.errors import DataError
from rankclip.evaluation import metrics
from rankclip.evaluation.encoder import Encoder, embed_images, embed_texts
from rankclip.evaluation.scores import Items, Measured

Direction = Literal["image_to_text", "text_to_image"]

DEPTH = 10
"""Places of a ranking that the metrics look at."""


@dataclass(frozen=True)
class Ranking:
    """What one direction of retrieval found."""

    direction: Direction
    order: Tensor
    """`[Q, K]`: candidates found, best first."""
    found: Tensor
    """`[Q, K]`: is the candidate the query's own?"""
    own: Tensor
    """`[Q]`: the query's own candidate (of several captions, the first)."""


def rank(encoder: Encoder, data: BenchmarkSplit) -> tuple[Ranking, Ranking]:
    """Both directions, image to text first.

    Raises:
        DataError: an image has no caption.
    """
    counts = torch.tensor([len(sample.captions) for sample in data.samples])
    if bool((counts == 0).any()):
        key = data.samples[int(counts.argmin())].key
        raise DataError(f"image {key} of benchmark {data.name} has no caption; give it one or leave it out")
    images = embed_images(encoder, [sample.image for sample in data.samples])
    texts = embed_texts(encoder, [caption for sample in data.samples for caption in sample.captions])
    owner = torch.arange(len(images)).repeat_interleave(counts)
    to_text = metrics.nearest(images, texts, min(DEPTH, len(texts)))
    to_image = metrics.nearest(texts, images, min(DEPTH, len(images)))
    image_numbers = torch.arange(len(images))[:, None]
    return (
        Ranking("image_to_text", to_text, owner[to_text] == image_numbers, counts.cumsum(0) - counts),
        Ranking("text_to_image", to_image, to_image == owner[:, None], owner),
    )


def measure(encoder: Encoder, data: BenchmarkSplit, gains: Tensor | None) -> list[Measured]:
    """Both ways, prefixed by the direction: `r1`, `r5`, `r10`, and with `gains` also `ndcg10`, `true_r1`."""
    five = all(len(sample.captions) == 5 for sample in data.samples)
    to_text, to_image = rank(encoder, data)
    measured = [
        *plain(to_text, "five_captions" if five else "all_captions"),
        *plain(to_image, "five_captions" if five else "all_captions"),
    ]
    if gains is not None:
        measured += [*graded(to_text, gains), *graded(to_image, gains.T)]
    return measured


def plain(ranking: Ranking, protocol: str) -> list[Measured]:
    """Recall of the query's own match: `r1`, `r5`, `r10`."""
    name = ranking.direction
    first = Items(ranking.own, ranking.order[:, 0], metrics.hits_at(ranking.found, 1))
    return [
        Measured.mean(f"{name}_r1", protocol, first),
        *(
            Measured(f"{name}_r{k}", protocol, float(metrics.hits_at(ranking.found, k).mean()))
            for k in (5, 10)
        ),
    ]


def graded(ranking: Ranking, gains: Tensor) -> list[Measured]:
    """`ndcg10` and `true_r1` under `gains` `[Q, C]`."""
    first = ranking.order[:, 0]
    values = {
        "ndcg10": metrics.ndcg(gains, ranking.order),
        "true_r1": metrics.true_first(gains, ranking.order),
    }
    return [
        Measured.mean(f"{ranking.direction}_{name}", "graded", Items(ranking.own, first, value))
        for name, value in values.items()
    ]
