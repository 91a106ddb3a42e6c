"""The files of a published table: one, or a folder of parts in one format."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import get_args

from rankclip import files
from rankclip.data.ingestion.form import Format
from rankclip.errors import InputError

FORMATS: tuple[Format, ...] = get_args(Format)


def format_of(path: Path) -> Format | None:
    """How a file is written, by its suffix (before .gz, but for parquet); None: it is no table."""
    named = path.with_suffix("") if path.suffix == ".gz" else path
    for kind in FORMATS:
        if named.suffix.lower() == f".{kind}" and (kind != "parquet" or named == path):
            return kind
    return None


def tables_at(path: Path, key: str, format: Format | None = None) -> list[tuple[Path, Format]]:
    """The table at `path`, or all tables below it by name, since large ones are published in parts.

    Args:
        path: a file or a folder.
        key: where the study names it, for messages.
        format: how it is written; None: as the suffixes say.

    Raises:
        InputError: there is nothing there, no table, or tables of several formats or of another.
    """
    if not path.exists():
        raise InputError(f"{key}: {path} is missing; put the table there, or change `path`")
    if format is not None and path.is_file():
        return [(path, format)]
    below = [path] if path.is_file() else sorted(each for each in path.rglob("*") if _is_visible(each, path))
    found = [(each, kind) for each in below if (kind := format_of(each)) is not None]
    kinds = sorted({kind for _, kind in found})
    if not kinds:
        raise InputError(f"{key}: {path} is no table; give one of {', '.join(FORMATS)} (texts also as .gz)")
    if len(kinds) > 1:
        raise InputError(f"{key}: {path} holds tables of several formats ({', '.join(kinds)}); give one")
    if format not in (None, *kinds):
        raise InputError(f"{key}: {path} holds {kinds[0]}, not {format} as `format` says; drop `format`")
    return found


def _is_visible(file: Path, below: Path) -> bool:
    return file.is_file() and not any(part.startswith(".") for part in file.relative_to(below).parts)


def digest_of(path: Path, key: str = "captions") -> str:
    """The sha256 of a table; of several parts that of their names and digests.

    A process reads a table once for this, unless its size or time of change is another.

    Raises:
        InputError: there is no table, or it cannot be read.
    """
    try:
        found = [(each, each.stat()) for each, _ in tables_at(path, key)]
        return _digest(path, tuple((each, stat.st_size, stat.st_mtime_ns) for each, stat in found))
    except OSError as error:
        raise InputError(
            f"{key}: {path} cannot be read ({files.one_line(error)}); give one that can"
        ) from None


@functools.lru_cache
def _digest(path: Path, found: tuple[tuple[Path, int, int], ...]) -> str:
    if path.is_file():
        return files.sha256(path)
    total = hashlib.sha256()
    for part, _, _ in found:
        total.update(f"{part.relative_to(path).as_posix()} {files.sha256(part)}\n".encode())
    return total.hexdigest()
