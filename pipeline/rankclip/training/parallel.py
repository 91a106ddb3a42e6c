"""One model on several workers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rankclip import distributed
from rankclip.errors import InputError
from rankclip.models.image_text import ImageTextModel
from rankclip.training.batch_norm import batch_norms
from rankclip.training.machine import Machine
from rankclip.training.recompute import recompute

BACKEND = "inductor"
"""What torch.compile makes code with."""

FORMS = 32
"""Forms of a block that are compiled at most: of both towers, in training, evaluation and without gradient,
with lengths that are fixed at first. PyTorch's limit of 8 is too low; what is beyond it is not compiled."""


def refuse(
    batch_size: int, model: nn.Module, workers: int | None = None, device: torch.device | None = None
) -> None:
    """Refuses what several workers, by default those of this process group, cannot train exactly.

    Args:
        batch_size: global.
        model: what they train.
        workers: how many.
        device: of each; CPUs without it.

    Raises:
        InputError: the batch does not split evenly, or a CPU model has batch norm.
    """
    workers = workers or distributed.world_size()
    if workers == 1:
        return
    if batch_size % workers:
        raise InputError(
            f"train.batch_size {batch_size} does not split over {workers} workers; use a multiple"
        )
    if batch_norms(model) and (device is None or device.type == "cpu"):
        raise InputError(
            f"this model has batch norm, which {workers} CPU workers cannot share (SyncBatchNorm needs a "
            "GPU); use RANKCLIP_WORKERS=1 or model=shapes-vit"
        )


def prepared(model: ImageTextModel, machine: Machine, device: torch.device) -> nn.Module:
    """What workers call together: the model, in DDP where there are several.

    The model is changed in place, keeps its parameters and their names, and remains what is saved, averaged
    and validated.

    Args:
        model: on `device`.
        machine: how it uses the machine.
        device: of this worker.

    Raises:
        InputError: a ResNet cannot be compiled and recomputed at once.
    """
    resnet = bool(batch_norms(model))
    if machine.compiled and machine.recompute and resnet:
        raise InputError(
            "RANKCLIP_COMPILE and RANKCLIP_RECOMPUTE are both set, but a ResNet can have one of them; use "
            "RANKCLIP_COMPILE=0, or train.micro_batch for less memory"
        )
    together = distributed.world_size() > 1
    if together and resnet:
        synchronise: Any = nn.SyncBatchNorm.convert_sync_batchnorm
        synchronise(model)
    if machine.recompute:
        recompute(model)
    if machine.compiled:
        compile_towers(model)
    on_gpu = device.type == "cuda"
    torch.backends.cudnn.benchmark = on_gpu  # images are of one size, so the search pays
    if not together:
        return model
    called = nn.parallel.DistributedDataParallel(
        model, device_ids=[device.index] if on_gpu else None, gradient_as_bucket_view=on_gpu
    )
    # they are constants, or statistics that synchronised norms keep equal; the argument's name has changed
    called.broadcast_buffers = False
    return called


def compile_towers(model: ImageTextModel) -> None:
    """Compiles the blocks of transformers one by one, which are all alike, or a ResNet as a whole.

    DDP then still sends the gradients of a block while those of the next are computed.
    """
    dynamo: Any = torch._dynamo
    dynamo.config.cache_size_limit = max(FORMS, dynamo.config.cache_size_limit)
    clip: Any = model.clip
    vision = getattr(clip.visual, "transformer", None)
    units = [clip.visual] if vision is None else list(vision.resblocks)
    for unit in [*units, *clip.transformer.resblocks]:
        unit.compile(backend=BACKEND)
