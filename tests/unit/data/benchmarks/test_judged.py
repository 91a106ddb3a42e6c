"""Sets of judgements by name, and what is said where one is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rankclip.data.benchmarks import judged
from rankclip.data.benchmarks.judged import JudgedBenchmark
from rankclip.errors import InputError
from tests.unit.data.benchmarks import coco_files

WRITERS: dict[judged.Name, Any] = {
    "crisscrossed": coco_files.write_crisscrossed,
    "eccv_caption": coco_files.write_eccv,
    "sugarcrepe": coco_files.write_sugarcrepe,
}


@pytest.mark.parametrize("name", judged.NAMES)
def test_a_set_is_loaded_by_its_name_once_nothing_of_it_is_missing(tmp_path: Path, name: judged.Name) -> None:
    assert (judged.missing(name, tmp_path) or "").startswith(f"{name} lacks {name}, coco/")
    coco_files.write_coco(tmp_path)
    assert (
        judged.missing(name, tmp_path)
        == f"{name} lacks {name} in {tmp_path}; docs/evaluation.md says where to get them"
    )
    WRITERS[name](tmp_path)
    assert judged.missing(name, tmp_path) is None
    data = judged.load(name, tmp_path)
    assert (data.name, data.split, data.images) == (name, "test", len(list(data.samples())))
    assert JudgedBenchmark(name=name).lines[name]


@pytest.mark.parametrize(
    ("name", "split"), [("eccv_caption", "val"), ("sugarcrepe", "val"), ("crisscrossed", "train")]
)
def test_a_split_that_was_never_published_is_refused(tmp_path: Path, name: judged.Name, split: Any) -> None:
    with pytest.raises(
        InputError, match=f"{name} has no split {split}; it has test alone, crisscrossed also val"
    ):
        judged.load(name, tmp_path, split)
