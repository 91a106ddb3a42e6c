"""The ledger's rows put together from the tables of ingest and download and from what curate found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip.data.curation import crawl_tar, ledger
from rankclip.data.curation.census import NOT_JUDGED, OK, REASONS, Census
from rankclip.data.curation.details import Details
from rankclip.data.curation.findings import BIT, CHECKS, Findings
from rankclip.data.curation.ranges import Ranges
from rankclip.data.curation.spec import Check
from rankclip.data.reasons import Reason
from rankclip.errors import DataError

INGEST_REMEDY = "make it again with `dvc repro -f -s ingest`"

_URLS = pa.schema([ledger.SCHEMA.field(name) for name in ("row", "key", "url", "caption", "source_key")])
_STATUS = pa.schema([ledger.SCHEMA.field(name) for name in ("row", "reason", "detail", "sha256", "shard")])
_REFUSED = pa.schema([ledger.SCHEMA.field(name) for name in ("row", "key", "reason", "detail")])

_RULES = ("caption", "blocklist")
_CODES = np.array(
    [list(Reason).index(Reason.FILTERED_BY_RULE if check in _RULES else Reason(check)) for check in CHECKS],
    np.uint8,
)
"""Of the reasons of rows that a check removes, by the check's place in `CHECKS`."""


@dataclass(frozen=True)
class Curated:
    """What curate found out about the rows that were crawled."""

    remove: tuple[Check, ...]
    census: Census
    findings: Findings
    details: Details


def tables(data: Path, curated: Curated) -> Iterator[pa.Table]:
    """The ledger of the study in `data` by ranges of rows, of `ledger.SCHEMA`.

    Raises:
        DataError: a table is missing or damaged, or status.parquet has other rows than urls.parquet.
    """
    urls = Ranges(data / "urls.parquet", _URLS, INGEST_REMEDY)
    status = Ranges(data / "crawl" / "status.parquet", _STATUS, crawl_tar.REMEDY)
    refused = Ranges(data / "refused.parquet", _REFUSED, INGEST_REMEDY)
    rows = len(curated.census.reasons)
    for start in range(0, rows, ledger.GROUP_ROWS):
        end = min(start + ledger.GROUP_ROWS, rows)
        asked, answers = urls.below(end), status.below(end)
        if asked["row"] != answers["row"]:
            raise DataError(
                f"{status.path} does not have the rows of urls.parquet from {start} to {end - 1}; "
                f"{crawl_tar.REMEDY}"
            )
        crawled = _crawled(asked, answers, curated)
        yield pa.concat_tables([crawled, _refused(refused.below(end))]).sort_by("row")


def _crawled(urls: pa.Table, status: pa.Table, curated: Curated) -> pa.Table:
    """The ledger's rows of those that were crawled."""
    rows = urls["row"].to_numpy()
    stored = pc.equal(status["reason"], Reason.OK.value).to_numpy()
    census = curated.census
    if (census.reasons[rows[stored]] == NOT_JUDGED).any():
        raise DataError(f"status.parquet names no tar for an image that is stored; {crawl_tar.REMEDY}")
    reasons, details = _judged(rows[stored], urls["caption"].filter(pa.array(stored)), curated)
    flags = curated.findings.flags[rows]
    return pa.table(
        {
            **{name: urls[name] for name in _URLS.names},
            "reason": _replaced(status["reason"], stored, reasons),
            "stage": pa.array(np.where(stored, "curate", "download")),
            "detail": _replaced(status["detail"], stored, details),
            "sha256": status["sha256"],
            "width": census.widths[rows],
            "height": census.heights[rows],
            "shard": status["shard"],
            "flags": _flags(flags),
            "phash": pa.array(census.hashes[rows], mask=~census.hashed[rows]),
        },
    ).cast(ledger.SCHEMA)


def _judged(rows: np.ndarray, captions: pa.ChunkedArray, curated: Curated) -> tuple[pa.Array, pa.Array]:
    """Reasons and details of rows whose images were stored."""
    flags, codes = curated.findings.flags[rows], curated.census.reasons[rows]
    nothing = len(CHECKS)
    removed_by = np.full(len(rows), nothing)
    for at, check in reversed(list(enumerate(CHECKS))):  # the first check that removes a row stays
        if check in curated.remove:
            removed_by[(flags & BIT[check]) != 0] = at
    removed = removed_by < nothing
    codes[removed] = _CODES[removed_by[removed]]
    told = (flags != 0) | (codes != OK)
    texts = [
        curated.details.of(row, None if by == nothing else CHECKS[by], caption)
        for row, by, caption in zip(
            rows[told].tolist(),
            removed_by[told].tolist(),
            captions.filter(pa.array(told)).to_pylist(),
            strict=True,
        )
    ]
    details = _replaced(pa.array([""] * len(rows), pa.string()), told, pa.array(texts, pa.string()))
    return REASONS.take(pa.array(codes)), details


def _refused(refused: pa.Table) -> pa.Table:
    """The ledger's rows of those that ingest refused."""
    n = len(refused)
    columns = {
        **{name: refused[name] for name in _REFUSED.names},
        **{name: [""] * n for name in ("url", "caption", "sha256", "shard")},
        "source_key": [None] * n,
        "stage": ["ingest"] * n,
        "width": [0] * n,
        "height": [0] * n,
        "flags": [[]] * n,
        "phash": [None] * n,
    }
    return pa.table({name: columns[name] for name in ledger.SCHEMA.names}, ledger.SCHEMA)


def _flags(bits: np.ndarray) -> pa.ListArray:
    """The names of the checks of each row, in their order."""
    has = np.stack([(bits & BIT[check]) != 0 for check in CHECKS], axis=1)
    ends = np.concatenate([[0], has.sum(axis=1).cumsum()])
    names = pa.array(CHECKS).take(pa.array(np.nonzero(has)[1]))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), names)


def _replaced(values: pa.Array | pa.ChunkedArray, where: np.ndarray, by: pa.Array) -> pa.Array:
    return pc.replace_with_mask(values, pa.array(where), by)
