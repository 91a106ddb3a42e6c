"""The quick look at a header gives what Pillow gives, or leaves it to Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from rankclip.data import images
from rankclip.data.indexing import image_header
from rankclip.data.indexing.image_header import SampleError, upright_size
from tests.unit.data.crawled import encoded, picture, rotated_by_exif

XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def by_pillow(blob: bytes) -> tuple[int, int]:
    with images.opened(blob) as image:
        return images.upright_size(image)


def exif(orientation: int | None, order: str = "<") -> bytes:
    """An EXIF block with some tag and maybe one of orientation, in either order of bytes."""
    tags = [(0x010F, 2, 2, b"a\0\0\0")]
    if orientation is not None:
        tags.append((0x0112, 3, 1, struct.pack(f"{order}HH", orientation, 0)))
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(
        struct.pack(f"{order}HHL", *tag[:3]) + tag[3] for tag in tags
    )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8)
    return b"Exif\0\0" + start + directory + bytes(4)


def with_text(key: str, value: str) -> bytes:
    target, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_itxt(key, value)
    picture().save(target, "PNG", pnginfo=info)
    return target.getvalue()


FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "avif": ("AVIF", {}),
}


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(FORMS)),
    st.sampled_from(["RGB", "L", "CMYK", "RGBA", "P", "1", "I;16"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([None, *range(1, 9)]),
    st.sampled_from("<>"),
)
def test_the_size_is_that_which_pillow_finds(
    form: str, mode: str, width: int, height: int, orientation: int | None, order: str
) -> None:
    kind, options = FORMS[form]
    if orientation is not None and kind in ("JPEG", "PNG", "WEBP"):
        options = {**options, "exif": exif(orientation, order)}
    try:
        blob = encoded(Image.new(mode, (width, height)), kind, **options)
    except (OSError, KeyError, ValueError):  # not every format has every mode
        return
    assert upright_size(blob) == by_pillow(blob)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_image_has_the_size_that_one_sees(orientation: int) -> None:
    upright = (48, 32) if orientation >= 5 else (32, 48)
    assert upright_size(rotated_by_exif(orientation)) == upright


@pytest.mark.parametrize(
    "blob",
    [
        encoded(picture(), xmp=XMP),
        encoded(picture(), "WEBP", xmp=XMP),
        with_text("XML:com.adobe.xmp", XMP.decode()),
    ],
)
def test_xmp_turns_an_image_too(blob: bytes) -> None:
    assert upright_size(blob) == by_pillow(blob) == (32, 48)


def test_plain_images_need_no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = [
        encoded(picture()),
        encoded(picture(), progressive=True),
        encoded(picture(), exif=exif(None)),
        encoded(picture(), comment=b"made by hand" * 5000),
        encoded(picture(), icc_profile=bytes(100_000)),
        encoded(picture(), "PNG"),
        with_text("Software", "made by hand"),
        encoded(picture(), "WEBP"),
        encoded(picture(), "WEBP", lossless=True),
    ]
    monkeypatch.setattr(image_header, "_careful", None)
    assert {upright_size(blob) for blob in blobs} == {(48, 32)}


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(FORMS)), st.data())
def test_damage_is_an_answer_or_a_refusal_and_never_another_size(form: str, data: st.DataObject) -> None:
    kind, options = FORMS[form]
    blob = bytearray(encoded(picture(), kind, **options))
    for _ in range(data.draw(st.integers(1, 3))):
        blob[data.draw(st.integers(0, min(len(blob), 400) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(blob[: data.draw(st.integers(0, len(blob)))])
    try:
        found = upright_size(damaged)
    except SampleError as error:
        assert error.reason in ("decode", "not_an_image", "too_large_pixels")  # noqa: PT017
        return
    try:
        pillows = by_pillow(damaged)
    except Exception:
        return  # whoever decodes it will tell
    assert found == pillows


@pytest.mark.parametrize("blob", [b"", b"<html>", b"\0" * 100, b"RIFF....WAVE", encoded(picture())[1:]])
def test_what_is_no_image_is_told(blob: bytes) -> None:
    with pytest.raises(SampleError) as refused:
        upright_size(blob)
    assert refused.value.reason == "not_an_image"
    assert refused.value.detail == f"{len(blob)} bytes that begin as no image does"


def huge_png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">L", 13) + header + struct.pack(">L", zlib.crc32(header))
    end = struct.pack(">L", zlib.crc32(b"IEND"))
    return start + bytes(4) + b"IDAT" + struct.pack(">L", zlib.crc32(b"IDAT")) + bytes(4) + b"IEND" + end


@pytest.mark.parametrize("size", [(60_000, 60_000), (70_000, 3)])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(SampleError) as refused:
        upright_size(huge_png(*size))
    assert (refused.value.reason, refused.value.size) == ("too_large_pixels", size)
    assert refused.value.detail == f"{size[0]} x {size[1]}"


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    blob = encoded(picture(), progressive=True)
    with pytest.raises(SampleError) as refused:
        upright_size(blob[:-2] + b"\xff\xda\0\0" * 200)
    assert refused.value.reason == "decode"


def test_a_refusal_says_the_same_each_time() -> None:
    cut = encoded(Image.fromarray(np.zeros((9, 9), np.uint8)), "GIF")[:12]
    details = []
    for _ in range(2):
        with pytest.raises(SampleError) as refused:
            upright_size(cut)
        details.append(refused.value.detail)
    assert details[0] == details[1]
    assert "0x" not in details[0]
