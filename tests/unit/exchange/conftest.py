from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.one_thread import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Photographs, so to say, of several shapes."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for height, width in ((32, 32), (50, 40), (300, 260))
    ]


@pytest.fixture(scope="session")
def blobs(pictures: list[Image.Image]) -> list[bytes]:
    """The pictures as files."""
    found = []
    for picture in pictures:
        target = io.BytesIO()
        picture.save(target, "PNG")
        found.append(target.getvalue())
    return found
