"""What a benchmark set is: images with a label or with captions, class names and prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rankclip.errors import InputError

Task = Literal["classification", "retrieval"]

IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "webp")


@dataclass(frozen=True)
class Sample:
    """One image of a benchmark, with its label or its captions."""

    key: str
    image: bytes
    extension: str
    """Of the image's format: one of `IMAGE_EXTENSIONS`."""
    label: int | None = None
    captions: tuple[str, ...] = ()
    tar: str = field(default="", compare=False)
    """Name of the tar that it was read from, if it was."""


@dataclass(frozen=True)
class BenchmarkSplit:
    """One split of a benchmark, whole in memory."""

    name: str
    """The folder's name without `wds_`."""
    split: str
    samples: tuple[Sample, ...]
    classnames: tuple[str, ...]
    """Empty for retrieval."""
    templates: tuple[str, ...]
    """Prompts with `{c}`; empty for retrieval."""
    task: Task
    digest: str
    """Of images, labels, captions, class names and prompts, however stored: 16 hexadecimal digits."""


@dataclass(frozen=True)
class SplitInfo:
    """What one split holds, without its images."""

    name: str
    """The folder's name without `wds_`."""
    split: str
    task: Task
    classnames: tuple[str, ...]
    """Empty for retrieval."""
    templates: tuple[str, ...]
    """Prompts with `{c}`; empty for retrieval."""
    digest: str
    """As of `BenchmarkSplit`."""
    images: int
    captions: int
    """Of all images; 0 for classification."""


def content_digest(samples: Iterable[Sample], classnames: Iterable[str], templates: Iterable[str]) -> str:
    """The value of `BenchmarkSplit.digest`."""
    total = hashlib.sha256()

    def put(*parts: bytes) -> None:
        for part in parts:  # lengths keep ("ab", "c") and ("a", "bc") apart
            total.update(len(part).to_bytes(8, "big") + part)

    for sample in samples:
        note = str(sample.label) if sample.label is not None else "\n".join(sample.captions)
        put(b"sample", sample.key.encode(), sample.extension.encode(), sample.image, note.encode())
    put(b"classes", *(name.encode() for name in classnames))
    put(b"templates", *(template.encode() for template in templates))
    return total.hexdigest()[:16]


def check_samples(samples: Sequence[Sample], target: Path) -> None:
    """Refuse samples that a reader of the folder `target` would take for something else.

    Raises:
        InputError: no samples, one with both or neither of label and captions, a key with a dot or a slash or
            seen before, an unknown image extension, or a caption that is not one line.
    """
    if not samples:
        raise InputError(f"no samples to write to {target}; draw at least one")
    if len({sample.key for sample in samples}) != len(samples):
        raise InputError(f"two samples for {target} have one key; give each its own")
    retrieval = bool(samples[0].captions)
    for sample in samples:
        if not sample.key or set("./") & set(sample.key):
            raise InputError(
                f"key {sample.key!r} for {target} is empty or has a dot or a slash; use letters, digits, _"
            )
        if sample.extension not in IMAGE_EXTENSIONS:
            known = ", ".join(IMAGE_EXTENSIONS)
            raise InputError(
                f"image extension {sample.extension!r} of {sample.key} for {target}: use one of {known}"
            )
        if bool(sample.captions) != retrieval or (sample.label is None) != retrieval:
            raise InputError(
                f"sample {sample.key} for {target} needs either a label or captions, like the others"
            )
        for caption in sample.captions:
            check_line(caption, f"caption of {sample.key}", target)


def check_line(text: str, what: str, target: Path) -> None:
    """Refuse text that does not fit one line of a file; `what` and `target` name it in the message.

    Raises:
        InputError: the text is empty or holds a line break.
    """
    # readers split by str.splitlines, which knows more line breaks than \n
    if text.splitlines() != [text]:
        raise InputError(f"{what} for {target} is empty or holds a line break: {text!r}; it must be one line")
