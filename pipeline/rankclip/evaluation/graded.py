"""Retrieval where a query has many right answers: mAP@R, R-Precision and R@1 of ECCV Caption.

Chun et al., ECCV 2022: of COCO's 5,000 test images and their captions people found, for 1,332 images and
1,261 captions, all that match. With R right answers a model is asked for R places, not for one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rankclip.data.benchmarks.eccv import Matches
from rankclip.evaluation import metrics
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.scores import Items, Measured

ECCV = "eccv_caption"
"""Protocol: all of COCO's test images and captions are candidates, the queries are those people looked at."""


def measure(embedded: Embedded, to_text: Matches, to_image: Matches) -> list[Measured]:
    """Both ways, prefixed by the direction: `map_at_r`, `r_precision`, `eccv_r1`.

    Args:
        embedded: images and captions.
        to_text: captions that match an image.
        to_image: images that match a caption.
    """
    texts = embedded.texts(embedded.every_caption)
    return [
        *_direction("image_to_text", embedded.images, texts, to_text),
        *_direction("text_to_image", texts, embedded.images, to_image),
    ]


def _direction(name: str, queries: Tensor, candidates: Tensor, matches: Matches) -> list[Measured]:
    asked, right, counts = (
        torch.from_numpy(one) for one in (matches.queries, matches.candidates, matches.counts)
    )
    order = metrics.nearest(queries[asked], candidates, int(counts.max()))
    found = found_places(order, right, counts)
    target = right[counts.cumsum(0) - counts]
    values = {
        "map_at_r": average_precision(found, counts),
        "r_precision": r_precision(found, counts),
        "eccv_r1": found[:, 0].double(),
    }
    return [
        Measured.mean(f"{name}_{metric}", ECCV, Items(target, order[:, 0], value))
        for metric, value in values.items()
    ]


def found_places(order: Tensor, right: Tensor, counts: Tensor) -> Tensor:
    """Is the candidate at a place right? Bool `[Q, K]`.

    Args:
        order: candidates `[Q, K]`, best first.
        right: the right candidates of all queries, one query after the other, `[sum(counts)]`.
        counts: how many a query has, `[Q]`.
    """
    many = int(torch.cat([order.flatten(), right]).max()) + 1
    number = torch.arange(len(order))
    keys = number.repeat_interleave(counts) * many + right
    return torch.isin(number[:, None] * many + order, keys)


def average_precision(found: Tensor, counts: Tensor) -> Tensor:
    """mAP@R of each query `[Q]`, float64: the mean over the first R places of the precision at right ones.

    Musgrave et al., ECCV 2020, as Chun et al. use it; a wrong place counts 0.

    Args:
        found: is a place right? `[Q, K]`, K at least the most of `counts`.
        counts: R of each query, `[Q]`.
    """
    places = torch.arange(1, found.shape[1] + 1)
    within = found & (places <= counts[:, None])
    precision = found.cumsum(dim=1).double() / places
    return (precision * within).sum(dim=1) / counts


def r_precision(found: Tensor, counts: Tensor) -> Tensor:
    """Share of the first R places that are right `[Q]`, float64; arguments as in `average_precision`."""
    places = torch.arange(1, found.shape[1] + 1)
    return (found & (places <= counts[:, None])).sum(dim=1).double() / counts
