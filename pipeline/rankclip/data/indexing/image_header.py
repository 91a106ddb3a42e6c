"""The size of an encoded image from its first bytes, without a decoder where its format is a plain one."""

from __future__ import annotations

import re
import zlib

from PIL import Image

from rankclip.data import images
from rankclip.data.reasons import MAX_PIXELS, Reason, printable, told

_BEGINNINGS = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|GIF8|BM|....ftypavi[fs]", re.DOTALL)
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PROGRESSIVE, _SCAN, _METADATA = 0xC2, 0xDA, 0xE1
_FRAMES = frozenset((0xC0, 0xC1, _PROGRESSIVE))
_ODD = frozenset((0x01, 0xC3, *range(0xC5, 0xCC), *range(0xCD, 0xDA), 0xFF))
_TEXTS = (b"iTXt", b"tEXt", b"zTXt")
_ORIENTED = (b"Raw profile type exif", b"XML:com.adobe.xmp")


class SampleError(Exception):
    """The sample is of no use.

    Args:
        reason: why.
        detail: what was found.
        size: width and height in pixels, 0 where unknown.
    """

    def __init__(self, reason: Reason, detail: str, size: tuple[int, int] = (0, 0)) -> None:
        super().__init__(reason, detail, size)
        self.reason = reason
        self.detail = detail
        self.size = size


def upright_size(blob: bytes) -> tuple[int, int]:
    """Width and height in pixels as a viewer shows the image, that is after its EXIF rotation.

    Raises:
        SampleError: it is no image, its header cannot be read, or it has too many pixels.
    """
    width, height = _quick(blob) or _careful(blob)
    if width * height > MAX_PIXELS or max(width, height) > images.MAX_SIDE:
        raise SampleError(Reason.TOO_LARGE_PIXELS, f"{width} x {height}", (width, height))
    return width, height


def _quick(blob: bytes) -> tuple[int, int] | None:
    if blob.startswith(b"\xff\xd8\xff"):
        return _jpeg(blob)
    if blob.startswith(_PNG):
        return _png(blob)
    if blob[:4] == b"RIFF" and blob[8:12] == b"WEBP":
        return _webp(blob)
    return None


def _careful(blob: bytes) -> tuple[int, int]:
    """By Pillow, which knows every format and every oddity, and takes 20 times as long."""
    try:
        with images.opened(blob) as image:
            return images.upright_size(image)
    except Image.DecompressionBombError as error:
        raise SampleError(Reason.TOO_LARGE_PIXELS, printable(str(error))) from None
    except Exception as error:  # decoders fail on damaged bytes with errors of every class
        if not _BEGINNINGS.match(blob):
            raise SampleError(Reason.NOT_AN_IMAGE, f"{len(blob)} bytes that begin as no image does") from None
        raise SampleError(Reason.DECODE, told(error)) from None


def _jpeg(blob: bytes) -> tuple[int, int] | None:
    """From its frame header; None where metadata may say how it is turned, or anything is unusual."""
    at, frame, size, components = 2, 0, (0, 0), 0
    while at + 10 <= len(blob) and blob[at] == 0xFF:
        marker, length = blob[at + 1], int.from_bytes(blob[at + 2 : at + 4], "big")
        if marker == _SCAN:
            whole = frame != _PROGRESSIVE and blob[at + 4] == components
            usual = frame and (whole or blob.count(b"\xff\xda") <= images.MAX_SCANS)
            return size if usual else None
        if marker in _ODD or length < 2:
            return None
        if marker in _FRAMES:
            height, width = (int.from_bytes(blob[at + k : at + k + 2], "big") for k in (5, 7))
            components = blob[at + 9]
            if frame or blob[at + 4] != 8 or components not in (1, 3, 4) or not width * height:
                return None
            frame, size = marker, (width, height)
        elif marker == _METADATA and _may_be_turned(blob[at + 4 : at + 2 + length]):
            return None
        at += 2 + length
    return None


def _may_be_turned(metadata: bytes) -> bool:
    """Whether EXIF may have a tag of orientation (0x0112, in either order of bytes), or XMP its own."""
    if metadata.startswith(b"Exif\0"):
        return b"\x01\x12" in metadata or b"\x12\x01" in metadata
    return b"Orientation" in metadata


def _png(blob: bytes) -> tuple[int, int] | None:
    if len(blob) < 33 or zlib.crc32(blob[12:29]) != int.from_bytes(blob[29:33], "big"):
        return None
    at = 33
    while at + 8 <= len(blob):
        kind = blob[at + 4 : at + 8]
        if kind == b"eXIf" or (kind in _TEXTS and blob.startswith(_ORIENTED, at + 8)):
            return None  # it may be turned
        if kind == b"IEND":
            return int.from_bytes(blob[16:20], "big"), int.from_bytes(blob[20:24], "big")
        at += 12 + int.from_bytes(blob[at : at + 4], "big")
    return None


def _webp(blob: bytes) -> tuple[int, int] | None:
    kind = blob[12:16]
    if kind == b"VP8 " and blob[23:26] == b"\x9d\x01\x2a" and len(blob) >= 30:
        width, height = int.from_bytes(blob[26:28], "little"), int.from_bytes(blob[28:30], "little")
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and blob[20:21] == b"\x2f" and len(blob) >= 25:
        bits = int.from_bytes(blob[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None
