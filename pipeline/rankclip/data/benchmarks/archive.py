"""A published archive of images in folders of labels, made into tars of CLIP_benchmark's layout."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from rankclip import files
from rankclip.data import tar_members, tars
from rankclip.data.benchmarks import benchmark_folder
from rankclip.data.benchmarks.benchmark import IMAGE_EXTENSIONS, Sample
from rankclip.data.benchmarks.content import key
from rankclip.errors import DataError

SHARD = 1000
"""Images a tar, which is also what is in memory."""

MAX_IMAGE = 64 << 20
"""Bytes of an image at most; ImageNet-V2's largest have a tenth."""


def convert(archive: Path, folder: Path, classes: int) -> None:
    """Writes `folder/test` of a tar.gz of `NAME/LABEL/IMAGE`, in the archive's order; nothing is unpacked.

    Raises:
        DataError: the archive is damaged, or has an image in no folder of a label below `classes`.
    """
    samples = _samples(archive, classes)
    target = folder / "test"
    count = 0
    while batch := list(islice(samples, SHARD)):
        benchmark_folder.write_tar(target / f"{count}.tar", batch)
        count += 1
    files.write_text(target / "nshards.txt", f"{count}\n")


def _samples(archive: Path, classes: int) -> Iterator[Sample]:
    number = 0
    try:
        with gzip.open(archive) as file:
            source = tars.Stream(file)  # type: ignore[arg-type]  # a GzipFile is a BinaryIO in all but name
            for member in tar_members.members(source):
                path = PurePosixPath(member.name.decode("utf-8", "replace"))
                extension = path.suffix.removeprefix(".").lower()
                if extension not in IMAGE_EXTENSIONS or path.name.startswith("."):
                    continue
                label = path.parent.name
                if not (benchmark_folder.is_count(label) and int(label) < classes):
                    raise DataError(f"{archive}: {path} lies in no folder of a label, 0 to {classes - 1}")
                if member.size > MAX_IMAGE:
                    raise DataError(f"{archive}: {path} has {member.size:,} bytes, more than any image has")
                yield Sample(key(number), source.take(member.size), extension, label=int(label))
                number += 1
    except (OSError, EOFError, zlib.error, tar_members.DamagedError) as error:
        raise DataError(f"{archive} is not a whole tar.gz ({files.one_line(error)}); pull it again") from None
