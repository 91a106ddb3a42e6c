"""What a retry would fetch, and what it changed, in words."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from rankclip.data.crawl import retry
from rankclip.data.crawl.download import Source
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.inspection import tally
from rankclip.data.inspection.lines import aligned
from rankclip.data.reasons import Reason
from rankclip.errors import InputError


def plan(data: Path, reasons: Collection[str]) -> list[str]:
    """How many rows of each reason would be asked for again.

    Raises:
        InputError: a reason is not one of the download, or no row has any of them.
        DataError: the download is not finished.
    """
    others = sorted(set(reasons) - {str(reason) for reason in retry.REASONS})
    if others:
        raise InputError(
            f"{', '.join(others)} is not given by the download, which alone can be repeated; "
            f"choose among {', '.join(retry.REASONS)}"
        )
    counts = tally.of_crawl(data)
    found = {reason: counts[reason] for reason in sorted(reasons) if counts[reason]}
    if not found:
        raise InputError(
            f"no row has {', '.join(sorted(reasons))}; `rankclip data ledger` shows what there is"
        )
    total = ["sum", sum(found.values())]
    return aligned(["to be fetched again", "rows"], [*map(list, found.items()), total], {"rows"})


def run(spec: DownloadSpec, source: Source, data: Path, work: Path, reasons: Collection[str]) -> list[str]:
    """Fetches them, and compares the crawl with what it was.

    Raises:
        RunError: as of `retry.run`.
    """
    _, before, after = retry.run(
        spec, source, urls=data / "urls.parquet", work=work, out=data / "crawl", reasons=reasons
    )
    changed = [reason for reason in before | after if before[reason] != after[reason] or reason in reasons]
    rows = [
        [reason, before[reason], after[reason], f"{after[reason] - before[reason]:+,}"]
        for reason in sorted(changed, key=lambda reason: (reason != Reason.OK, reason))
    ]
    header = ["reason", "before", "after", "change"]
    return ["", *aligned(header, rows, set(header[1:])), "", "Next: rankclip repro"]
