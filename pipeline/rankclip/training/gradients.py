"""The gradient of a step as a whole: its norm, its largest norm, and no step where it is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor


def gradients(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Those of all parameters that have one."""
    groups = optimizer.param_groups
    return [parameter.grad for group in groups for parameter in group["params"] if parameter.grad is not None]


def norm(found: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all gradients together, `[]`; infinite also where its square is."""
    total: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(found))))
    return total


def clip(found: Sequence[Tensor], total: Tensor, largest: float) -> None:
    """Scales gradients of norm `total` to norm `largest`, in place, where they are larger.

    As `torch.nn.utils.clip_grad_norm_`, without waiting for the device.
    """
    torch._foreach_mul_(list(found), torch.clamp(largest / (total + 1e-6), max=1.0))


def advance(optimizer: torch.optim.Optimizer, finite: Tensor) -> None:
    """Makes the step where `finite`, `[]` bool, is true; else parameters and averages stay what they are."""
    if finite.is_cuda:
        advance_on_device(optimizer, finite)
    elif finite:
        optimizer.step()


def advance_on_device(optimizer: torch.optim.Optimizer, finite: Tensor) -> None:
    """`advance` without waiting for the device, for a fused optimiser: its kernel is told not to write.

    It is told as by `torch.amp.GradScaler`. Averages that do not exist yet are made, of zeros.
    """
    cast(Any, optimizer).found_inf = finite.logical_not().to(torch.float32)
    optimizer.step()
