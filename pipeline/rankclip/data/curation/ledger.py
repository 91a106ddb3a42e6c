"""The ledger: where every input row of a study ended, and what its image is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from rankclip import files
from rankclip.data.reasons import Reason
from rankclip.errors import DataError

SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "key": pa.string(),
        "url": pa.string(),
        "caption": pa.string(),
        "source_key": pa.string(),
        "reason": pa.string(),
        "stage": pa.string(),
        "detail": pa.string(),
        "sha256": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "shard": pa.string(),
        "flags": pa.list_(pa.string()),
        "phash": pa.uint64(),
    }
)
"""Of ledger.parquet: one row per input row, by `row`.

`source_key` is the list's own key, null where it has none. `stage` is the one that gave the reason; `detail`
says more, and names the other image of a duplicate by its key. `width` and `height` are those of the upright
image in pixels, 0 where unknown; `shard` names the tar of the crawl. `flags` are the checks of `curate` that
the row fails, whether or not they remove it. `phash` is the perceptual hash, null where nothing was decoded
or the image has no structure to tell it by.
"""

GROUP_ROWS = 2**16
"""Rows in a row group, so that whoever reads a part of the ledger holds little."""


class Summary(TypedDict):
    """The content of ledger.json."""

    input: int
    ok: int
    survival: float
    """`ok` of `input`, 0 for an empty input."""
    reasons: dict[str, int]
    """Reason other than `ok` -> rows; with `ok` they add up to `input`."""
    flags: dict[str, int]
    """Check that was made -> rows that fail it."""


def write(folder: Path, tables: Iterable[pa.Table], rows: int, checks: Sequence[str], remedy: str) -> Summary:
    """Write `folder/ledger.parquet`, and last `folder/ledger.json`.

    Args:
        folder: the study's folder of data.
        tables: of `SCHEMA`, one after the other by row; each is held alone.
        rows: input rows there must be.
        checks: the checks that were made.
        remedy: ends the message of an error.

    Raises:
        DataError: the rows are not 0 to `rows` - 1, each once and in order, or a reason or flag is unknown.
    """
    reasons: Counter[str] = Counter()
    flags: Counter[str] = Counter(dict.fromkeys(checks, 0))
    written = 0
    path = folder / "ledger.parquet"
    with (
        files.replace(path) as temporary,
        parquet.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer,
    ):
        for table in tables:
            if not np.array_equal(table["row"].to_numpy(), np.arange(written, written + len(table))):
                raise DataError(
                    f"{folder}: the rows after {written} are not {written}, {written + 1} and so on to "
                    f"{rows - 1}, each once; {remedy}"
                )
            reasons.update(_counted(table["reason"]))
            flags.update(_counted(pc.list_flatten(table["flags"])))
            writer.write_table(table.cast(SCHEMA), row_group_size=GROUP_ROWS)
            written += len(table)
        if written != rows:
            raise DataError(f"{folder}: {written} rows of {rows} reached the ledger; {remedy}")
        summary = _summary(rows, reasons, flags, checks, f"{folder} has rows with", remedy)
    files.write_json(folder / "ledger.json", summary)
    return summary


def _counted(values: pa.ChunkedArray) -> dict[str, int]:
    counts = pc.value_counts(values)
    return {str(count["values"]): int(count["counts"].as_py()) for count in counts}


def _summary(
    rows: int,
    reasons: Counter[str],
    flags: Counter[str],
    checks: Sequence[str],
    what: str,
    remedy: str,
) -> Summary:
    for name, counts, known in (("reasons", reasons, set(Reason)), ("flags", flags, set(checks))):
        unknown = sorted(counts.keys() - {str(each) for each in known})
        if unknown:
            raise DataError(f"{what} unknown {name}: {', '.join(unknown)}; {remedy}")
    accepted = reasons.pop(Reason.OK, 0)
    assert accepted + reasons.total() == rows, "each row that was written has one reason"
    return Summary(
        input=rows,
        ok=accepted,
        survival=round(accepted / rows, 6) if rows else 0.0,
        reasons=dict(sorted(reasons.items())),
        flags={check: flags[check] for check in checks},
    )
