"""What was found out about the images of one tar, kept in a file so that no run judges them again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from rankclip import files
from rankclip.data.curation import perceptual
from rankclip.data.curation.verdicts import Verdict

SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "reason": pa.string(),
        "detail": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "phash": pa.uint64(),
        "digest": pa.binary(16),
    }
)
"""One row per image that should be in the tar: `verdicts.Verdict`, with the hash of its pixels, null where
there is none or it means nothing, and the first half of the sha256 of its bytes."""

_OF = b"judged"


def as_table(rows: Sequence[int], digests: Sequence[str], verdicts: Sequence[Verdict]) -> pa.Table:
    """The part with these rows, sha256 of the bytes in hexadecimal, and verdicts."""
    decoded = np.array([bool(verdict.pixels) for verdict in verdicts], bool)
    pixels = np.frombuffer(b"".join(verdict.pixels for verdict in verdicts), np.uint8)
    codes, known = np.zeros(len(verdicts), np.uint64), np.zeros(len(verdicts), bool)
    codes[decoded], known[decoded] = perceptual.hashes(pixels.reshape(-1, perceptual.SIDE, perceptual.SIDE))
    columns = {
        "row": rows,
        "reason": [verdict.reason.value for verdict in verdicts],
        "detail": [verdict.detail for verdict in verdicts],
        "width": [verdict.width for verdict in verdicts],
        "height": [verdict.height for verdict in verdicts],
        "phash": pa.array(codes, mask=~known),
        "digest": [bytes.fromhex(digest)[:16] for digest in digests],
    }
    return pa.table(columns, schema=SCHEMA)


def write(path: Path, part: pa.Table, judged: str) -> None:
    """Write a part, atomically; `judged` is the digest of what it was made from."""
    with files.replace(path) as temporary:
        parquet.write_table(part.replace_schema_metadata({_OF: judged}), temporary, compression="zstd")


def is_of(path: Path, judged: str) -> bool:
    """Whether there is a whole part that was made from what `judged` is the digest of."""
    try:
        with parquet.ParquetFile(path) as file:
            return bool((file.schema_arrow.metadata or {}).get(_OF) == judged.encode())
    except (OSError, pa.ArrowException):
        return False


def known(part: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns `digest` as uint64 `[n, 2]` and `phash` as uint64 `[n]`, and bool `[n]` where that is known."""
    digests = part["digest"].combine_chunks()
    start = digests.offset * 16
    blob = digests.buffers()[1][start : start + len(digests) * 16] if len(digests) else b""
    halves = np.frombuffer(blob, ">u8").astype(np.uint64).reshape(-1, 2)
    return halves, pc.fill_null(part["phash"], 0).to_numpy(), pc.is_valid(part["phash"]).to_numpy()
