"""Collectives that are the identity on one process."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """This process's place in its group; 0 alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together; 1 alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """All-gather whose backward adds up what every worker's loss says of the gathered rows."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        pieces = [torch.empty_like(local) for _ in range(world_size())]
        dist.all_gather(pieces, local.contiguous())
        ctx.rows = len(local)
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone(memory_format=torch.contiguous_format)  # autograd may share what it passes
        dist.all_reduce(summed)
        return summed[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def gather(local: Tensor) -> Tensor:
    """Rows of all workers in order of rank, with gradient: `[n, D]` to `[n x workers, D]`."""
    if world_size() == 1:
        return local
    gathered: Tensor = _Gather.apply(local)
    return gathered


def summed(value: Tensor) -> Tensor:
    """The sum over workers, without gradient."""
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def agreed(decision: bool) -> bool:
    """What the first worker decides, on every worker."""
    if world_size() == 1:
        return decision
    told = [decision]
    dist.broadcast_object_list(told, src=0)
    return told[0]
