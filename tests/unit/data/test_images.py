from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from rankclip.data import images
from tests.unit.data.crawled import BLUE, GREEN, RED, encoded, picture, rotated_by_exif


def shown(blob: bytes) -> np.ndarray:
    """Pixels `[H, W, 3]` of what must be an upright RGB JPEG."""
    with Image.open(io.BytesIO(blob)) as image:
        assert (image.format, image.mode, image.getexif().get(0x0112, 1)) == ("JPEG", "RGB", 1)
        return np.asarray(image).astype(int)


def transparent() -> Image.Image:
    image = picture(GREEN).convert("RGBA")
    image.paste((0, 0, 0, 0), (24, 16, 48, 32))
    return image


def on_white() -> Image.Image:
    image = picture(GREEN)
    image.paste("white", (24, 16, 48, 32))
    return image


def animation() -> bytes:
    return encoded(picture(), "GIF", save_all=True, append_images=[picture(GREEN)], duration=10)


def palette_with_transparency() -> bytes:
    image = on_white().quantize(8)
    return encoded(image, "PNG", transparency=image.getpixel((47, 31)))


CASES: dict[str, tuple[Callable[[], bytes], Callable[[], Image.Image]]] = {
    "png": (lambda: encoded(picture(), "PNG"), picture),
    "webp": (lambda: encoded(picture(), "WEBP", lossless=True), picture),
    "animated gif": (animation, picture),
    "cmyk": (lambda: encoded(picture().convert("CMYK")), picture),
    "rotated by exif": (rotated_by_exif, picture),
    "transparent png": (lambda: encoded(transparent(), "PNG"), on_white),
    "transparent webp": (lambda: encoded(transparent(), "WEBP", lossless=True), on_white),
    "transparent palette": (palette_with_transparency, on_white),
    "gray png": (
        lambda: encoded(picture().convert("L"), "PNG"),
        lambda: picture().convert("L").convert("RGB"),
    ),
    "bitmap": (lambda: encoded(picture(), "BMP"), picture),
}


@pytest.mark.parametrize("case", CASES)
def test_every_format_ends_as_upright_rgb(case: str) -> None:
    make, expected = CASES[case]
    pixels, right = shown(images.as_jpeg(make(), 95)), np.asarray(expected()).astype(int)
    assert pixels.shape == right.shape
    # one colour a quarter, so JPEG and CMYK cost little; the quarter's edges are left out
    for y, x in [(8, 12), (8, 36), (24, 12), (24, 36)]:
        assert abs(pixels[y, x] - right[y, x]).max() <= 6, (case, y, x)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_as_pillow_applies_it(orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    blob = encoded(picture(), "PNG", exif=exif)
    with images.opened(blob) as image:
        image.load()
        ours, size = images.upright_rgb(image), images.upright_size(image)
        theirs = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert size == theirs.size


def test_sixteen_bits_become_eight_without_clipping() -> None:
    ramp = np.linspace(0, 65535, 48 * 32).reshape(32, 48).astype(np.uint16)
    pixels = shown(images.as_jpeg(encoded(Image.fromarray(ramp), "PNG"), 95))
    assert abs(pixels[..., 0] - ramp / 257).max() < 4


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_plain_jpeg_keeps_its_bytes(mode: str) -> None:
    blob = encoded(picture().convert(mode), quality=60)
    assert images.as_jpeg(blob, 95) == blob


def test_unreadable_metadata_do_not_cost_the_image() -> None:
    blob = encoded(picture(), exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert images.as_jpeg(blob, 95) == blob


def test_the_quality_is_that_asked_for() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blob = encoded(Image.fromarray(noise), "PNG")
    assert len(images.as_jpeg(blob, 30)) < len(images.as_jpeg(blob, 95))


def test_formats_that_call_other_programs_stay_closed() -> None:
    postscript = encoded(picture(), "EPS")
    with pytest.raises(OSError, match="cannot identify"), images.opened(postscript):
        pass


def test_a_quarter_of_the_test_picture_tells_the_orientation() -> None:
    pixels = np.asarray(picture())
    assert (tuple(pixels[0, 0]), tuple(pixels[0, -1]), tuple(pixels[-1, 0])) == (BLUE, RED, RED)
