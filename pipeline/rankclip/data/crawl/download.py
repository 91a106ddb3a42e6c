"""Fetching the pairs of a URL table, with img2dataset; the only module that imports it.

img2dataset's `Downloader` fetches each work shard in a process of ours, through the guarded opener, which an
opener installed in the parent would not reach.
"""

from __future__ import annotations

import os
import shutil
import sys
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from rankclip import files, lifecycle
from rankclip.data.crawl import coordinate, guard
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.statuses import Statuses
from rankclip.data.crawl.workers import Report
from rankclip.spec import digest


class Source(Protocol):
    """Whatever knows where its images are served."""

    @property
    def images_digest(self) -> str:
        """Changes when the same URLs would give other images; empty where nobody can tell."""
        ...

    def serve(self) -> AbstractContextManager[Mapping[str, tuple[str, int]]]:
        """Hosts that stand for an (address, port) of our own for as long as the context lasts."""
        ...


def run(spec: DownloadSpec, source: Source, urls: Path, work: Path, out: Path) -> None:
    """Fetch every row of `urls`; the tars, `status.parquet` and `record.json` end up in `out`.

    Finished work shards are kept under `work`, in a folder named after the spec, the URL table and what the
    source knows of its images, and are not fetched again by a later call; nor after an edit of this code,
    which must not cost a week of crawling.

    Raises:
        RunError: see `coordinate.fetch`; or another process works in the folder.
    """
    table = files.sha256(urls)
    inputs = {"urls": table, "images": source.images_digest}
    folder = work.absolute() / f"download-{digest({'download': spec.dump(), **inputs})}"
    with lifecycle.lock(folder):
        if coordinate.unfinished(spec, urls, folder):
            with source.serve() as hosts:
                coordinate.fetch(partial(ShardJob, spec, dict(hosts), folder), spec, urls, folder)
        counts = coordinate.export(spec, urls, folder, out)
    files.write_record(out, spec.dump(), inputs, {str(r): n for r, n in sorted(counts.items())})


class ShardJob:
    """Fetches one work shard after the other; lives in a worker process."""

    def __init__(self, spec: DownloadSpec, hosts: Mapping[str, tuple[str, int]], folder: Path) -> None:
        lifecycle.quiet()  # before albumentations and wandb, which img2dataset imports
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(spec.max_pixels)  # read when cv2 is imported
        self._spec = spec
        self._folder = folder
        urllib.request.install_opener(guard.opener(spec, hosts))

    def __call__(self, name: str, payload: bytes, report: Report) -> None:
        """Fetch the rows of the Arrow file `payload`; `report` gets Counters of reasons.

        Raises:
            OSError: the shard could not be written.
        """
        scratch = self._folder / "tmp" / name
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        work_shard = scratch / "work.arrow"
        work_shard.write_bytes(payload)
        statuses = Statuses(name, report)
        _download(self._spec, int(name), work_shard, statuses)
        table = statuses.table(pa.ipc.open_file(payload).read_all()["row"].to_pylist())
        done = self._folder / "done"
        with files.replace(done / f"{name}.tar") as beside:
            (scratch / f"{name}.tar").replace(beside)
        files.write_table(done / f"{name}.parquet", table)  # last: it says that the tar is whole
        shutil.rmtree(scratch)


class _SampleWriter:
    """img2dataset's tar writer, with the statuses noted and the error kept that img2dataset swallows."""

    def __init__(self, tar: Any, statuses: Statuses) -> None:
        self._tar = tar
        self._statuses = statuses
        self._error: OSError | None = None

    def write(self, image: bytes | None, key: str, caption: str, meta: dict[str, Any]) -> None:
        if self._error is not None:
            return
        # ours by row: img2dataset's own key depends on the size of the shards
        meta["key"] = f"{meta['row']:09d}"
        try:
            self._tar.write(image, meta["key"], caption, meta)
        except OSError as error:  # a full disk; img2dataset would print it and go on to the next row
            self._error = error
            return
        self._statuses.note(image, meta)

    def close(self) -> None:
        if self._error is not None:
            raise self._error
        self._tar.close()


class _NoTorch(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "torch":
            raise ModuleNotFoundError(fullname, name=fullname)


@contextmanager
def _without_torch() -> Iterator[None]:
    """Imports within the block find no torch: webdataset can do without, which saves 500 MB a worker."""
    finder = _NoTorch()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _download(spec: DownloadSpec, shard: int, work_shard: Path, statuses: Statuses) -> None:
    """Run img2dataset on one work shard; tar and parquet appear beside it.

    `download_shard`, not `__call__`, which turns every exception into a printed line.
    """
    with warnings.catch_warnings(), _without_torch():
        warnings.filterwarnings("ignore", message="'imghdr' is deprecated", category=DeprecationWarning)
        from img2dataset.downloader import Downloader
        from img2dataset.resizer import Resizer
        from img2dataset.writer import WebDatasetSampleWriter
    whole = spec.resize == "none"
    resizer = Resizer(
        image_size=spec.image_size,
        resize_mode="no" if whole else spec.resize,
        resize_only_if_bigger=True,
        skip_reencode=True,
        disable_all_reencoding=whole,
    )
    downloader = Downloader(
        sample_writer_class=lambda *layout: _SampleWriter(WebDatasetSampleWriter(*layout), statuses),
        resizer=resizer,
        thread_count=spec.threads,
        save_caption=True,
        extract_exif=False,
        output_folder=str(work_shard.parent),
        column_list=["url", "caption", "row"],
        timeout=spec.timeout_s,
        number_sample_per_shard=spec.rows_per_shard,
        oom_shard_count=5,
        compute_hash=None,
        verify_hash_type=None,
        encode_format="jpg",
        retries=0,  # the opener retries, and only what may pass
        user_agent_token=spec.crawler_name,
        disallowed_header_directives=list(spec.robots_directives) or None,
    )
    downloader.download_shard((shard, str(work_shard)))
