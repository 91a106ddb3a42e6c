"""One split of a benchmark as one model sees it: all that tasks need, once its images are gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch.nn import functional

from rankclip.data.benchmarks.benchmark import Task

Texts = Callable[[Sequence[str]], Tensor]
"""Unit embeddings `[M, D]` of M texts, float32 on the CPU; equal texts have equal rows."""


@dataclass(frozen=True)
class Embedded:
    """Rows of a split's images in the order of its files, what is said of them, and the model's text side."""

    name: str
    """The benchmark's, without `wds_`."""
    split: str
    task: Task
    digest: str
    """Of the split's content."""
    keys: tuple[str, ...]
    """Of the N samples."""
    features: Tensor
    """Of the N images, `[N, D]`, float32 on the CPU: what the image tower projects, before normalisation."""
    labels: Tensor | None
    """`[N]`, int64; `None` for retrieval."""
    captions: tuple[tuple[str, ...], ...]
    """Of each image; empty for classification."""
    classnames: tuple[str, ...]
    """By label; empty for retrieval."""
    templates: tuple[str, ...]
    """Prompts with `{c}`; empty for retrieval."""
    texts: Texts

    @property
    def every_caption(self) -> list[str]:
        """The captions of all images, those of the first image first."""
        return [caption for said in self.captions for caption in said]

    @cached_property
    def images(self) -> Tensor:
        """Unit rows of the N images, `[N, D]`."""
        return functional.normalize(self.features, dim=-1)
