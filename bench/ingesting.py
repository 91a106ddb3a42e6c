"""Ingest of a list in CC12M's form: rows a second and memory, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from bench.indexing import caption, peak_mb, url
from rankclip.data.ingestion import ingest
from rankclip.data.ingestion.form import Lines
from rankclip.data.ingestion.spec import IngestSpec

ROOT = Path(__file__).parents[1]


def write(path: Path, rows: int) -> None:
    """`url<TAB>caption` lines; of a hundred two are bad and one repeats the URL of another."""
    with path.open("w") as file:
        for row in range(rows):
            address = {7: "ftp://host/1.jpg", 13: "", 19: url(row - 1)}.get(row % 100, url(row))
            file.write(f"{address}\t{caption(row)}\n")


def measure(folder: Path, rows: int) -> dict[str, float]:
    """Seconds, of the clock and of the processor, and peak memory of the whole process."""
    path = folder / "list.tsv"
    write(path, rows)
    command = [sys.executable, "-m", "bench.ingesting", str(path), str(folder)]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    path.unlink()
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def main(path: Path, out: Path) -> None:
    """Measures and prints."""
    since, busy = time.perf_counter(), time.process_time()
    counts = ingest.ingest(IngestSpec(), path, Lines(first="url"), None, out)
    took = time.perf_counter() - since
    found = {"rows": counts.total(), "s": took, "cpu_s": time.process_time() - busy, "peak_mb": peak_mb()}
    found["rows_per_s"] = counts.total() / took
    print(json.dumps({name: round(value, 1) for name, value in found.items()}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
