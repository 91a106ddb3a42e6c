"""What the loopback server answers to each request: a pure function, apart from any socket."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from PIL import Image

from rankclip.data.shapes.trouble import PLAIN

Draw = Callable[[], Image.Image]

QUALITY = 90
_PATH = re.compile(r"/images/(\d{1,18})\.jpg(?:\?hop=(\d))?")
_ORIENTATION_TAG = 0x0112
_TURN_RIGHT = 6
_PRIVATE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/image.jpg",
    "http://127.0.0.1:22/image.jpg",
    "http://[::1]/image.jpg",
    "http://metadata.internal.invalid@192.168.1.1/image.jpg",
)
_STATUS = {"http_404": 404, "http_403": 403, "http_500": 500}
_FORMAT = {"png": ("PNG", "image/png"), "webp": ("WEBP", "image/webp"), "gif": ("GIF", "image/gif")}
_START_OF_SCAN = b"\xff\xda"
_PAGE = b"<!DOCTYPE html>\n<html><body><h1>This image has moved</h1></body></html>\n"


class Target(NamedTuple):
    """What a request asks for."""

    image: int
    hop: int
    """Redirects followed so far."""


class Answer(NamedTuple):
    """A response, and how long to wait before it."""

    status: int
    headers: dict[str, str]
    body: bytes
    delay_s: float = 0.0


def target(path: str) -> Target | None:
    """The target of a request path, or None."""
    found = _PATH.fullmatch(path)
    return None if found is None else Target(int(found[1]), int(found[2] or 0))


def answer(kind: str, asked: Target, draw: Draw, *, attempt: int, slow_s: float) -> Answer:
    """The answer to the request number `attempt` (from 0) for a URL with the trouble `kind`.

    `draw` gives the image that is encoded; the bytes depend on it and on `kind` alone.
    """
    if kind == "flaky" and attempt == 0:
        return failure(HTTPStatus.INTERNAL_SERVER_ERROR)
    if kind in _STATUS:
        return failure(_STATUS[kind])
    if kind == "redirect" and asked.hop <= asked.image % 2:
        return _moved(f"/images/{asked.image}.jpg?hop={asked.hop + 1}")
    if kind == "redirect_private":
        return _moved(_PRIVATE[asked.image % len(_PRIVATE)])
    if kind == "html":
        return _found("image/jpeg", _PAGE)
    body, content_type = encode(kind, draw())
    return _found(content_type, body, slow_s if kind == "slow" else 0.0)


def failure(status: int) -> Answer:
    """An error page."""
    return Answer(status, {"Content-Type": "text/plain"}, f"{status} {HTTPStatus(status).phrase}\n".encode())


def encode(kind: str, image: Image.Image) -> tuple[bytes, str]:
    """An RGB image as bytes in the way that `kind` says, and its content type."""
    form, content_type = _FORMAT.get(kind, ("JPEG", "image/jpeg"))
    options: dict[str, object] = {"quality": QUALITY} if form in ("JPEG", "WEBP") else {}
    if form == "JPEG":
        options["subsampling"] = "4:4:4"  # halved colours would blur edges of a few pixels
    match kind:
        case "gray":
            image = image.convert("L")
        case "cmyk":
            image = image.convert("CMYK")
        case "gif":
            image = image.quantize(256)
        case "exif_rotated":
            exif = Image.Exif()
            exif[_ORIENTATION_TAG] = _TURN_RIGHT
            options["exif"] = exif
            image = image.transpose(Image.Transpose.ROTATE_90)
    sink = io.BytesIO()
    image.save(sink, form, **options)
    body = sink.getvalue()
    if kind == "truncated":  # half of the scan is lost, the head is whole
        body = body[: (body.index(_START_OF_SCAN) + len(body)) // 2]
    return body, content_type


def original(trouble: Callable[[int], str], index: int) -> int:
    """The index of the image that is served under `index`: its own, but for a duplicate."""
    if trouble(index) == "duplicate_image":
        while trouble(index) != PLAIN:
            index -= 1
    return index


def _found(content_type: str, body: bytes, delay_s: float = 0.0) -> Answer:
    return Answer(HTTPStatus.OK, {"Content-Type": content_type}, body, delay_s)


def _moved(location: str) -> Answer:
    return Answer(HTTPStatus.FOUND, {"Location": location}, b"")
