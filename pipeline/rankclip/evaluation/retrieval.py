"""Retrieval between images and captions, several captions an image, with one true match or with graded gains.

Plain recall follows Karpathy & Fei-Fei, CVPR 2015: an image counts as found when any of its own captions is
among the first k. Where captions are vague that punishes right answers, so the graded metrics count every
caption that is true of the image and every image of which the caption is true.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rankclip.errors import DataError
from rankclip.evaluation import metrics
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.scores import Items, Measured

Direction = Literal["image_to_text", "text_to_image"]

DEPTH = 10
"""Places of a ranking that graded metrics look at."""

TABLE = 2**25
"""Most scores that are held at once, 128 MiB; larger sets are scored some rows at a time, each way anew."""

PROTOCOLS: dict[str, int | None] = {"five_captions": 5, "all_captions": None, "one_caption": 1}
"""Captions of an image that a protocol uses, the first so many; None: all. Which sets have it: `protocols`.

`five_captions`: Karpathy & Fei-Fei's, in which the literature states MSCOCO 5K and Flickr30k. `one_caption`:
N images against N captions, as the published script of Holistic CLIP (CVPR 2025) measures; it is harder from
image to text, and numbers of the two cannot be compared.
"""


@dataclass(frozen=True)
class Ranking:
    """What one direction of retrieval found."""

    direction: Direction
    order: Tensor
    """`[Q, K]`: candidates found, best first."""
    places: Tensor
    """`[Q]`: place, from 1, of the query's own candidate, of several captions of the best."""
    own: Tensor
    """`[Q]`: the query's own candidate (of several captions, the first)."""


def counts(embedded: Embedded) -> Tensor:
    """Captions of each image `[N]`.

    Raises:
        DataError: an image has no caption.
    """
    found = torch.tensor([len(captions) for captions in embedded.captions])
    if bool((found == 0).any()):
        key = embedded.keys[int(found.argmin())]
        raise DataError(
            f"image {key} of benchmark {embedded.name}, split {embedded.split}, has no caption; give it one "
            "or leave it out"
        )
    return found


def protocols(said: Tensor) -> list[str]:
    """Those that a set with so many captions of each image `[N]` has; the first is its default."""
    fewest, most = int(said.min()), int(said.max())
    has = {"five_captions": fewest >= 5, "all_captions": most > 1 and (fewest, most) != (5, 5)}
    return [name for name in PROTOCOLS if has.get(name, True)]


def rank(
    images: Tensor, texts: Tensor, said: Tensor, table: Tensor | None = None, depth: int = 1
) -> tuple[Ranking, Ranking]:
    """Both directions, image to text first.

    Args:
        images: unit rows `[N, D]`.
        texts: unit rows `[M, D]`, those of the first image first.
        said: how many of the M each image has `[N]`, at least one.
        table: inner products `[M, N]` of texts and images, where they are held.
        depth: places of the rankings that are listed.
    """
    owner = torch.arange(len(images)).repeat_interleave(said)
    start = said.cumsum(0) - said
    own = start[:, None] + torch.minimum(torch.arange(int(said.max())), said[:, None] - 1)
    depths = min(depth, len(texts)), min(depth, len(images))
    if table is None:
        to_text = metrics.search(images, texts, own, depths[0])
        to_image = metrics.search(texts, images, owner[:, None], depths[1])
    else:
        # each pass over a table is made by one thread; both ways together take half the time
        with ThreadPoolExecutor(2) as both:
            ways = (table.T, own, depths[0]), (table, owner[:, None], depths[1])
            to_text, to_image = both.map(lambda way: metrics.listed(*way), ways)
    return Ranking("image_to_text", *to_text, start), Ranking("text_to_image", *to_image, owner)


def measure(embedded: Embedded, gains: Tensor | None = None) -> list[Measured]:
    """Both ways, prefixed by the direction: `r1`, `r5`, `r10`, `median_rank` under each of `protocols`.

    With `gains` `[N, M]` of the captions also `ndcg10` and `true_r1`.

    Raises:
        DataError: an image has no caption.
    """
    said = counts(embedded)
    images = embedded.images
    texts = embedded.texts(embedded.every_caption)
    table = texts @ images.T if len(images) * len(texts) <= TABLE else None
    whole = rank(images, texts, said, table, 1 if gains is None else DEPTH)
    nth = torch.arange(len(texts)) - (said.cumsum(0) - said).repeat_interleave(said)
    measured = []
    for protocol in protocols(said):
        used = PROTOCOLS[protocol] or int(said.max())
        both, kept = whole, nth < used
        if not bool(kept.all()):
            some = None if table is None else table[kept]
            both = rank(images, texts[kept], said.clamp(max=used), some)
        measured += [one for ranking in both for one in plain(ranking, protocol)]
    if gains is not None:
        measured += [*graded(whole[0], gains), *graded(whole[1], gains.T)]
    return measured


def plain(ranking: Ranking, protocol: str) -> list[Measured]:
    """Recall of the query's own match `r1`, `r5`, `r10`, and the median of its place."""
    name = ranking.direction
    first = Items(ranking.own, ranking.order[:, 0], metrics.hits_at(ranking.places, 1))
    return [
        Measured.mean(f"{name}_r1", protocol, first),
        *(
            Measured(f"{name}_r{k}", protocol, float(metrics.hits_at(ranking.places, k).mean()))
            for k in (5, 10)
        ),
        Measured(f"{name}_median_rank", protocol, metrics.median_rank(ranking.places)),
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
