"""Bodies: what is an image, how large it may be, how large it may become."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rankclip.data.crawl.client import bodies
from rankclip.data.crawl.client.fetch_error import FetchError
from rankclip.data.reasons import Reason
from tests.unit.data.crawl.wire import refusal

LIMIT = 2**20


def drawn(form: str, size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_images_are_known_by_their_first_bytes_and_measured_by_their_header(form: str) -> None:
    image = drawn(form)
    assert bodies.is_image(image[:32])
    bodies.check_pixels(image, 64 * 48)
    assert refusal(lambda: bodies.check_pixels(image, 64 * 48 - 1)) is Reason.TOO_LARGE_PIXELS


@pytest.mark.parametrize(
    "body", [b"", b"<svg/>", b"\0\0\0\x20ftypisom....", b"RIFF1234WAVE", b"%PDF", b"\xff\xd8"]
)
def test_other_files_are_no_images(body: bytes) -> None:
    assert not bodies.is_image(body)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"II*\0"]),
)
def test_a_damaged_header_is_left_to_who_decodes_it(rest: bytes, beginning: bytes) -> None:
    with suppress(FetchError):
        bodies.check_pixels(beginning + rest, 2**26)


@pytest.mark.parametrize("form", [zlib.MAX_WBITS, zlib.MAX_WBITS | 16, -zlib.MAX_WBITS])
def test_a_bomb_is_never_unpacked_beyond_the_limit(form: int) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, form)
    bomb = squeeze.compress(b"GIF89a" + bytes(2**26)) + squeeze.flush()
    tracemalloc.start()
    assert refusal(lambda: bodies._decoded(bomb, LIMIT)) is Reason.TOO_LARGE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * LIMIT


@given(st.binary(), st.integers(-15, 31).filter(lambda form: abs(form) in range(9, 16) or form > 24))
def test_what_was_packed_comes_out_and_anything_else_has_a_reason(body: bytes, form: int) -> None:
    squeeze = zlib.compressobj(6, zlib.DEFLATED, form)
    image = b"\xff\xd8\xff" + body
    packed = squeeze.compress(image) + squeeze.flush()
    assert form < 0 or bodies._decoded(packed, LIMIT) == image
    with suppress(FetchError):
        bodies._decoded(body, LIMIT)
