"""img2dataset on the rows of a work shard; the only module that imports it."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, Protocol

from rankclip.data.crawl.spec import DownloadSpec

_DISPENSABLE = frozenset({"torch", "ray", "huggingface_hub"})
"""What img2dataset and its like import only if it is there: seconds and 500 MB in each process."""


class Writer(Protocol):
    """What img2dataset takes for the writer of a shard."""

    def write(self, image: bytes | None, key: str, caption: str, meta: dict[str, Any]) -> None:
        """Take in a row; an exception would be printed, and the row forgotten."""
        ...

    def close(self) -> None:
        """All rows have come; an exception ends the shard."""
        ...


class Fetcher:
    """img2dataset's `Downloader`, for any number of shards and threads."""

    def __init__(self, spec: DownloadSpec) -> None:
        with warnings.catch_warnings(), _unburdened():
            warnings.filterwarnings("ignore", message="'imghdr' is deprecated", category=DeprecationWarning)
            from img2dataset.downloader import Downloader
            from img2dataset.resizer import Resizer
        whole = spec.resize == "none"
        self._spec = spec
        self._downloader = Downloader
        self._resizer = _OneAtATime(
            Resizer(
                image_size=spec.image_size,
                resize_mode="no" if whole else spec.resize,
                resize_only_if_bigger=True,
                skip_reencode=True,
                disable_all_reencoding=whole,
            )
        )

    def fetch(self, work_shard: Path, rows: int, writer: Writer) -> None:
        """Fetch the rows of an Arrow file of url, caption and row, which is deleted; notes lie beside it.

        `download_shard`, not `__call__`, which turns every exception into a printed line.
        """
        downloader = self._downloader(
            sample_writer_class=lambda *layout: writer,
            resizer=self._resizer,
            thread_count=min(self._spec.threads, rows),
            save_caption=True,
            extract_exif=False,
            output_folder=str(work_shard.parent),
            column_list=["url", "caption", "row"],
            timeout=self._spec.timeout_s,
            number_sample_per_shard=rows,
            oom_shard_count=5,
            compute_hash=None,
            verify_hash_type=None,
            encode_format="jpg",
            retries=0,  # the opener retries, and only what may pass
            user_agent_token=self._spec.crawler_name,
            disallowed_header_directives=list(self._spec.robots_directives) or None,
        )
        downloader.download_shard((0, str(work_shard)))


class _OneAtATime:
    """The resizer for several threads: it turns standard output off and on for the whole process."""

    def __init__(self, resizer: Any) -> None:
        self._resizer = resizer
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        with self._lock:
            return self._resizer(*arguments)


class _Absent(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname in _DISPENSABLE:
            raise ModuleNotFoundError(fullname, name=fullname)


@contextmanager
def _unburdened() -> Iterator[None]:
    """Imports within the block do not find what they can do without."""
    finder = _Absent()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
