"""img2dataset itself, through download.run, against more than 150 kinds of trouble on loopback.

The network of `hostile.network` stands before the socket layer of the crawl's processes, so that nothing else
than loopback can be contacted, and whatever tries is noted.
"""

from __future__ import annotations

import socket
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from rankclip import files
from rankclip.data.crawl import coordinate, download
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.reasons import Reason
from tests.unit.data.crawl.hostile import world
from tests.unit.data.crawl.hostile.network import Network

SPEC = DownloadSpec(
    timeout_s=1.5,
    wall_time_s=3.0,
    backoff_s=0.05,
    max_bytes=2**20,
    per_host=4,
    threads=32,
    resize="keep_ratio",
    stop_rows=0,
)
EACH = 2


class Web:
    """A list whose images are on the web, of which we know nothing."""

    images_digest = ""

    @contextmanager
    def serve(self) -> Iterator[Mapping[str, tuple[str, int]]]:
        yield {}


def test_every_kind_of_trouble_ends_in_its_reason_and_nothing_forbidden_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKCLIP_PROCESSES", "2")
    rows = world.rows(clean=130, each=EACH)
    urls = tmp_path / "urls.parquet"
    columns = {"row": range(len(rows)), "key": [f"{row:09d}" for row in range(len(rows))]}
    files.write_table(
        urls,
        pa.table({**columns, "url": [url for _, url in rows], "caption": [kind.name for kind, _ in rows]}),
    )
    with world.served(tmp_path) as served, served.network.installed():
        monkeypatch.setenv("SSL_CERT_FILE", str(served.authorities))
        monkeypatch.setattr(coordinate, "ShardJob", partial(world.guarded_job, served.network))
        download.run(SPEC, Web(), urls, tmp_path / "work", tmp_path / "crawl")

    status = files.read_table(tmp_path / "crawl" / "status.parquet").to_pylist()
    assert [row["row"] for row in status] == list(range(len(rows)))
    found: dict[str, set[Reason]] = defaultdict(set)
    for row, (kind, _) in zip(status, rows, strict=True):
        found[kind.name].add(Reason(row["reason"]))
    expected = {kind.name: {kind.reason} for kind, _ in rows}
    assert {name: found[name] for name in expected if found[name] != expected[name]} == {}
    assert len(world.KINDS) >= 40
    assert served.network.trespasses() == []
    asked = {path for _, path in served.server.asked}
    assert not {path for path in asked if path.startswith(("/secret", "/latest", "/machine"))}
    assert "/found/%C3%BC.jpg" in asked
    assert served.server.asked["busy_for_long.example", ""] <= 2  # one a process, then it was left alone
    assert all(
        most <= SPEC.per_host for name, most in served.server.busiest.items() if name.startswith("clean")
    )


def test_each_kind_of_trouble_is_in_the_list_as_often_as_asked() -> None:
    rows = world.rows(clean=1000, each=3)
    often = Counter(kind.name for kind, _ in rows if kind not in world.CLEAN)
    assert often == {kind.name: 3 for kind in world.KINDS}
    assert len(rows) == 1000 + often.total()
    assert rows == world.rows(clean=1000, each=3)
    assert len({url for _, url in rows}) > len(rows) - 100  # some, like file:, have no number


def test_the_network_lets_nothing_through_but_its_doors(tmp_path: Path) -> None:
    network = Network({"a.example": (("93.184.0.1",),)}, {}, frozenset(), tmp_path / "log")
    with network.installed():
        for address in (("127.0.0.1", 80), ("93.184.0.1", 80), ("::1", 80)):
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            with socket.socket(family) as client, pytest.raises(AssertionError, match="was tried"):
                client.connect(address)
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("b.example", 80)
    assert len(network.trespasses()) == 3
