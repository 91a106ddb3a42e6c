"""Pixels for training are those of evaluation, but where a large JPEG is decoded at a smaller size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from rankclip.data.loading.decoding import UndecodableError, decode
from rankclip.models.open_clip import pixels
from tests.unit.data.crawled import encoded, rotated_by_exif

SIZE = 16


def decoded(blob: bytes, size: int = SIZE) -> NDArray[np.uint8]:
    out = np.zeros((3, size, size), np.uint8)
    decode(blob, size, out)
    return out


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, shape, np.uint8), mode)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 31), st.integers(0, 90), st.booleans(), st.sampled_from(["RGB", "L"]))
def test_below_twice_the_size_a_jpeg_is_as_evaluation_sees_it(
    short: int, more: int, tall: bool, mode: str
) -> None:
    sides = (short, short + more) if tall else (short + more, short)
    blob = encoded(noise(*sides, mode))
    assert np.array_equal(decoded(blob), pixels(blob, SIZE).numpy())


@pytest.mark.parametrize(("width", "height"), [(64, 64), (40, 200), (331, 257), (33, 32)])
def test_what_is_no_jpeg_is_as_evaluation_sees_it_at_any_size(width: int, height: int) -> None:
    blob = encoded(noise(width, height), "PNG")
    assert np.array_equal(decoded(blob), pixels(blob, SIZE).numpy())


@pytest.mark.parametrize("side", [128, 200, 256, 520, 1200])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(side: int) -> None:
    y, x = np.mgrid[0:side, 0:side] / side
    smooth = np.stack([255 * x, 255 * y, 127 + 120 * np.sin(6 * x * y)], axis=-1)
    blob = encoded(Image.fromarray(smooth.astype(np.uint8)))
    assert np.abs(decoded(blob, 64).astype(int) - pixels(blob, 64).numpy()).max() <= 6


def test_what_is_stored_turned_or_transparent_is_taken_as_a_viewer_shows_it() -> None:
    turned = decoded(rotated_by_exif())
    assert turned[2, 0, 0] > 150  # the blue quarter is at the top left
    assert turned[2, -1, -1] < 80
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    assert decoded(encoded(clear, "PNG")).min() == 255


def test_a_line_of_pixels_takes_little_memory() -> None:
    assert decoded(encoded(Image.new("RGB", (60_000, 1), (9, 9, 9)), "PNG"), 64).max() == 9


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "no image of a known format"),
        (b"<html>not found</html>", "no image of a known format"),
        (encoded(noise(64, 64))[:900], "truncated"),
        (encoded(noise(64, 64), "PNG")[:900], "."),
        (encoded(noise(8, 8), "TIFF"), "no image of a known format"),
    ],
    ids=["empty", "html", "cut jpeg", "cut png", "tiff"],
)
def test_damaged_bytes_have_one_reason_that_is_always_the_same(blob: bytes, reason: str) -> None:
    told = set()
    for _ in range(2):
        with pytest.raises(UndecodableError, match=reason) as caught:
            decoded(blob)
        told.add(str(caught.value))
    (text,) = told
    assert "0x" not in text
    assert "\n" not in text


def test_short_memory_is_not_the_fault_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*unused: object) -> None:
        raise MemoryError

    monkeypatch.setattr("rankclip.data.loading.decoding._square", short)
    with pytest.raises(MemoryError):
        decoded(encoded(noise(20, 20)))
