from __future__ import annotations

import pytest
from PIL import Image, ImageFile

from rankclip.data.curation.spec import CurateSpec
from rankclip.data.curation.verdicts import judge
from tests.unit.data.crawled import encoded, picture, rotated_by_exif

LIMIT = CurateSpec().max_pixels


def test_pixels_are_counted_before_they_are_decoded() -> None:
    header_of_a_giant = encoded(picture(size=(300, 300)), "PNG")[:60]  # decoding it would fail
    assert judge(header_of_a_giant, 80_000).reason == "too_large_pixels"
    assert judge(header_of_a_giant, LIMIT).reason == "decode"


def test_an_image_of_more_pixels_than_pillow_opens_is_too_large() -> None:
    blob = bytearray(encoded(picture(), "BMP"))
    blob[18:26] = (60_000).to_bytes(4, "little") * 2
    assert judge(bytes(blob), LIMIT).reason == "too_large_pixels"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_truncated_image_does_not_decode(kind: str) -> None:
    blob = encoded(picture(size=(200, 150)), kind)
    assert judge(blob, LIMIT).reason == "ok"
    assert judge(blob[: len(blob) // 2], LIMIT).reason == "decode"


def test_the_size_is_that_of_the_upright_image() -> None:
    assert judge(rotated_by_exif(), LIMIT)[2:4] == (48, 32)  # stored it is 32 x 48


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoded(Image.new("L", (4000, 4000), 128), progressive=True)
    assert judge(whole, LIMIT).reason == "ok"
    last = whole[whole.rindex(b"\xff\xda") : -2]
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)  # a minute for libjpeg, in 200 kB
    verdict = judge(whole[:-2] + last * 5000 + whole[-2:], LIMIT)
    assert (verdict.reason, "100 scans" in verdict.detail) == ("decode", True)
