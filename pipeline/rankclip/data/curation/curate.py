"""Crawled images verified, filtered and freed of duplicates; each input row ends with one reason.

urls.parquet, refused.parquet, crawl/  ->  ledger.parquet, ledger.json
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from rankclip import files
from rankclip.data import processes
from rankclip.data.curation import crawl_tar
from rankclip.data.curation.spec import CurateSpec
from rankclip.data.curation.verdicts import TarWork, Verdict, judge_tar
from rankclip.data.reasons import Reason
from rankclip.errors import DataError

INGEST_REMEDY = "make it again with `dvc repro -f -s ingest`"

SCHEMA = pa.schema(
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
    }
)
"""Of ledger.parquet: one row per input row, by `row`. `stage` is the one that gave the reason; `width` and
`height` are those of the upright image in pixels, 0 where unknown; `shard` names the tar of the crawl."""


def run(spec: CurateSpec, data: Path) -> None:
    """Write `data/ledger.parquet` and `data/ledger.json` from what ingest and download left in `data`.

    Raises:
        DataError: a file is missing or damaged, the tables are not of one run, or the counts do not add up.
    """
    urls = files.read_table(data / "urls.parquet", ["row", "key", "url", "caption"], INGEST_REMEDY)
    refused = files.read_table(data / "refused.parquet", ["row", "reason", "detail"], INGEST_REMEDY)
    columns = ["row", "reason", "detail", "sha256", "shard"]
    status = files.read_table(data / "crawl" / "status.parquet", columns, crawl_tar.REMEDY)
    urls, status = urls.sort_by("row"), status.sort_by("row")
    if urls["row"].to_pylist() != status["row"].to_pylist():
        raise DataError(
            f"{data}/crawl/status.parquet ({len(status)} rows) does not have the rows of urls.parquet "
            f"({len(urls)} rows); {crawl_tar.REMEDY}"
        )
    crawled = _crawled(spec, data / "crawl", urls, status)
    ledger = pa.concat_tables([crawled, _refused(refused)]).sort_by("row")
    summary = _count(ledger, data)
    files.write_table(data / "ledger.parquet", ledger)
    files.write_json(data / "ledger.json", summary)


def exact_duplicates(digests: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Key of each later sample -> key of the first with the same digest, for `(key, sha256)` by row."""
    first: dict[str, str] = {}
    return {key: first[digest] for key, digest in digests if first.setdefault(digest, key) != key}


def _crawled(spec: CurateSpec, folder: Path, urls: pa.Table, status: pa.Table) -> pa.Table:
    """The ledger's rows of those that were crawled."""
    keys = urls["key"].to_pylist()
    digests = dict(zip(keys, status["sha256"].to_pylist(), strict=True))
    reasons = status["reason"].to_pylist()
    stored = [key for key, reason in zip(keys, reasons, strict=True) if reason == Reason.OK]
    verdicts = _judged(
        spec, folder, dict(zip(keys, status["shard"].to_pylist(), strict=True)), digests, stored
    )
    if spec.drop_exact_duplicates:
        kept = [(key, digests[key]) for key in stored if verdicts[key].reason == Reason.OK]
        for key, first in exact_duplicates(kept).items():
            _, _, width, height = verdicts[key]
            verdicts[key] = Verdict(Reason.DUPLICATE_EXACT, f"same bytes as {first}", width, height)
    refused = zip(reasons, status["detail"].to_pylist(), strict=True)
    final = [verdicts.get(key) or Verdict(*reason) for key, reason in zip(keys, refused, strict=True)]
    columns = {
        "reason": [verdict.reason for verdict in final],
        "stage": ["curate" if key in verdicts else "download" for key in keys],
        "detail": [verdict.detail for verdict in final],
        "sha256": status["sha256"],
        "width": [verdict.width for verdict in final],
        "height": [verdict.height for verdict in final],
        "shard": status["shard"],
    }
    return pa.table({**{name: urls[name] for name in urls.column_names}, **columns}, schema=SCHEMA)


def _judged(
    spec: CurateSpec, folder: Path, shards: dict[str, str], digests: dict[str, str], stored: list[str]
) -> dict[str, Verdict]:
    """A verdict for each key of `stored`, tar by tar."""
    by_shard: dict[str, dict[str, str]] = defaultdict(dict)
    for key in stored:
        by_shard[shards[key]][key] = digests[key]
    work = [TarWork(spec, crawl_tar.tar_path(folder, shard), by_shard[shard]) for shard in sorted(by_shard)]
    verdicts: dict[str, Verdict] = {}
    for judged in processes.mapped(judge_tar, work, images=len(stored)):
        verdicts.update(judged)
    return verdicts


def _refused(refused: pa.Table) -> pa.Table:
    """The ledger's rows of those that ingest refused."""
    n = len(refused)
    columns = {
        "row": refused["row"],
        "key": [f"{row:09d}" for row in refused["row"].to_pylist()],
        "reason": refused["reason"],
        "stage": ["ingest"] * n,
        "detail": refused["detail"],
    }
    empty = {"width": [0] * n, "height": [0] * n}
    texts = {name: [""] * n for name in ("url", "caption", "sha256", "shard")}
    filled = {**columns, **empty, **texts}
    return pa.table({name: filled[name] for name in SCHEMA.names}, schema=SCHEMA)


def _count(ledger: pa.Table, data: Path) -> dict[str, object]:
    """The summary for ledger.json, after the check that each input row is there once with a known reason."""
    total = len(ledger)
    if not np.array_equal(ledger["row"].to_numpy(), np.arange(total)):
        tables = f"{data}/urls.parquet and refused.parquet"
        raise DataError(f"{tables} do not hold each row from 0 to {total - 1} once; {INGEST_REMEDY}")
    reasons = Counter(ledger["reason"].to_pylist())
    unknown = sorted(str(reason) for reason in reasons if reason not in set(Reason))
    if unknown:
        raise DataError(f"{data} has rows with unknown reasons: {', '.join(unknown)}; {crawl_tar.REMEDY}")
    accepted = reasons.pop(Reason.OK, 0)
    return {"input": total, "ok": accepted, "reasons": dict(sorted(reasons.items()))}
