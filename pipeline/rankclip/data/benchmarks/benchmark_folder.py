"""Benchmark sets on disk, in the webdataset layout of CLIP_benchmark.

wds_NAME/
├── classnames.txt                           a class a line; the line number is the label
├── zeroshot_classification_templates.txt    a prompt a line, with {c} where the class goes
├── dataset_type.txt                         "retrieval" for such sets, absent for classification
└── SPLIT/
    ├── nshards.txt                          number of tars, written last
    └── 0.tar, 1.tar, ...                    KEY.png|jpg|webp with KEY.cls (a label) or KEY.txt (captions)

A public set has a record.json beside these (`record`), from which its digests are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rankclip import files
from rankclip.data import tar_members, tars
from rankclip.data.benchmarks.benchmark import (
    IMAGE_EXTENSIONS,
    BenchmarkSplit,
    Sample,
    SplitInfo,
    Task,
    check_samples,
    content_digest,
)
from rankclip.data.benchmarks.set_record import RECORD, recorded
from rankclip.data.benchmarks.set_texts import REMEDY, TYPE, about, lines, write_classes
from rankclip.errors import DataError

__all__ = [
    "BenchmarkSplit",
    "Sample",
    "SplitInfo",
    "count",
    "describe",
    "is_count",
    "read_split",
    "shard_count",
    "stream",
    "write_classes",
    "write_split",
    "write_tar",
]


def write_split(folder: Path, split: str, samples: Iterable[Sample], shard_size: int = 1000) -> None:
    """Write one split, `shard_size` samples a tar; equal samples give equal bytes.

    Raises:
        InputError: a sample that a reader would take for something else (see `benchmark.check_samples`).
    """
    samples = list(samples)
    check_samples(samples, folder / split)
    target = folder / split
    target.mkdir(parents=True, exist_ok=True)
    for stale in (target / "nshards.txt", folder / TYPE, *target.glob("*.tar")):
        stale.unlink(missing_ok=True)
    starts = range(0, len(samples), shard_size)
    for number, start in enumerate(starts):
        write_tar(target / f"{number}.tar", samples[start : start + shard_size])
    if samples[0].captions:
        files.write_text(folder / TYPE, "retrieval\n")
    files.write_text(target / "nshards.txt", f"{len(starts)}\n")


def write_tar(path: Path, samples: Iterable[Sample]) -> None:
    """Write one tar of a split."""
    with tars.writing(path) as tar:
        for sample in samples:
            tar.add(f"{sample.key}.{sample.extension}", sample.image)
            tar.add(*_annotation(sample))


def stream(folder: Path, split: str) -> Iterator[Sample]:
    """The samples of one split in the order of its files; one image is in memory at a time.

    Raises:
        DataError: a file is missing or damaged, there are more tars than nshards.txt says, a tar has a file
            twice, an image has no annotation, a label is of no class, or there are no images.
    """
    task, classnames, _ = about(folder)
    empty = True
    count = shard_count(folder / split / "nshards.txt")
    if (folder / split / f"{count}.tar").exists():
        raise DataError(
            f"{folder / split / 'nshards.txt'} says {count}, but there is a {count}.tar too (the first is "
            f"0.tar): say how many are meant; {REMEDY}"
        )
    for number in range(count):
        for sample in _read_tar(folder / split / f"{number}.tar", task, len(classnames)):
            empty = False
            yield sample
    if empty:
        raise DataError(f"{folder / split} holds no images; {REMEDY}")


def describe(folder: Path, split: str) -> SplitInfo:
    """What one split holds; read from the record of a public set, else counted, an image at a time.

    Raises:
        DataError: a file is missing or damaged, or has another size than the record says.
    """
    task, classnames, templates = about(folder)
    name = folder.name.removeprefix("wds_")
    if (folder / RECORD).exists():
        digest, images, captions = recorded(folder, split)
    else:
        digest, images, captions = count(folder, split)
    return SplitInfo(name, split, task, classnames, templates, digest, images, captions)


def count(
    folder: Path, split: str, advance: Callable[[int], object] = lambda images: None
) -> tuple[str, int, int]:
    """Digest of a split, its images and their captions, by reading all of it, an image at a time.

    Args:
        folder: of the set.
        split: that is read.
        advance: is told of each image.

    Raises:
        DataError: as `stream`.
    """
    _, classnames, templates = about(folder)
    images = captions = 0

    def counted() -> Iterator[Sample]:
        nonlocal images, captions
        for sample in stream(folder, split):
            images += 1
            captions += len(sample.captions)
            advance(1)
            yield sample

    digest = content_digest(counted(), classnames, templates)
    return digest, images, captions


def read_split(folder: Path, split: str) -> BenchmarkSplit:
    """Read one split whole, ours or any other in CLIP_benchmark's layout.

    Raises:
        DataError: as `stream`.
    """
    task, classnames, templates = about(folder)
    samples = tuple(stream(folder, split))
    name = folder.name.removeprefix("wds_")
    return BenchmarkSplit(
        name, split, samples, classnames, templates, task, content_digest(samples, classnames, templates)
    )


def _annotation(sample: Sample) -> tuple[str, bytes]:
    if sample.label is None:
        return f"{sample.key}.txt", "\n".join(sample.captions).encode()
    return f"{sample.key}.cls", str(sample.label).encode()


def shard_count(path: Path) -> int:
    """The number in an nshards.txt.

    Raises:
        DataError: it is missing or holds no number.
    """
    text = "".join(lines(path))
    if not is_count(text):
        raise DataError(f"{path} says {text[:40]!r}, which is not a number of tars; {REMEDY}")
    return int(text)


def is_count(text: str) -> bool:
    """Whether text is a whole number that can be one of labels or tars."""
    return text.isascii() and text.isdecimal() and len(text) < 10


def _read_tar(path: Path, task: Task, classes: int) -> Iterator[Sample]:
    """The samples of one tar, in its order; names are grouped up to the first dot, as webdataset does."""
    groups: dict[str, dict[str, str]] = {}
    with tars.Reader(path, REMEDY) as tar:
        _refuse_twice(path)
        for member in tar.spans:
            parent, slash, base = member.rpartition("/")
            stem, _, extension = base.partition(".")
            groups.setdefault(parent + slash + stem, {})[extension.lower()] = member
        for key, members in groups.items():
            yield _read_sample(tar, key, members, task, classes)


def _refuse_twice(path: Path) -> None:
    """Refuses a tar with two files of one name, of which other readers take another or both."""
    with path.open("rb") as file:
        names = Counter(member.name for member in tar_members.members(tars.Seeking(file)))
    for name, times in names.items():
        if times > 1:
            raise DataError(f"{path} has {times} files {name.decode('utf-8', 'replace')}; {REMEDY}")


def _read_sample(tar: tars.Reader, key: str, members: dict[str, str], task: Task, classes: int) -> Sample:
    extension = next((known for known in IMAGE_EXTENSIONS if known in members), None)
    note = members.get("cls" if task == "classification" else "txt")
    if extension is None or note is None:
        found = ", ".join(members)
        raise DataError(f"{tar.path}: sample {key} ({found}) lacks its image or its annotation; {REMEDY}")
    image = tar.read(members[extension])
    try:
        text = tar.read(note).decode()
    except UnicodeDecodeError:
        raise DataError(f"{tar.path}: {note} is not UTF-8; {REMEDY}") from None
    if task == "retrieval":
        captions = tuple(text.splitlines())
        if not text.strip():
            raise DataError(f"{tar.path}: {note} holds no caption; {REMEDY}")
        return Sample(key, image, extension, captions=captions, tar=tar.path.name)
    label = text.strip()
    if not (is_count(label) and int(label) < classes):
        raise DataError(
            f"{tar.path}: label {label[:40]!r} of {key} is not in 0 to {classes - 1}, the lines of "
            f"classnames.txt; {REMEDY}"
        )
    return Sample(key, image, extension, label=int(label), tar=tar.path.name)
