"""What became of each row of a work shard: the rows of status.parquet."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from rankclip.data.crawl.workers import Report
from rankclip.data.reasons import Reason, printable, untag

STATUS = pa.schema(
    [
        ("row", pa.int64()),
        ("key", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("sha256", pa.string()),
        ("size", pa.int64()),
        ("shard", pa.string()),
    ]
)
"""One row per row of the URL table; nothing in it depends on time, order or port."""

_REPORT_S = 0.25
_ROBOTS = "Use of image disallowed by X-Robots-Tag directive"


class Statuses:
    """What became of the rows of one shard."""

    def __init__(self, shard: str, report: Report) -> None:
        self._shard = shard
        self._report = report
        self._rows: dict[int, tuple[Reason, str, str, int]] = {}
        self._news: Counter[Reason] = Counter()
        self._told = time.monotonic()

    def note(self, image: bytes | None, meta: Mapping[str, Any]) -> None:
        """Take in what img2dataset hands to its sample writer for one row."""
        if image is not None:
            self._rows[meta["row"]] = (Reason.OK, "", hashlib.sha256(image).hexdigest(), len(image))
        else:
            self._rows[meta["row"]] = (*why(meta["status"], str(meta["error_message"])), "", 0)
        self._news[self._rows[meta["row"]][0]] += 1
        if time.monotonic() - self._told >= _REPORT_S:
            self.tell()

    def tell(self) -> None:
        """Report the rows noted since the last time."""
        self._report(self._news)
        self._news = Counter()
        self._told = time.monotonic()

    def table(self, rows: list[int]) -> pa.Table:
        """One line of `STATUS` for each of `rows`; a row that img2dataset lost is `other`."""
        lost = (Reason.OTHER, "img2dataset gave no result", "", 0)
        found = [self._rows.get(row, lost) for row in sorted(rows)]
        self._news.update({Reason.OTHER: len(set(rows) - self._rows.keys())})
        self.tell()
        columns = {
            "row": sorted(rows),
            "key": [f"{row:09d}" for row in sorted(rows)],
            "reason": [str(reason) for reason, _, _, _ in found],
            "detail": [detail for _, detail, _, _ in found],
            "sha256": [sha256 for _, _, sha256, _ in found],
            "size": [size for _, _, _, size in found],
            "shard": [self._shard] * len(rows),
        }
        return pa.table(columns, schema=STATUS)


def why(status: str, message: str) -> tuple[Reason, str]:
    """Reason and detail of img2dataset's status and error text for a row without an image."""
    if status == "failed_to_resize":
        return Reason.NOT_AN_IMAGE, printable(message)
    if message == _ROBOTS:
        return Reason.ROBOTS, ""
    return untag(message)
