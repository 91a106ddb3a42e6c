"""Fetching the pairs of a URL table: the crawl that the stage `download` runs."""

from __future__ import annotations

from pathlib import Path

from rankclip.data.crawl import coordinate, work_folder, work_shards
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.work_folder import Source

__all__ = ["Source", "run"]


def run(spec: DownloadSpec, source: Source, urls: Path, work: Path, out: Path) -> None:
    """Fetch every row of `urls`; `status.parquet` and `record.json` end up in `out`, the tars in their store.

    Finished work shards, and the finished rows of others, are kept under `work` and are not fetched again by
    a later call.

    Raises:
        RunError: see `coordinate.fetch`; or another process works in the folder.
    """
    with work_folder.opened(spec, source, urls, work, out) as crawl:
        if left := crawl.unfinished():
            tables = work_shards.slices(spec, urls, set(left))
            extent = coordinate.Extent("download", len(left), work_shards.rows(urls), crawl.counts())
            coordinate.fetch(crawl, spec, source, tables, extent)
        work_folder.export(crawl, out)
