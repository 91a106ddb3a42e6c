"""A model on a suite."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from rankclip.data.benchmarks import benchmark_folder
from rankclip.data.benchmarks.content import SplitName
from rankclip.errors import DataError
from rankclip.evaluation import suite
from rankclip.evaluation.encoder import Encoder
from rankclip.evaluation.reference import LatentEncoder, NoiseEncoder
from rankclip.evaluation.scores import Scores
from rankclip.evaluation.store import Store
from rankclip.evaluation.validation import validation_top1
from tests.unit.data.benchmarks import coco_files
from tests.unit.evaluation.known import IMAGES, Known

NAMES = ["letters", "pairs"]
RANKED = {"zero_shot", "five_captions", "one_caption", "graded"}
"""Protocols whose metrics are all 1 for who knows the truth."""


def evaluated(encoder: Encoder, folder: Path, names: Sequence[str], split: SplitName) -> Scores:
    return suite.evaluate(Store(encoder), {name: folder / f"wds_{name}" for name in names}, split)


def test_a_model_that_knows_the_truth_scores_one_everywhere(known: Known) -> None:
    scores = evaluated(known.encoder, known.folder, NAMES, "test")
    ranked = [row.measured for row in scores.rows if row.measured.protocol in RANKED]
    assert {one.protocol for one in ranked} == RANKED
    assert {one.value for one in ranked} == {1.0}
    assert {(row.benchmark, row.measured.metric) for row in scores.rows} >= {
        ("letters", "top1"),
        ("letters", "top5"),
        ("pairs", "image_to_text_r1"),
        ("pairs", "text_to_image_ndcg10"),
    }


def test_only_the_split_that_was_asked_for_is_read(known: Known) -> None:
    seen_in_val = {image: row for image, row in known.encoder.images.items() if image.startswith(b"val")}
    encoder = LatentEncoder(seen_in_val, known.encoder.texts)
    rows = evaluated(encoder, known.folder, NAMES, "val").rows
    assert {row.split for row in rows} == {"val"}
    with pytest.raises(KeyError):
        evaluated(encoder, known.folder, NAMES, "test")


def test_sets_of_judgements_are_read_beside_coco_and_measured_by_their_own_protocols(tmp_path: Path) -> None:
    coco_files.write_coco(tmp_path)
    coco_files.write_sugarcrepe(tmp_path)
    coco_files.write_crisscrossed(tmp_path)
    sets: dict[str, Path] = {"sugarcrepe": tmp_path, "crisscrossed": tmp_path}
    store = Store(NoiseEncoder(8), tmp_path / "rows")
    suite.embed(store, sets, "test")
    first = suite.evaluate(store, sets, "test")
    found = {(row.benchmark, row.measured.protocol) for row in first.rows}
    assert {("sugarcrepe", "sugarcrepe"), ("crisscrossed", "crisscrossed_sampled")} <= found
    assert {row.data_digest for row in first.rows} == {about.digest for about in store.seen.values()}


def test_a_train_split_is_for_probes_on_test_alone(known: Known) -> None:
    folder = known.folder / "wds_letters"
    samples = [
        dataclasses.replace(sample, image=sample.image + b"!")
        for sample in benchmark_folder.read_split(folder, "val").samples
    ]
    benchmark_folder.write_split(folder, "train", samples)
    store = Store(NoiseEncoder(8))
    sets = {"letters": folder}
    protocols = {row.measured.protocol for row in suite.evaluate(store, sets, "val").rows}
    assert protocols == {"zero_shot"}
    assert {row.measured.protocol for row in suite.evaluate(store, sets, "test", probes=False).rows} == {
        "zero_shot"
    }
    rows = suite.evaluate(store, sets, "test", shots=[1]).rows
    probes = {"linear_probe_cyclip", "linear_probe_logistic", "linear_probe_1shot"}
    assert {row.measured.protocol for row in rows} == {"zero_shot", *probes}
    own, learned = (
        {row.data_digest for row in rows if (row.measured.protocol in probes) == wanted}
        for wanted in (False, True)
    )
    assert own == {benchmark_folder.describe(folder, "test").digest}
    assert len(learned) == 1
    assert own.isdisjoint(learned)


def test_the_order_and_choice_of_names_is_kept(known: Known) -> None:
    rows = evaluated(known.encoder, known.folder, ["pairs", "letters"], "val").rows
    assert list(dict.fromkeys(row.benchmark for row in rows)) == ["pairs", "letters"]
    assert {row.benchmark for row in evaluated(known.encoder, known.folder, ["pairs"], "val").rows} == {
        "pairs"
    }


def test_each_number_carries_the_digest_of_its_data_gains_included(
    known: Known, broken_gains: Callable[[np.ndarray], Path]
) -> None:
    def digests() -> dict[str, str]:
        return {
            row.benchmark: row.data_digest
            for row in evaluated(known.encoder, known.folder, NAMES, "test").rows
        }

    before = digests()
    broken_gains(np.full((IMAGES, 5 * IMAGES), 0.5, dtype=np.float32))
    after = digests()
    assert before["letters"] == after["letters"]
    assert before["pairs"] != after["pairs"]


def test_a_missing_benchmark_is_one_clear_error(known: Known) -> None:
    with pytest.raises(DataError, match="wds_digits"):
        evaluated(known.encoder, known.folder, ["digits"], "test")


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
        evaluated(known.encoder, known.folder, ["pairs"], "test")


@pytest.mark.parametrize("kept", [0, 20, 200])
def test_a_truncated_gains_file_is_one_clear_error(
    known: Known, broken_gains: Callable[[np.ndarray], Path], kept: int
) -> None:
    path = broken_gains(np.random.default_rng(0).random((IMAGES, 5 * IMAGES), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="cannot be read"):
        evaluated(known.encoder, known.folder, ["pairs"], "test")


def test_validation_in_training_gives_each_top1_and_their_mean(known: Known) -> None:
    sets = [benchmark_folder.read_split(known.folder / f"wds_{name}", "val") for name in NAMES]
    assert validation_top1(known.encoder, sets) == {"val/letters/top1": 1.0, "val/mean_top1": 1.0}
    noise = NoiseEncoder()
    expected = evaluated(noise, known.folder, ["letters"], "val").value("letters", "top1", "val")
    assert validation_top1(noise, sets)["val/letters/top1"] == expected


def test_validation_in_training_refuses_the_test_split(known: Known) -> None:
    sets = [benchmark_folder.read_split(known.folder / "wds_letters", "test")]
    with pytest.raises(ValueError, match="split test of letters must not be read in training"):
        validation_top1(known.encoder, sets)


def test_validation_without_a_classification_set_is_refused(known: Known) -> None:
    sets = [benchmark_folder.read_split(known.folder / "wds_pairs", "val")]
    with pytest.raises(ValueError, match="no classification benchmark"):
        validation_top1(known.encoder, sets)


def test_a_number_that_was_not_measured_is_a_key_error(known: Known) -> None:
    scores = evaluated(known.encoder, known.folder, ["letters"], "val")
    with pytest.raises(KeyError, match="top1 of letters on test was not measured"):
        scores.value("letters", "top1", "test")
