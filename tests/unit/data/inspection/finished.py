"""A small finished data set as the stages leave it; tests then spoil what they are about."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from rankclip import files
from rankclip.data import tars
from rankclip.data.sharding import packing, pool

LEDGER = pa.schema(
    {
        "row": pa.int64(),
        "key": pa.string(),
        "url": pa.string(),
        "caption": pa.string(),
        "reason": pa.string(),
        "stage": pa.string(),
        "detail": pa.string(),
        "sha256": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "shard": pa.string(),
        "flags": pa.list_(pa.string()),
    }
)
URLS = pa.schema({name: LEDGER.field(name).type for name in ("row", "key", "url", "caption")})
REFUSED = pa.schema({name: LEDGER.field(name).type for name in ("row", "reason", "detail")})
STATUS = pa.schema(
    {
        **{name: LEDGER.field(name).type for name in ("row", "key", "reason", "detail", "sha256")},
        "size": pa.int64(),
        "shard": pa.string(),
    }
)


@dataclass(frozen=True)
class Row:
    """An input row: how it ended and who said so."""

    reason: str = "ok"
    stage: str = "curate"
    host: str = "a.invalid"
    caption: str = "a red circle"
    detail: str = ""
    flags: Sequence[str] = ()
    blob: bytes = field(default=b"", repr=False)


ROWS = (
    *[Row(caption=f"caption {number}") for number in range(5)],
    Row("bad_scheme", "ingest"),
    Row("http_404", "download", "b.invalid"),
    Row("dns", "download", "gone.invalid", detail="no address"),
    Row("dns", "download", "gone.invalid"),
    Row("dns", "download", "b.invalid"),
    Row("too_small", host="b.invalid", flags=("too_small",)),
    Row(flags=("duplicate_near", "caption"), caption="like another"),
)


def picture(number: int) -> bytes:
    """A JPEG, another for each number."""
    dice = random.Random(number)
    image = Image.new("RGB", (40 + number % 8, 30), tuple(dice.randrange(256) for _ in range(3)))
    target = io.BytesIO()
    image.save(target, "JPEG")
    return target.getvalue()


def lay_out(data: Path, rows: Sequence[Row] = ROWS, per_shard: int = 4) -> Path:
    """Writes the files of all stages into `data`."""
    before_curate(data, rows)
    table = [_ledger_row(number, row) for number, row in enumerate(rows)]
    files.write_table(data / "ledger.parquet", pa.Table.from_pylist(table, LEDGER))
    reasons = Counter(row.reason for row in rows)
    ok = reasons.pop("ok", 0)
    flags = Counter(flag for row in rows for flag in row.flags)
    summary = {"input": len(rows), "ok": ok, "survival": ok / len(rows)}
    summary |= {"reasons": dict(sorted(reasons.items())), "flags": dict(sorted(flags.items()))}
    files.write_json(data / "ledger.json", summary)
    _shards(data, [row for row in table if row["reason"] == "ok"], per_shard, summary)
    return data


def before_curate(data: Path, rows: Sequence[Row] = ROWS) -> Path:
    """Writes the files of `ingest` and `download`."""
    table = [_ledger_row(number, row) for number, row in enumerate(rows)]
    crawled = [row for row in table if row["stage"] != "ingest"]
    refused = [row for row in table if row["stage"] == "ingest"]
    files.write_table(data / "urls.parquet", pa.Table.from_pylist(crawled, URLS))
    files.write_table(data / "refused.parquet", pa.Table.from_pylist(refused, REFUSED))
    status = [row | ({} if row["stage"] == "download" else {"reason": "ok"}) for row in crawled]
    files.write_table(data / "crawl" / "status.parquet", pa.Table.from_pylist(status, STATUS))
    with tars.writing(data / "crawl" / "00000.tar") as tar:
        for row in status:
            if row["reason"] == "ok":
                tar.add(f"{row['key']}.jpg", row["blob"])
                tar.add(f"{row['key']}.json", b"{}")
    summary = {"input": len(table), "accepted": len(crawled), "refused": len(refused), "reasons": {}}
    files.write_json(data / "ingest.json", summary)
    return data


def _ledger_row(number: int, row: Row) -> dict[str, Any]:
    blob = row.blob or picture(number)
    stored = row.stage == "curate"
    return {
        "row": number,
        "key": f"{number:09d}",
        "url": "" if row.stage == "ingest" else f"http://{row.host}/{number}.jpg",
        "caption": row.caption,
        "reason": row.reason,
        "stage": row.stage,
        "detail": row.detail,
        "sha256": hashlib.sha256(blob).hexdigest() if stored else "",
        "size": len(blob) if stored else 0,
        "width": 40 + number % 8 if stored else 0,
        "height": 30 if stored else 0,
        "shard": "00000" if row.stage in ("curate", "download") else "",
        "flags": list(row.flags),
        "blob": blob,
    }


def _shards(data: Path, rows: list[dict[str, Any]], per_shard: int, summary: dict[str, Any]) -> None:
    folder = data / "shards"
    index, manifest = [], {}
    for start in range(0, len(rows), per_shard):
        part, name = rows[start : start + per_shard], f"{start // per_shard:05d}.tar"
        with tars.writing(folder / name) as tar:
            for row in part:
                span = tar.add(f"{row['key']}.jpg", row["blob"])
                where = {"shard": name, "offset": span.offset, "size": span.size}
                index.append({**row, **where, "captions.raw": [row["caption"]]})
        manifest[name] = {"sha256": tar.sha256, "bytes": tar.bytes, "samples": len(part)}
    schema = packing.SCHEMA.append(pa.field("captions.raw", pa.list_(pa.string())))
    files.write_table(folder / "index.parquet", pa.Table.from_pylist(index, schema))
    digest = files.sha256(folder / "index.parquet")
    described = {"samples": len(index), "index_sha256": digest, "shards": manifest}
    files.write_json(folder / "manifest.json", described)
    some = {"min": 1, "p05": 2, "p25": 3, "p50": 4, "p75": 5, "p95": 6, "max": 7}
    card = {
        "name": "toy",
        "source": "cc3m",
        "licence": "for tests alone",
        "subset": None,
        **summary,
        "expected": None,
        "verdict": "unknown: no figures of others",
        "samples": len(index),
        "shards": len(manifest),
        "bytes": sum(of["bytes"] for of in manifest.values()),
        **dict.fromkeys(("width", "height", "image_bytes", "caption_words"), some),
        "slots": {"raw": {"samples": len(index), "captions": len(index)}},
        "digests": {"list": "1" * 64, "index": digest, "pool": pool.digest_of(folder / "index.parquet")},
    }
    files.write_json(folder / "card.json", card)


def rewrite(path: Path, **changes: Any) -> None:
    """Changes keys of a JSON file."""
    files.write_json(path, json.loads(path.read_text()) | changes)
