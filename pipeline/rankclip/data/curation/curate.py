"""Crawled images verified, checked and compared; each input row ends with one reason.

urls.parquet, refused.parquet, crawl/, benchmarks/  ->  ledger.parquet, ledger.json

Each tar of the crawl is judged once: its verdicts are kept in `work/curate-KEY`, KEY of what they depend on,
so that neither a run after a kill nor a study with other limits decodes again what is known. The rest is work
on arrays and streams.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import PIL
from pyarrow import parquet

from rankclip import files, lifecycle
from rankclip.data.curation import census, crawl_tar, findings, judging, ledger, merge, references
from rankclip.data.curation.details import Details
from rankclip.data.curation.merge import INGEST_REMEDY, Curated
from rankclip.data.curation.spec import CurateSpec
from rankclip.errors import DataError, RunError
from rankclip.spec import digest

CODE = (
    "data/curation/crawl_tar.py",
    "data/curation/judging.py",
    "data/curation/parts.py",
    "data/curation/perceptual.py",
    "data/curation/references.py",
    "data/curation/verdicts.py",
    "data/images.py",
    "data/tar_members.py",
    "data/tars.py",
)
"""Sources, below the package, that a verdict depends on."""


def run(spec: CurateSpec, data: Path, work: Path) -> None:
    """Write `data/ledger.parquet` and `data/ledger.json` from what the stages before left in `data`.

    Raises:
        DataError: a file is missing or damaged, the tables are not of one run, or the counts do not add up.
        RunError: another process is at the same work, or too many images look alike.
    """
    urls, refused, status = data / "urls.parquet", data / "refused.parquet", data / "crawl" / "status.parquet"
    rows = _rows(urls, INGEST_REMEDY), _rows(refused, INGEST_REMEDY)
    answered = _rows(status, crawl_tar.REMEDY)
    if answered != rows[0]:
        raise DataError(
            f"{status} ({answered} rows) does not have the rows of urls.parquet ({rows[0]} rows); "
            f"{crawl_tar.REMEDY}"
        )
    settings = {"max_pixels": spec.max_pixels, "pillow": PIL.__version__, "code": files.code_digest(CODE)}
    folder = work / f"curate-{digest(settings)}"
    with lifecycle.lock(folder):
        benchmarks = references.read(data / "benchmarks", folder / "benchmarks")
        made = judging.run(spec.max_pixels, data / "crawl", folder)
        known = census.read(made, sum(rows))
        found = findings.find(spec, known, benchmarks, urls, INGEST_REMEDY)
        details = Details(spec, known, found, benchmarks, urls, INGEST_REMEDY)
        tables = merge.tables(data, Curated(spec.remove, known, found, details))
        ledger.write(data, tables, sum(rows), spec.checks, INGEST_REMEDY)
    _sweep(work, folder)


def _rows(path: Path, remedy: str) -> int:
    """Rows of a table, by its footer."""
    files.column_names(path, remedy)
    return int(parquet.read_metadata(path).num_rows)


def _sweep(work: Path, current: Path) -> None:
    """Deletes what other code or limits of pixels had left, but for what is in use."""
    for folder in work.glob("curate-*"):
        if folder == current:
            continue
        try:
            with lifecycle.lock(folder, wait_s=0):
                shutil.rmtree(folder)
        except RunError:
            continue
