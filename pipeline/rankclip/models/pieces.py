"""How many images of a batch a model is given at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CACHED_PIXELS = 8 * 224**2
"""Pixels whose maps a CPU's cache still holds; a ResNet takes longer over larger batches."""

ALL = 2**31
"""More images than any batch has."""


def images_at_once(clip: nn.Module, image_size: int, device: torch.device) -> int:
    """How many images a model should be given at once: on a CPU few, where convolutions keep large maps."""
    convolutions = sum(isinstance(module, nn.Conv2d) for module in clip.modules())
    if device.type != "cpu" or convolutions <= 1:  # a transformer has one, and likes large batches
        return ALL
    return max(1, CACHED_PIXELS // image_size**2)


def in_pieces(encode: Callable[[Tensor], Tensor], images: Tensor, at_once: int) -> Tensor:
    """`encode` of images `[N, 3, S, S]`, so many of them at a time."""
    return torch.cat([encode(piece) for piece in torch.split(images, at_once)])
