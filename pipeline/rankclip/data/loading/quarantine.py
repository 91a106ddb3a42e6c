"""Samples that could not be decoded and were replaced: written down once, counted, and never too many."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rankclip import files
from rankclip.data.loading.index import REMEDY
from rankclip.errors import DataError

FEW = 10
"""Samples that may be undecodable in any data set."""

SHARE = 100
"""One in so many may be, beyond those few."""


class Entry(NamedTuple):
    """A sample that could not be decoded, and when that was found."""

    step: int
    """1-based, as in metrics.jsonl."""
    row: int
    """Of the global batch."""
    epoch: int
    key: str
    shard: str
    reason: str


class Quarantine:
    """What a run met so far, on each of its workers.

    Args:
        path: the file, a line of JSON for each sample in the order in which they were met.
        writes: whether this worker keeps it.
    """

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path, self.writes = path, writes
        self._shards: dict[str, str] = {}

    def __len__(self) -> int:
        """How many samples."""
        return len(self._shards)

    def rewind(self, step: int) -> None:
        """Forgets what was met after a step, as a run does that goes on from a checkpoint."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["step"] <= step]
        entries = [json.loads(line) for line in kept]
        self._shards = {entry["key"]: entry["shard"] for entry in entries}
        if self.writes and len(kept) < len(lines):
            files.write_text(self.path, b"".join(kept).decode())

    def add(self, met: Iterable[Entry], seen: int) -> None:
        """Takes in what all workers met since the last time.

        Args:
            met: in any order.
            seen: samples that the run has asked for so far, each counted once.

        Raises:
            DataError: more than `FEW` and one in `SHARE` of these cannot be decoded.
        """
        lines = []
        for entry in sorted(met):
            if entry.key not in self._shards:
                self._shards[entry.key] = entry.shard
                told = {name: value for name, value in entry._asdict().items() if name != "row"}
                lines.append(json.dumps(told, ensure_ascii=False) + "\n")
        if lines and self.writes:
            with self.path.open("ab") as file:
                file.write("".join(lines).encode())
            files.flush(self.path)
        if len(self) > FEW + seen // SHARE:
            worst = Counter(self._shards.values()).most_common()
            named = ", ".join(f"{count} in {shard}" for shard, count in worst[:5])
            raise DataError(
                f"{len(self)} of {seen} samples cannot be decoded ({named}{', ...' if worst[5:] else ''}); "
                f"{self.path} names them; {REMEDY}"
            )
