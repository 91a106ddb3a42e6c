"""What curate leaves behind, for rows by hand: every stored image is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from rankclip import files
from rankclip.data import images
from rankclip.data.captions.spec import Captions
from rankclip.data.curation import ledger
from rankclip.data.sharding import shards
from rankclip.data.sharding.spec import ShardSpec
from rankclip.data.sources.cc3m import Cc3mSpec
from rankclip.data.sources.expected import Expected
from tests.unit.data.crawled import Row, lay_out

SOURCE = Cc3mSpec(
    name="cc3m",
    path=Path("list.tsv"),
    sha256="1" * 64,
    expected=Expected(rows=6, survival=(0.8, 0.9), pairs=5, origin="a test"),
    licence="for tests alone",
)


def size_of(blob: bytes) -> tuple[int, int]:
    if not blob:
        return 0, 0
    with images.opened(blob) as image:
        return images.upright_size(image)


def curated(
    data: Path, rows: Sequence[Row], captions: bool = True, source_keys: Sequence[str] | None = None
) -> Path:
    """`data` with crawl/, source/, ledger.parquet and ledger.json."""
    lay_out(data, rows, captions)
    status = files.read_table(data / "crawl" / "status.parquet").to_pylist()
    urls = files.read_table(data / "urls.parquet").to_pylist()
    told = [
        {
            **{name: url[name] for name in ("row", "key", "url", "caption")},
            **{name: found[name] for name in ("reason", "detail", "sha256", "shard")},
            "source_key": source_keys[url["row"]] if source_keys else None,
            "stage": "curate",
            "width": size_of(row.blob)[0],
            "height": size_of(row.blob)[1],
            "flags": [],
        }
        for url, found, row in zip(urls, status, rows, strict=True)
    ]
    ledger.write(data, [pa.Table.from_pylist(told, ledger.SCHEMA)], len(rows), [], "no remedy")
    return data


def sharded(data: Path, work: Path, spec: ShardSpec, captions: Captions | None = None) -> Path:
    """`data/shards`, made of what `curated` left."""
    shards.run(spec, SOURCE, captions or {}, data, work)
    return data / "shards"
