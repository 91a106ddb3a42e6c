from __future__ import annotations

import errno
import io
import re
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from rankclip.data import tars
from rankclip.data.benchmarks.benchmark_folder import (
    Sample,
    describe,
    read_split,
    stream,
    write_classes,
    write_split,
)
from rankclip.errors import DataError, InputError
from tests.unit.data.crawled import encoded, picture

CLASSES = ["circle", "blue square", "Dreieck"]
TEMPLATES = ["a {c}", "a drawing of a {c}."]
LABELLED = [Sample(f"s{i:07d}", encoded(picture((i, 0, 0)), "PNG"), "png", label=i % 3) for i in range(5)]
CAPTIONED = [
    Sample(f"s{i:07d}", encoded(picture((i, 0, 0))), "jpg", captions=tuple(f"{c} {i} ü" for c in "abcde"))
    for i in range(3)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "wds_shape"
    write_classes(folder, CLASSES, TEMPLATES)
    write_split(folder, "val", LABELLED[:2])
    write_split(folder, "test", LABELLED, shard_size=2)
    return folder


def rewrite(folder: Path, members: dict[str, bytes]) -> None:
    with tars.writing(folder / "test" / "0.tar") as tar:
        for name, blob in members.items():
            tar.add(name, blob)


def alone(folder: Path) -> None:
    """Leaves the first tar of a split alone."""
    for number in (1, 2):
        (folder / "test" / f"{number}.tar").unlink()
    (folder / "test" / "nshards.txt").write_text("1")


def test_classification_comes_back_as_written(folder: Path) -> None:
    split = read_split(folder, "test")
    assert (split.name, split.split, split.task) == ("shape", "test", "classification")
    assert split.samples == tuple(LABELLED)
    assert (split.classnames, split.templates) == (tuple(CLASSES), tuple(TEMPLATES))
    assert read_split(folder, "val").samples == tuple(LABELLED[:2])


def test_retrieval_comes_back_as_written(tmp_path: Path) -> None:
    write_split(tmp_path / "wds_captions", "test", CAPTIONED)
    split = read_split(tmp_path / "wds_captions", "test")
    assert (split.name, split.task, split.classnames) == ("captions", "retrieval", ())
    assert split.samples == tuple(CAPTIONED)


def test_the_layout_is_that_of_clip_benchmark(folder: Path) -> None:
    assert (folder / "test" / "nshards.txt").read_text().strip() == "3"
    assert (folder / "classnames.txt").read_text().splitlines() == CLASSES
    assert (folder / "zeroshot_classification_templates.txt").read_text().splitlines() == TEMPLATES
    assert not (folder / "dataset_type.txt").exists()
    with tarfile.open(folder / "test" / "1.tar") as tar:
        assert tar.getnames() == ["s0000002.png", "s0000002.cls", "s0000003.png", "s0000003.cls"]
        assert int(tar.extractfile("s0000002.cls").read()) == 2


def test_captions_are_a_line_each_in_a_set_of_type_retrieval(tmp_path: Path) -> None:
    write_split(tmp_path, "test", CAPTIONED)
    assert (tmp_path / "dataset_type.txt").read_text().strip() == "retrieval"
    with tarfile.open(tmp_path / "test" / "0.tar") as tar:
        text = tar.extractfile("s0000001.txt").read().decode()
    assert tuple(text.splitlines()) == CAPTIONED[1].captions


def test_two_writes_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_split(tmp_path / name, "test", LABELLED)
    assert (tmp_path / "a/test/0.tar").read_bytes() == (tmp_path / "b/test/0.tar").read_bytes()


def test_a_smaller_set_leaves_no_tar_of_the_larger(folder: Path) -> None:
    write_split(folder, "test", LABELLED[:1])
    assert sorted(path.name for path in (folder / "test").iterdir()) == ["0.tar", "nshards.txt"]


def test_the_digest_is_of_the_contents_not_of_the_tars(folder: Path) -> None:
    before = read_split(folder, "test").digest
    write_split(folder, "test", LABELLED, shard_size=4)
    assert read_split(folder, "test").digest == before


@pytest.mark.parametrize("changed", ["image", "label", "order", "class", "template"])
def test_the_digest_changes_with_anything_that_changes_a_score(folder: Path, changed: str) -> None:
    before = read_split(folder, "test").digest
    first, *others = LABELLED
    samples = {
        "image": [replace(first, image=first.image + b"\0"), *others],
        "label": [replace(first, label=1), *others],
        "order": [*others, first],
    }.get(changed, LABELLED)
    classes = ["ring", *CLASSES[1:]] if changed == "class" else CLASSES
    write_classes(folder, classes, TEMPLATES[:1] if changed == "template" else TEMPLATES)
    write_split(folder, "test", samples, shard_size=2)
    assert read_split(folder, "test").digest != before


@pytest.mark.parametrize("caption", ["two\nlines", "two\u2028lines", "a\rb", "tail\n", ""])
def test_a_caption_that_is_not_one_line_is_refused(tmp_path: Path, caption: str) -> None:
    with pytest.raises(InputError, match=r"caption of s0000000 .* must be one line"):
        write_split(tmp_path, "test", [replace(CAPTIONED[0], captions=("fine", caption))])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no samples"),
        ([LABELLED[0], LABELLED[0]], "one key"),
        ([replace(LABELLED[0], key="a.b")], "'a.b'"),
        ([replace(LABELLED[0], key="../a")], "slash"),
        ([replace(LABELLED[0], extension="gif")], "'gif' .* png, jpg, jpeg, webp"),
        ([LABELLED[0], replace(CAPTIONED[0], key="other")], "either a label or captions"),
        ([replace(LABELLED[0], label=None)], "either a label or captions"),
    ],
)
def test_samples_that_would_be_misread_are_refused(
    tmp_path: Path, samples: list[Sample], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_split(tmp_path, "test", samples)
    assert not list(tmp_path.iterdir())


def test_a_prompt_without_a_place_for_the_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'a photo' .* write \{c\}"):
        write_classes(tmp_path, CLASSES, ["a photo"])


@pytest.mark.parametrize("label", ["3", "-1", "circle", "", "1 2", "²", "9" * 5000])
def test_a_wrong_label_is_named_with_its_sample(folder: Path, label: str) -> None:
    rewrite(folder, {"s0.png": b"image", "s0.cls": label.encode()})
    said = (
        rf"0\.tar: label '{label[:40]}' of s0 is not in 0 to 2, the lines of classnames\.txt; make it again"
    )
    with pytest.raises(DataError, match=said):
        read_split(folder, "test")


def test_a_sample_without_annotation_is_named(folder: Path) -> None:
    rewrite(folder, {"s0.png": b"image", "s0.cls": b"0", "s1.png": b"image"})
    with pytest.raises(DataError, match=r"0\.tar: sample s1 \(png\) lacks"):
        read_split(folder, "test")


def test_a_truncated_tar_is_named_with_the_remedy(folder: Path) -> None:
    tar = folder / "test" / "2.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(DataError, match=r"2\.tar is not a whole tar.*dvc repro -f -s benchmarks"):
        read_split(folder, "test")


@pytest.mark.parametrize(
    "name", ["classnames.txt", "zeroshot_classification_templates.txt", "test/nshards.txt", "test/1.tar"]
)
def test_a_missing_file_is_named_with_the_remedy(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing; .*dvc repro"):
        read_split(folder, "test")


@pytest.mark.parametrize("said", ["many", "", "9" * 5000])
def test_a_count_of_shards_that_is_no_number_is_named(folder: Path, said: str) -> None:
    (folder / "test" / "nshards.txt").write_text(said)
    with pytest.raises(DataError, match=rf"nshards\.txt says '{said[:40]}', which is not a number of tars"):
        read_split(folder, "test")


def test_a_tar_beyond_the_count_is_not_left_out_in_silence(folder: Path) -> None:
    (folder / "test" / "nshards.txt").write_text("2")
    with pytest.raises(DataError, match=r"nshards\.txt says 2, but there is a 2\.tar too"):
        describe(folder, "test")


def test_a_name_twice_in_a_tar_is_refused(folder: Path) -> None:
    with tarfile.open(folder / "test" / "0.tar", "w") as tar:
        for name, blob in [("s0.png", b"image"), ("s0.cls", b"0"), ("s0.png", b"other")]:
            member = tarfile.TarInfo(name)
            member.size = len(blob)
            tar.addfile(member, io.BytesIO(blob))
    with pytest.raises(DataError, match=r"0\.tar has 2 files s0\.png; make it again"):
        read_split(folder, "test")


def test_a_mark_at_the_beginning_is_no_part_of_a_class_name(folder: Path) -> None:
    (folder / "classnames.txt").write_text("\n".join(CLASSES), encoding="utf-8-sig")
    assert describe(folder, "test").classnames == tuple(CLASSES)


def test_a_set_without_class_names_is_told_how_captions_are_announced(folder: Path) -> None:
    (folder / "classnames.txt").unlink()
    with pytest.raises(DataError, match=r"a set of captions has a dataset_type\.txt that says retrieval$"):
        read_split(folder, "test")


def test_a_folder_that_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(DataError, match=rf"^{folder} cannot be read \(.*Permission denied"):
        describe(folder, "test")


def test_a_set_of_a_type_that_is_not_supported_is_refused(folder: Path) -> None:
    (folder / "dataset_type.txt").write_text("multilabel")
    with pytest.raises(DataError, match="'multilabel', which is not supported"):
        read_split(folder, "test")


def test_a_public_set_with_folders_in_its_names_is_read(folder: Path) -> None:
    alone(folder)
    rewrite(folder, {"x/s0.JPG": b"first", "x/s0.cls": b"2\n", "y/s0.jpg": b"second", "y/s0.cls": b"0"})
    assert [(one.key, one.image, one.label) for one in read_split(folder, "test").samples] == [
        ("x/s0", b"first", 2),
        ("y/s0", b"second", 0),
    ]


def test_a_stream_reads_a_tar_when_it_comes_to_it(folder: Path) -> None:
    (folder / "test" / "2.tar").unlink()
    samples = stream(folder, "test")
    assert [next(samples) for _ in range(4)] == LABELLED[:4]
    with pytest.raises(DataError, match=r"test/2\.tar is missing"):
        next(samples)


@pytest.mark.parametrize("samples", [LABELLED, CAPTIONED])
def test_a_description_counts_what_a_split_whole_in_memory_holds(
    tmp_path: Path, samples: list[Sample]
) -> None:
    write_classes(tmp_path, CLASSES, TEMPLATES)
    write_split(tmp_path, "test", samples, shard_size=2)
    whole, about = read_split(tmp_path, "test"), describe(tmp_path, "test")
    assert (about.digest, about.task, about.split) == (whole.digest, whole.task, "test")
    assert (about.classnames, about.templates) == (whole.classnames, whole.templates)
    assert about.images == len(whole.samples)
    assert about.captions == sum(len(sample.captions) for sample in whole.samples)


def test_two_classes_of_one_name_are_refused_when_written_and_when_read(folder: Path) -> None:
    with pytest.raises(InputError, match=r"2 classes for .* are named 'circle'; give each its own name"):
        write_classes(folder, ["circle", "ring", "circle"], TEMPLATES)
    (folder / "classnames.txt").write_text("circle\nring\ncircle\n")
    with pytest.raises(DataError, match=r"classnames\.txt names 2 classes 'circle'"):
        read_split(folder, "test")


def test_the_two_names_that_imagenet_has_twice_can_be_read(folder: Path) -> None:
    (folder / "classnames.txt").write_text("missile\nsunglasses\nmissile\nsunglasses\n")
    assert describe(folder, "test").classnames == ("missile", "sunglasses") * 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("zeroshot_classification_templates.txt", "", "it is empty; a class or a prompt a line"),
        ("zeroshot_classification_templates.txt", "a {c}\na photo\n", "prompt 'a photo' has no {c}"),
        ("classnames.txt", "", "it is empty"),
        ("classnames.txt", "circle\n\nsquare\n", "line 2 is empty"),
    ],
)
def test_class_names_and_prompts_that_cannot_be_used_are_named(
    folder: Path, name: str, text: str, message: str
) -> None:
    (folder / name).write_text(text)
    with pytest.raises(DataError, match=rf"{name}: {re.escape(message)}"):
        describe(folder, "test")


def test_a_split_without_images_is_named(folder: Path) -> None:
    alone(folder)
    rewrite(folder, {})
    with pytest.raises(DataError, match="test holds no images"):
        describe(folder, "test")
    (folder / "test" / "0.tar").unlink()
    (folder / "test" / "nshards.txt").write_text("0")
    with pytest.raises(DataError, match="test holds no images"):
        list(stream(folder, "test"))


@pytest.mark.parametrize("said", [b"", b"  \n"])
def test_an_image_without_a_caption_is_named(folder: Path, said: bytes) -> None:
    (folder / "dataset_type.txt").write_text("retrieval\n")
    rewrite(folder, {"s0.png": b"image", "s0.txt": said})
    with pytest.raises(DataError, match=r"0\.tar: s0\.txt holds no caption"):
        read_split(folder, "test")


def test_a_split_is_never_whole_in_memory(tmp_path: Path) -> None:
    size, count = 100_000, 40
    samples = [Sample(f"s{k:07d}", bytes([k]) * size, "png", label=0) for k in range(count)]
    write_classes(tmp_path, CLASSES, TEMPLATES)
    write_split(tmp_path, "test", samples)
    tracemalloc.start()
    try:
        assert describe(tmp_path, "test").images == count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * size
