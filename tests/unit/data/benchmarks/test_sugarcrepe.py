"""SugarCrepe as published."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankclip.data.benchmarks import sugarcrepe
from rankclip.errors import DataError
from tests.unit.data.benchmarks import coco_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    coco_files.write_coco(tmp_path)
    coco_files.write_sugarcrepe(tmp_path)
    return tmp_path


def test_each_choice_keeps_its_image_and_both_captions(root: Path) -> None:
    data = sugarcrepe.load(root)
    assert [choice.category for choice in data.choices] == [
        "add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_att", "swap_obj"
    ]  # fmt: skip
    asked = [(data.keys[choice.image], choice.caption, choice.negative) for choice in data.choices]
    assert asked[0] == ("000000000007", "true of add_att", "false of add_att")
    assert asked[6] == ("000000000042", "a red dog", "a blue dog")


def test_an_image_that_is_asked_about_twice_is_there_once(root: Path) -> None:
    data = sugarcrepe.load(root)
    assert data.keys == tuple(f"{number:012d}" for number in coco_files.IMAGES)
    assert data.captions[1] == ("true of add_obj", "a red dog")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"3": {"filename": "000000000042.jpg", "caption": "a dog"}}, "3 lacks filename, caption or"),
        ({"3": {"filename": "000000000042.jpg", "caption": None, "negative_caption": "x"}}, "3 lacks"),
        ({"3": "a dog"}, "3 lacks filename, caption or negative_caption"),
        ({"3": {"filename": 42, "caption": "a", "negative_caption": "b"}}, "3 lacks filename"),
        ({"3": coco_files.row(42, " ", "a cat")}, "3 has an empty caption"),
        ({"3": {"filename": "../42.jpg", "caption": "a", "negative_caption": "b"}}, "a file name with"),
        ({}, "is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_file_and_key(root: Path, value: object, message: str) -> None:
    path = root / "sugarcrepe/swap_obj.json"
    coco_files.write_json(path, value)
    with pytest.raises(DataError, match=f"{path}.*{message}"):
        sugarcrepe.load(root)


def test_missing_images_are_counted_and_the_archive_is_named(root: Path) -> None:
    for number in (42, 139):
        (root / f"coco/val2017/{number:012d}.jpg").unlink()
    with pytest.raises(
        DataError, match=r"000000000042\.jpg and 1 more of 6 images are missing; unpack .*val2017\.zip"
    ):
        sugarcrepe.load(root)
