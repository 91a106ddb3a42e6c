"""What a table says of an image as a list of captions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip.data.captions.spec import Split

_BREAKS = {"lines": r"[\r\n]+", "sentences": r"[\r\n]+|</s>"}
_SENTENCE_END = r"([.!?][\"')\]]*)\s+"


def lists(columns: Sequence[pa.ChunkedArray], split: Split = "none") -> pa.ListArray:
    """`[n]` lists of captions: those of the first column, then of the next; split, trimmed, none blank.

    Args:
        columns: each `[n]` strings or lists of strings; null is none.
        split: see `CaptionSpec.split`.
    """
    flat = [_flat(column) for column in columns]
    texts = pa.chunked_array([text for text, _ in flat], pa.string()).combine_chunks()
    rows = np.concatenate([row for _, row in flat])
    order = np.argsort(rows, kind="stable")  # the first column's stay before the next one's
    texts, rows = texts.take(pa.array(order)), rows[order]
    if split != "none":
        texts, rows = _split(texts, rows, split)
    texts = pc.utf8_trim_whitespace(texts)
    kept = pc.not_equal(texts, "")
    texts, rows = texts.filter(kept), rows[np.asarray(kept)]
    counts = np.bincount(rows, minlength=len(columns[0]))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), texts)


def _flat(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """The texts of a column that are not null, and the row of each."""
    array = column.combine_chunks()
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        rows = np.asarray(pc.list_parent_indices(array)).astype(np.int64)
        array = pc.list_flatten(array)
    else:
        rows = np.arange(len(array))
    array = array.cast(pa.string())
    valid = np.asarray(array.is_valid())
    return array.drop_null(), rows[valid]


def _split(texts: pa.StringArray, rows: np.ndarray, split: Split) -> tuple[pa.Array, np.ndarray]:
    if split == "sentences":
        texts = pc.replace_substring_regex(texts, pattern=_SENTENCE_END, replacement="\\1\n")
    parts = pc.split_pattern_regex(texts, _BREAKS[split])
    return pc.list_flatten(parts), rows[np.asarray(pc.list_parent_indices(parts))]


def none(n: int) -> pa.ListArray:
    """`[n]` empty lists."""
    return pa.ListArray.from_arrays(pa.array(np.zeros(n + 1, np.int32)), pa.array([], pa.string()))
