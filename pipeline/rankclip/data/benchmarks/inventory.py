"""The record of a public set: every file with its digest, every split with its content, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rankclip import files, versions
from rankclip.data import bars, images
from rankclip.data.benchmarks import benchmark_folder
from rankclip.data.benchmarks.set_record import RECORD, read_record
from rankclip.data.benchmarks.set_texts import CLASSNAMES, TEMPLATES, TYPE, about
from rankclip.errors import DataError, InputError
from rankclip.spec import digest

SPLITS = ("test", "train")
"""That a public set may have; validation is no split of theirs."""


def write(folder: Path, splits: Sequence[str], repository: str, revision: str) -> dict[str, Any]:
    """Reads a set through and writes its record.json, the last of its files; returns what it says.

    Args:
        repository: of the hub; empty for a set that was put there by hand.
        revision: the commit.

    Raises:
        DataError: the set cannot be read.
    """
    task, classnames, _ = about(folder)
    counted: dict[str, dict[str, Any]] = {}
    for split in splits:
        with bars.bar(f"{folder.name}/{split}: reading", None, "images") as advance:
            content, count, captions = benchmark_folder.count(folder, split, advance)
        counted[split] = {"images": count, "captions": captions, "digest": content}
    listed: dict[str, dict[str, Any]] = {}
    wanted = paths(folder, splits)
    with bars.bar(f"{folder.name}: digests", len(wanted), "files") as advance:
        for path in wanted:
            listed[path] = sizes(folder / path)
            advance(1, path)
    record = {
        "name": folder.name.removeprefix("wds_"),
        "repository": repository,
        "revision": revision,
        "task": task,
        "classes": len(classnames),
        "digest": digest(counted),
        "splits": counted,
        "files": listed,
        **versions.code(),
        "versions": versions.installed(),
    }
    files.write_json(folder / RECORD, record)
    return record


def adopt(folder: Path) -> dict[str, Any]:
    """Writes the record of a set that was put into a folder by hand; returns what it says.

    Raises:
        InputError: there is no test split, or the set has a record that tells of where it came from.
        DataError: the set cannot be read.
    """
    try:
        recorded, splits = (folder / RECORD).exists(), there(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); let it be read") from None
    if recorded:
        raise InputError(f"{folder} has a record; check it with `verify`, or delete {folder / RECORD} first")
    if "test" not in splits:
        raise InputError(
            f"{folder / 'test'} holds no nshards.txt: a set is classnames.txt, "
            "zeroshot_classification_templates.txt, test/nshards.txt and test/0.tar, ..."
        )
    return write(folder, splits, "", "")


def there(folder: Path) -> list[str]:
    """The splits whose tars lie in a folder."""
    return [split for split in SPLITS if (folder / split / "nshards.txt").is_file()]


def paths(folder: Path, splits: Sequence[str]) -> list[str]:
    """Every file of these splits of a set, and its small ones."""
    texts = [name for name in (CLASSNAMES, TEMPLATES, TYPE) if (folder / name).exists()]
    tars = [
        f"{split}/{name}"
        for split in splits
        for name in ("nshards.txt", *(f"{number}.tar" for number in range(shards(folder, split))))
    ]
    return texts + tars


def shards(folder: Path, split: str) -> int:
    """Number of tars of a split, by its nshards.txt."""
    return benchmark_folder.shard_count(folder / split / "nshards.txt")


def sizes(path: Path) -> dict[str, Any]:
    """Bytes and sha256 of a file."""
    return {"bytes": path.stat().st_size, "sha256": files.sha256(path)}


def faults(folder: Path, deep: bool) -> Iterator[str]:
    """What is wrong with a set that has a record, a line each: bytes that differ, images that do not decode.

    Args:
        deep: also decode every image.

    Raises:
        DataError: there is no record, or it is damaged.
    """
    record = read_record(folder)
    with bars.bar(f"{folder.name}: digests", len(record["files"]), "files") as advance:
        for path, known in record["files"].items():
            advance(1, path)
            file = folder / path
            if not file.is_file():
                yield f"{file} is missing"
            elif (found := sizes(file)) != known:
                size = f"{found['bytes']:,} bytes for {known['bytes']:,}"
                yield f"{file} differs: {size}, sha256 {found['sha256']}"
    if deep:
        for split in record["splits"]:
            yield from undecoded(folder, split, record["splits"][split]["images"])


def undecoded(folder: Path, split: str, count: int) -> Iterator[str]:
    """Images of a split that cannot be decoded, a line each; last what keeps the rest from being read."""
    with bars.bar(f"{folder.name} {split}", count, "images") as advance:
        try:
            for sample in benchmark_folder.stream(folder, split):
                try:
                    with images.opened(sample.image) as image:
                        image.load()
                except Exception as error:  # decoders fail on damaged bytes in every way there is
                    why = files.one_line(error)
                    yield f"{folder / split}: the image of {sample.key} cannot be decoded ({why})"
                advance(1)
        except DataError as error:
            yield str(error)
