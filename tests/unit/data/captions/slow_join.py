"""The join as one would write it for a few rows, and tables written as others publish them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from rankclip import files

Row = dict[str, Any]


def slow_lists(texts: Sequence[str], split: str) -> list[str]:
    if split == "sentences":
        texts = [re.sub(r"([.!?][\"')\]]*)\s+", r"\1\n", text, flags=re.ASCII) for text in texts]
        texts = [part for text in texts for part in re.split(r"[\r\n]+|</s>", text)]
    if split == "lines":
        texts = [part for text in texts for part in re.split(r"[\r\n]+", text)]
    return [text.strip() for text in texts if text.strip()]


def slow_join(
    rows: Sequence[Row], column: str, take: Sequence[str], split: str, keys: Sequence[str | None]
) -> tuple[list[list[str]], dict[str, int]]:
    """Captions of each key, and what became of the rows."""
    known: dict[str, Row] = {}
    repeated = 0
    for row in rows:
        key = row[column]
        if key is not None and key in known:
            repeated += key in keys
        elif key is not None:
            known[key] = row
    captions = []
    for key in keys:
        row = known.get(key, {}) if key is not None else {}
        values = [row.get(name) for name in take]
        texts = [t for value in values for t in ([value] if isinstance(value, str) else value or []) if t]
        captions.append(slow_lists(texts, split))
    used = len(known.keys() & set(keys))
    counts = {"rows": len(rows), "used": used, "repeated": repeated, "unreadable": 0}
    return captions, {**counts, "unused": len(rows) - used - repeated}


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """A table in the format that the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(rows[0])
    kind = path.name.split(".")[1]
    if kind == "parquet":
        table = pa.Table.from_pylist([dict(row) for row in rows])
        files.write_table(path, table)
        return path
    if kind == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in rows)
    elif kind == "tsv":
        text = "".join(
            "\t".join(line) + "\n" for line in [names, *[[row[n] or "" for n in names] for row in rows]]
        )
    else:
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)
        text = stream.getvalue()
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path
