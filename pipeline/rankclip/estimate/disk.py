"""What a study takes on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rankclip import files
from rankclip.config import Study
from rankclip.data.shapes.spec import ShapesSpec
from rankclip.estimate.memory import Memory
from rankclip.training.machine import Machine

IMAGE_BYTES, IMAGE_SIDE = 30_000, 256
"""Of a photograph as JPEG whose shorter side has so many pixels; crawls of CC3M and CC12M, docs/data.md."""

TAR_BYTES = 3_000
"""What a tar adds to an image: three headers, captions, metadata, and what is lost to blocks."""

COPIES = 3
"""Of a run's weights: in work/, in runs/, and in DVC's cache, where that cannot link."""


class Disk(NamedTuple):
    """Bytes."""

    images: float
    """As they were crawled and as shards; 0 where tars that are there are read in place."""
    runs: float
    """Weights of every run."""
    checkpoints: float
    """Of the runs under way."""


def samples_of(study: Study, data: Path) -> int | None:
    """Pairs that training has: those of the shards, or those that are expected; None where nobody knows."""
    manifest = data / "shards" / "manifest.json"
    if manifest.exists():
        return int(files.read_json(manifest)["samples"])
    if isinstance(study.source, ShapesSpec):
        return study.source.images
    return None if study.source.expected is None else study.source.expected.pairs


def disk(
    study: Study, data: Path, runs: Sequence[Memory], machine: Machine, slots: int, samples: int | None
) -> Disk:
    """What the study takes, for the memory of each of its runs, so many of them at once."""
    largest = sorted((run.weights + run.averages for run in runs), reverse=True)[:slots]
    copies = 0 if study.source.is_indexed else 2
    return Disk(
        images=copies * (samples or 0) * bytes_per_sample(study, data),
        runs=COPIES * sum(run.weights for run in runs),
        # one more: it is written before an older one is deleted
        checkpoints=(machine.keep_checkpoints + 1) * sum(largest),
    )


def bytes_per_sample(study: Study, data: Path) -> float:
    """Of a sample in a tar: of the shards that are there, or of images of the size that the study crawls."""
    manifest = data / "shards" / "manifest.json"
    if manifest.exists():
        found = files.read_json(manifest)
        return float(sum(about["bytes"] for about in found["shards"].values()) / found["samples"])
    if isinstance(study.source, ShapesSpec):
        side = study.source.side
    else:
        side = study.download.image_size if study.download.resize != "none" else 2 * IMAGE_SIDE
    return IMAGE_BYTES * (side / IMAGE_SIDE) ** 2 + TAR_BYTES
