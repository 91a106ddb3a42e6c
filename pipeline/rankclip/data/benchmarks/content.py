"""What a benchmark is made of before it becomes a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

    from rankclip.data.benchmarks.benchmark import Sample

SplitName = Literal["val", "test", "train"]

SPLITS: tuple[SplitName, SplitName] = ("val", "test")
"""Choices are made on `val`; the headline is measured on `test`."""

TRAIN: SplitName = "train"
"""What linear probes learn on, where a benchmark has it; models never see it in training."""


@dataclass(frozen=True)
class Content:
    """One split: labelled samples with class names and prompt templates, or samples with captions."""

    samples: list[Sample]
    classnames: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    """Prompts in which `{c}` stands for the class name."""
    gains: np.ndarray | None = None
    """Of captions: float32 `[images, captions]` in [0, 1], 1 where the caption is true of the image."""
    latents: np.ndarray | None = None
    """Of images: float32 unit vectors `[images, L]` whose products say how alike two images are."""


def key(number: int) -> str:
    """Name of a sample in a tar, as CLIP_benchmark writes it: `s0000012`."""
    return f"s{number:07d}"
