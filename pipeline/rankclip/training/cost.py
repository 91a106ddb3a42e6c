"""What a step costs in arithmetic, and how much of it an accelerator can do."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rankclip.models.image_text import ImageTextModel

PAIRS = 2
"""How many are counted together: batch norm refuses a batch of one value."""


class Peak(NamedTuple):
    """FLOP/s that the maker states, without sparsity."""

    bf16: float | None
    """Of the tensor cores, sums in float32; None where they do not know the type."""
    fp32: float
    """Of the ordinary units; convolutions that CUDA rounds to TF32 may be faster."""


PEAKS: dict[str, Peak] = {
    "A10": Peak(125e12, 31.2e12),
    "A100": Peak(312e12, 19.5e12),
    "A10G": Peak(70e12, 35e12),
    "A40": Peak(149.7e12, 37.4e12),
    "A6000": Peak(154.8e12, 38.7e12),
    "B200": Peak(2250e12, 75e12),
    "GH200": Peak(989.4e12, 66.9e12),
    "H100": Peak(989.4e12, 66.9e12),
    "H100 NVL": Peak(835.5e12, 60e12),
    "H100 PCIe": Peak(756e12, 51.2e12),
    "H200": Peak(989.4e12, 66.9e12),
    "H200 NVL": Peak(835.5e12, 60e12),
    "L4": Peak(121e12, 30.3e12),
    "L40": Peak(181e12, 90.5e12),
    "L40S": Peak(362e12, 91.6e12),
    "RTX 3090": Peak(71e12, 35.6e12),
    "RTX 4090": Peak(165.2e12, 82.6e12),
    "T4": Peak(None, 8.1e12),
    "V100": Peak(None, 15.7e12),
}
"""By the words of the name that CUDA gives; NVIDIA's data sheets, and white papers of the RTX cards."""


def flops_per_pair(model: ImageTextModel, caption_length: int) -> float:
    """FLOPs of both towers, forward and backward, for an image and a caption of a batch.

    A multiplication and its addition are two. Counted on shapes alone, in less than a second, whatever device
    the model is on. Not counted, as is usual for MFU: the loss, the optimiser, and what is computed twice.

    Args:
        model: in the mode in which it trains, so that patches it leaves out are not counted.
        caption_length: tokens of the longest caption of a batch, to which all are padded.
    """
    tokens = torch.zeros(PAIRS, caption_length, dtype=torch.int64, device=model.mean.device)
    tokens[:, -1] = 1  # the end token is the largest
    trimmed, constants = model.trim(tokens)
    state = dict(model.clip.named_parameters()) | dict(model.clip.named_buffers()) | constants
    shapes = {name: _shape(tensor) for name, tensor in state.items()}
    pixels = torch.empty(PAIRS, 3, model.image_size, model.image_size, device="meta")
    inputs = (pixels, trimmed.to("meta"))
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), FlopCounterMode(display=False) as counter:
        # without data: the fused attention of CPUs was counted as nothing until PyTorch 2.14
        image, text, *_ = torch.func.functional_call(model.clip, shapes, inputs)
        (image.sum() + text.sum()).backward()
    return float(counter.get_total_flops()) / PAIRS


def _shape(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta", requires_grad=tensor.requires_grad)


def peak_flops(device: torch.device, precision: Literal["fp32", "bf16"]) -> float | None:
    """The most FLOP/s that a device can do in this precision; None where it is not known, as of CPUs."""
    if device.type != "cuda":
        return None
    peak = peak_of(torch.cuda.get_device_name(device))
    return None if peak is None else getattr(peak, precision)


def peak_of(name: str) -> Peak | None:
    """Of a GPU by the name that CUDA gives, for example "NVIDIA A100-SXM4-80GB"; None where it is unknown."""
    words = set(re.split(r"[\s-]+", name))
    known = [key for key in PEAKS if words.issuperset(key.split())]
    return PEAKS[max(known, key=len)] if known else None
