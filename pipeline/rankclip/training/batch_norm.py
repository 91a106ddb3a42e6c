"""Batch norm, whose statistics are a state that a forward pass changes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """The modules by which an output depends on more than its own sample, SyncBatchNorm among them."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def statistics(model: nn.Module) -> list[Tensor]:
    """The running statistics of batch norm, which a forward pass in training changes."""
    return [buffer for norm in batch_norms(model) for buffer in norm.buffers()]


@contextlib.contextmanager
def uncounted(model: nn.Module) -> Iterator[None]:
    """Keeps batch norm from counting a batch that it has counted; its outputs are the same."""
    norms = batch_norms(model)
    before = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, tracks in zip(norms, before, strict=True):
            norm.track_running_stats = tracks


@contextlib.contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Sets the statistics back afterwards to what they were; to autograd the operations look as ever."""
    before = [buffer.clone() for buffer in statistics(model)]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, old in zip(statistics(model), before, strict=True):
                buffer.copy_(old)
