"""Images of a split become rows; they are read as a stream and never all held."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from rankclip.data.benchmarks.benchmark import BenchmarkSplit, Sample, Task
from rankclip.errors import DataError
from rankclip.evaluation.embedded import Embedded, Texts
from rankclip.evaluation.encoder import BATCH, Encoder, embed_texts, image_rows
from rankclip.evaluation.known_texts import KnownTexts
from rankclip.evaluation.preparing import prepared
from rankclip.evaluation.zero_shot import prompts


@dataclass(frozen=True)
class Rows:
    """The images of a split as a model sees them, and what is said of them."""

    keys: tuple[str, ...]
    """Of the N samples, in the order of the files."""
    features: Tensor
    """`[N, D]`, float32 on the CPU, before normalisation; images of equal bytes have equal rows."""
    labels: Tensor | None
    """`[N]`, int64; None for retrieval."""
    captions: tuple[tuple[str, ...], ...]
    """Of each image; empty for classification."""


class Described(Protocol):
    """A split without its images; its fields are those of `Embedded`."""

    @property
    def name(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def task(self) -> Task: ...
    @property
    def digest(self) -> str: ...
    @property
    def classnames(self) -> tuple[str, ...]: ...
    @property
    def templates(self) -> tuple[str, ...]: ...


def embed(encoder: Encoder, data: BenchmarkSplit) -> Embedded:
    """A split that is in memory, as a model sees it; nothing is kept.

    Raises:
        DataError: as `embed_samples`.
    """
    rows = embed_samples(encoder, data.samples, f"{data.name}/{data.split}")
    return assembled(data, rows, lambda texts: embed_texts(encoder, texts))


def assembled(about: Described, rows: Rows, encode: Texts) -> Embedded:
    """A split from its rows; `encode` gives those of distinct texts."""
    own = [caption for said in rows.captions for caption in said]
    return Embedded(
        name=about.name,
        split=about.split,
        task=about.task,
        digest=about.digest,
        keys=rows.keys,
        features=rows.features,
        labels=rows.labels,
        captions=rows.captions,
        classnames=about.classnames,
        templates=about.templates,
        texts=KnownTexts(encode, own or prompts(about.classnames, about.templates)),
    )


@dataclass
class _Read:
    """What is noted of samples while their images pass."""

    keys: list[str] = field(default_factory=list)
    labels: list[int | None] = field(default_factory=list)
    captions: list[tuple[str, ...]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """Which distinct image each sample has."""


def embed_samples(
    encoder: Encoder,
    samples: Iterable[Sample],
    where: str,
    advance: Callable[[int], Any] = lambda images: None,
) -> Rows:
    """Rows of samples, which are read once and as they are needed.

    Args:
        encoder: the model.
        samples: with labels, or with captions, all alike.
        where: they are from, for what is said of a bad image.
        advance: is told after each batch how many distinct images were embedded.

    Raises:
        DataError: an image cannot be decoded, there is none, or a row is of no use.
    """
    read = _Read()
    parts = []
    images = prepared(encoder, _distinct(samples, read), where)
    while batch := list(islice(images, BATCH)):
        try:
            parts.append(image_rows(encoder, batch))
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        advance(len(batch))
    if not parts:
        raise DataError(f"{where} holds no images; fetch or make it again")
    distinct = torch.cat(parts)
    parts.clear()  # ImageNet's train split is 5 GB
    labelled = read.labels[0] is not None
    return Rows(
        tuple(read.keys),
        distinct if len(distinct) == len(read.keys) else distinct[torch.tensor(read.rows)],
        torch.tensor(read.labels) if labelled else None,
        () if labelled else tuple(read.captions),
    )


def _distinct(samples: Iterable[Sample], read: _Read) -> Iterator[Sample]:
    """The samples whose image was not seen before; all are noted."""
    # Equal images must get equal rows to the bit, else rounding would decide between them.
    places: dict[bytes, int] = {}
    for sample in samples:
        read.keys.append(sample.key)
        read.labels.append(sample.label)
        read.captions.append(sample.captions)
        before = len(places)
        read.rows.append(places.setdefault(hashlib.sha256(sample.image).digest(), before))
        if len(places) > before:
            yield sample
