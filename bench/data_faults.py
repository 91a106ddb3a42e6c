"""kill -9 of download, curate and shard at random moments: what is fetched again, and is the outcome equal?

Run it with `make bench-faults`; it takes about half an hour and writes `results/data_faults.json` beside this
file. A list of 20,000 rows is crawled from a loopback server that counts how often it is asked for what.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from bench import web
from bench.machine import commit
from tests.e2e import project
from tests.e2e.project import STUDY, Project, digests

RESULTS = Path(__file__).parent / "results" / "data_faults.json"
ROWS, KILLS, PROCESSES = 20_000, 10, 2
SHARD = ROWS // 200
"""Rows of a work shard: 0.5 % of the list."""
DATA = f"data/{STUDY}"
STAGES = {
    "download": ("--urls", f"{DATA}/urls.parquet", "--work", f"work/{STUDY}", "--out", f"{DATA}/crawl"),
    "curate": ("--data", DATA, "--work", f"work/{STUDY}"),
    "shard": ("--data", DATA, "--work", f"work/{STUDY}"),
}
MADE = {
    "download": (f"{DATA}/crawl",),
    "curate": (f"{DATA}/ledger.parquet", f"{DATA}/ledger.json"),
    "shard": (f"{DATA}/shards",),
}
OUTPUTS = {
    "download": (f"{DATA}/crawl/*.tar", f"{DATA}/crawl/status.parquet"),
    "curate": (f"{DATA}/ledger.*",),
    "shard": (f"{DATA}/shards/*.tar", f"{DATA}/shards/index.parquet", f"{DATA}/shards/manifest.json"),
}


@dataclass(frozen=True)
class Row:
    """What became of one kill."""

    stage: str
    undisturbed_s: float
    killed_after_s: float
    fetched_again: int
    """URLs that the server was asked for once more than without the kill."""
    cut_tars: int
    """Tars under their final names that were not whole after the kill."""
    outlived_s: float
    """How long the last process of the stage outlived its driver."""
    restart_s: float
    equal: bool
    """Whether the outputs are, bit for bit, those of an undisturbed run."""


def main() -> None:
    """Runs the campaign and writes the table."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, web.serving(96, 64) as port:
        study = prepared(Path(folder), port)
        rows: list[Row] = []
        for stage in STAGES:
            rows += campaign(study, stage, port)
    most = max(row.fetched_again for row in rows)
    found = {
        "machine": {"cpus": os.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 1e9)},
        "python": platform.python_version(),
        "commit": commit(),
        "list": ROWS,
        "work_shard": SHARD,
        "processes": PROCESSES,
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    bad = [row for row in rows if not row.equal or row.cut_tars or row.fetched_again > PROCESSES * SHARD]
    print(f"{len(rows)} kills, {len(bad)} bad; at most {most} URLs fetched again (bound {PROCESSES * SHARD})")
    sys.exit(bool(bad))


def prepared(folder: Path, port: int) -> Project:
    """A project with a study of the server's list, and its URL table and benchmarks."""
    study = project.new(folder / "study")
    web.write_list(study.folder / "list.tsv", port, ROWS)
    changes = [
        *(f"study.name={STUDY}", "source.path=list.tsv", "download.private_hosts=[127.0.0.1]"),
        *(f"download.rows_per_shard={SHARD}", "download.per_host=128", "download.resize=none"),
        "shard.samples_per_shard=1000",
    ]
    study.run("rankclip", "use", "cc3m-rn50", *changes)
    study.dvc("repro", "ingest", "benchmarks")
    return study


def campaign(study: Project, stage: str, port: int) -> list[Row]:
    """Kills a stage at random moments; afterwards its outputs are those of an undisturbed run."""
    undisturbed_s, wanted = undisturbed(study, stage)
    moments = random.Random(stage)
    rows = []
    while len(rows) < KILLS:
        forget(study, stage)
        before = web.asked(port)
        after_s = moments.uniform(0.1, 0.95) * undisturbed_s
        outlived_s = killed(study, stage, after_s)
        if outlived_s is None:
            continue
        cut = cut_tars(study)
        restart_s = timed(study, stage)
        again = extra(web.asked(port), before) if stage == "download" else 0
        equal = digests(study.folder, *OUTPUTS[stage]) == wanted
        rows.append(
            Row(
                stage,
                round(undisturbed_s, 2),
                round(after_s, 2),
                again,
                cut,
                round(outlived_s, 2),
                round(restart_s, 2),
                equal,
            )
        )
        print(rows[-1], flush=True)
    return rows


def undisturbed(study: Project, stage: str) -> tuple[float, dict[str, str]]:
    """Seconds and digests of a run that nobody disturbs."""
    forget(study, stage)
    took = timed(study, stage)
    return took, digests(study.folder, *OUTPUTS[stage])


def command(stage: str) -> Sequence[str]:
    """The stage's own command."""
    return (sys.executable, "-m", f"stages.{stage}", *STAGES[stage])


def timed(study: Project, stage: str) -> float:
    """Seconds of the stage from its start to its end."""
    since = time.monotonic()
    study.run(*command(stage), RANKCLIP_PROCESSES=str(PROCESSES))
    return time.monotonic() - since


def killed(study: Project, stage: str, after_s: float) -> float | None:
    """Starts the stage and kills it; seconds until its last process is gone, None if it had ended before."""
    driver = study.start(*command(stage), RANKCLIP_PROCESSES=str(PROCESSES))
    time.sleep(after_s)
    if driver.poll() is not None:
        return None
    return project.kill(study, driver, within_s=30)


def forget(study: Project, stage: str) -> None:
    """Removes what a stage has made, finished or not."""
    for path in [study.folder / name for name in MADE[stage]] + list(study.work.glob(f"{stage}*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def cut_tars(study: Project) -> int:
    """Tars, by their names, that cannot be read to their end."""
    return sum(not whole(path) for path in study.folder.rglob("*.tar") if not path.name.startswith("."))


def whole(path: Path) -> bool:
    """Whether a tar ends as tars do."""
    try:
        with tarfile.open(path) as tar:
            tar.getmembers()
        with path.open("rb") as file:
            file.seek(-2 * tarfile.BLOCKSIZE, os.SEEK_END)
            return not any(file.read())
    except (OSError, tarfile.TarError):
        return False


def extra(now: Counter[str], before: Counter[str]) -> int:
    """Requests beyond one for each URL."""
    asked = {path: n - before[path] for path, n in now.items()}
    return sum(n - 1 for n in asked.values() if n > 1)


if __name__ == "__main__":
    main()
