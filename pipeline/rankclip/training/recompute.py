"""Activations that are computed again in the backward pass instead of being kept; Chen et al., 2016."""

from __future__ import annotations

import contextlib
import functools
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rankclip.models.image_text import ImageTextModel
from rankclip.training.batch_norm import unchanged


class Recomputed(nn.Sequential):
    """Blocks in a row of which each keeps its input alone until the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """What the blocks make of a feature map `[N, C, H, W]`."""
        for block in self:
            if torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False, context_fn=functools.partial(_contexts, block))
            else:
                x = block(x)
        return x


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """In which a block runs at first and again: batch norm counts its batch once."""
    return contextlib.nullcontext(), unchanged(block)


def recompute(model: ImageTextModel) -> None:
    """Has each block of both towers keep its input alone, in place; names of parameters stay."""
    clip: Any = model.clip
    clip.set_grad_checkpointing(True)  # of no effect on open_clip's ResNets
    for name, layer in list(clip.visual.named_children()):
        if isinstance(layer, nn.Sequential):
            setattr(clip.visual, name, Recomputed(*layer))
