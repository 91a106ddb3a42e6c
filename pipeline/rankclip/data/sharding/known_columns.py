"""Columns of the index that come from beside the images: captions of tables, and what the source knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from rankclip import files
from rankclip.data.captions import join
from rankclip.data.captions.slots import PREFIX, RAW
from rankclip.data.captions.spec import CaptionSpec
from rankclip.data.loading import latent_column
from rankclip.data.sharding.parts import Parts
from rankclip.data.tables.table_files import digest_of
from rankclip.errors import InputError

WIDTH = 2**16
"""Samples that get their columns at a time."""


class KnownColumns:
    """Columns for all samples, made for WIDTH of them at a time, in order.

    Args:
        parts: the samples.
        captions: slot -> the table from which its captions are.
        source: folder with the captions.parquet and latents.parquet of the source, if any, by URL.
        scratch: folder for temporary files.

    Raises:
        InputError: a table is missing, is not the study's or names no sample, or a slot has two origins.
        DataError: a table of the source is damaged.
    """

    def __init__(
        self, parts: Parts, captions: Mapping[str, CaptionSpec], source: Path | None, scratch: Path
    ) -> None:
        self._captions = captions
        self._own = parts.columns()
        tables = [*_of_source(source), *join.side_tables(captions)]
        _require_one_origin(self._own, tables)
        require_unchanged(captions)
        self._joins = join.joins(
            tables, lambda kind: (table[kind] for table in parts.tables([kind])), WIDTH, scratch
        )
        self._latents = _latents(source, parts)

    @property
    def names(self) -> list[str]:
        """The columns of the samples themselves that belong into the index."""
        return self._own

    def added(self, group: int, rows: pa.Table) -> pa.Table:
        """The rows of samples `group * WIDTH` and on, with their columns."""
        columns: dict[str, pa.Array | pa.ChunkedArray] = {
            PREFIX + slot: lists for each in self._joins for slot, lists in each.columns(group, rows).items()
        }
        for name, column in self._latents.items():
            columns[name] = column.slice(group * WIDTH, len(rows))
        for name, column in columns.items():
            rows = rows.append_column(name, column)
        return rows

    def origins(self) -> dict[str, dict[str, object]]:
        """Slot -> where its captions are from and what became of the table's rows, after the last group."""
        counts = {slot: each.counts() for each in self._joins for slot in each.side.slots}
        return {
            slot: {**spec.model_dump(mode="json", exclude={"path"}), "file": spec.path.name, **counts[slot]}
            for slot, spec in self._captions.items()
        }


def _of_source(source: Path | None) -> list[join.SideTable]:
    """The source's own captions as one more table."""
    path = source / "captions.parquet" if source else None
    if path is None or not path.exists():
        return []
    names = files.column_names(path, latent_column.SOURCE_REMEDY)
    slots: dict[str, join.Taken] = {name: ((name,), "none") for name in names if name not in ("url", RAW)}
    return [join.SideTable(path, "url", "url", slots)] if slots else []


def _latents(source: Path | None, parts: Parts) -> dict[str, pa.ChunkedArray]:
    """What is true of each image. Only drawn sources know, which are small, so all are held at once."""
    path = source / "latents.parquet" if source else None
    if path is None or not path.exists():
        return {}
    chunks = [chunk for table in parts.tables(["url"]) for chunk in table["url"].chunks]
    return latent_column.load(path, pa.chunked_array(chunks, pa.string()))


def _require_one_origin(own: Sequence[str], tables: Sequence[join.SideTable]) -> None:
    known = {name.removeprefix(PREFIX) for name in own if name.startswith(PREFIX)}
    for table in tables:
        twice = sorted(known & table.slots.keys())
        if twice:
            raise InputError(f"captions.{twice[0]}: the source has captions of that name; give yours another")
        known |= table.slots.keys()


def require_unchanged(captions: Mapping[str, CaptionSpec]) -> None:
    """Refuses tables that are not those of the study.

    Raises:
        InputError: a table is missing, or has another digest.
    """
    for slot, spec in captions.items():
        found = digest_of(spec.path)
        if found != spec.sha256:
            raise InputError(
                f"captions.{slot}: {spec.path} has sha256 {found}, but the study is of a table with "
                f"{spec.sha256}; run `rankclip use` again, to study the table as it is now"
            )
