"""The body of an answer: read, decoded and looked at within bounds."""

from __future__ import annotations

import io
import time
import zlib

import urllib3

from rankclip.data.crawl.client.clock import Clock
from rankclip.data.crawl.client.connections import Watch
from rankclip.data.crawl.client.fetch_error import FetchError, late
from rankclip.data.reasons import Reason

_PIECE = 2**16
_TELLING = 32
"""Bytes that tell an image from anything else."""

_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
_BOXES = frozenset((b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")

_ZLIB_OR_GZIP, _DEFLATE = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})


def read(response: urllib3.BaseHTTPResponse, max_bytes: int, clock: Clock, watch: Watch) -> bytes:
    """The image that an answer holds.

    A body that is no image is not read to its end. One that keeps arriving has longer than `clock` says.

    Raises:
        FetchError: `too_large`, as sent or as decoded; `not_an_image`; `timeout`; `malformed_answer` where
            the content encoding is not what the header says.
        HTTPError, OSError: the connection broke.
    """
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise _too_large(max_bytes)
    coded = response.headers.get("Content-Encoding", "").strip().lower() in _CODINGS
    body = bytearray()
    # read1 returns what has come; read would wait for a full piece from a server that drips
    deadline = clock.deadline
    while piece := response.read1(_PIECE, decode_content=False):
        body += piece
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        deadline = clock.stretched(len(body))
        watch.postpone(deadline)
        if time.monotonic() >= deadline or (not coded and len(body) >= _TELLING and not is_image(body)):
            break
    # a body without a length also ends when the watch shuts its socket down: it is a part, not the whole
    if time.monotonic() >= deadline:
        raise late()
    image = bytes(body)
    if coded and not is_image(image):
        image = _decoded(image, max_bytes)
    if not is_image(image):
        kind = response.headers.get("Content-Type", "no content type")
        raise FetchError(Reason.NOT_AN_IMAGE, kind if body else "empty body")
    return image


def is_image(body: bytes | bytearray) -> bool:
    """Whether `body` begins as JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF/HEIC does."""
    boxed = (body[:4] == b"RIFF" and body[8:12] == b"WEBP") or (
        body[4:8] == b"ftyp" and bytes(body[8:12]) in _BOXES
    )
    return boxed or body.startswith(_BEGINNINGS)


def check_pixels(image: bytes, max_pixels: int) -> None:
    """Refuse an image that would be too large to decode, by its header alone.

    An image whose header cannot be read passes; whoever decodes it will say what is wrong.

    Raises:
        FetchError: `too_large_pixels`.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image), formats=_FORMATS) as opened:
            width, height = opened.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise FetchError(Reason.TOO_LARGE_PIXELS, f"more than {max_pixels} pixels") from None
    except Exception:  # whatever a damaged header makes of Pillow
        return
    if width * height > max_pixels:
        raise FetchError(Reason.TOO_LARGE_PIXELS, f"more than {max_pixels} pixels")


def _decoded(body: bytes, max_bytes: int) -> bytes:
    """What gzip or deflate packed: an image, of which no more than `max_bytes` are made, or a part."""
    try:
        return _inflated(body, _ZLIB_OR_GZIP, max_bytes)
    except zlib.error:
        pass
    try:
        return _inflated(body, _DEFLATE, max_bytes)
    except zlib.error:
        raise FetchError(Reason.MALFORMED_ANSWER, "content encoding") from None


def _inflated(body: bytes, form: int, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(form)
    image = inflater.decompress(body, _TELLING)
    if is_image(image):
        image += inflater.decompress(inflater.unconsumed_tail, max_bytes)
    if len(image) > max_bytes:
        raise _too_large(max_bytes)
    return image


def _too_large(max_bytes: int) -> FetchError:
    return FetchError(Reason.TOO_LARGE, f"more than {max_bytes} bytes")
