"""Atomic files, digests, tables and records: what every folder of results is made with.

A file is written beside its final name and moved there, so that a reader sees the old file, the new one or
none, never a part.
"""

from __future__ import annotations

import errno
import functools
import glob
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from rankclip import versions
from rankclip.errors import DataError, RunError, disk_full
from rankclip.spec import digest

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

REMEDY = "make it again with `dvc repro`"

NEW = ".new"
"""Ends the name of a file that is made, for a moment, to see its permissions."""


@contextmanager
def replace(path: Path, *, keep: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well and else vanishes.

    With `keep`, what another process has put there by then stays. The parent folder is made when missing;
    data reach the disk before the name does. What killed writers of `path` left behind is deleted. Others may
    read it as any new file, also where a library writes for its user alone.

    Raises:
        OSError: with the path as its file name, when the disk is full, in whichever way a library says so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.tmp")
    try:
        yield temporary
        _permit(temporary)
        flush(temporary)
        if keep:
            _put_once(temporary, path)
        else:
            temporary.replace(path)
        flush(path.parent)
    except Exception as error:
        if disk_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _permit(temporary: Path) -> None:
    """Gives a file that only its owner may read, as safetensors writes it, the permissions of a new one."""
    status = temporary.stat()
    if stat.S_IMODE(status.st_mode) != stat.S_IRUSR | stat.S_IWUSR or status.st_nlink > 1:
        return  # a second link is another file's, whose permissions are not ours
    new = temporary.with_name(f"{temporary.name}{NEW}")  # the umask cannot be read without setting it
    try:
        new.touch()
        temporary.chmod(stat.S_IMODE(new.stat().st_mode))
    finally:
        new.unlink(missing_ok=True)


def _put_once(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError:
        if not path.exists():  # a file system without hard links
            source.replace(path)


def _sweep(path: Path) -> None:
    """Deletes temporary files of `path` whose process, on this machine, is gone.

    One of our own number is an earlier process's, since numbers come again; it may be a hard link to another
    file, which must not be written to.
    """
    ours = f".{path.name}.{os.uname().nodename}."
    for left in path.parent.glob(f"{glob.escape(ours)}*.tmp*"):
        number = left.name.removeprefix(ours).removesuffix(NEW).removesuffix(".tmp")
        if number.isdecimal() and (int(number) == os.getpid() or not psutil.pid_exists(int(number))):
            left.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Returns when what was written to a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)  # unlike `open`, works for folders too
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with replace(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, keys in the order given, atomically.

    Raises:
        ValueError: a number is not finite; such a file could not be read elsewhere.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, remedy: str = REMEDY) -> Any:
    """The value stored in a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({one_line(error)}); {remedy}") from None


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, atomically; equal tables give equal bytes (of one version of pyarrow)."""
    from pyarrow import parquet

    with replace(path) as temporary:
        parquet.write_table(table.replace_schema_metadata(None), temporary, compression="zstd")


def read_table(path: Path, columns: list[str] | None = None, remedy: str = REMEDY) -> pa.Table:
    """The table stored in a Parquet file, or only its `columns`.

    Raises:
        DataError: the file is missing, cannot be read or lacks a column.
    """
    with _opened(path, remedy) as file:
        _require(file, columns, path, remedy)
        return file.read(columns)


def read_batches(
    path: Path, columns: list[str] | None = None, remedy: str = REMEDY, rows: int = 2**16
) -> Iterator[pa.Table]:
    """The table stored in a Parquet file, or only its `columns`, in tables of at most `rows` rows.

    Raises:
        DataError: the file is missing, cannot be read or lacks a column.
    """
    import pyarrow as pa

    with _opened(path, remedy) as file:
        _require(file, columns, path, remedy)
        for batch in file.iter_batches(rows, columns=columns):
            yield pa.Table.from_batches([batch])


def column_names(path: Path, remedy: str = REMEDY) -> list[str]:
    """Names of the columns of a Parquet file, read from its footer alone.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    with _opened(path, remedy) as file:
        return list(file.schema_arrow.names)


def _require(file: parquet.ParquetFile, columns: list[str] | None, path: Path, remedy: str) -> None:
    lacking = sorted(set(columns or ()) - set(file.schema_arrow.names))
    if lacking:
        raise DataError(f"{path} has no column {', '.join(lacking)}; {remedy}")


@contextmanager
def _opened(path: Path, remedy: str) -> Iterator[parquet.ParquetFile]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {remedy}") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet ({one_line(error)}); {remedy}") from None


def write_record(
    folder: Path,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    counts: Mapping[str, int],
    **facts: str | int,
) -> None:
    """Write `folder/record.json`: what the folder was made from.

    In a folder below `work/`, which nobody else empties, its presence says that the folder is complete. DVC
    may delete the outputs beside it and leave it, so elsewhere it only tells of what was made last.

    Args:
        folder: the finished folder; call this last.
        config: the config sections used, as plain JSON values.
        inputs: name of each input -> its digest.
        counts: what was counted, for example {"samples": 1000}.
        facts: whatever else names the folder, for example its arm and seed.
    """
    record = {
        **facts,
        "config_digest": digest(dict(config)),
        "config": dict(config),
        "inputs": dict(inputs),
        "counts": dict(counts),
        **versions.code(),
        "versions": versions.installed(),
    }
    write_json(folder / "record.json", record)


def link_or_copy(source: Path, target: Path) -> None:
    """Put `source` at `target` by a hard link, else by a copy, replacing what is there."""
    with replace(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def one_line(error: BaseException) -> str:
    """An exception's text without line breaks, at most 200 characters; its class where it has no text."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@functools.cache
def code_digest(places: tuple[str, ...]) -> str:
    """Digest of these sources, so that results of other code are not taken for those of this one.

    Args:
        places: files or folders below the package.
    """
    package = Path(__file__).parent
    total = hashlib.sha256()
    for place in places:
        below = sorted((package / place).rglob("*.*")) or [package / place]
        for source in (path for path in below if path.suffix in (".py", ".json")):
            total.update(f"{source.relative_to(package).as_posix()} {sha256(source)}\n".encode())
    return total.hexdigest()[:16]


def require_code(key: str, expected: str, places: tuple[str, ...]) -> None:
    """Refuses to work under the digest of other code than that which runs here.

    Raises:
        RunError: this process has other sources in `places` than the driver, whose digest is `expected`.
    """
    ours = code_digest(places)
    if ours != expected:
        raise RunError(
            f"{key}: the code here ({ours}) is not the driver's ({expected}): it was edited meanwhile "
            "or differs between nodes; start again"
        )
