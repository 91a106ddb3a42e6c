"""What the record.json of a public set says of its splits, and whether the files are still those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rankclip import files
from rankclip.errors import DataError

RECORD = "record.json"


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a set: `{"splits": {SPLIT: {"images", "captions", "digest"}}, "files": {...}, ...}`.

    Raises:
        DataError: there is none, or it is damaged.
    """
    name, path = folder.name.removeprefix("wds_"), folder / RECORD
    remedy = (
        f"delete it, then `rankclip data benchmarks pull {name}` makes it again, or, for a set that you put "
        f"there, `rankclip data benchmarks verify --adopt {name}`"
    )
    record: Any = files.read_json(path, remedy)
    try:
        _ = [(one["digest"], one["images"], one["captions"]) for one in record["splits"].values()]
        _ = [(one["bytes"], one["sha256"]) for one in record["files"].values()]
        _ = (record["digest"], record["repository"], record["revision"])
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not the record of a set ({error!r}); {remedy}") from None
    return dict(record)


def recorded(folder: Path, split: str) -> tuple[str, int, int]:
    """Digest, images and captions of a split by the record.

    Of the tars the sizes are looked at, of the small files the digests.

    Raises:
        DataError: the record is damaged or lacks the split, or a file is not that of the record.
    """
    record = read_record(folder)
    if split not in record["splits"]:
        raise DataError(f"{folder} has no split {split}, only {', '.join(record['splits'])}")
    name = folder.name.removeprefix("wds_")
    remedy = f"fetch it again with `rankclip data benchmarks pull {name}`"
    for path, of in record["files"].items():
        file, size = folder / path, of["bytes"]
        if path.startswith(f"{split}/") and (not file.exists() or file.stat().st_size != size):
            now = f"has {file.stat().st_size:,} bytes" if file.exists() else "is missing"
            raise DataError(f"{file} {now}, but its record says {size:,} bytes; {remedy}")
        if "/" not in path and (not file.exists() or files.sha256(file) != of["sha256"]):
            raise DataError(f"{file} is not what its record lists; {remedy}")
    known = record["splits"][split]
    return known["digest"], known["images"], known["captions"]
