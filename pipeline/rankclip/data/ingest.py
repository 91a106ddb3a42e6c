"""A caption file in CC3M's official form to a checked URL table: what is accepted, and why the rest is not.

The file is read as a stream, so its size is bounded by the disk, not by memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from rankclip import files
from rankclip.data.ingest_spec import IngestSpec
from rankclip.data.reasons import Reason, printable
from rankclip.data.seen import Seen
from rankclip.errors import InputError

BATCH = 2**16
"""Rows held in memory at once, and rows of a parquet row group."""

ACCEPTED = pa.schema(
    [("row", pa.int64()), ("key", pa.string()), ("url", pa.string()), ("caption", pa.string())]
)
REFUSED = pa.schema([("row", pa.int64()), ("reason", pa.string()), ("detail", pa.string())])

_BOM = b"\xef\xbb\xbf"
_REMEDY = "it must hold one caption<TAB>url a line, without a header"


class Source(Protocol):
    """Whatever can put a caption file on disk."""

    def write(self, folder: Path) -> Path:
        """Write the source's files into `folder`; the path of its caption file."""
        ...


class Pair(NamedTuple):
    """An accepted line."""

    row: int
    url: str
    caption: str


class Refusal(NamedTuple):
    """A line that is not accepted."""

    row: int
    reason: Reason
    detail: str


def run(spec: IngestSpec, source: Source, out: Path) -> None:
    """Write `source/`, `urls.parquet`, `refused.parquet` and `ingest.json` under `out`.

    Raises:
        InputError: the caption file is empty, or no line of it is accepted.
    """
    path = source.write(out / "source")
    counts = ingest(spec, path, out)
    files.write_json(out / "ingest.json", summary(counts))
    if not counts:
        raise InputError(f"{path} is empty; {_REMEDY}")
    if not counts[Reason.OK]:
        reason, n = counts.most_common(1)[0]
        raise InputError(
            f"{path}: none of {counts.total()} lines is accepted ({n} x {reason}); {_REMEDY}; "
            f"see {out / 'refused.parquet'}"
        )


def summary(counts: Counter[Reason]) -> dict[str, object]:
    """The counts as a DVC metric: input = accepted + refused."""
    accepted = counts[Reason.OK]
    reasons = {str(reason): n for reason, n in sorted(counts.items()) if n}
    total = counts.total()
    return {"input": total, "accepted": accepted, "refused": total - accepted, "reasons": reasons}


def ingest(spec: IngestSpec, path: Path, out: Path) -> Counter[Reason]:
    """Split the lines of `path` into `urls.parquet` and `refused.parquet` under `out`; counts by reason."""
    counts: Counter[Reason] = Counter()
    seen = Seen()
    with path.open("rb") as stream, ExitStack() as stack:
        accepted = stack.enter_context(_table(stack, out / "urls.parquet", ACCEPTED))
        refused = stack.enter_context(_table(stack, out / "refused.parquet", REFUSED))
        lines = enumerate(_lines(stream, spec))
        while batch := [check(row, line, spec) for row, line in islice(lines, BATCH)]:
            pairs, refusals = _without_repeats(batch, seen)
            counts.update(refusal.reason for refusal in refusals)
            counts[Reason.OK] += len(pairs)
            accepted.write_table(_accepted_table(pairs))
            refused.write_table(pa.table(_columns(refusals, REFUSED), schema=REFUSED))
    return counts


def check(row: int, line: bytes | None, spec: IngestSpec) -> Pair | Refusal:
    """Judge one line without its line feed; None stands for a line longer than any acceptable one."""
    if line is None:
        return Refusal(row, Reason.CAPTION_TOO_LONG, f"line of more than {_longest_line(spec)} bytes")
    try:
        text = line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        return Refusal(row, Reason.BAD_ENCODING, f"byte {error.start}: {error.reason}")
    for character, name in (("\0", "NUL"), ("\r", "carriage return")):
        if character in text:
            return Refusal(row, Reason.MALFORMED_ROW, f"{name} inside the line: {text}")
    columns = text.split("\t")
    if len(columns) != 2:
        return Refusal(row, Reason.MALFORMED_ROW, f"{len(columns)} columns instead of 2: {text}")
    caption, url = (column.strip() for column in columns)
    if not caption:
        return Refusal(row, Reason.EMPTY_CAPTION, url)
    if len(caption) > spec.max_caption_chars:
        return Refusal(row, Reason.CAPTION_TOO_LONG, f"{len(caption)} characters: {caption[:80]}")
    return check_url(row, url, spec) or Pair(row, url, caption)


def check_url(row: int, url: str, spec: IngestSpec) -> Refusal | None:
    """Why `url` cannot be asked for, or None."""
    if not url:
        return Refusal(row, Reason.NO_URL, "the second column is empty")
    if len(url) > spec.max_url_chars:
        return Refusal(row, Reason.MALFORMED_ROW, f"URL of {len(url)} characters: {url}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return Refusal(row, Reason.MALFORMED_ROW, f"{error}: {url}")
    if parts.scheme not in ("http", "https"):
        return Refusal(row, Reason.BAD_SCHEME, url)
    return None if host else Refusal(row, Reason.NO_URL, f"no host: {url}")


def _without_repeats(batch: list[Pair | Refusal], seen: Seen) -> tuple[list[Pair], list[Refusal]]:
    pairs = [item for item in batch if isinstance(item, Pair)]
    refusals = [item for item in batch if isinstance(item, Refusal)]
    first = seen.first([pair.url for pair in pairs])
    repeats = [pair for pair, is_first in zip(pairs, first, strict=True) if not is_first]
    refusals += [Refusal(pair.row, Reason.DUPLICATE_URL, pair.url) for pair in repeats]
    kept = [pair for pair, is_first in zip(pairs, first, strict=True) if is_first]
    return kept, sorted(refusals)


def _longest_line(spec: IngestSpec) -> int:
    return 4 * (spec.max_caption_chars + spec.max_url_chars) + 1024


def _lines(stream: BinaryIO, spec: IngestSpec) -> Iterator[bytes | None]:
    """The lines without their line feed; None for one that is too long to be held."""
    limit = _longest_line(spec)
    start = stream.read(len(_BOM))
    stream.seek(len(_BOM) if start == _BOM else 0)
    while line := stream.readline(limit):
        if line.endswith(b"\n"):
            yield line[:-1]
        elif len(line) < limit:
            yield line
        else:
            while line and not line.endswith(b"\n"):
                line = stream.readline(limit)
            yield None


def _table(stack: ExitStack, path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    beside = stack.enter_context(files.replace(path))
    return pq.ParquetWriter(beside, schema, compression="zstd")


def _columns(items: list[Refusal], schema: pa.Schema) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {
        "row": [item.row for item in items],
        "reason": [str(item.reason) for item in items],
        "detail": [printable(item.detail) for item in items],
    }
    return {name: columns[name] for name in schema.names}


def _accepted_table(pairs: list[Pair]) -> pa.Table:
    columns = {
        "row": [pair.row for pair in pairs],
        "key": [f"{pair.row:09d}" for pair in pairs],
        "url": [pair.url for pair in pairs],
        "caption": [pair.caption for pair in pairs],
    }
    return pa.table(columns, schema=ACCEPTED)
