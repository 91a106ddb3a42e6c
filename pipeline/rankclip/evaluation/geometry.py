"""The shape of the shared space: how far apart the modalities lie, and whether they rank alike.

All of it is of pairs: each image with its first caption. Images and texts are points on the unit sphere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rankclip.errors import DataError
from rankclip.evaluation import metrics, retrieval
from rankclip.evaluation.correlation import kendall
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.scores import Items, Measured

GEOMETRY = "geometry"
"""Protocol of distances: they describe a space, are not in [0, 1], and lower is not always better."""

CONSISTENCY = "rank_consistency"
"""Protocol of agreements between modalities: higher is more alike; 0 or near it by chance, 1 at most."""

NEIGHBOURS = 10
FEWEST = 3
"""Pairs below which there is nothing to rank: an item and two others."""


def measure(embedded: Embedded) -> list[Measured]:
    """Distances under `geometry` and agreements under `rank_consistency`.

    `modality_gap`, `alignment`, `uniformity` (between images and texts), `image_uniformity`,
    `text_uniformity`; `in_modal_tau`, `cross_modal_tau`, `in_modal_top10`, `cross_modal_top10` (where there
    are more than 11 pairs), `neighbour_agreement`.

    Raises:
        DataError: there are fewer than three pairs, or an image has no caption.
    """
    counts = retrieval.counts(embedded)
    if len(embedded.keys) < FEWEST:
        raise DataError(
            f"benchmark {embedded.name} has {len(embedded.keys)} images; geometry needs {FEWEST}: add some"
        )
    every = embedded.texts(embedded.every_caption)  # as retrieval asks
    images, texts = embedded.images, every[counts.cumsum(0) - counts]
    values = {
        "modality_gap": modality_gap(images, texts),
        "alignment": float(alignment(images, texts).mean()),
        "uniformity": uniformity(images, texts),
        "image_uniformity": uniformity(images, images),
        "text_uniformity": uniformity(texts, texts),
    }
    return [*(Measured(name, GEOMETRY, value) for name, value in values.items()), *_agree(images, texts)]


def modality_gap(images: Tensor, texts: Tensor) -> float:
    """Distance between the mean of `[N, D]` and that of `[M, D]`: Liang et al., NeurIPS 2022."""
    return float((images.double().mean(dim=0) - texts.double().mean(dim=0)).norm())


def alignment(images: Tensor, texts: Tensor) -> Tensor:
    """Squared distance `[N]` of each pair of `[N, D]`, `[N, D]`: CyCLIP, and Wang & Isola, ICML 2020."""
    return (images.double() - texts.double()).square().sum(dim=1)


def uniformity(left: Tensor, right: Tensor, rows: int = metrics.ROWS) -> float:
    """log of the mean of exp(-2 d^2) over the pairs i > j of unit rows of `[N, D]` and `[N, D]`.

    Of one set with itself: Wang & Isola, ICML 2020, equation 4 with t = 2. Of images with texts: CyCLIP.
    """
    sums = []
    for part in torch.split(torch.arange(len(left)), rows):
        exponent = 4 * (left[part] @ right.T).double() - 4  # -2 d^2 of unit vectors
        earlier = torch.arange(len(right)) < part[:, None]
        sums.append(exponent.masked_fill(~earlier, -torch.inf).flatten().logsumexp(dim=0))
    pairs = len(left) * (len(left) - 1) / 2
    return float(torch.stack(sums).logsumexp(dim=0)) - math.log(pairs)


def _agree(images: Tensor, texts: Tensor) -> list[Measured]:
    """Agreement of each item's two rankings of the other items, `metrics.ROWS` items at a time.

    In modality: of the images by image i, and of the texts by text i. Across: of the texts by image i, and of
    the images by text i. These are the pairs of rankings that RankCLIP's terms bring together.
    """
    parts: dict[str, list[Tensor]] = {}
    nearest: list[tuple[Tensor, Tensor]] = []
    for own in torch.split(torch.arange(len(images)), metrics.ROWS):
        image, text = images[own], texts[own]
        for name, one, other in (
            ("in_modal", image @ images.T, text @ texts.T),
            ("cross_modal", image @ texts.T, text @ images.T),
        ):
            others = torch.arange(len(images)) != own[:, None]
            one, other = (scores[others].view(len(own), -1) for scores in (one, other))
            parts.setdefault(f"{name}_tau", []).append(kendall(one, other))
            if one.shape[1] > NEIGHBOURS:
                shared = overlap(one, other, NEIGHBOURS)
                parts.setdefault(f"{name}_top{NEIGHBOURS}", []).append(shared)
            if name == "in_modal":
                parts.setdefault("neighbour_agreement", []).append(overlap(one, other, 1))
                nearest.append((first(one, own), first(other, own)))
    by_image, by_text = (torch.cat(one) for one in zip(*nearest, strict=True))
    return [
        Measured.mean(name, CONSISTENCY, Items(by_text, by_image, torch.cat(values)))
        for name, values in parts.items()
    ]


def overlap(one: Tensor, other: Tensor, k: int) -> Tensor:
    """Share `[R]`, float64, of the k highest columns of `[R, N]` that are among the k highest of `[R, N]`.

    Equal scores are placed by rising column in the one and by falling column in the other: a model that tells
    nothing apart would agree with itself else.
    """
    best, last = metrics.best(one, k), one.shape[1] - 1
    of_other = last - metrics.best(other.flip(1), k)
    return (best[:, :, None] == of_other[:, None, :]).any(dim=2).double().mean(dim=1)


def first(scores: Tensor, own: Tensor) -> Tensor:
    """The item `[R]` of the highest score in rows `[R, N - 1]` over all items but the row's `own` `[R]`."""
    column = metrics.best(scores, 1)[:, 0]
    return column + (column >= own)
