"""ECCV Caption as published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankclip.data.benchmarks import eccv
from rankclip.errors import DataError
from tests.unit.data.benchmarks import coco_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    coco_files.write_coco(tmp_path)
    coco_files.write_eccv(tmp_path)
    return tmp_path


def test_matches_are_counted_as_the_gallery_orders_images_and_captions(root: Path) -> None:
    data = eccv.load(root)
    assert [key[-3:] for key in data.keys] == ["285", "042", "007"]
    assert data.captions == (
        ("a bear", "a bear that sits"), ("a dog on grass", "the dog runs"), ("a red bus",)
    )  # fmt: skip
    assert data.to_text.queries.tolist() == [1, 0]
    assert data.to_text.counts.tolist() == [2, 4]
    assert data.to_text.candidates.tolist() == [3, 2, 1, 2, 3, 0]
    assert data.to_image.queries.tolist() == [4, 2]
    assert data.to_image.counts.tolist() == [1, 2]
    assert data.to_image.candidates.tolist() == [2, 1, 0]


def test_the_digest_changes_with_a_match(root: Path) -> None:
    before = eccv.load(root).digest
    coco_files.write_json(root / "eccv_caption" / eccv.TO_IMAGE, {"103": [7], "101": [42]})
    assert eccv.load(root).digest != before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (eccv.TO_TEXT, {"42": [103, 110]}, "110 .of 42. is not in original_image_to_caption"),
        (eccv.TO_TEXT, {"724": [103]}, "724 .of 724. is not in original_image_to_caption"),
        (eccv.TO_TEXT, {"42": []}, "42 has no match"),
        (eccv.TO_TEXT, {"42": [101, 101]}, "42 has no match, or one twice"),
        (eccv.TO_IMAGE, {"a": [7]}, "does not hold lists of COCO's numbers"),
        (eccv.TO_IMAGE, {"103": 7}, "does not hold lists of COCO's numbers"),
        (eccv.TO_IMAGE, {}, "is empty"),
        (eccv.GALLERY, {"42": [103]}, "caption 103 of image 42 is not one of its captions"),
        (eccv.GALLERY, {"42": [999]}, "caption 999 of image 42 is not one of its captions"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_file_and_number(
    root: Path, name: str, value: object, message: str
) -> None:
    path = root / "eccv_caption" / name
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=f"{path}.*{message}"):
        eccv.load(root)


def test_a_missing_file_is_named_with_where_to_get_it(root: Path) -> None:
    (root / "eccv_caption" / eccv.TO_TEXT).unlink()
    with pytest.raises(
        DataError, match=r"eccv_image_to_caption\.json is missing; put .*naver-ai/eccv-caption"
    ):
        eccv.load(root)
