"""Metrics of ranked lists: pure functions, per query, so that means and paired statistics use one number.

Everything starts from `best`: the first k columns of each row of scores. Equal scores are placed by column
index, so that a model that says nothing scores what chance scores, and no result depends on the sort used.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROWS = 512
"""Queries scored at once by `nearest`: 50 MB of scores against 25,000 candidates."""


def best(scores: Tensor, k: int) -> Tensor:
    """Columns `[Q, k]` of the k highest scores of each row of `[Q, C]`, best first, ties by column index.

    Raises:
        ValueError: a score is NaN, which has no place in a ranking, or k is not in 1..C.
    """
    columns = scores.shape[1]
    if not 1 <= k <= columns:
        raise ValueError(f"k is {k}; it must lie between 1 and the {columns} candidates")
    if k == 1:
        return first(scores)[:, None]
    values, order = scores.topk(min(k + 1, columns), dim=1)
    _refuse_nan(values[:, 0])  # which topk takes for the highest
    # topk is several times faster than a sort but places equal scores anyhow: sort the rows that have some
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
    if bool(tied.any()):
        order[tied] = scores[tied].sort(dim=1, descending=True, stable=True).indices[:, : order.shape[1]]
    return order[:, :k]


def first(scores: Tensor) -> Tensor:
    """The column `[Q]` of the highest score of each row of `[Q, C]`, of equal ones the first.

    Raises:
        ValueError: a score is NaN.
    """
    if scores.is_contiguous():
        found = torch.from_numpy(scores.numpy().argmax(axis=1))  # takes NaN for the highest
        _refuse_nan(scores.gather(1, found[:, None]))
        return found
    highest = scores.amax(dim=1, keepdim=True)
    _refuse_nan(highest)
    # ten times as fast as argmax where the rows of scores are columns in memory
    return torch.from_numpy((scores.numpy() == highest.numpy()).argmax(axis=1))


def _refuse_nan(highest: Tensor) -> None:
    if bool(highest.isnan().any()):
        raise ValueError("a score is NaN; rankings need numbers")


def nearest(queries: Tensor, candidates: Tensor, k: int, rows: int = ROWS) -> Tensor:
    """`best` of the inner products of `[Q, D]` with `[C, D]`, `rows` queries at a time to bound memory."""
    return torch.cat([best(part @ candidates.T, k) for part in torch.split(queries, rows)])


def search(
    queries: Tensor, candidates: Tensor, own: Tensor, k: int, rows: int = ROWS
) -> tuple[Tensor, Tensor]:
    """`best` `[Q, k]` and `places` `[Q]` of the inner products of `[Q, D]` with `[C, D]`, in bounded memory.

    Args:
        queries: `[Q, D]`.
        candidates: `[C, D]`.
        own: as of `places`.
        k: how many are listed.
        rows: queries scored at once, which bounds memory.
    """
    parts = [
        listed(part @ candidates.T, right, k)
        for part, right in zip(torch.split(queries, rows), torch.split(own, rows), strict=True)
    ]
    orders, found = zip(*parts, strict=True)
    return torch.cat(orders), torch.cat(found)


def listed(scores: Tensor, own: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`best` `[Q, k]` and `places` `[Q]` of scores `[Q, C]`."""
    return best(scores, k), places(scores, own)


def places(scores: Tensor, own: Tensor) -> Tensor:
    """The place `[Q]`, from 1, of the best own candidate of each row of `[Q, C]`.

    Ties go by column as in `best`, so that a place <= k is among the k best.

    Args:
        scores: `[Q, C]`, none of them NaN.
        own: columns `[Q, M]` that are right for a query; a query with fewer than M repeats one of them.
    """
    of_own = scores.gather(1, own)
    top = of_own.max(dim=1, keepdim=True).values
    table, mine = scores.numpy(), top.numpy()
    above = _true_in_rows(table > mine)
    tied = _true_in_rows(table >= mine) - above > 1
    found = 1 + above
    if bool(tied.any()):
        leading = own.masked_fill(of_own < top, scores.shape[1])[tied].min(dim=1, keepdim=True).values
        before = torch.arange(scores.shape[1]) < leading
        found[tied] += ((scores[tied] == top[tied]) & before).sum(dim=1)
    return found


def _true_in_rows(mask: NDArray[np.bool_]) -> Tensor:
    """How many are true in each row; small numbers are added several times as fast as large ones."""
    small = np.uint16 if mask.shape[1] < 2**16 else np.uint32
    return torch.from_numpy(mask.view(np.uint8).sum(axis=1, dtype=small).astype(np.int64))


def hits_at(places: Tensor, k: int) -> Tensor:
    """`[Q]` of 0 or 1: is the place `[Q]` of a query's best own candidate among the first k?

    For one own candidate this is top-k accuracy; for several it is R@k as in Karpathy & Fei-Fei, CVPR 2015:
    a query counts once, however many of its captions are found.
    """
    return (places <= k).double()


def median_rank(places: Tensor) -> float:
    """Median of the places `[Q]`, lower is better; between two places the lower one.

    Karpathy & Fei-Fei, CVPR 2015; the rounding is that of their published code.
    """
    return float(places.double().quantile(0.5).floor())


def confusion(targets: Tensor, predictions: Tensor, classes: int) -> Tensor:
    """Counts `[C, C]`, int64: row t, column p is the number of items of class t that were taken for p.

    Args:
        targets: true classes `[N]`.
        predictions: predicted classes `[N]`.
        classes: C.

    Raises:
        ValueError: a class is not in 0..C-1.
    """
    for name, given in (("target", targets), ("prediction", predictions)):
        if len(given) and not 0 <= int(given.min()) <= int(given.max()) < classes:
            worst = given[(given < 0) | (given >= classes)][0]
            raise ValueError(f"{name} {int(worst)} is not one of the {classes} classes; they count from 0")
    return torch.bincount(targets * classes + predictions, minlength=classes**2).view(classes, classes)


def mean_per_class(hits: Tensor, targets: Tensor) -> float:
    """Mean over the classes that occur in `targets` `[N]` of the mean of `hits` `[N]` within the class."""
    counts = torch.bincount(targets)
    sums = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, targets, hits.double())
    present = counts > 0
    # numpy adds in another order than torch, and others' balanced accuracy, equal to the last bit, is numpy's
    return float((sums[present] / counts[present]).numpy().mean())


def ndcg(gains: Tensor, order: Tensor) -> Tensor:
    """Normalised discounted cumulative gain `[Q]` of rankings `order` `[Q, k]` under `gains` `[Q, C]` >= 0.

    Linear gains, discount 1 / log2(place + 1), cut at k: Jarvelin & Kekalainen, TOIS 2002. A query to which
    nothing is relevant scores 0.
    """
    k = order.shape[1]
    discounts = torch.arange(2, k + 2, dtype=torch.float64).log2().reciprocal()
    reached = gains.gather(1, order).double() @ discounts
    ideal = gains.topk(k, dim=1).values.double() @ discounts
    return torch.where(ideal > 0, reached / ideal.clamp_min(torch.finfo(torch.float64).tiny), 0.0)


def true_first(gains: Tensor, order: Tensor) -> Tensor:
    """`[Q]` of 0 or 1: is the first place of `order` `[Q, k]` wholly relevant, that is of gain 1?"""
    return (gains.gather(1, order[:, :1])[:, 0] >= 1).double()
