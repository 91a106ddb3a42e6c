"""Public sets fetched from the hub into the folder that all studies share."""

from __future__ import annotations

import difflib
import errno
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rankclip import lifecycle
from rankclip.data import bars
from rankclip.data.benchmarks import archive, hub, inventory, judged
from rankclip.data.benchmarks.places import root
from rankclip.data.benchmarks.public_sets import CLASS_TEXTS, SETS, PublicSet
from rankclip.data.benchmarks.set_record import RECORD, read_record, recorded
from rankclip.data.benchmarks.set_texts import CLASSNAMES, TEMPLATES, TYPE
from rankclip.errors import DataError, InputError, RunError, disk_full

SPARE = 1 << 28
"""Bytes of the disk that stay free."""

MB = 10**6

log = logging.getLogger(__name__)


def known(names: Sequence[str]) -> list[str]:
    """The sets of these names, each once.

    Raises:
        InputError: there is no such set; the line names the nearest.
    """
    for name in names:
        if name in judged.NAMES:
            raise InputError(
                f"{name} is on no hub: its makers and COCO's give its files; docs/evaluation.md says which"
            )
        if name not in SETS:
            # as the hub and CLIP_benchmark write it
            plain = name.removeprefix("clip-benchmark/").removeprefix("wds_").replace("/", "-")
            near = [each for each in SETS if plain in each] or difflib.get_close_matches(plain, SETS, n=1)
            meant = f"did you mean {' or '.join(near)}? " if near else ""
            raise InputError(
                f"no public set is named {name!r}; {meant}`rankclip data benchmarks list` has all"
            )
    return list(dict.fromkeys(names))


def pull(name: str, splits: Sequence[str]) -> str:
    """Fetches these splits of a set, unless they are there; returns a line on what is there now.

    What an earlier call fetched is kept: only what is missing comes, and a file goes on where it stopped.

    Raises:
        InputError: the set has no such split, or the hub does not give it.
        RunError: the hub cannot be reached, sends something else, the disk has too little room, or the
            folder cannot be written.
        DataError: what was fetched is no set, or the set that is there is damaged.
    """
    about, folder = SETS[name], root() / f"wds_{name}"
    if "train" in splits and not about.train:
        raise InputError(f"{name} has no train split; leave --split out")
    with writing(folder), lifecycle.lock(folder, wait_s=1):
        record = read_record(folder) if (folder / RECORD).exists() else {}
        present = list(record.get("splits", ()))
        if not set(splits) - set(present) and _is_intact(folder, present):
            return f"{described(folder, record)}, there before"
        revision: str | None = record.get("revision") or None
        asked = [split for split in inventory.SPLITS if split in (*present, *splits)]
        source = (_from_archive if about.archive else _from_layout)(folder, about, asked, revision)
        made = inventory.write(folder, asked, source.name, source.revision)
        if about.archive:
            (folder / about.archive).unlink()
    if (found := made["splits"]["test"]["images"]) != about.images:
        log.warning("%s has %s test images, but %s are expected of it", name, found, about.images)
    return described(folder, made)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What keeps a set's folder from being written, as a line; that the disk is full every command says.

    Raises:
        RunError: a file cannot be written.
    """
    try:
        yield
    except OSError as error:
        if disk_full(error):
            raise
        raise RunError(
            f"{error.filename or folder} cannot be written ({os.strerror(error.errno or errno.EIO)}); let it "
            "be written, or name another folder in RANKCLIP_BENCHMARKS"
        ) from error


def described(folder: Path, record: dict[str, Any]) -> str:
    """A set in a line."""
    counts = ", ".join(f"{split} {of['images']:,} images" for split, of in record["splits"].items())
    return f"{folder}: {counts}, digest {record['digest']}"


def _from_layout(
    folder: Path, about: PublicSet, splits: Sequence[str], revision: str | None
) -> hub.Repository:
    source = hub.repository(about.repository, revision)
    texts = [name for name in (CLASSNAMES, TEMPLATES, TYPE) if name in source.files]
    counts = [f"{split}/nshards.txt" for split in splits]
    absent = [path for path in counts if path not in source.files]
    if absent:
        raise DataError(f"{about.repository} has no {absent[0]}; it is no set of CLIP_benchmark's layout")
    tars = [
        path
        for path in source.files
        if (part := re.fullmatch(r"(\w+)/\d+\.tar", path)) is not None and part[1] in splits
    ]
    _fetch(source, [*texts, *counts, *sorted(tars, key=_number)], folder, folder.name)
    for split in splits:
        count = inventory.shards(folder, split)
        if absent := [path for path in _names(split, count, len(tars)) if path not in tars]:
            raise DataError(f"{about.repository} has no {absent[0]}, which its {split}/nshards.txt counts")
    return source


def _from_archive(
    folder: Path, about: PublicSet, splits: Sequence[str], revision: str | None
) -> hub.Repository:
    texts = hub.repository(SETS[CLASS_TEXTS].repository)
    _fetch(texts, [CLASSNAMES, TEMPLATES], folder, CLASS_TEXTS)
    source = hub.repository(about.repository, revision)
    _fetch(source, [about.archive], folder, folder.name, room=2)
    archive.convert(folder / about.archive, folder, about.classes)
    return source


def _is_intact(folder: Path, splits: Sequence[str]) -> bool:
    """Whether the files of a set have the sizes of its record; what is damaged is fetched again."""
    try:
        for split in splits:
            recorded(folder, split)
    except DataError as error:
        log.warning("%s", error)
        return False
    return True


def _fetch(source: hub.Repository, paths: Sequence[str], folder: Path, title: str, room: int = 1) -> None:
    """Fetches files into a folder; the disk must hold `room` times what is missing."""
    absent = [path for path in paths if path not in source.files]
    if absent:
        raise DataError(f"{source.name} has no {absent[0]}; was it renamed?")
    wanted = [source.files[path] for path in paths]
    total = sum(file.size for file in wanted)
    require_room(folder, total * room - sum(_bytes_there(folder / file.path) for file in wanted))
    with bars.bar(title, total // MB, "MB") as advance:
        told = _megabytes(advance)
        for file in wanted:
            hub.fetch(source, file, folder / file.path, partial(told, file.path))


def require_room(folder: Path, size: int) -> None:
    """Refuses to begin what the disk cannot hold.

    Raises:
        RunError: fewer than `size` bytes, and some to spare, are free where `folder` lies.
    """
    free = shutil.disk_usage(folder).free
    if size > 0 and free < size + SPARE:
        raise RunError(
            f"{folder} needs {size / MB:,.0f} MB more and {SPARE / MB:,.0f} to spare, but its disk has "
            f"{free / MB:,.0f} MB free; make room, or name another folder in RANKCLIP_BENCHMARKS"
        )


def _bytes_there(path: Path) -> int:
    """Of a file or of the part of it that an earlier call fetched."""
    places = (path, path.with_name(f"{path.name}.part"))
    return sum(place.stat().st_size for place in places if place.is_file())


def _names(split: str, count: int, there: int) -> Iterator[str]:
    """The tars that a split of `count` must have, of a count out of all reason no more than show it."""
    return (f"{split}/{number}.tar" for number in range(min(count, there + 1)))


def _megabytes(advance: bars.Advance) -> Callable[[str, int], None]:
    """What is told of a file's path and the bytes that came of it, and tells `advance` whole megabytes."""
    seen = 0

    def told(path: str, count: int) -> None:
        nonlocal seen
        before, seen = seen // MB, seen + count
        advance(seen // MB - before, path)

    return told


def _number(path: str) -> tuple[str, int]:
    split, _, name = path.partition("/")
    return split, int(name.removesuffix(".tar"))
