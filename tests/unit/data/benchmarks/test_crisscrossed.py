"""Crisscrossed Captions as published, over COCO's captions and images as published."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankclip.data.benchmarks import crisscrossed
from rankclip.errors import DataError
from tests.unit.data.benchmarks import coco_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    coco_files.write_coco(tmp_path)
    coco_files.write_crisscrossed(tmp_path)
    return tmp_path


def test_every_rated_pair_is_found_again_by_its_names_and_its_words(root: Path) -> None:
    data = crisscrossed.load(root, "test")
    flat = [caption for said in data.captions for caption in said]
    by_kind = {one.kind: one for one in data.ratings}
    images = [int(key[-12:]) for key in data.keys]
    text = {number: " ".join(said.split()) for number, (_, said) in coco_files.CAPTIONS.items()}
    pairs = {kind: zip(one.query, one.candidate, one.score, strict=True) for kind, one in by_kind.items()}
    assert [(images[a], images[b], s) for a, b, s in pairs["image_image"]] == coco_files.SIS
    assert [(flat[a], flat[b], s) for a, b, s in pairs["text_text"]] == [
        (text[a], text[b], s) for a, b, s in coco_files.STS
    ]
    assert [(flat[a], images[b], s) for a, b, s in pairs["image_text"]] == [
        (text[a], b, s) for a, b, s in coco_files.SITS
    ]


def test_images_are_those_that_are_rated_or_whose_captions_are(root: Path) -> None:
    data = crisscrossed.load(root, "test")
    assert data.keys == tuple(f"COCO_val2014_{number:012d}" for number in (7, 42, 139, 285, 632))
    assert data.captions[1] == ("a dog on grass", "the dog runs")


def test_samples_are_read_one_by_one_in_the_order_of_the_keys(root: Path) -> None:
    data = crisscrossed.load(root, "test")
    samples = list(data.samples())
    assert tuple(sample.key for sample in samples) == data.keys
    assert tuple(sample.captions for sample in samples) == data.captions
    assert samples[1].image == (root / "coco/val2014/COCO_val2014_000000000042.jpg").read_bytes()


def test_the_digest_changes_with_a_rating_a_caption_and_an_image(root: Path) -> None:
    digests = {crisscrossed.load(root, "test").digest}
    table = root / "crisscrossed/sts_test.csv"
    table.write_text(table.read_text().replace("4.5", "4.6"))
    digests.add(crisscrossed.load(root, "test").digest)
    said = root / "coco/annotations/captions_val2014.json"
    said.write_text(said.read_text().replace("a red bus", "a blue bus"))
    digests.add(crisscrossed.load(root, "test").digest)
    image = root / "coco/val2014/COCO_val2014_000000000042.jpg"
    image.write_bytes(image.read_bytes() + b"\0")
    digests.add(crisscrossed.load(root, "test").digest)
    assert len(digests) == 4


def test_validation_is_another_split_with_other_files(root: Path) -> None:
    with pytest.raises(DataError, match=r"sis_val\.csv is missing"):
        crisscrossed.load(root, "val")
    coco_files.write_crisscrossed(root, "val")
    assert crisscrossed.load(root, "val").split == "val"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("sts_test.csv", "agg_score", "score", r"sts_test\.csv has no column agg_score; put"),
        ("sts_test.csv", "4.5", "5.5", r"sts_test\.csv line 2 is not a rating: .*5\.5"),
        ("sits_test.csv", "sentid:102", "sentid:x", r"sits_test\.csv line 2 is not a rating: .*sentid:x"),
        ("sis_test.csv", "COCO_val2014_000000000632.jpg", "632.jpg", r"sis_test\.csv line 6 is not a rating"),
        ("sis_test.csv", ",1.25,", ",", r"sis_test\.csv line 6 is not a rating"),
        ("sts_test.csv", "sentid:108", "sentid:999", r"sts_test\.csv rates caption 999, which coco"),
        ("sis_test.csv", "000000000632.jpg", "000000000633.jpg", r"633\.jpg is missing; unpack"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_file_and_place(
    root: Path, file: str, old: str, new: str, message: str
) -> None:
    path = root / "crisscrossed" / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        crisscrossed.load(root, "test")


def test_a_table_of_too_few_queries_to_sample_is_refused(root: Path) -> None:
    path = root / "crisscrossed/sts_test.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:3]) + "\n")
    with pytest.raises(DataError, match=r"sts_test\.csv rates 2 queries alone, fewer than 4: is it whole\?"):
        crisscrossed.load(root, "test")


def test_a_table_without_ratings_is_refused(root: Path) -> None:
    (root / "crisscrossed/sis_test.csv").write_text("image1,image2,agg_score,sampling_method\n")
    with pytest.raises(DataError, match=r"sis_test\.csv holds no rating"):
        crisscrossed.load(root, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds a list, not an object"),
        ("{}", "not COCO's list of captions"),
        ('{"annotations": [{"id": 1}]}', "not COCO's list of captions"),
        ("nothing", "cannot be read as JSON"),
    ],
)
def test_captions_that_are_not_those_of_coco_are_refused(root: Path, text: str, message: str) -> None:
    (root / "coco/annotations/captions_val2014.json").write_text(text)
    with pytest.raises(DataError, match=rf"captions_val2014\.json.*{message}.*annotations_trainval2014\.zip"):
        crisscrossed.load(root, "test")


def test_an_image_that_vanishes_while_they_are_read_is_named(root: Path) -> None:
    data = crisscrossed.load(root, "test")
    data.files[2].unlink()
    with pytest.raises(DataError, match=r"000000000139\.jpg: image of crisscrossed cannot be read"):
        list(data.samples())
