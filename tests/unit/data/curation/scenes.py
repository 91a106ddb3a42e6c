"""Pictures with the structure of photographs, and copies of them as the web makes them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tests.unit.data.crawled import encoded


def scene(seed: int, size: tuple[int, int] = (192, 144)) -> Image.Image:
    """Random colours at every scale, the coarser the stronger, as in photographs; scenes differ by `seed`."""
    draw = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells in (2, 4, 8, 16, 32):
        coarse = Image.fromarray(draw.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.float64) / cells
    total -= total.min()
    return Image.fromarray((255 * total / total.max()).astype(np.uint8))


def copies(image: Image.Image) -> dict[str, bytes]:
    """The same picture, stored anew in other ways."""
    smaller = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS)
    return {
        "png": encoded(image, "PNG"),
        "jpeg of quality 60": encoded(image, quality=60, subsampling=2),
        "webp": encoded(image, "WEBP", quality=80),
        "two thirds": encoded(smaller),
        "double": encoded(image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC)),
        "squeezed": encoded(image.resize((160, 160), Image.Resampling.BICUBIC)),
        "grey": encoded(image.convert("L")),
    }


def decoded(blob: bytes) -> Image.Image:
    return Image.open(io.BytesIO(blob))
