"""The precision that a model is evaluated in, and what it costs against float32."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Precision = Literal["fp32", "bf16"]
"""Of products of matrices and convolutions; everything else stays float32."""


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
            return found

        return rows


@contextlib.contextmanager
def full(device: torch.device) -> Iterator[None]:
    """No TF32 in products and convolutions on a GPU; on a CPU nothing is to do."""
    backends: list[Any] = [torch.backends.cuda, torch.backends.cudnn] if device.type == "cuda" else []
    found: list[Any] = [
        getattr(backend, part, None) for backend, part in zip(backends, ("matmul", "conv"), strict=False)
    ]
    places = [place for place in found if hasattr(place, "fp32_precision")]  # torch has them since 2.9
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"
    try:
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision
