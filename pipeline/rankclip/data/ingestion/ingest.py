"""A list of captions and URLs to a checked URL table: what is accepted, and why the rest is not.

The list is read as a stream, so its size is bounded by the disk, not by memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from rankclip import files
from rankclip.data.bars import bar
from rankclip.data.ingestion.checks import refusals, trimmed
from rankclip.data.ingestion.form import Form, Lines
from rankclip.data.ingestion.row_groups import RowGroups, row_groups
from rankclip.data.ingestion.seen import Seen
from rankclip.data.ingestion.selection import Drawn, Named, keys_of
from rankclip.data.ingestion.spec import IngestSpec, Subset
from rankclip.data.reasons import Reason, printable
from rankclip.data.tables.part import Broken, Numbers, Part
from rankclip.data.tables.read import read
from rankclip.data.tables.split import split
from rankclip.data.tables.streams import opened
from rankclip.data.tables.table_files import tables_at
from rankclip.errors import InputError

ACCEPTED = pa.schema(
    {
        "row": pa.int64(),
        "key": pa.string(),
        "url": pa.string(),
        "caption": pa.string(),
        "source_key": pa.string(),
    }
)
"""Of urls.parquet. `row` counts the rows of the study from 0; `key`, nine digits, is the number of the row in
the whole list; `source_key` is the list's own key, null where it has none."""

REFUSED = pa.schema({"row": pa.int64(), "key": pa.string(), "reason": pa.string(), "detail": pa.string()})
"""Of refused.parquet: the rows of the study that urls.parquet has not."""


class Expected(Protocol):
    """What is known of a published list."""

    @property
    def rows(self) -> int:
        """Input rows of the study."""
        ...


class Source(Protocol):
    """Whatever can put a list on disk."""

    @property
    def expected(self) -> Expected | None:
        """What is known of the list; None: nothing."""
        ...

    @property
    def form(self) -> Form:
        """How the list is laid out."""
        ...

    @property
    def subset(self) -> Subset | None:
        """The part of the list that is studied; None: all."""
        ...

    def write(self, folder: Path) -> Path:
        """Write the source's files into `folder`; the path of its list."""
        ...


def run(spec: IngestSpec, source: Source, out: Path) -> None:
    """Write `source/`, `urls.parquet`, `refused.parquet` and `ingest.json` under `out`.

    Raises:
        InputError: the list cannot be read or is empty, or no row of it is accepted.
    """
    path = source.write(out / "source")
    chosen: Drawn | Named | None = None
    rows = source.expected.rows if source.expected else None
    if source.subset is not None and source.subset.path is not None:
        chosen, rows = Named(source.subset.path), None
    elif source.subset is not None:
        rows = count(spec, path, source.form)
        chosen = Drawn(source.subset, rows)
    counts = ingest(spec, path, source.form, chosen, out, rows)
    files.write_json(out / "ingest.json", summary(counts, chosen))
    if not counts:
        raise InputError(f"{path} is empty; it must hold {source.form.said}")
    if not counts[Reason.OK]:
        reason, n = counts.most_common(1)[0]
        raise InputError(
            f"{path}: none of {counts.total()} rows is accepted ({n} x {reason}); it must hold "
            f"{source.form.said}; see {out / 'refused.parquet'}"
        )


def summary(counts: Counter[Reason], chosen: Drawn | Named | None) -> dict[str, object]:
    """The counts as a DVC metric: input = accepted + refused."""
    accepted = counts[Reason.OK]
    reasons = {str(reason): n for reason, n in sorted(counts.items()) if n}
    total = counts.total()
    of = {} if chosen is None else {"subset": chosen.record()}
    return {"input": total, "accepted": accepted, "refused": total - accepted, "reasons": reasons, **of}


def count(spec: IngestSpec, path: Path, form: Form) -> int:
    """Rows of a list, good and bad."""
    total = 0
    with bar("count", None, "rows") as advance:
        for part in parts(spec, path, form):
            rows = len(part.rows) + len(part.broken)
            total += rows
            advance(rows)
    return total


def parts(spec: IngestSpec, path: Path, form: Form) -> Iterator[Part]:
    """The rows of a list with the columns `url`, `caption` and, where it has one, `source_key`."""
    if isinstance(form, Lines):
        places = {"caption": int(form.first == "url"), "url": int(form.first == "caption")}
        with opened(path) as stream:
            yield from split(stream, 2, places, longest_line(spec))
        return
    names = ["url", "caption", "source_key"][: len(form.names)]
    row = 0
    for file, kind in tables_at(path, "source.path", form.format):
        before = row
        for part in read(file, kind, form.names, keys=[form.key] if form.key else []):
            row += len(part.rows) + len(part.broken)
            bad = [each._replace(row=each.row + before) for each in part.broken]
            yield Part(part.rows + before, part.table.rename_columns(names), bad)


def longest_line(spec: IngestSpec) -> int:
    """Bytes that no acceptable line without other columns has, at most what can be split at once."""
    return min(4 * (spec.max_caption_chars + spec.max_url_chars) + 1024, 2**30)


def ingest(
    spec: IngestSpec,
    path: Path,
    form: Form,
    chosen: Drawn | Named | None,
    out: Path,
    rows: int | None = None,
) -> Counter[Reason]:
    """Split a list of `rows` rows into `urls.parquet` and `refused.parquet` under `out`; counts by reason."""
    counts: Counter[Reason] = Counter()
    seen = Seen()
    with (
        row_groups(out / "urls.parquet", ACCEPTED) as accepted,
        row_groups(out / "refused.parquet", REFUSED) as refused,
        bar("ingest", rows, "rows") as advance,
    ):
        for part in parts(spec, path, form):
            of_study = part if chosen is None else chosen.kept(part)
            counts += judged(spec, of_study, counts.total(), seen, accepted, refused)
            share = counts[Reason.OK] / max(counts.total(), 1)
            advance(len(part.rows) + len(part.broken), f"{share:.1%} accepted")
    return counts


def judged(
    spec: IngestSpec, part: Part, row: int, seen: Seen, accepted: RowGroups, refused: RowGroups
) -> Counter[Reason]:
    """Writes the rows of a part, of which the first is row number `row` of the study; counts by reason."""
    urls, captions = trimmed(part.table["url"]), trimmed(part.table["caption"])
    found = refusals(urls, captions, spec)
    fit = np.ones(len(part.rows), bool)
    fit[list(found)] = False
    places = np.flatnonzero(fit)
    first = seen.first(urls.filter(pa.array(fit)).cast(pa.binary()).to_pylist())
    bad = [*part.broken, *(Broken(int(part.rows[at]), *refusal) for at, refusal in found.items())]
    bad += [
        Broken(int(part.rows[at]), Reason.DUPLICATE_URL, urls[at].as_py()) for at in places[~first].tolist()
    ]
    bad.sort()
    kept = places[first]
    order = np.sort(np.concatenate([part.rows, [each.row for each in part.broken]]).astype(np.int64))
    accepted.add(accepted_table(order, row, part, urls, captions, kept))
    refused.add(refused_table(order, row, bad))
    return Counter(each.reason for each in bad) + Counter({Reason.OK: len(kept)})


def accepted_table(
    order: Numbers, row: int, part: Part, urls: pa.Array, captions: pa.Array, kept: Numbers
) -> pa.Table:
    """The rows `kept` of a part; `order` holds its rows in the list, the first being `row` of the study."""
    rows, taken = part.rows[kept], pa.array(kept)
    columns = {
        "row": row + np.searchsorted(order, rows),
        "key": keys_of(rows),
        "url": urls.take(taken),
        "caption": captions.take(taken),
        "source_key": pa.nulls(len(kept), pa.string()),
    }
    if "source_key" in part.table.column_names:
        columns["source_key"] = part.table["source_key"].take(taken)
    return pa.table(columns, schema=ACCEPTED)


def refused_table(order: Numbers, row: int, bad: list[Broken]) -> pa.Table:
    """The rows of a part that are refused."""
    rows = np.array([each.row for each in bad], np.int64)
    columns = {
        "row": row + np.searchsorted(order, rows),
        "key": keys_of(rows),
        "reason": [str(each.reason) for each in bad],
        "detail": [printable(each.detail) for each in bad],
    }
    return pa.table(columns, schema=REFUSED)
