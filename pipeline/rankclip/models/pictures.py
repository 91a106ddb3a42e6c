"""Encoded images of benchmarks, opened for whatever brings them to a model's size."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from rankclip import files
from rankclip.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
"""What is served as an image on the web; Pillow's other readers stay closed to bytes of strangers."""


@contextmanager
def opened(image: bytes) -> Iterator[Image.Image]:
    """An encoded image, decoded as its pixels are asked for.

    Raises:
        DataError: in the block, that the bytes are not an image.
    """
    try:
        yield Image.open(io.BytesIO(image), formats=FORMATS)
    except Exception as error:  # decoders fail on damaged bytes in every way there is
        # the text of the first has an address of memory
        unknown = isinstance(error, UnidentifiedImageError)
        why = f"it is none of {', '.join(FORMATS)}" if unknown else files.one_line(error)
        raise DataError(
            f"an image of {len(image)} bytes cannot be decoded ({why}); fetch or make its set again"
        ) from error
