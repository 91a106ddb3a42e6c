"""Which device a worker trains on, and in which precision its towers compute."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Literal

import torch
from torch import Tensor

from rankclip.errors import InputError
from rankclip.training.machine import Machine

Precision = Literal["fp32", "bf16"]
"""As in `train.precision`."""


def chosen(machine: Machine) -> torch.device:
    """This worker's device, which also becomes the current one of its process.

    Of several GPUs that it can see it takes the one of its place on the machine, which the launcher says by
    LOCAL_RANK; where each worker is shown one alone, that one.

    Raises:
        InputError: a GPU is asked for, but there is none for this worker.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if machine.device == "cpu" or (machine.device == "auto" and count == 0):
        return torch.device("cpu")
    if count == 0:
        raise InputError(
            "RANKCLIP_DEVICE is 'cuda', but PyTorch finds no GPU here; use RANKCLIP_DEVICE=auto, or check "
            "CUDA_VISIBLE_DEVICES and `nvidia-smi`"
        )
    place = 0 if count == 1 else int(os.environ.get("LOCAL_RANK", "0"))
    if place >= count:
        raise InputError(
            f"LOCAL_RANK is {place}, but this machine shows {count} GPUs; start at most {count} workers on it"
        )
    device = torch.device("cuda", place)
    torch.cuda.set_device(device)  # collectives of objects use the current one
    return device


def lowered(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """Within it, matrix products and convolutions are in `precision`; the losses leave it for themselves."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def widened(rows: Tensor) -> Tensor:
    """What towers gave, float32 where it is narrower: losses and gradients are summed in that."""
    return rows.float() if rows.dtype == torch.bfloat16 else rows
