"""Encoded images as the pixels that a model is trained on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from rankclip import files
from rankclip.data import images
from rankclip.data.loading.crop import Box

Cut = Callable[[int, int], Box]
"""Width and height of an image as a viewer shows it, pixels, to the part of it that is cut out."""

LONG = 64
"""How many times as long as wide an image may be to be scaled as a whole; else its middle is cut first."""


class UndecodableError(Exception):
    """The bytes are not an image, or a damaged one; the message is the same wherever they are decoded."""


def decode(blob: bytes, size: int, out: NDArray[np.uint8], cut: Cut | None = None) -> None:
    """Decodes an image into `out` `[3, S, S]`, scaled with bicubic interpolation and cropped at the centre.

    These are the pixels of open_clip's evaluation transform, with two exceptions. A JPEG at least twice as
    large as it need be is decoded at the smallest half, quarter or eighth that is large enough. And what is
    stored turned or with transparency, as only tars of others hold it, is taken as a viewer shows it.
    With `cut` these are the pixels of its training transform, with the same exceptions.

    Args:
        blob: the encoded image.
        size: S.
        out: where the pixels go.
        cut: chooses what is scaled instead of the middle.

    Raises:
        UndecodableError: the bytes are not an image, or a damaged one.
    """
    try:
        with images.opened(blob) as picture:
            if cut is None:
                picture.draft(None, (size, size))
                square = _square(_shown(picture), size)
            else:
                square = _part(picture, cut(*images.upright_size(picture)), size)
            out[:] = np.asarray(square.convert("RGB")).transpose(2, 0, 1)
    except MemoryError:
        raise  # says nothing about the image
    except UnidentifiedImageError:
        raise UndecodableError("no image of a known format") from None  # Pillow's text has an address in it
    except Exception as error:  # decoders fail with errors of every class
        raise UndecodableError(files.one_line(error)) from None


def _shown(picture: Image.Image) -> Image.Image:
    return picture if images.is_plain_jpeg(picture) else images.upright_rgb(picture)


def _part(picture: Image.Image, box: Box, size: int) -> Image.Image:
    """A part of an image, scaled.

    What is cut out of a JPEG that is decoded smaller is no smaller than S. Where that JPEG is stored turned
    and its sides are no multiples of eight, the part lies less than a pixel beside where it would.
    """
    halvings = max(1, box.short // size).bit_length() - 1
    width = picture.width
    drafted = picture.draft(None, (width >> halvings, picture.height >> halvings))
    scale = drafted[1][2] / width if drafted else 1.0  # a power of 2
    left, top, right, bottom = (side * scale for side in box)
    x, y = math.floor(left), math.floor(top)
    # cut before it is scaled, as torchvision does, so that pixels beside the box have no part in it
    part = _shown(picture).crop((x, y, math.ceil(right), math.ceil(bottom)))
    within = (left - x, top - y, right - x, bottom - y)
    return part.resize((size, size), Image.Resampling.BICUBIC, within)


def _square(picture: Image.Image, size: int) -> Image.Image:
    """The middle of an image, its shorter side scaled to `size`; rounded as torchvision does."""
    short = min(picture.size)
    if max(picture.size) > LONG * short:
        picture = _middle(picture, *(min(side, LONG * short) for side in picture.size))
    scaled = int(size * picture.width / short), int(size * picture.height / short)
    if scaled != picture.size:
        picture = picture.resize(scaled, Image.Resampling.BICUBIC)
    return picture if scaled == (size, size) else _middle(picture, size, size)


def _middle(picture: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((picture.width - width) / 2.0), round((picture.height - height) / 2.0)
    return picture.crop((left, top, left + width, top + height))
