"""The handwritten digits."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from rankclip.data.benchmarks import digits
from rankclip.data.benchmarks.digits import DigitsBenchmark
from rankclip.evaluation.spec import EvaluationSpec

ANY_SOURCE = EvaluationSpec.model_validate({"benchmarks": [{"name": "shape", "images": 10}]})


@pytest.mark.parametrize("images", [10, 870])
def test_every_digit_occurs_equally_often_and_no_scan_is_in_both_splits(images: int) -> None:
    _, labels = digits.load()
    val, test = digits.chosen(labels, "val", images), digits.chosen(labels, "test", images)
    assert set(val).isdisjoint(test)
    for part in (val, test):
        assert np.bincount(labels[part]).tolist() == [images // 10] * 10
        assert len(set(part)) == images


def test_a_smaller_set_is_the_beginning_of_a_larger_one() -> None:
    _, labels = digits.load()
    assert digits.chosen(labels, "test", 870)[:50] == digits.chosen(labels, "test", 50)


def test_a_picture_is_dark_ink_in_the_middle_of_white_paper() -> None:
    scan = np.zeros((8, 8))
    scan[:, 3:5] = digits.INK  # a bar
    image = np.asarray(Image.open(io.BytesIO(digits.picture(scan, 64))))
    assert image.shape == (64, 64)
    assert image[32, 32] < 20
    assert image[12:52].min(axis=1).max() < 60  # the bar reaches over the middle five eighths
    for border in (image[:11], image[53:], image[:, :12], image[:, 52:]):
        assert border.min() == 255


def test_samples_are_reproducible_and_labelled_by_their_class_name() -> None:
    spec = DigitsBenchmark(images=20, side=16)
    one, two = spec.content(ANY_SOURCE, "val"), spec.content(ANY_SOURCE, "val")
    assert one == two
    assert [sample.label for sample in one.samples] == list(range(10)) * 2
    assert one.classnames[7] == "seven"
    assert all("{c}" in template for template in one.templates)
