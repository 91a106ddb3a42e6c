"""Metrics of ranked lists: pure functions, per query, so that means and paired statistics use one number.

Everything starts from `best`: the first k columns of each row of scores. Equal scores are placed by column
index, so that a model that says nothing scores what chance scores, and no result depends on the sort used.
"""

from __future__ import annotations

import torch
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
    if bool(scores.isnan().any()):
        raise ValueError("a score is NaN; rankings need numbers")
    values, order = scores.topk(min(k + 1, columns), dim=1)
    # topk is several times faster than a sort but places equal scores anyhow: sort the rows that have some
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
    if bool(tied.any()):
        order[tied] = scores[tied].sort(dim=1, descending=True, stable=True).indices[:, : order.shape[1]]
    return order[:, :k]


def nearest(queries: Tensor, candidates: Tensor, k: int, rows: int = ROWS) -> Tensor:
    """`best` of the inner products of `[Q, D]` with `[C, D]`, `rows` queries at a time to bound memory."""
    return torch.cat([best(part @ candidates.T, k) for part in torch.split(queries, rows)])


def hits_at(found: Tensor, k: int) -> Tensor:
    """`[Q]` of 0 or 1: is one of the first k places of `found` (`[Q, >= k]`, true where relevant) relevant?

    For one relevant column this is top-k accuracy; for several it is R@k as in Karpathy & Fei-Fei, CVPR 2015:
    a query counts once, however many of its captions are found.
    """
    return found[:, :k].any(dim=1).double()


def mean_per_class(hits: Tensor, targets: Tensor) -> float:
    """Mean over the classes that occur in `targets` `[N]` of the mean of `hits` `[N]` within the class."""
    counts = torch.bincount(targets)
    sums = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, targets, hits.double())
    present = counts > 0
    return float((sums[present] / counts[present]).mean())


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
