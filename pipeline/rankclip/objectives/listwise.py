"""Likelihoods of rankings: pure functions of scores and orders."""

from __future__ import annotations

from torch import Tensor


def ranking(scores: Tensor) -> Tensor:
    """Columns of each row from the highest score to the lowest, ties by column: `[B, N]` of `[B, N]`."""
    return scores.detach().argsort(dim=-1, descending=True, stable=True)


def plackett_luce(scores: Tensor, order: Tensor) -> Tensor:
    """Negative log-likelihood of the rankings `order` given `scores`, nats per position: `[B]`.

    `scores` and `order` are `[B, N]`, `order` best first. Equal scores give log(N!) / N.
    Plackett-Luce as the list loss ListMLE; Xia et al., ICML 2008.
    """
    ranked = scores.gather(-1, order)
    remaining = ranked.flip(-1).logcumsumexp(-1).flip(-1)  # over the items not yet placed
    return (remaining - ranked).mean(-1)
