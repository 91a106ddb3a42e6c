"""Wall time of a crawl full of trouble, against one of as many rows without any from the same server.

Every kind of trouble of tests/unit/data/crawl/hostile appears equally often, spread over the list; the others
are photographs of SIZE pixels, shrunk as the studies of crawled lists do it. The limits are the defaults of
`download`. Run `python -m bench.hostile`; it prints a table and JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock
from zlib import crc32

import pyarrow as pa

from bench import web
from rankclip import files, lifecycle
from rankclip.data.crawl import coordinate, download
from rankclip.data.crawl.spec import DownloadSpec
from tests.unit.data.crawl.hostile import world
from tests.unit.data.crawl.hostile.kinds import Kind
from tests.unit.data.crawl.hostile.network import Network
from tests.unit.data.crawl.hostile.server import Talk

Rows = list[tuple[Kind, str]]
SIZE = (640, 480)


class Web:
    """A list whose images are on the web, of which we know nothing."""

    images_digest = ""

    @contextmanager
    def serve(self) -> Iterator[Mapping[str, tuple[str, int]]]:
        yield {}


def crawl(rows: Rows, spec: DownloadSpec, network: Network, authorities: Path) -> tuple[float, int]:
    """Seconds of a crawl, and how many of its rows had another reason than expected."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, SSL_CERT_FILE=str(authorities)):
        here = Path(folder)
        columns: dict[str, Any] = {
            "row": range(len(rows)),
            "key": [f"{row:09d}" for row in range(len(rows))],
            "url": [url for _, url in rows],
            "caption": [kind.name for kind, _ in rows],
        }
        files.write_table(here / "urls.parquet", pa.table(columns))
        job = partial(world.guarded_job, network)
        since = time.perf_counter()
        with mock.patch.object(coordinate, "ShardJob", job), network.installed():
            download.run(spec, Web(), here / "urls.parquet", here / "work", here / "out")
        took = time.perf_counter() - since
        status = files.read_table(here / "out" / "status.parquet")["reason"].to_pylist()
    wrong = Counter(
        (kind.name, reason) for (kind, _), reason in zip(rows, status, strict=True) if reason != kind.reason
    )
    for (name, reason), n in wrong.items():
        print(f"  {name}: {n} x {reason}")
    return took, wrong.total()


@contextmanager
def serving() -> Iterator[tuple[Network, Path]]:
    """The hostile world in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = spawn.Process(target=_serve, args=(theirs, Path(folder)), daemon=True)
        process.start()
        yield ours.recv()
        process.kill()
        process.join()


def _serve(channel: Connection, folder: Path) -> None:
    lifecycle.die_with_parent()
    photographs = [web.photograph(seed, *SIZE) for seed in range(16)]

    def clean(talk: Talk) -> None:
        talk.reply(200, photographs[crc32(talk.path.encode()) % 16], Content_Type="image/jpeg")

    with world.served(folder, clean) as served:
        channel.send((served.network, served.authorities))
        channel.recv()


def compared(spec: DownloadSpec, rows: int, each: int, rounds: int) -> dict[str, Any]:
    """Seconds of clean and hostile crawls, taking turns, and the ratio of their medians.

    Args:
        rows: of either list.
        each: rows of each kind of trouble in the hostile one.
    """
    trouble = each * len(world.KINDS)
    lists = {"clean": world.rows(rows, 0), "hostile": world.rows(rows - trouble, each)}
    times: dict[str, list[float]] = {name: [] for name in lists}
    wrongs = 0
    with serving() as (network, authorities):
        for _ in range(rounds):
            for name, listed in lists.items():
                took, wrong = crawl(listed, spec, network, authorities)
                times[name].append(round(took, 2))
                wrongs += wrong
                print(f"{name:8} {rows:,} rows  {took:7.1f} s  {wrong} with another reason", flush=True)
        forbidden = len(network.trespasses())
    return {
        "rows": rows,
        "image_pixels": SIZE,
        "kinds": len(world.KINDS),
        "rows_of_trouble": trouble,
        "limits": {name: getattr(spec, name) for name in ("timeout_s", "wall_time_s", "threads", "per_host")},
        "seconds": times,
        "ratio": round(statistics.median(times["hostile"]) / statistics.median(times["clean"]), 3),
        "rows_with_another_reason": wrongs,
        "forbidden_connections": forbidden,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--each", type=int, default=5, help="rows of each kind of trouble")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], help="name=value of download's options")
    options = parser.parse_args()
    changes = dict(each.split("=") for each in options.set)
    spec = DownloadSpec.model_validate({"stop_rows": 0, "resize": "keep_ratio", **changes})
    print(json.dumps(compared(spec, options.rows, options.each, options.rounds)))


if __name__ == "__main__":
    main()
