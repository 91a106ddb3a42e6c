"""An index of samples and all that describes them, the same for shards of ours and for tars of others.

index.parquet    where each image lies and what is known of it, by rows
keys.txt.gz      the keys of all samples, for others to take the same
card.json        the data card
manifest.json    size and digest of every tar and of the index, written last; what identifies the data
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from pyarrow import parquet

from rankclip import files
from rankclip.data import bars
from rankclip.data.captions.spec import CaptionSpec
from rankclip.data.sharding import pool
from rankclip.data.sharding.card import Json, Tally, card
from rankclip.data.sharding.known_columns import WIDTH, KnownColumns
from rankclip.data.sharding.packing import ShardDescription
from rankclip.data.sharding.parts import Parts, regrouped
from rankclip.errors import DataError


def publish(
    folder: Path,
    parts: Sequence[Path],
    shards: Mapping[str, ShardDescription],
    captions: Mapping[str, CaptionSpec],
    about: Json,
    scratch: Path,
    source: Path | None = None,
) -> int:
    """Write the index of a set of data, its keys, its card and, last, its manifest; tars are not touched.

    Args:
        folder: where they go; an older manifest there is removed first.
        parts: Parquet files of the index's rows in order, see `Parts`; they are read several times.
        shards: name of each tar, as in the column `shard`, and what it is.
        captions: slot -> the table from which its captions are, joined here.
        about: the head of the card, see `card.about`.
        scratch: folder for temporary files, about half as large as the tables of captions; deleted.
        source: folder of what the source itself knows of its images by URL, in captions.parquet and
            latents.parquet, either of which may be missing.

    Returns:
        The number of samples.

    Raises:
        InputError: a table of captions cannot be joined, or a slot has two origins.
        DataError: a part, or a table of the source, is missing or damaged, or the tars have other samples.
    """
    (folder / "manifest.json").unlink(missing_ok=True)
    total = sum(shard["samples"] for shard in shards.values())
    rows = Parts(parts)
    known = KnownColumns(rows, captions, source, scratch)
    tally = _write_index(folder, rows, known, total)
    digests = {
        "index": files.sha256(folder / "index.parquet"),
        "pool": pool.digest(lambda: rows.tables(["key", "sha256"])),
    }
    files.write_json(folder / "card.json", card(about, shards, tally, known.origins(), digests))
    described = {"samples": total, "index_sha256": digests["index"], "shards": dict(shards)}
    files.write_json(folder / "manifest.json", described)
    shutil.rmtree(scratch, ignore_errors=True)
    return total


def _write_index(folder: Path, rows: Parts, known: KnownColumns, total: int) -> Tally:
    """Write index.parquet and keys.txt.gz; what was counted on the way."""
    tally, samples, write = Tally(), 0, None
    with (
        files.replace(folder / "index.parquet") as temporary,
        pool.writing_keys(folder / "keys.txt.gz") as add_keys,
        bars.bar("index", total, "samples") as advance,
        ExitStack() as stack,
    ):
        for group, table in enumerate(regrouped(rows.tables(known.names), WIDTH)):
            table = known.added(group, table).replace_schema_metadata(None)
            if write is None:
                new = parquet.ParquetWriter(temporary, table.schema, compression="zstd")
                write = stack.enter_context(new).write_table
            write(table, row_group_size=WIDTH)
            tally.add(table)
            add_keys(table)
            samples += len(table)
            advance(len(table))
        if samples != total or not total:
            raise DataError(
                f"the tars of {folder} hold {total} samples, but {samples} rows describe them; "
                "run the stage again"
            )
    return tally
