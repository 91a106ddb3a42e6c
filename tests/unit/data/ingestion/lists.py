"""Lists for ingest, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankclip import files
from rankclip.data.ingestion import ingest
from rankclip.data.ingestion.form import Form, Lines
from rankclip.data.ingestion.spec import IngestSpec, Subset

CAPTION_FIRST = Lines(first="caption")


@dataclass(frozen=True)
class Written:
    """A source that writes the bytes it is given."""

    content: bytes
    form: Form = CAPTION_FIRST
    name: str = "captions.tsv"
    subset: Subset | None = None
    expected: None = None

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.name).write_bytes(self.content)
        return folder / self.name


def tables(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of urls.parquet and refused.parquet, after the check that they and the counts agree."""
    urls, refused = (files.read_table(folder / f"{name}.parquet").to_pylist() for name in ("urls", "refused"))
    reasons = ["ok"] * len(urls) + [row["reason"] for row in refused]
    counted = files.read_json(folder / "ingest.json")
    assert (counted["input"], counted["accepted"]) == (len(reasons), len(urls))
    assert counted["refused"] == len(refused)
    assert counted["reasons"] == {reason: reasons.count(reason) for reason in set(reasons)}
    assert sorted(row["row"] for row in urls + refused) == list(range(len(reasons)))
    assert [row["row"] for row in urls] == sorted(row["row"] for row in urls)
    assert all(row["detail"].isprintable() and len(row["detail"]) <= 200 for row in refused)
    return urls, refused


def ingested(folder: Path, source: Written, spec: IngestSpec) -> dict[int, str]:
    """Row -> reason."""
    ingest.run(spec, source, folder)
    urls, refused = tables(folder)
    return {row["row"]: "ok" for row in urls} | {row["row"]: row["reason"] for row in refused}
