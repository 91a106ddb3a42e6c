"""Encoded images from strangers: opened with limits, decoded in full, made upright RGB."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
"""What is served as an image on the web; Pillow's other readers stay closed to strangers' bytes."""

MAX_SIDE = 65_500
"""The longest side that a JPEG can have, in pixels."""

MAX_SCANS = 100
"""Passes over the picture that a JPEG may ask for; encoders make up to about 20. A pass may be 60 bytes long
and cost as much time as the whole picture, so that a file of 10 MB could keep a decoder busy for an hour."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextmanager
def opened(blob: bytes) -> Iterator[Image.Image]:
    """The first frame of an encoded image; only its header is read until the pixels are asked for.

    Raises:
        Exception: of any class; decoders fail on damaged bytes in every way there is.
    """
    if blob.startswith(b"\xff\xd8"):
        data = np.frombuffer(blob, np.uint8)  # thrice as fast as bytes.count
        if np.count_nonzero((data[:-1] == 0xFF) & (data[1:] == 0xDA)) > MAX_SCANS:
            raise ValueError(f"a JPEG of more than {MAX_SCANS} scans")
    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which do not matter, and of large sizes, which have their own cap
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(blob), formats=FORMATS) as image:
            yield image


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 when there is none or it cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata raise errors of many classes and say nothing about the pixels
        return 1
    return value if value in _UPRIGHT else 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels as a viewer shows the image, that is after its EXIF rotation."""
    width, height = image.size
    return (height, width) if orientation(image) >= 5 else (width, height)


def upright_rgb(image: Image.Image) -> Image.Image:
    """The image as RGB, rotated as its EXIF says, transparent parts on white, 16 bits a channel as 8."""
    turn = _UPRIGHT.get(orientation(image))
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64) // 257  # 65535 -> 255; Pillow itself would clip at 255
        image = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        layers = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def is_plain_jpeg(image: Image.Image) -> bool:
    """Whether the image is a JPEG that every reader shows alike: RGB or gray and stored upright."""
    return image.format == "JPEG" and image.mode in ("RGB", "L") and orientation(image) == 1


def as_jpeg(blob: bytes, quality: int) -> bytes:
    """An encoded image as an upright JPEG, RGB or gray.

    A JPEG that is so already keeps its bytes. All else is encoded anew at `quality` (1 to 100) with colours
    at full resolution, since what comes as PNG or GIF is often drawn and has thin coloured lines.
    """
    with opened(blob) as image:
        if is_plain_jpeg(image):
            return blob
        target = io.BytesIO()
        upright_rgb(image).save(target, "JPEG", quality=quality, subsampling="4:4:4")
    return target.getvalue()
