"""Encoders with known answers: what chance scores on a suite, and what one that knows the truth scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional


class NoiseEncoder:
    """Knows nothing: each distinct image and text gets a random direction, the same on every call."""

    def __init__(self, dimensions: int = 64, seed: int = 0) -> None:
        self.dimensions = dimensions
        self.seed = seed

    def prepare(self, image: bytes) -> bytes:
        """The image as it is."""
        return image

    def image_features(self, prepared: Sequence[bytes]) -> Tensor:
        """Rows `[N, D]` of N images."""
        return torch.stack([self._direction(b"image", image) for image in prepared])

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings `[N, D]`."""
        return torch.stack([self._direction(b"text", text.encode()) for text in texts])

    def _direction(self, kind: bytes, content: bytes) -> Tensor:
        # the seed of a direction is its content, so batches and their order do not matter
        key = hashlib.sha256(b"%d %s " % (self.seed, kind) + content).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "little"))
        return functional.normalize(torch.randn(self.dimensions, generator=generator), dim=0)


class LatentEncoder:
    """Knows the truth: images and texts are looked up in tables of latent vectors `[D]` and normalised.

    Its scores are the ceiling of a benchmark: what ambiguity and ties leave to a perfect model.
    """

    def __init__(self, images: Mapping[bytes, Tensor], texts: Mapping[str, Tensor]) -> None:
        self.images = images
        self.texts = texts

    def prepare(self, image: bytes) -> bytes:
        """The image as it is."""
        return image

    def image_features(self, prepared: Sequence[bytes]) -> Tensor:
        """Rows `[N, D]` of N images: their latents, of any length.

        Raises:
            KeyError: an image has no latent vector.
        """
        return torch.stack([self.images[image].float() for image in prepared])

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings `[N, D]`.

        Raises:
            KeyError: a text has no latent vector.
        """
        return functional.normalize(torch.stack([self.texts[text].float() for text in texts]), dim=1)
