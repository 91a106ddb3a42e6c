"""Does a model find alike what is alike? Spearman's correlation with what people say, or with the truth.

Similarities within images, within texts and between them, which recall at k cannot show: it asks for the
first place alone. Crisscrossed Captions has people's ratings; of the drawn world the truth is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from rankclip.data.benchmarks.crisscrossed import Kind, Ratings
from rankclip.evaluation import metrics
from rankclip.evaluation.correlation import spearman
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.scores import Items, Measured

SAMPLED = "crisscrossed_sampled"
"""Protocol of the paper: the mean of correlations of `DRAWS` samples of independent pairs."""

ALL_PAIRS = "crisscrossed_all_pairs"
"""One correlation over all pairs."""

LATENTS = "latents"
"""Protocol of the drawn world: the mean over queries of the correlation over all other items."""

DRAWS = 1000
AT_ONCE = 1_000_000
"""Numbers that are sorted at once, which bounds memory to some 100 MB."""

PAIRS = 2**13
"""Pairs whose rows are multiplied at once."""

SIDES: dict[Kind, tuple[str, str]] = {
    "image_image": ("image", "image"),
    "text_text": ("text", "text"),
    "image_text": ("text", "image"),
}
"""What queries and candidates are, in the order of the published columns."""


def measure(embedded: Embedded, ratings: Sequence[Ratings], seed: int = 0) -> list[Measured]:
    """Of each kind of similarity `<kind>_spearman`, sampled and over all pairs, and its sd over samples.

    Parekh et al., EACL 2021, section 5.

    Args:
        embedded: images and captions.
        ratings: of pairs of them.
        seed: of the samples; every model is measured on the same.
    """
    texts = embedded.texts(embedded.every_caption)
    rows = {"image": embedded.images, "text": texts}
    measured = []
    for one in ratings:
        left, right = (rows[side] for side in SIDES[one.kind])
        query = torch.from_numpy(one.query)
        model = _cosines(left, right, query, torch.from_numpy(one.candidate))
        human = torch.from_numpy(one.score)
        drawn = sampled_spearman(model, human, query, seed)
        measured += [
            Measured(f"{one.kind}_spearman", SAMPLED, float(drawn.mean())),
            Measured(f"{one.kind}_spearman_sd", SAMPLED, float(drawn.std())),
            Measured(f"{one.kind}_spearman", ALL_PAIRS, float(spearman(model[None], human[None]))),
        ]
    return measured


def sampled_spearman(
    model: Tensor, human: Tensor, query: Tensor, seed: int = 0, draws: int = DRAWS
) -> Tensor:
    """Spearman's rho `[draws]`, float64, each of half of the queries and of one pair of each of them.

    Pairs that share a query are not independent, so a sample never holds two of them.

    Args:
        model: similarity of each pair `[P]` as the model sees it.
        human: the same `[P]` as people do.
        query: number `[P]` of the item that a pair asks about.
        seed: of the samples; equal seeds give equal samples.
        draws: how many.

    Raises:
        ValueError: there are fewer than 4 queries.
    """
    _, inverse, counts = np.unique(query.numpy(), return_inverse=True, return_counts=True)
    queries = len(counts)
    if queries < 4:
        raise ValueError(f"{queries} queries are too few to sample half of them; at least 4 are needed")
    pairs, start = np.argsort(inverse, kind="stable"), np.cumsum(counts) - counts
    generator = np.random.default_rng(seed)
    found = []
    for first in range(0, draws, step := max(1, AT_ONCE // queries)):
        shape = (min(step, draws - first), queries)
        chosen = generator.random(shape).argpartition(queries // 2, axis=1)[:, : queries // 2]
        of_chosen = (generator.random(chosen.shape) * counts[chosen]).astype(np.int64)
        taken = torch.from_numpy(pairs[start[chosen] + of_chosen])
        found.append(spearman(model[taken], human[taken]))
    return torch.cat(found)


def measure_true(embedded: Embedded, gains: Tensor | None, latents: Tensor | None) -> list[Measured]:
    """Of the drawn world `image_text_spearman`, `text_image_spearman` and `image_image_spearman`.

    Each is a mean over queries, the first kind named, of the correlation of the model's similarity with the
    true one over all candidates (but the query itself).

    Args:
        embedded: images and captions of a drawn retrieval split.
        gains: how true each caption is of each image, `[images, captions]`; None where it is not known.
        latents: unit vectors `[images, L]` whose products are how alike images are; None where not known.
    """
    measured = []
    if gains is not None:
        texts = embedded.texts(embedded.every_caption)
        measured += [
            _true("image_text", embedded.images, texts, lambda rows: gains[rows]),
            _true("text_image", texts, embedded.images, lambda rows: gains.T[rows]),
        ]
    if latents is not None:
        images = embedded.images
        measured.append(_true("image_image", images, images, lambda rows: latents[rows] @ latents.T, True))
    return measured


def _true(
    kind: str, queries: Tensor, candidates: Tensor, truth: Callable[[Tensor], Tensor], own: bool = False
) -> Measured:
    """The mean of row-wise correlations with the rows that `truth` gives of some queries.

    With `own`, query i is candidate i and is left out of its row.
    """
    values, prefers, best = [], [], []
    step = max(1, min(metrics.ROWS, AT_ONCE // len(candidates)))
    for rows in torch.split(torch.arange(len(queries)), step):
        model, true = queries[rows] @ candidates.T, truth(rows)
        if own:
            others = torch.arange(len(candidates)) != rows[:, None]
            values.append(spearman(*(one[others].view(len(rows), -1) for one in (model, true))))
            model, true = (one.masked_fill(~others, -torch.inf) for one in (model, true))
        else:
            values.append(spearman(model, true))
        prefers.append(metrics.best(model, 1)[:, 0])
        best.append(metrics.best(true, 1)[:, 0])
    items = Items(torch.cat(best), torch.cat(prefers), torch.cat(values))
    return Measured.mean(f"{kind}_spearman", LATENTS, items)


def _cosines(left: Tensor, right: Tensor, query: Tensor, candidate: Tensor) -> Tensor:
    """Products `[P]` of pairs of rows of `[A, D]` and `[B, D]`, some pairs at a time."""
    pairs = zip(torch.split(query, PAIRS), torch.split(candidate, PAIRS), strict=True)
    return torch.cat([(left[one] * right[other]).sum(dim=1) for one, other in pairs])
