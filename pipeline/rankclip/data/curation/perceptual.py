"""The perceptual hash of an image: what looks alike has hashes that differ in few of their 64 bits.

The image is shrunk to 32 x 32 grey pixels; of their cosine transform the 64 coefficients of frequencies 1 to
8 in either direction give a bit each: above their median or not. This is the hash of the library pHash, which
Zauner describes in "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), but for the
way in which the image is shrunk.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 32
"""Pixels a side of the image that is hashed."""

_SAMPLED = 256
"""Pixels a side that are looked at. To look at all costs time and did not bring the hashes of photographs and
their smaller copies nearer to each other than 4 bits."""

_FREQUENCIES = 8
_UNIT = 2**13
_AT_ONCE = 1024

_CONTRAST = 0.25
"""Grey levels by which half of the 64 patterns must differ from the median one. Above it at least 97 in 100
photographs keep their hash to 4 bits when they are halved or stored as JPEG of quality 75; at a quarter of it
one in two does."""


# whole numbers, so that every sum below is exact and no library's order of summation shows in a hash
_COSINES = np.rint(
    _UNIT * np.cos(np.pi / SIDE * np.outer(np.arange(1, _FREQUENCIES + 1), np.arange(SIDE) + 0.5))
)
_AMPLITUDE = _UNIT**2 * (SIDE / 2) ** 2
"""The coefficient of a pattern of one frequency whose amplitude is one grey level."""


def shrunk(image: Image.Image) -> bytes:
    """An image in RGB or grey as 32 x 32 grey pixels, row by row, whatever its shape."""
    if max(image.size) > _SAMPLED:
        sampled = min(image.width, _SAMPLED), min(image.height, _SAMPLED)
        image = image.resize(sampled, Image.Resampling.NEAREST)
    return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=1.0).convert("L").tobytes()


def hashes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hashes uint64 `[n]` of grey images uint8 `[n, 32, 32]`, and bool `[n]` whether they mean anything.

    Where an image is nearly flat, or changes in one direction only, noise decides the bits.
    """
    codes, meant = np.empty(len(pixels), np.uint64), np.empty(len(pixels), bool)
    for start in range(0, len(pixels), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        waves = (_COSINES @ pixels[part].astype(np.float64) @ _COSINES.T).reshape(-1, _FREQUENCIES**2)
        middle = np.median(waves, axis=1, keepdims=True)
        codes[part] = np.packbits(waves > middle, axis=1).view(">u8").reshape(-1)
        meant[part] = np.median(np.abs(waves - middle), axis=1) >= _CONTRAST * _AMPLITUDE
    return codes, meant
