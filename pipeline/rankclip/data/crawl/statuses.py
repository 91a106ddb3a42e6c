"""What became of each row of a work shard: the rows of status.parquet, and the news on the way there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa

from rankclip.data.crawl.journal import Result
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


class Noted(NamedTuple):
    """What is told of a row at once: enough to see why a crawl fails."""

    reason: Reason
    detail: str = ""
    host: str = ""
    known: bool = False
    """Whether an earlier run found it: that counts as progress, and says nothing of how this one goes."""


News = Counter[Noted]


class Herald:
    """Reports news of rows a few times a second."""

    def __init__(self, report: Callable[[News], None]) -> None:
        self._report = report
        self._news: News = Counter()
        self._told = time.monotonic()

    def note(self, result: Result, url: str) -> None:
        """Take in what became of the row of `url`."""
        self._take(noted(result, url))

    def recall(self, result: Result) -> None:
        """Take in what an earlier run found of a row."""
        self._take(Noted(result.reason, known=True))

    def _take(self, noted: Noted) -> None:
        self._news[noted] += 1
        if time.monotonic() - self._told >= _REPORT_S:
            self.tell()

    def tell(self) -> None:
        """Report the rows noted since the last time."""
        self._report(self._news)
        self._news = Counter()
        self._told = time.monotonic()


def noted(result: Result, url: str) -> Noted:
    """The news of a row; the details of a row that is ok concern nobody."""
    if result.reason is Reason.OK:
        return Noted(result.reason)
    return Noted(result.reason, result.detail, host(url))


def host(url: str) -> str:
    """The host that a URL names; empty where it names none that can be read."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def status_table(shard: str, rows: Any, results: Mapping[int, Result]) -> pa.Table:
    """One line of `STATUS`, in order, for each of `rows` (a table with row and key).

    A row without a result, which img2dataset lost, is `other`.
    """
    rows = rows.select(["row", "key"]).sort_by("row")
    lost = Result(Reason.OTHER, "img2dataset gave no result")
    found = [results.get(row, lost) for row in rows["row"].to_pylist()]
    columns = {
        "row": rows["row"],
        "key": rows["key"],
        "reason": [str(result.reason) for result in found],
        "detail": [result.detail for result in found],
        "sha256": [result.sha256 for result in found],
        "size": [result.size for result in found],
        "shard": [shard] * len(found),
    }
    return pa.table(columns, schema=STATUS)


def why(status: str, message: str) -> tuple[Reason, str]:
    """Reason and detail of img2dataset's status and error text for a row without an image."""
    if status == "failed_to_resize":
        return Reason.NOT_AN_IMAGE, printable(message)
    if message == _ROBOTS:
        return Reason.ROBOTS, ""
    return untag(message)
