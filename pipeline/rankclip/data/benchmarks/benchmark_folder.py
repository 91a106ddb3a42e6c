"""Benchmark sets on disk, in the webdataset layout of CLIP_benchmark.

wds_NAME/
├── classnames.txt                           a class a line; the line number is the label
├── zeroshot_classification_templates.txt    a prompt a line, with {c} where the class goes
├── dataset_type.txt                         "retrieval" for such sets, absent for classification
└── SPLIT/
    ├── nshards.txt                          number of tars, written last
    └── 0.tar, 1.tar, ...                    KEY.png|jpg|webp with KEY.cls (a label) or KEY.txt (captions)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rankclip import files
from rankclip.data import tars
from rankclip.data.benchmarks.benchmark import (
    IMAGE_EXTENSIONS,
    BenchmarkSplit,
    Sample,
    Task,
    check_line,
    check_samples,
    content_digest,
)
from rankclip.errors import DataError, InputError

__all__ = ["BenchmarkSplit", "Sample", "read_split", "write_classes", "write_split"]

REMEDY = "make it again with `dvc repro -f -s benchmarks`, or fetch it again"


def write_split(folder: Path, split: str, samples: Iterable[Sample], shard_size: int = 1000) -> None:
    """Write one split, `shard_size` samples a tar; equal samples give equal bytes.

    Raises:
        InputError: a sample that a reader would take for something else (see `benchmark.check_samples`).
    """
    samples = list(samples)
    check_samples(samples, folder / split)
    target = folder / split
    target.mkdir(parents=True, exist_ok=True)
    for stale in (target / "nshards.txt", folder / "dataset_type.txt", *target.glob("*.tar")):
        stale.unlink(missing_ok=True)
    starts = range(0, len(samples), shard_size)
    for number, start in enumerate(starts):
        with tars.writing(target / f"{number}.tar") as tar:
            for sample in samples[start : start + shard_size]:
                tar.add(f"{sample.key}.{sample.extension}", sample.image)
                tar.add(*_annotation(sample))
    if samples[0].captions:
        files.write_text(folder / "dataset_type.txt", "retrieval\n")
    files.write_text(target / "nshards.txt", f"{len(starts)}\n")


def write_classes(folder: Path, classnames: Sequence[str], templates: Sequence[str]) -> None:
    """Write class names, in the order of their labels, and prompts.

    Raises:
        InputError: one of them is empty or holds a line break, or a prompt lacks `{c}`.
    """
    for line in (*classnames, *templates):
        check_line(line, "class name or prompt", folder)
    for template in templates:
        if "{c}" not in template:
            raise InputError(
                f"prompt {template!r} for {folder} has no place for the class; write {{c}} there"
            )
    files.write_text(folder / "classnames.txt", "".join(f"{name}\n" for name in classnames))
    prompts = "".join(f"{template}\n" for template in templates)
    files.write_text(folder / "zeroshot_classification_templates.txt", prompts)


def read_split(folder: Path, split: str) -> BenchmarkSplit:
    """Read one split, ours or any other in CLIP_benchmark's layout.

    Raises:
        DataError: a file is missing or damaged, an image has no annotation, or a label is of no class.
    """
    task = _task(folder)
    labelled = task == "classification"
    classnames = tuple(_lines(folder / "classnames.txt") if labelled else ())
    templates = tuple(_lines(folder / "zeroshot_classification_templates.txt") if labelled else ())
    samples = tuple(
        sample
        for number in range(_shard_count(folder / split / "nshards.txt"))
        for sample in _read_tar(folder / split / f"{number}.tar", task, len(classnames))
    )
    if not samples:
        raise DataError(f"{folder / split} holds no images; {REMEDY}")
    name = folder.name.removeprefix("wds_")
    return BenchmarkSplit(
        name, split, samples, classnames, templates, task, content_digest(samples, classnames, templates)
    )


def _annotation(sample: Sample) -> tuple[str, bytes]:
    if sample.label is None:
        return f"{sample.key}.txt", "\n".join(sample.captions).encode()
    return f"{sample.key}.cls", str(sample.label).encode()


def _task(folder: Path) -> Task:
    file = folder / "dataset_type.txt"
    value = "".join(_lines(file)).lower() if file.exists() else "classification"
    if value == "retrieval":
        return "retrieval"
    if value == "classification":
        return "classification"
    raise DataError(f"{file} says {value!r}, which is not supported; use a classification or retrieval set")


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {REMEDY}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({files.one_line(error)}); {REMEDY}") from None


def _shard_count(path: Path) -> int:
    text = "".join(_lines(path))
    if not text.isdecimal():
        raise DataError(f"{path} says {text[:40]!r}, which is not a number of tars; {REMEDY}")
    return int(text)


def _read_tar(path: Path, task: Task, classes: int) -> list[Sample]:
    """The samples of one tar, in its order; names are grouped up to the first dot, as webdataset does."""
    groups: dict[str, dict[str, str]] = {}
    with tars.Reader(path, REMEDY) as tar:
        for member in tar.spans:
            parent, slash, base = member.rpartition("/")
            stem, _, extension = base.partition(".")
            groups.setdefault(parent + slash + stem, {})[extension.lower()] = member
        return [_read_sample(tar, key, members, task, classes) for key, members in groups.items()]


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
        return Sample(key, image, extension, captions=tuple(text.splitlines()))
    label = text.strip()
    if not (label.isascii() and label.isdecimal() and int(label) < classes):
        raise DataError(f"{tar.path}: label {label[:40]!r} of {key} is not in 0 to {classes - 1}; {REMEDY}")
    return Sample(key, image, extension, label=int(label))
