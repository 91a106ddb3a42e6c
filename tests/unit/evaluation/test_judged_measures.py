"""Sets of judgements from their published files to numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rankclip.data.benchmarks import judged as judged_sets
from rankclip.data.benchmarks.coco import JudgedSet
from rankclip.errors import DataError
from rankclip.evaluation import judged
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.reference import NoiseEncoder
from tests.unit.data.benchmarks import coco_files

WRITERS: dict[judged_sets.Name, Any] = {
    "crisscrossed": coco_files.write_crisscrossed,
    "eccv_caption": coco_files.write_eccv,
    "sugarcrepe": coco_files.write_sugarcrepe,
}


def load(root: Path, name: judged_sets.Name) -> JudgedSet:
    coco_files.write_coco(root)
    WRITERS[name](root)
    return judged_sets.load(name, root)


def embedded(data: JudgedSet) -> Embedded:
    """As a model sees it that knows nothing."""
    encoder = NoiseEncoder()
    samples = list(data.samples())
    return Embedded(
        name=data.name,
        split=data.split,
        task="retrieval",
        digest=data.digest,
        keys=tuple(sample.key for sample in samples),
        features=torch.stack([encoder.encode_texts([sample.key])[0] for sample in samples]),
        labels=None,
        captions=tuple(sample.captions for sample in samples),
        classnames=(),
        templates=(),
        texts=encoder.encode_texts,
    )


@pytest.mark.parametrize(
    ("name", "metric", "count"),
    [
        ("crisscrossed", "text_text_spearman", 9),
        ("eccv_caption", "text_to_image_map_at_r", 6),
        ("sugarcrepe", "swap_att_accuracy", 8),
    ],
)
def test_each_set_is_measured_by_what_it_asks(
    tmp_path: Path, name: judged_sets.Name, metric: str, count: int
) -> None:
    data = load(tmp_path, name)
    measured = judged.measure(embedded(data), data)
    assert metric in {one.metric for one in measured}
    assert len(measured) == count
    assert all(-1 <= one.value <= 1 for one in measured)


def test_rows_of_other_images_are_refused(tmp_path: Path) -> None:
    data = load(tmp_path, "sugarcrepe")
    of_others = replace(embedded(data), keys=tuple(reversed(data.keys)))
    with pytest.raises(DataError, match="the embedded images of sugarcrepe are not those of the set"):
        judged.measure(of_others, data)
