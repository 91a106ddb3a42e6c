"""Benchmarks drawn from the world, as evaluation reads them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from rankclip.data.benchmarks import benchmark_folder, gains, write
from rankclip.data.benchmarks.content import SPLITS
from rankclip.data.benchmarks.drawn import DrawnBenchmark, DrawnRetrieval
from rankclip.data.shapes.spec import MentionSpec, ShapesSpec
from rankclip.data.shapes.trouble import TroubleSpec

WORLD = ShapesSpec(
    seed=5, images=100, side=32, zipf=1.0, digits=0.2, objects=(0.6, 0.3, 0.1), ambiguity=0.2, noise=0.1,
    boilerplate=0.2, pixel_noise=0.02, textures=0.5, duplicate_urls=0.0, bad_rows=0.0, trouble=TroubleSpec(),
    mentions=MentionSpec(
        shape=0.9, hue=0.8, size=0.5, cell=0.5, fill=0.5, background=0.5, other_objects=0.9
    ),
)  # fmt: skip
ATTRIBUTES = get_args(DrawnBenchmark.model_fields["name"].annotation)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_each_attribute_has_balanced_classes_and_prompts_with_a_place_for_them(name: str) -> None:
    classes = len(DrawnBenchmark(name=name, images=10).content(WORLD, "val").classnames)
    content = DrawnBenchmark(name=name, images=2 * classes).content(WORLD, "val")
    counts = Counter(sample.label for sample in content.samples)
    assert counts == dict.fromkeys(range(classes), 2)
    assert classes >= 4
    assert all("{c}" in template for template in content.templates)


def test_validation_and_test_share_no_image() -> None:
    spec = DrawnBenchmark(name="shape", images=48)
    val, test = ({sample.image for sample in spec.content(WORLD, split).samples} for split in SPLITS)
    assert len(val) == len(test) == 48
    assert val.isdisjoint(test)


def test_what_probes_learn_on_is_in_no_other_split() -> None:
    spec = DrawnBenchmark(name="shape", images=48)
    drawn = {split: spec.content(WORLD, split) for split in spec.splits}
    assert list(drawn) == ["val", "test", "train"]
    images = [sample.image for content in drawn.values() for sample in content.samples]
    assert len(set(images)) == 3 * 48


def test_what_probes_learn_on_has_two_of_each_class_however_few_are_asked() -> None:
    for name in ATTRIBUTES:
        content = DrawnBenchmark(name=name, images=10).content(WORLD, "train")
        counts = Counter(sample.label for sample in content.samples)
        assert counts.keys() == set(range(len(content.classnames)))
        assert min(counts.values()) == 2


def test_every_caption_of_the_retrieval_set_is_true_of_its_image() -> None:
    content = DrawnRetrieval(images=10).content(WORLD, "test")
    assert content.gains is not None
    assert content.gains.shape == (10, 50)
    for number, sample in enumerate(content.samples):
        assert len(sample.captions) == 5
        assert content.gains[number, 5 * number : 5 * number + 5].tolist() == [1] * 5


def test_the_drawn_sets_can_be_read_back(tmp_path: Path) -> None:
    write.run([DrawnBenchmark(name="shape", images=12), DrawnRetrieval(images=10)], WORLD, tmp_path)
    shape = benchmark_folder.read_split(tmp_path / "wds_shape", "test")
    assert (shape.task, len(shape.samples)) == ("classification", 12)
    retrieval = benchmark_folder.read_split(tmp_path / "wds_retrieval", "test")
    assert (retrieval.task, len(retrieval.samples)) == ("retrieval", 10)
    assert gains.read(tmp_path / "wds_retrieval" / "test", 10, 50) is not None
