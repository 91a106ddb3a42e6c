"""Collectives that are the identity on one process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from rankclip.errors import InputError, Stuck

Value = TypeVar("Value")

GRACE_S = 10.0
"""Seconds that a worker whose collective took too long gives the others to say that theirs did too."""


def _together() -> bool:
    """Whether this process is one of a group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """This process's place in its group; 0 alone."""
    return dist.get_rank() if _together() else 0


def world_size() -> int:
    """How many processes train together; 1 alone."""
    return dist.get_world_size() if _together() else 1


def sizes(n: int, device: torch.device) -> list[int]:
    """How many rows each worker has, in order of rank, given this one's `n`; a collective on that device."""
    if world_size() == 1:
        return [n]
    told = torch.zeros(world_size(), dtype=torch.int64, device=device)
    told[rank()] = n
    dist.all_reduce(told)
    found: list[int] = told.tolist()
    return found


def timeout_s() -> float:
    """Longest time that workers wait for each other, RANKCLIP_COLLECTIVE_TIMEOUT_S.

    Raises:
        InputError: it is no positive number.
    """
    text = os.environ.get("RANKCLIP_COLLECTIVE_TIMEOUT_S") or "1800"
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < 1e7:
            return seconds
    raise InputError(f"RANKCLIP_COLLECTIVE_TIMEOUT_S is {text!r}; set it to seconds, more than 0")


@contextmanager
def stuck_named(grace_s: float = GRACE_S) -> Iterator[None]:
    """Names the workers for which the others waited too long in the block, as torch's own error does not.

    Every worker tells of itself where the group met (its store) when a collective fails it; who tells nothing
    is stuck. For gloo: of NCCL torch ends the process, and its log names the collective.

    Raises:
        Stuck: a collective took longer than the process group allows.
    """
    if world_size() == 1:
        yield
        return
    store = dist.distributed_c10d._get_default_store()
    store.set(f"rankclip/place/{rank()}", f"{socket.gethostname()} process {os.getpid()}")
    try:
        yield
    except RuntimeError as error:
        with suppress(RuntimeError):  # the store may have gone with the worker that had it
            store.set(f"rankclip/failed/{rank()}", "")
        if "timed out" not in str(error).lower():
            raise
        raise Stuck(
            f"{_absent(store, grace_s)} did not come to where the others waited, for {timeout_s():g} s "
            "(RANKCLIP_COLLECTIVE_TIMEOUT_S); look what holds it up there, a disk that hangs say"
        ) from error


def _absent(store: Any, grace_s: float) -> str:
    """The ranks, and their places, that have not said that they failed too."""
    absent, deadline = list(range(world_size())), time.monotonic() + grace_s
    store.set_timeout(timedelta(seconds=grace_s))
    try:
        while absent and time.monotonic() < deadline:
            absent = [other for other in absent if not store.check([f"rankclip/failed/{other}"])]
            time.sleep(0.05)
        places = [f"{other} ({store.get(f'rankclip/place/{other}').decode()})" for other in absent]
    except RuntimeError:  # the store does not answer
        places = []
    return f"rank {', '.join(places)}" if places else "a worker"


class _Gather(torch.autograd.Function):
    """All-gather whose backward adds up what every worker's loss says of the gathered rows."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, sizes: Sequence[int], unused: Tensor) -> Tensor:
        ctx.start, ctx.rows = sum(sizes[: rank()]), len(local)
        return _gathered(local, sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)  # autograd may share what it passes
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.rows], None, None


def _gathered(local: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows of all workers; the collective takes equal parts, so each is padded to the longest."""
    part = local.contiguous()
    if len(local) < max(sizes):
        part = local.new_zeros(max(sizes), *local.shape[1:])
        part[: len(local)] = local
    pieces = [torch.empty_like(part) for _ in sizes]
    dist.all_gather(pieces, part)
    return torch.cat([piece[:size] for piece, size in zip(pieces, sizes, strict=True)])


def gather(local: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows of all workers in order of rank: `[n, ...]` to `[sum(sizes), ...]`.

    With gradient where `local` has one: its backward, a collective, adds up what all workers' losses say.

    Args:
        local: this worker's rows, maybe none; dtype and trailing shape are the same on every worker.
        sizes: rows of every worker, from `sizes`.
    """
    if world_size() == 1 or not any(sizes):
        return local
    if not local.is_floating_point() or not torch.is_grad_enabled():
        return _gathered(local.detach(), sizes)
    needed = local.requires_grad
    if not all(sizes):  # who has no rows may hold a tensor without gradient and must still join the backward
        needed = bool(summed(torch.tensor(float(needed), device=local.device)))
    if not needed:
        return _gathered(local, sizes)
    gathered: Tensor = _Gather.apply(local, sizes, torch.empty(0, requires_grad=True))
    return gathered


def summed(value: Tensor) -> Tensor:
    """The sum over workers, without gradient."""
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def agreed(decision: Value) -> Value:
    """What the first worker decides, on every worker: any plain value."""
    if world_size() == 1:
        return decision
    told = [decision]
    dist.broadcast_object_list(told, src=0)
    return told[0]


def largest(values: Sequence[float], device: torch.device) -> list[float]:
    """The largest of each of these values that a worker has; a collective on that device."""
    told = torch.tensor(values, dtype=torch.float64, device=device)
    if world_size() > 1:
        dist.all_reduce(told, dist.ReduceOp.MAX)
    found: list[float] = told.tolist()
    return found
