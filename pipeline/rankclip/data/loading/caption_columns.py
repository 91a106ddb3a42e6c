"""Captions as columns of lists: a slot is a way to describe images, with any number of captions for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files
from rankclip.data.captions.slots import PREFIX, RAW
from rankclip.data.loading.latent_column import SOURCE_REMEDY

__all__ = ["PREFIX", "RAW", "load"]


def load(path: Path, urls: pa.ChunkedArray, raw: pa.ChunkedArray) -> dict[str, pa.Array]:
    """Slot -> `list<string>` column with a list for each of `urls`, empty where there is no caption.

    Args:
        path: a table with `url` and a column of strings or lists of strings a slot; may be missing.
        urls: `[n]` of the samples.
        raw: `[n]` captions that came with them; they make the slot `raw`, whatever the table says.

    Raises:
        DataError: the table cannot be read or has no column `url`.
    """
    slots = {RAW: _lists(pc.fill_null(raw, ""))}
    if not path.exists():
        return slots
    names = files.column_names(path, SOURCE_REMEDY)
    table = files.read_table(path, sorted({"url", *names}), SOURCE_REMEDY)
    found = pc.index_in(urls, value_set=table["url"].combine_chunks())
    for slot in names:
        if slot not in ("url", RAW):
            slots[slot] = _lists(table[slot].take(found))
    return slots


def _lists(column: pa.ChunkedArray) -> pa.Array:
    """A column of strings or of lists of strings as one of lists of strings, null as the empty list."""
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type):
        return pc.if_else(pc.is_valid(flat), flat, pa.scalar([], flat.type)).cast(pa.list_(pa.string()))
    ends = np.cumsum(pc.is_valid(flat).to_numpy(zero_copy_only=False), dtype=np.int32)
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    return pa.ListArray.from_arrays(pa.array(offsets), flat.drop_null().cast(pa.string()))
