"""How a model is evaluated: where, how precisely, and how its images are resized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rankclip.errors import InputError

if TYPE_CHECKING:
    from rankclip.models.rounding import Precision, Rounding

Device = Literal["cpu", "cuda"]


class Model(Protocol):
    """What an encoder tells of itself."""

    @property
    def form(self) -> str:
        """What its rows depend on beside its weights, resizing and precision: model, colours, tokens."""
        ...

    @property
    def resize(self) -> str:
        """How images are brought to its size."""
        ...

    @property
    def rounding(self) -> Rounding:
        """Its precision."""
        ...


@dataclass(frozen=True)
class Conditions:
    """How a model was evaluated."""

    precision: str
    """Of products of matrices and convolutions."""
    resize: str
    """How images were brought to the model's size."""
    device: str
    """Where the model worked."""
    differences: Mapping[str, float] = field(default_factory=dict)
    """The largest difference between unit rows of a batch in that precision and in float32, of images and of
    texts; nothing where they were computed in float32, or by an earlier call."""

    def dump(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def of(encoder: Model, device: Device) -> Conditions:
    """Those of an encoder that has embedded."""
    rounding = encoder.rounding
    return Conditions(rounding.precision or "as set", encoder.resize, device, dict(rounding.differences))


def resolved(
    device: Literal["auto", "cpu", "cuda"], precision: Literal["auto", "fp32", "bf16"]
) -> tuple[Device, Precision]:
    """Device and precision in this process: a GPU where there is one, and there bfloat16.

    Raises:
        InputError: a GPU is asked for, but there is none.
    """
    import torch

    here = torch.cuda.is_available()
    if device == "cuda" and not here:
        raise InputError(
            "RANKCLIP_DEVICE is 'cuda', but PyTorch finds no GPU here; use RANKCLIP_DEVICE=auto, or check "
            "CUDA_VISIBLE_DEVICES and `nvidia-smi`"
        )
    chosen: Device = "cuda" if here and device != "cpu" else "cpu"
    if precision != "auto":
        return chosen, precision
    return chosen, "bf16" if chosen == "cuda" else "fp32"
