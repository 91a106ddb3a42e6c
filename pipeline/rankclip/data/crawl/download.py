"""Fetching the pairs of a URL table: the crawl that the stage `download` runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankclip import files, lifecycle, storage
from rankclip.data.crawl import coordinate, work_shards
from rankclip.data.crawl.coordinate import Crawl, Extent, Source
from rankclip.data.crawl.finished import Finished
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.spec import digest


def run(spec: DownloadSpec, source: Source, urls: Path, work: Path, out: Path) -> None:
    """Fetch every row of `urls`; `status.parquet` and `record.json` end up in `out`, the tars in their store.

    Finished work shards, and the finished rows of others, are kept under `work` and are not fetched again by
    a later call.

    Raises:
        RunError: see `coordinate.fetch`; or another process works in the folder.
    """
    with opened(spec, source, urls, work, out) as crawl:
        if left := crawl.unfinished():
            tables = work_shards.slices(spec, urls, set(left))
            extent = Extent("download", len(left), work_shards.rows(urls), crawl.counts())
            coordinate.fetch(crawl, spec, source, tables, extent)
        export(crawl, out)


@contextmanager
def opened(spec: DownloadSpec, source: Source, urls: Path, work: Path, out: Path) -> Iterator[Crawl]:
    """The crawl of `urls`, in a folder of `work` that is ours alone for the time of the block.

    The folder is named after what decides the outcome: limits, the URL table, and what the source knows of
    its images; not after this code, an edit of which must not cost a week of crawling.
    """
    inputs = {"urls": files.sha256(urls), "images": source.images_digest}
    size = work_shards.rows_per_shard(spec, urls)
    folder = work.absolute() / f"download-{digest({'download': spec.outcome(), 'rows': size, **inputs})}"
    with lifecycle.lock(folder):
        beside = storage.store(folder / "done")
        store = storage.for_tars(out)
        if store.place == str(out.absolute()):
            store = beside
        else:  # a place of its own for each crawl: shards of different ones have the same names
            store = storage.store(f"{store.place}/{folder.name}")
        finished = Finished(folder / "done", store)
        crawl = Crawl(spec, urls, folder, finished, inputs, work_shards.shard_names(spec, urls))
        crawl.settle()
        yield crawl


def export(crawl: Crawl, out: Path) -> None:
    """Put what the crawl has found into `out`, with its record."""
    counts = coordinate.export(crawl, out)
    named = {str(reason): n for reason, n in sorted(counts.items())}
    files.write_record(out, crawl.spec.dump(), crawl.inputs, named)
