"""A suite of two benchmarks whose truth is known, and the encoder that knows it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from rankclip.data.benchmarks import benchmark_folder, gains
from rankclip.data.benchmarks.benchmark import Sample
from rankclip.evaluation.encoder import Encoder
from rankclip.evaluation.reference import LatentEncoder, NoiseEncoder
from rankclip.models.rounding import Rounding

CLASSES = ("circle", "square", "star", "cross", "ring", "moon")
TEMPLATES = ("a {c}", "{c}, drawn")
IMAGES = 12


def drawing(seed: int, size: int = 48) -> bytes:
    """A picture that decodes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def unit_rows(encoder: Encoder, images: Sequence[bytes]) -> Tensor:
    """Embeddings `[N, D]` of encoded images."""
    return functional.normalize(encoder.image_features([encoder.prepare(image) for image in images]), dim=-1)


class Pretended(NoiseEncoder):
    """Noise that tells of itself what a model does."""

    form = "noise"
    resize = "none"
    rounding = Rounding("fp32", torch.device("cpu"))


@dataclass(frozen=True)
class Known:
    """The folder of benchmarks `letters` (classification) and `pairs` (retrieval), and a perfect encoder."""

    folder: Path
    encoder: LatentEncoder


def make(folder: Path) -> Known:
    """Writes both benchmarks below `folder`."""
    images: dict[bytes, torch.Tensor] = {}
    texts: dict[str, torch.Tensor] = {}
    for split in ("val", "test"):
        write_letters(folder / "wds_letters", split, images, texts)
        write_pairs(folder / "wds_pairs", split, images, texts)
    return Known(folder, LatentEncoder(images, texts))


def write_letters(
    folder: Path, split: str, images: dict[bytes, torch.Tensor], texts: dict[str, torch.Tensor]
) -> None:
    axes = torch.eye(2 * IMAGES)
    samples = [Sample(f"s{i}", f"{split} letter {i}".encode(), "png", i % 6, ()) for i in range(IMAGES)]
    images.update({sample.image: axes[sample.label or 0] for sample in samples})
    texts.update({t.replace("{c}", name): axes[c] for c, name in enumerate(CLASSES) for t in TEMPLATES})
    benchmark_folder.write_classes(folder, CLASSES, TEMPLATES)
    benchmark_folder.write_split(folder, split, samples)


def write_pairs(
    folder: Path, split: str, images: dict[bytes, torch.Tensor], texts: dict[str, torch.Tensor]
) -> None:
    axes = torch.eye(2 * IMAGES)
    captions = [tuple(f"{split} caption {i}.{j}" for j in range(5)) for i in range(IMAGES)]
    samples = [Sample(f"s{i}", f"{split} pair {i}".encode(), "png", None, captions[i]) for i in range(IMAGES)]
    images.update({sample.image: axes[i] for i, sample in enumerate(samples)})
    texts.update({text: axes[i] for i, five in enumerate(captions) for text in five})
    benchmark_folder.write_split(folder, split, samples)
    gains.write(folder / split, np.eye(IMAGES, dtype=np.float32).repeat(5, axis=1))
