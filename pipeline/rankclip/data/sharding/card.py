"""The data card: what a set of data is, where it is from, and how much of its source it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from rankclip.data.captions.slots import PREFIX, RAW
from rankclip.data.sharding.packing import ShardDescription
from rankclip.data.sources.expected import Expected, verdict

Json = dict[str, Any]

QUANTILES = {"min": 0.0, "p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


class Described(Protocol):
    """What the card says of a source."""

    @property
    def name(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def expected(self) -> Expected | None: ...
    @property
    def is_indexed(self) -> bool: ...


def about(name: str, source: Described, ledger: Mapping[str, Any]) -> Json:
    """The head of the card.

    Args:
        name: of the study.
        source: its list or tars.
        ledger: the content of ledger.json.
    """
    expected = source.expected
    # of a list the digest of its bytes, of tars that of their names and sizes, of a drawn world none
    listed = getattr(source, "sha256", None) or getattr(source, "digest", None)
    subset = getattr(source, "subset", None)
    rows, ok = ledger["input"], ledger["ok"]
    return {
        "name": name,
        "source": source.name,
        "licence": source.licence,
        "subset": subset.model_dump(mode="json", exclude={"path"}) if subset else None,
        "input": rows,
        "ok": ok,
        "survival": round(ok / rows, 6) if rows else 0.0,
        "expected": expected.dump() if expected else None,
        "verdict": verdict(expected, rows, ok, source.is_indexed),
        "reasons": dict(ledger["reasons"]),
        "flags": dict(ledger["flags"]),
        "digests": {"list": listed},
    }


def card(
    head: Json,
    shards: Mapping[str, ShardDescription],
    tally: Tally,
    origins: Mapping[str, Mapping[str, object]],
    digests: Mapping[str, str],
) -> Json:
    """The whole card.

    Args:
        head: see `about`.
        shards: the tars.
        tally: of all samples.
        origins: slot -> the table that its captions are from.
        digests: "index" of index.parquet and "pool", see `pool.digest`.
    """
    counts = {
        "samples": sum(shard["samples"] for shard in shards.values()),
        "shards": len(shards),
        "bytes": sum(shard["bytes"] for shard in shards.values()),
    }
    slots = {slot: {**said, **origins.get(slot, {})} for slot, said in tally.slots().items()}
    known = {**head.get("digests", {}), **digests}
    return {**head, **counts, **tally.measures(), "slots": slots, "digests": known}


class Tally:
    """What the card says of the samples themselves, counted a table of the index at a time."""

    def __init__(self) -> None:
        self._measures = {name: Quantiles() for name in ("width", "height", "image_bytes", "caption_words")}
        self._slots: dict[str, dict[str, int]] = {}

    def add(self, rows: pa.Table) -> None:
        """Counts rows of the index."""
        for name, column in (("width", "width"), ("height", "height"), ("image_bytes", "size")):
            self._measures[name].add(rows[column].to_numpy())
        for column in rows.column_names:
            if column.startswith(PREFIX):
                self._add_slot(column.removeprefix(PREFIX), rows[column].combine_chunks())

    def _add_slot(self, slot: str, lists: pa.ListArray) -> None:
        texts = pc.utf8_trim_whitespace(pc.list_flatten(lists))
        words = np.asarray(pc.list_value_length(pc.utf8_split_whitespace(texts)))
        words = np.where(np.asarray(pc.equal(texts, "")), 0, words)
        counts = self._slots.setdefault(slot, {"samples": 0, "captions": 0, "words": 0})
        counts["samples"] += int(np.count_nonzero(np.asarray(pc.list_value_length(lists))))
        counts["captions"] += len(words)
        counts["words"] += int(words.sum())
        if slot == RAW:
            self._measures["caption_words"].add(words)

    def measures(self) -> dict[str, dict[str, int]]:
        """Quantiles of width and height in pixels, bytes an image and words a caption of slot `raw`."""
        return {name: measure.summary() for name, measure in self._measures.items()}

    def slots(self) -> dict[str, dict[str, float]]:
        """Slot -> samples that have a caption, captions, and words of a caption on average."""
        return {
            slot: {
                "samples": each["samples"],
                "captions": each["captions"],
                "mean_words": round(each["words"] / each["captions"], 2) if each["captions"] else 0.0,
            }
            for slot, each in self._slots.items()
        }


class Quantiles:
    """How often each value occurs."""

    def __init__(self) -> None:
        self._values = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)

    def add(self, values: ArrayLike) -> None:
        """Counts `[n]` whole numbers."""
        new, counts = np.unique(np.asarray(values, np.int64), return_counts=True)
        self._values, where = np.unique(np.concatenate([self._values, new]), return_inverse=True)
        self._counts = np.bincount(where, np.concatenate([self._counts, counts])).astype(np.int64)

    def summary(self) -> dict[str, int]:
        """Some quantiles, each a value that occurs with that share of all before it; empty without values."""
        if not len(self._values):
            return {}
        ends = np.cumsum(self._counts)
        places = {name: int(share * (ends[-1] - 1)) for name, share in QUANTILES.items()}
        return {name: int(self._values[np.searchsorted(ends, at, "right")]) for name, at in places.items()}
