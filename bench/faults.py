"""kill -9 of DVC in every stage at several moments: what outlives it, what is lost, what is done twice.

Run it with `make bench-faults`; it takes about ten minutes and writes `results/faults.json` beside this file.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from rankclip.launch import stopping
from tests.e2e import project
from tests.e2e.project import STUDY, Project, digests, identity

RESULTS = Path(__file__).parent / "results" / "faults.json"
SHARES = (0.2, 0.5, 0.8)
"""Moments of the kill, as shares of the time that the stage takes undisturbed."""


@dataclass(frozen=True)
class Case:
    """A stage, where its work in progress lies, and which of its outputs must not depend on the kill."""

    stage: str
    work: str = ""
    """Its folders of work in progress, a pattern below the study's."""
    complete: str = ""
    """Files there that each say that a unit of work is complete."""
    outputs: tuple[str, ...] = ()
    """Patterns below the repository."""


DATA, RUNS, SCORES, REPORT = (f"{name}/{STUDY}" for name in ("data", "runs", "results", "reports"))
CASES = (
    Case("ingest", outputs=(f"{DATA}/urls.parquet", f"{DATA}/refused.parquet", f"{DATA}/source/*")),
    Case("download", "download-*", "download-*/done/*.parquet", (f"{DATA}/crawl/status.parquet",)),
    Case("benchmarks", outputs=(f"{DATA}/benchmarks/manifest.json", f"{DATA}/benchmarks/*/*/*.tar")),
    Case("curate", outputs=(f"{DATA}/ledger.*",)),
    Case("shard", outputs=(f"{DATA}/shards/*.tar", f"{DATA}/shards/index.parquet")),
    Case("pretrain@clip", "runs/*", "runs/*/record.json", (f"{RUNS}/clip/*/model.safetensors",)),
    Case("evaluate@clip", "scores/*", "scores/*/record.json", (f"{SCORES}/clip/*.parquet",)),
    Case("report", outputs=(f"{REPORT}/*.csv", f"{REPORT}/ablation.md", f"{REPORT}/results.parquet")),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What became of one kill."""

    stage: str
    undisturbed_s: float
    killed_after_s: float
    outlived_s: float
    """How long the last process of the stage outlived DVC."""
    complete_units: int
    """Units of work that were complete at the kill."""
    done_twice: int
    """Those of them that the restart made again."""
    restart_s: float
    equal: bool
    """Whether the outputs are, bit for bit, those of an undisturbed run."""


def run_case(study: Project, case: Case) -> list[Row]:
    """Kills the stage at every moment of `SHARES`."""
    forget(study, case)
    undisturbed_s = timed(study, case)
    wanted = digests(study.folder, *case.outputs)
    rows = []
    for share in SHARES:
        after_s = share * undisturbed_s
        while (outlived_s := killed(study, case, after_s)) is None:
            after_s *= 0.7
        complete = units(study, case)
        restart_s = timed(study, case)
        twice = sum(units(study, case).get(name) != value for name, value in complete.items())
        equal = digests(study.folder, *case.outputs) == wanted
        times = [round(each, 2) for each in (undisturbed_s, after_s, outlived_s)]
        rows.append(Row(case.stage, *times, len(complete), twice, round(restart_s, 2), equal))
        print(rows[-1], flush=True)
    return rows


def killed(study: Project, case: Case, after_s: float) -> float | None:
    """Kills DVC a while after the stage began; how long that outlived it, None if it had ended before."""
    forget(study, case)
    driver = start(study, case)
    time.sleep(after_s)
    if not study.running(module(case)):
        driver.wait()
        return None
    # what trains has time to save; all else ends at once
    saves = case.stage.startswith("pretrain")
    return project.kill(study, driver, stopping.ORPHANED_S + 10 if saves else 3.0)


def module(case: Case) -> str:
    """What the stage's command line has."""
    return f"stages.{case.stage.partition('@')[0]}"


def start(study: Project, case: Case) -> subprocess.Popen[bytes]:
    """DVC, when its stage has started."""
    driver = study.start("dvc", "repro", "--force", "--single-item", case.stage)
    project.wait_until(lambda: bool(study.running(module(case))), 60, f"start of {case.stage}")
    return driver


def timed(study: Project, case: Case) -> float:
    """Seconds that the stage takes, run to its end by DVC."""
    driver = start(study, case)
    took = project.wait_until(lambda: not study.running(module(case)), 300, f"end of {case.stage}")
    assert driver.wait() == 0, f"{case.stage} failed"
    return took


def forget(study: Project, case: Case) -> None:
    """Removes the stage's work in progress, so that it starts from nothing."""
    for path in study.work.glob(case.work) if case.work else ():
        if path.is_dir():
            shutil.rmtree(path)


def units(study: Project, case: Case) -> dict[str, tuple[int, int]]:
    """Complete units of work, by name."""
    if not case.complete or not study.work.exists():
        return {}
    known = identity(study.work)
    names = {path.relative_to(study.work).as_posix() for path in study.work.glob(case.complete)}
    return {name: value for name, value in known.items() if name in names}


def main() -> None:
    """Runs every case and writes the table."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        study = project.new(Path(folder) / "study")
        study.run("rankclip", "repro")
        rows = [row for case in CASES for row in run_case(study, case)]
    machine = {"cpus": os.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 1e9)}
    found = {"machine": machine, "python": platform.python_version(), "rows": [asdict(row) for row in rows]}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    bad = [row for row in rows if not row.equal or row.done_twice or row.outlived_s > 3]
    print(f"{len(rows)} kills, {len(bad)} with loss, repetition or survivors: {RESULTS}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
