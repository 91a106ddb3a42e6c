"""Indexing of tars where they are: samples/s of one process, and what follows when all tars are read.

`python -m bench.indexing --folder FOLDER` prints JSON; the folder keeps the tars. They are read once before,
so that what is measured is the work and not the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from rankclip import files, storage
from rankclip.data import tars
from rankclip.data.curation import ledger
from rankclip.data.indexing import index, parts
from rankclip.data.indexing.samples import Samples, Tar
from rankclip.data.sharding import card
from rankclip.data.sharding.publish import publish
from rankclip.data.sources.webdataset import WebdatasetSpec, digest_of

ROOT = Path(__file__).parents[1]
PHOTOS = 200
PER_TAR = 10_000


def write(folder: Path, samples: int, count: int) -> None:
    """`samples` samples as img2dataset writes them, in `count` tars; few images, each under many names."""
    from bench.loading import photo  # with torch, whose memory is not to be measured

    photos = [photo(number) for number in range(PHOTOS)]
    for tar in range(count):
        numbers = range(tar * samples // count, (tar + 1) * samples // count)
        with tars.writing(folder / f"{tar:05d}.tar") as out:
            for number in numbers:
                key, said = f"{number:09d}", caption(number)
                note = {"key": key, "caption": said, "url": url(number), "status": "success", "width": 256}
                out.add(f"{key}.jpg", photos[number % PHOTOS])
                out.add(f"{key}.json", json.dumps(note).encode())
                out.add(f"{key}.txt", said.encode())


def caption(number: int) -> str:
    """Of 8 to 24 words."""
    return (
        " ".join(["photo of wave", "in colours that differ", "over grain"] * (1 + number % 3)) + f" {number}"
    )


def url(number: int) -> str:
    """Of an image; there is none."""
    return f"http://host{number % 9973}.example/pictures/{number}.jpg"


def source(folder: Path) -> WebdatasetSpec:
    """The tars of a folder."""
    return WebdatasetSpec(name="webdataset", place=str(folder), digest=digest_of(str(folder)), url="json:url")


def once(folder: Path) -> dict[str, float]:
    """Seconds, of the clock and of the processor, and MB of the stage index with one process."""
    made = folder / "made"
    shutil.rmtree(made, ignore_errors=True)
    spec = source(folder / "tars")
    os.environ["RANKCLIP_PROCESSES"] = "1"
    since, busy = time.perf_counter(), time.process_time()
    index.run(spec, {}, made / "data" / "bench", made / "work")
    return {"s": time.perf_counter() - since, "cpu_s": time.process_time() - busy, "mb": peak_mb()}


def peak_mb() -> float:
    """Of memory of this process until now; getrusage would tell that of the process it was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


def joined(folder: Path, rows: int) -> dict[str, float]:
    """What follows when every tar is read, for `rows` samples: seconds and MB of ledger, index and card."""
    made = folder / "joined"
    spec = source(folder / "tars")
    read = [_part(spec, number, made / "work") for number in range(rows // PER_TAR)]
    since, before = time.perf_counter(), peak_mb()
    samples = Samples(read)
    summary = ledger.write(made / "data", samples.ledger(), samples.count, (), "")
    good = [samples.good(number) for number in range(len(read))]
    about = card.about("bench", spec, summary)
    publish(made / "data" / "shards", good, samples.shards(), {}, about, made / "work" / "captions")
    return {"rows": samples.count, "s": time.perf_counter() - since, "mb": peak_mb(), "mb_before": before}


def _part(spec: WebdatasetSpec, number: int, folder: Path) -> Tar:
    """A tar as if it had been read; one sample in a hundred is bad."""
    work = parts.IndexWork(spec, storage.store(spec.place), f"{number:05d}.tar", 1, 0, "", folder, here=True)
    numbers = range(number * PER_TAR, (number + 1) * PER_TAR)
    keys = [f"{each:09d}" for each in numbers]
    reasons = ["missing" if each % 100 == 0 else "ok" for each in numbers]
    if not work.part.exists():
        columns = {
            "key": keys,
            "url": [url(each) for each in numbers],
            "shard": [work.name] * PER_TAR,
            **{name: [256] * PER_TAR for name in ("offset", "size", "width", "height")},
            "sha256": [hashlib.sha256(key.encode()).hexdigest() for key in keys],
            "source_key": [None] * PER_TAR,
            "captions.raw": [[caption(each % 1000)] for each in numbers],
            "reason": reasons,
            "detail": [""] * PER_TAR,
            "hash": [parts.key_hash(key) for key in keys],
        }
        files.write_table(work.part, pa.table(columns, schema=parts.schema(spec)))
    ok = reasons.count("ok")
    return work, parts.Contents(key="", bytes=1, changed=0, sha256="0" * 64, samples=PER_TAR, ok=ok)


def measure(folder: Path, samples: int, count: int, rounds: int, rows: int) -> dict[str, Any]:
    """Medians of `rounds` runs of the stage, each in a process of its own, and what follows for `rows`."""
    if not (folder / "tars").exists():
        write(folder / "tars", samples, count)
    size = sum(len(path.read_bytes()) for path in (folder / "tars").glob("*.tar"))
    runs = [in_process("once", folder, rows) for _ in range(rounds)]
    seconds, busy = (statistics.median(run[name] for run in runs) for name in ("s", "cpu_s"))
    return {
        "samples": samples,
        "tars": count,
        "bytes": size,
        "samples_per_s": round(samples / seconds),
        "samples_per_cpu_s": round(samples / busy),
        "peak_mb": round(max(run["mb"] for run in runs)),
        "rounds": [round(run["s"], 2) for run in runs],
        "joined": {name: round(value, 1) for name, value in in_process("joined", folder, rows).items()},
    }


def in_process(case: str, folder: Path, rows: int) -> dict[str, float]:
    """A case in a process of its own."""
    command = [sys.executable, "-m", "bench.indexing", "--folder", str(folder), "--rows", str(rows)]
    ended = subprocess.run([*command, "--case", case], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measures and prints."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--folder", type=Path, required=True)
    asked.add_argument("--samples", type=int, default=100_000)
    asked.add_argument("--tars", type=int, default=10)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--rows", type=int, default=12_400_000)
    asked.add_argument("--case", choices=["once", "joined"])
    given = asked.parse_args()
    if given.case:
        print(json.dumps(once(given.folder) if given.case == "once" else joined(given.folder, given.rows)))
        return
    print(json.dumps(measure(given.folder, given.samples, given.tars, given.rounds, given.rows), indent=2))


if __name__ == "__main__":
    main()
