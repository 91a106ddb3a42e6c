"""Whether a crawled image can be used, and what it looks like."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image

from rankclip.data import images
from rankclip.data.curation import perceptual
from rankclip.data.reasons import Reason, told


class Verdict(NamedTuple):
    """What became of one image; width and height of the upright image in pixels, 0 where unknown."""

    reason: Reason
    """`ok`, `decode` or `too_large_pixels`."""
    detail: str = ""
    width: int = 0
    height: int = 0
    pixels: bytes = b""
    """The upright image shrunk for its hash (`perceptual.shrunk`), where it is `ok`."""


def judge(blob: bytes, max_pixels: int) -> Verdict:
    """Judge an encoded image: its size by the header, then all its pixels decoded."""
    try:
        with images.opened(blob) as image:
            width, height = image.size
            if width * height > max_pixels or max(width, height) > images.MAX_SIDE:
                return Verdict(Reason.TOO_LARGE_PIXELS, f"{width} x {height}", width, height)
            image.load()
            # what `shard` will do must not fail there
            upright = image if images.is_plain_jpeg(image) else images.upright_rgb(image)
            return Verdict(Reason.OK, "", *upright.size, perceptual.shrunk(upright))
    except Image.DecompressionBombError as error:
        return Verdict(Reason.TOO_LARGE_PIXELS, told(error))
    except Exception as error:  # decoders fail on damaged bytes with errors of every class
        return Verdict(Reason.DECODE, told(error))
