"""Pixels for training are those of evaluation, but where a large JPEG is decoded at a smaller size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resized_crop

from rankclip.data import images
from rankclip.data.loading.crop import Box
from rankclip.data.loading.decoding import UndecodableError, decode
from rankclip.models.trained import pixels
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


def cut_out(blob: bytes, box: Box, size: int) -> NDArray[np.uint8]:
    out = np.zeros((3, size, size), np.uint8)
    decode(blob, size, out, lambda width, height: box)
    return out


def torchvisions(blob: bytes, box: Box, size: int) -> NDArray[np.uint8]:
    """A part of an image as it is seen, scaled as open_clip's training transform does."""
    with images.opened(blob) as picture:
        shown = images.upright_rgb(picture)
    sides = box.top, box.left, box.bottom - box.top, box.right - box.left
    scaled = resized_crop(shown, *sides, [size, size], InterpolationMode.BICUBIC)
    return np.asarray(scaled).transpose(2, 0, 1)


def inside(width: int, height: int) -> st.SearchStrategy[Box]:
    """Boxes of an image."""
    spans = [
        st.tuples(st.integers(0, side), st.integers(0, side)).filter(lambda span: span[0] != span[1])
        for side in (width, height)
    ]
    return st.tuples(*spans).map(
        lambda found: Box(min(found[0]), min(found[1]), max(found[0]), max(found[1]))
    )


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 90), st.integers(1, 90), st.sampled_from(["RGB", "L"]))
def test_a_part_of_an_image_is_as_torchvision_cuts_and_scales_it(
    data: st.DataObject, width: int, height: int, mode: str
) -> None:
    box = data.draw(inside(width, height))
    for kind in ("PNG", "JPEG"):
        if kind == "PNG" or box.short < 2 * SIZE:
            blob = encoded(noise(width, height, mode), kind)
            assert np.array_equal(cut_out(blob, box, SIZE), torchvisions(blob, box, SIZE))


def smooth(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width].astype(float)
    waves = [127 + 120 * np.sin(x / 90), 127 + 120 * np.cos(y / 80), 127 + 120 * np.sin((x + y) / 100)]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


@pytest.mark.parametrize(
    ("side", "turn"),
    [(256, 1), (333, 1), (517, 1), (1101, 1), *((600, turn) for turn in range(2, 9))],
)
def test_a_part_of_a_large_jpeg_is_decoded_smaller_and_looks_the_same(side: int, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    blob = encoded(smooth(side, side + 64), exif=exif)
    width, height = (side, side + 64) if turn < 5 else (side + 64, side)
    box = Box(37, 21, width - 9, height - 30)
    found, expected = (make(blob, box, 64).astype(int) for make in (cut_out, torchvisions))
    assert np.abs(found - expected).max() <= (8 if turn == 1 else 12)
    assert np.abs(found - expected).mean() <= 1.5


@pytest.mark.parametrize(
    ("short", "decoded_at"), [(63, (600, 801)), (64, (300, 401)), (127, (300, 401)), (128, (150, 201))]
)
def test_a_jpeg_is_decoded_at_the_smallest_size_at_which_the_part_is_large_enough(
    short: int, decoded_at: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    upright = images.upright_rgb
    monkeypatch.setattr(images, "is_plain_jpeg", lambda picture: False)
    monkeypatch.setattr(images, "upright_rgb", lambda picture: seen.append(picture.size) or upright(picture))
    cut_out(encoded(smooth(600, 801)), Box(100, 300, 100 + short, 500), 32)
    assert seen == [decoded_at]


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
