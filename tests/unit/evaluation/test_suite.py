"""A model on a suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rankclip.data.benchmarks import benchmark_folder
from rankclip.errors import DataError
from rankclip.evaluation import suite
from rankclip.evaluation.reference import LatentEncoder, NoiseEncoder
from tests.unit.evaluation.known import IMAGES, Known

NAMES = ["letters", "pairs"]


def test_a_model_that_knows_the_truth_scores_one_everywhere(known: Known) -> None:
    scores = suite.evaluate(known.encoder, known.folder, NAMES, "test")
    assert {row.measured.value for row in scores.rows} == {1.0}
    assert {(row.benchmark, row.measured.metric) for row in scores.rows} >= {
        ("letters", "top1"),
        ("letters", "top5"),
        ("pairs", "image_to_text_r1"),
        ("pairs", "text_to_image_ndcg10"),
    }


def test_only_the_split_that_was_asked_for_is_read(known: Known) -> None:
    seen_in_val = {image: row for image, row in known.encoder.images.items() if image.startswith(b"val")}
    encoder = LatentEncoder(seen_in_val, known.encoder.texts)
    rows = suite.evaluate(encoder, known.folder, NAMES, "val").rows
    assert {row.split for row in rows} == {"val"}
    with pytest.raises(KeyError):
        suite.evaluate(encoder, known.folder, NAMES, "test")


def test_the_order_and_choice_of_names_is_kept(known: Known) -> None:
    rows = suite.evaluate(known.encoder, known.folder, ["pairs", "letters"], "val").rows
    assert list(dict.fromkeys(row.benchmark for row in rows)) == ["pairs", "letters"]
    assert {row.benchmark for row in suite.evaluate(known.encoder, known.folder, ["pairs"], "val").rows} == {
        "pairs"
    }


def test_each_number_carries_the_digest_of_its_data_gains_included(
    known: Known, broken_gains: Callable[[np.ndarray], Path]
) -> None:
    def digests() -> dict[str, str]:
        return {
            row.benchmark: row.data_digest
            for row in suite.evaluate(known.encoder, known.folder, NAMES, "test").rows
        }

    before = digests()
    broken_gains(np.full((IMAGES, 5 * IMAGES), 0.5, dtype=np.float32))
    after = digests()
    assert before["letters"] == after["letters"]
    assert before["pairs"] != after["pairs"]


def test_a_missing_benchmark_is_one_clear_error(known: Known) -> None:
    with pytest.raises(DataError, match="wds_digits"):
        suite.evaluate(known.encoder, known.folder, ["digits"], "test")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones((IMAGES, 3), np.float32), "has shape"),
        (np.full((IMAGES, 5 * IMAGES), 1.5, np.float32), "outside"),
        (np.full((IMAGES, 5 * IMAGES), np.nan, np.float32), "outside"),
    ],
)
def test_gains_that_do_not_fit_are_refused(
    known: Known, broken_gains: Callable[[np.ndarray], Path], values: np.ndarray, said: str
) -> None:
    path = broken_gains(values)
    with pytest.raises(DataError, match=f"{path}.*{said}.*dvc repro benchmarks"):
        suite.evaluate(known.encoder, known.folder, ["pairs"], "test")


@pytest.mark.parametrize("kept", [0, 20, 200])
def test_a_truncated_gains_file_is_one_clear_error(
    known: Known, broken_gains: Callable[[np.ndarray], Path], kept: int
) -> None:
    path = broken_gains(np.random.default_rng(0).random((IMAGES, 5 * IMAGES), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="cannot be read"):
        suite.evaluate(known.encoder, known.folder, ["pairs"], "test")


def test_validation_in_training_gives_each_top1_and_their_mean(known: Known) -> None:
    sets = [benchmark_folder.read_split(known.folder / f"wds_{name}", "val") for name in NAMES]
    assert suite.validation_top1(known.encoder, sets) == {"val/letters/top1": 1.0, "val/mean_top1": 1.0}
    noise = NoiseEncoder()
    expected = suite.evaluate(noise, known.folder, ["letters"], "val").value("letters", "top1", "val")
    assert suite.validation_top1(noise, sets)["val/letters/top1"] == expected


def test_validation_in_training_refuses_the_test_split(known: Known) -> None:
    sets = [benchmark_folder.read_split(known.folder / "wds_letters", "test")]
    with pytest.raises(ValueError, match="split test of letters must not be read in training"):
        suite.validation_top1(known.encoder, sets)


def test_validation_without_a_classification_set_is_refused(known: Known) -> None:
    sets = [benchmark_folder.read_split(known.folder / "wds_pairs", "val")]
    with pytest.raises(ValueError, match="no classification benchmark"):
        suite.validation_top1(known.encoder, sets)


def test_a_number_that_was_not_measured_is_a_key_error(known: Known) -> None:
    scores = suite.evaluate(known.encoder, known.folder, ["letters"], "val")
    with pytest.raises(KeyError, match="top1 of letters on test was not measured"):
        scores.value("letters", "top1", "test")
