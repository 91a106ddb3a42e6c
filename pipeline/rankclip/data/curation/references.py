"""The images of the benchmarks, which no image of the training data should be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from rankclip import files, launch
from rankclip.data import bars, processes, tars
from rankclip.data.benchmarks import places
from rankclip.data.benchmarks.benchmark import IMAGE_EXTENSIONS
from rankclip.data.benchmarks.content import SPLITS
from rankclip.data.curation import parts
from rankclip.data.curation.verdicts import judge
from rankclip.data.reasons import MAX_PIXELS, Reason
from rankclip.errors import DataError
from rankclip.spec import digest

REMEDY = "make it again with `dvc repro -f -s benchmarks`"

_TYPICAL_BYTES = 20_000


@dataclass(frozen=True)
class References:
    """Images of benchmarks, in the order of manifest.json, of its splits and of their tars."""

    names: pa.ChunkedArray
    """BENCHMARK/SPLIT/KEY of each."""
    digests: np.ndarray
    """uint64 `[n, 2]`: the first half of the sha256 of the bytes."""
    hashes: np.ndarray
    """uint64 `[n]`: perceptual hashes."""
    hashed: np.ndarray
    """bool `[n]`: whether the hash means anything."""


@dataclass(frozen=True)
class SplitTar:
    """A tar of a benchmark, the work of one process at a time."""

    path: Path
    split: str
    """BENCHMARK/SPLIT."""
    judged: str
    """Tells the split's content from that of another drawing."""
    part: Path


def read(benchmarks: Path, folder: Path) -> References:
    """The images of every split in `benchmarks/manifest.json`; what is found out of them is kept in `folder`.

    A tar is read image by image.

    Raises:
        DataError: the manifest or a tar is missing or damaged, or an image does not decode.
    """
    work = list(_tars(benchmarks, folder))
    new = [tar for tar in work if not parts.is_of(tar.part, tar.judged)]
    # other machines need not have the benchmarks, and there are few of these
    images = 0 if launch.on_cluster() else sum(tar.path.stat().st_size for tar in new) // _TYPICAL_BYTES
    with bars.bar("benchmarks", len(new), "tars") as advance:
        for _ in processes.mapped(judge_tar, new, images):
            advance(1)
    empty = parts.SCHEMA.empty_table()
    table = pa.concat_tables([empty, *(files.read_table(tar.part) for tar in work)])
    return References(table["detail"], *parts.known(table))


def judge_tar(tar: SplitTar) -> None:
    """Make the part of a tar of a benchmark, with the names of its images as `detail`.

    Raises:
        DataError: the tar is missing or damaged, or an image does not decode.
    """
    digests, verdicts = [], []
    with tars.Reader(tar.path, REMEDY) as reader:
        for member in reader.spans:
            path = PurePosixPath(member)
            key, _, extension = path.name.partition(".")
            if extension.lower() not in IMAGE_EXTENSIONS:
                continue
            blob = reader.read(member)
            verdict = judge(blob, MAX_PIXELS)
            if verdict.reason != Reason.OK:
                raise DataError(f"{tar.path}: {member} cannot be used ({verdict.detail}); {REMEDY}")
            digests.append(hashlib.sha256(blob).hexdigest())
            verdicts.append(verdict._replace(detail=f"{tar.split}/{path.with_name(key)}"))
    table = parts.as_table(range(len(verdicts)), digests, verdicts)
    parts.write(tar.part, table, tar.judged)


def _tars(benchmarks: Path, folder: Path) -> Iterator[SplitTar]:
    """The tars of the splits that the manifest lists, in the layout of `benchmark_folder`."""
    manifest = benchmarks / "manifest.json"
    try:
        splits = [
            (places.listed(name, benchmarks, entry) / split, f"{name}/{split}", str(about["digest"]))
            for name, entry in files.read_json(manifest, REMEDY)["benchmarks"].items()
            for split, about in entry.items()
            if split in SPLITS and not entry.get("judged")
        ]
    except (AttributeError, KeyError, TypeError):
        raise DataError(f"{manifest} does not list benchmarks with their splits; {REMEDY}") from None
    for place, split, content in splits:
        for number in range(_count(place / "nshards.txt")):
            path = place / f"{number}.tar"
            if not path.exists():
                raise DataError(f"{path} is missing; {REMEDY}")
            judged = digest([content, number, path.stat().st_size])
            yield SplitTar(path, split, judged, folder / f"{split.replace('/', '.')}.{number}.parquet")


def _count(path: Path) -> int:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{path} does not hold a number of tars; {REMEDY}") from None
