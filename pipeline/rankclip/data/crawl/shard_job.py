"""A work shard in a worker process: what is left of it is fetched, noted row by row, and packed."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from rankclip import lifecycle
from rankclip.data.crawl import work_shards, workers
from rankclip.data.crawl.client import guard
from rankclip.data.crawl.fetching import Fetcher
from rankclip.data.crawl.finished import Fetched, pack
from rankclip.data.crawl.gate import Gate, Load
from rankclip.data.crawl.journal import Journal, Result
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.statuses import Herald, why
from rankclip.data.crawl.stop_rule import DOUBTFUL
from rankclip.data.crawl.worker import Line
from rankclip.data.reasons import Reason
from rankclip.errors import RankclipError
from rankclip.storage import Store

_GIVEN_UP = "fetching it ended its process, or never ended"
_TRIES_ALONE = 2


class ShardJob:
    """Fetches work shards, several at once; the only one of its process, whose global opener it guards."""

    def __init__(
        self,
        spec: DownloadSpec,
        hosts: Mapping[str, tuple[str, int]],
        processes: int,
        store: Store,
        scratch: Path,
    ) -> None:
        lifecycle.quiet()  # before albumentations and wandb, which img2dataset imports
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(spec.max_pixels)  # read when cv2 is imported
        self._spec = spec
        self._store = store
        self._scratch = scratch
        self._fetcher = Fetcher(spec)
        self._gate = Gate(guard.opener(spec, hosts, processes=processes), spec.threads)
        self._load = Load(2 * spec.threads)
        urllib.request.install_opener(self._gate)

    def __call__(self, name: str, payload: bytes, line: Line, failures: int) -> Fetched:
        """Fetch the rows of the Arrow file `payload`; `line` is told `News`.

        What an earlier call has fetched is kept, but for doubtful failures of an earlier run. A shard that
        ended its process again and again is searched for the row that does it.

        Raises:
            OSError: the shard could not be written; this job is of no more use.
            RankclipError: the store does not take it, or `line` refuses to go on; likewise.
        """
        rows = work_shards.from_bytes(payload)
        folder = self._scratch / name
        with Journal(folder / "journal") as journal:
            desk = _Desk(journal, rows, self._gate, Herald(line.report))
            left = desk.left(DOUBTFUL if failures == 0 else frozenset())
            with self._load.of(len(left), line.room) as desk.fetched:
                if failures >= workers.ATTEMPTS:
                    left = self._find_the_culprit(folder, desk, journal, left)
                self._fetch(folder, desk, left)
            desk.herald.tell()
            return pack(name, rows, journal, self._store, folder, line)

    def _fetch(self, folder: Path, desk: _Desk, left: list[int]) -> None:
        if left:
            work_shard = folder / "work.arrow"
            work_shard.write_bytes(desk.work(left))
            self._fetcher.fetch(work_shard, len(left), desk)

    def _find_the_culprit(self, folder: Path, desk: _Desk, journal: Journal, left: list[int]) -> list[int]:
        """Fetches one after the other the rows that may have been in flight; returns the others."""
        suspects = left[: 2 * self._spec.threads]  # img2dataset has no more than these under way
        for row in suspects:
            if journal.begun[row] >= _TRIES_ALONE:
                desk.keep(row, Result(Reason.OTHER, _GIVEN_UP))
            else:
                journal.begin(row)
                self._fetch(folder, desk, [row])
        return left[len(suspects) :]


class _Desk:
    """Takes in what img2dataset hands to the writer of a shard, and keeps errors that it would swallow."""

    def __init__(self, journal: Journal, rows: pa.Table, gate: Gate, herald: Herald) -> None:
        self.herald = herald
        self.fetched: Callable[[], None] = lambda: None
        self._journal = journal
        self._rows = rows
        self._gate = gate
        numbers = rows["row"].to_pylist()
        self._places = {row: place for place, row in enumerate(numbers)}
        self._keys = dict(zip(numbers, rows["key"].to_pylist(), strict=True))
        self._urls = dict(zip(numbers, rows["url"].to_pylist(), strict=True))
        self._error: OSError | RankclipError | None = None

    def left(self, again: frozenset[Reason]) -> list[int]:
        """The rows still to be fetched, those that failed for one of `again` included; tells of the others.

        In an order that mixes hosts: lists are often sorted by them, and one host is asked little at once.
        """
        known = {row: result for row, result in self._journal.results.items() if result.reason not in again}
        for row in self._urls.keys() & known.keys():
            self.herald.recall(known[row])
        return sorted(self._urls.keys() - known.keys(), key=_mixed)

    def work(self, left: list[int]) -> bytes:
        """The Arrow file of these rows, in their order."""
        return work_shards.to_bytes(self._rows.take([self._places[row] for row in left]))

    def write(self, image: bytes | None, key: str, caption: str, meta: dict[str, Any]) -> None:
        """See `fetching.Writer`."""
        row = meta["row"]
        if image is None:
            self.keep(row, Result(*why(meta["status"], str(meta["error_message"]))))
            return
        meta["key"] = self._keys[row]  # img2dataset's own depends on the size of the shards
        digest = hashlib.sha256(image).hexdigest()
        self.keep(row, Result(Reason.OK, "", digest, len(image), json.dumps(meta, indent=4)), image)

    def keep(self, row: int, result: Result, image: bytes = b"") -> None:
        """Keep what became of a row, and tell of it."""
        if self._gate.closed:
            return
        try:
            self._journal.add(row, result, image)
            self.herald.note(result, self._urls[row])
        except (OSError, RankclipError) as error:
            self._error = error
            self._gate.closed = True
            return
        self.fetched()

    def close(self) -> None:
        """See `fetching.Writer`."""
        if self._error is not None:
            raise self._error
        if self._gate.closed:
            raise RuntimeError("another shard of this process could not be kept")


def _mixed(row: int) -> bytes:
    return hashlib.blake2b(str(row).encode(), digest_size=8).digest()
