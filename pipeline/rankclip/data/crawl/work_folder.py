"""A crawl's folder of work in progress: what is finished is there, whatever interrupts the crawl."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer

from rankclip import files, lifecycle, storage
from rankclip.data.crawl import work_shards
from rankclip.data.crawl.finished import Finished
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.crawl.statuses import STATUS
from rankclip.data.reasons import Reason
from rankclip.errors import RunError
from rankclip.spec import digest

_ROW_GROUP = 50_000


class Source(Protocol):
    """Whatever knows where its images are served."""

    @property
    def images_digest(self) -> str:
        """Changes when the same URLs would give other images; empty where nobody can tell."""
        ...

    def serve(self) -> AbstractContextManager[Mapping[str, tuple[str, int]]]:
        """Hosts that stand for an (address, port) of our own for as long as the context lasts."""
        ...


@dataclass(frozen=True)
class Crawl:
    """A crawl's folder of work in progress, which is ours."""

    spec: DownloadSpec
    urls: Path
    folder: Path
    finished: Finished
    inputs: Mapping[str, str]
    """Name of each input -> its digest."""
    shards: list[str]
    """The names of all work shards, in the order of their rows."""

    def unfinished(self) -> list[str]:
        """The work shards that are still to be fetched."""
        return [shard for shard in self.shards if shard not in self.finished]

    def counts(self) -> Counter[Reason]:
        """Rows of finished shards by reason."""
        counts: Counter[Reason] = Counter()
        for _, table in self.finished.merged(shard for shard in self.shards if shard in self.finished):
            counts.update(by_reason(table))
        return counts

    @property
    def scratch(self) -> Path:
        """Where the processes of this machine keep what they have of unfinished shards."""
        return self.folder / "tmp"

    def settle(self) -> None:
        """Make folder and store agree: tars go to the store now wanted; without a tar no shard is done.

        What an interruption has left of finished shards goes.

        Raises:
            RunError: most tars are missing, as they are where a store is not mounted.
        """
        finished, done = self.finished, self.finished.folder
        before, made = storage.of_tars(done), finished.tars(self.shards)
        there, earlier = finished.store.sizes(".tar"), before.sizes(".tar")
        lost = {tar for tar in made if tar not in there and tar not in earlier}
        if 2 * len(lost) >= max(len(made), 1):
            raise RunError(
                f"{before.place} holds {len(made) - len(lost)} of the {len(made)} tars of this crawl; mount "
                f"it, or delete {self.folder} to begin anew"
            )
        if before.place != finished.store.place:
            for tar in made:
                if tar in earlier:
                    with storage.at_hand(before, tar, self.scratch) as path:
                        finished.store.put(path, tar)
            done.mkdir(parents=True, exist_ok=True)
            storage.write_place(done, finished.store)
        for notes in self.scratch.glob("*"):
            if notes.name in finished:
                shutil.rmtree(notes)
        for tar in lost:
            finished.drop(tar.removesuffix(".tar"))
        if lost:
            again = sum("-r" in tar for tar in lost)
            typer.echo(
                f"warning: {len(lost)} of {len(made)} tars of this crawl are gone from {before.place}: the "
                f"stage download fetches {len(lost) - again} work shards anew; of {again} retried shards the "
                "rows are as before the retry, and `rankclip data retry` fetches them again",
                err=True,
            )


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
        store = storage.for_tars(out, f"{folder.name}-{_mark(folder)}")
        if store.place == str(out.absolute()):
            store = beside
        finished = Finished(folder / "done", store)
        crawl = Crawl(spec, urls, folder, finished, inputs, work_shards.shard_names(spec, urls))
        crawl.settle()
        yield crawl


def _mark(folder: Path) -> str:
    """What tells this crawl from an equal one of another project that uses the same store."""
    note = folder / "mark.json"
    if not note.exists():
        files.write_json(note, secrets.token_hex(8))
    found: str = files.read_json(note, "delete it; tars in a store are copied to a new place then")
    return found


def export(crawl: Crawl, out: Path) -> None:
    """Put what the crawl has found into `out`: tars that have no other place, `status.parquet`, record."""
    finished = crawl.finished
    beside = finished.store.place == str(finished.folder.absolute())
    tars = set(finished.tars(crawl.shards)) if beside else set()
    out.mkdir(parents=True, exist_ok=True)
    storage.write_place(out, storage.store(out) if beside else finished.store)
    for stale in out.glob("*.tar"):
        if stale.name not in tars:
            stale.unlink()
    for tar in sorted(tars):
        _link(finished.folder / tar, out / tar)
    counts: Counter[Reason] = Counter()
    held: list[pa.Table] = []
    with (
        files.replace(out / "status.parquet") as temporary,
        pq.ParquetWriter(temporary, STATUS, compression="zstd") as writer,
    ):
        for _, table in finished.merged(crawl.shards):
            held.append(table)
            counts.update(by_reason(table))
            if sum(map(len, held)) >= _ROW_GROUP:
                writer.write_table(pa.concat_tables(held).combine_chunks())
                held = []
        if held:
            writer.write_table(pa.concat_tables(held).combine_chunks())
    named = {str(reason): n for reason, n in sorted(counts.items())}
    files.write_record(out, crawl.spec.dump(), crawl.inputs, named)


def _link(source: Path, target: Path) -> None:
    """Put a tar that is on the disk at `target`; the folder is flushed with the table, which comes last."""
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        files.link_or_copy(source, target)


def by_reason(table: pa.Table) -> Counter[Reason]:
    """Rows of a table of `STATUS` by reason."""
    pairs = pc.value_counts(table["reason"]).to_pylist()
    return Counter({Reason(pair["values"]): pair["counts"] for pair in pairs})
