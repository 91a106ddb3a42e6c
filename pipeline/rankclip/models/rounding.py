"""The precision that a model is evaluated in, and what it costs against float32."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Precision = Literal["fp32", "bf16"]
"""Of products of matrices and convolutions; everything else stays float32."""

LARGEST = 0.05
"""Difference between a unit row's numbers in bfloat16 and in float32 up to which rounding explains it."""

log = logging.getLogger(__name__)


class Rounding:
    """Computes in a precision, and notes how far its first batch of each kind is from float32.

    Args:
        precision: `fp32`: in full, without TF32; `bf16`: by autocast; None: whatever the caller has set.
        device: of the model.
    """

    def __init__(self, precision: Precision | None, device: torch.device) -> None:
        self.precision = precision
        self.differences: dict[str, float] = {}
        """By kind, of "images" and "texts": the largest difference between the unit rows of one batch in this
        precision and in float32; nothing for float32."""
        self._device = device

    def checked(self, kind: str, encode: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """`encode` in this precision, its rows float32."""

        if self.precision is None:
            return encode

        def rows(batch: Tensor) -> Tensor:
            if self.precision == "fp32":
                with full(self._device):
                    return encode(batch)
            with torch.autocast(self._device.type, dtype=torch.bfloat16):
                found = encode(batch).float()
            if kind not in self.differences:
                with full(self._device):
                    exact = encode(batch)
                unit = functional.normalize(found, dim=-1) - functional.normalize(exact, dim=-1)
                self.differences[kind] = float(unit.abs().max())
                if self.differences[kind] > LARGEST:
                    log.warning(
                        "bfloat16 moves unit rows of %s by up to %.2g, which is more than rounding does; "
                        "evaluate this model with --precision fp32",
                        kind,
                        self.differences[kind],
                    )
            return found

        return rows


@contextlib.contextmanager
def full(device: torch.device) -> Iterator[None]:
    """No TF32 in products and convolutions on a GPU; on a CPU nothing is to do."""
    settings: list[tuple[Any, str, Any]] = []
    if device.type == "cuda":
        products: Any = torch.backends.cuda.matmul
        cudnn: Any = torch.backends.cudnn
        if hasattr(products, "fp32_precision"):
            settings = [(products, "fp32_precision", "ieee"), (cudnn.conv, "fp32_precision", "ieee")]
        else:  # before torch 2.9
            settings = [(products, "allow_tf32", False), (cudnn, "allow_tf32", False)]
    before = [getattr(place, name) for place, name, _ in settings]
    for place, name, value in settings:
        setattr(place, name, value)
    try:
        yield
    finally:
        for (place, name, _), value in zip(settings, before, strict=True):
            setattr(place, name, value)
