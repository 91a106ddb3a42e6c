"""Wall time of the stage `download`, guard and ledger included, and of the bare img2dataset command.

Both start from nothing, fetch the same list from the same loopback server with as many processes and threads,
shrink images alike and write tars; the time is that of the whole command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from bench import web

ROOT = Path(__file__).parents[1]
PROCESSES, THREADS, SHARD = 2, 64, 1000
STUDY = "bench"
OURS, BARE = "rankclip", "img2dataset"
PYTHON = (sys.executable, "-m")


def compared(rows: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each command by round, taking turns."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, web.serving() as port:
        study = prepared(Path(folder), port, rows)
        commands = {OURS: ours(), BARE: bare(study)}
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(seconds(study, command))
                assert stored(study) == rows, f"{name} stored {stored(study)} of {rows} images"
                for made in ("work", f"data/{STUDY}/crawl", "bare"):
                    shutil.rmtree(study / made, ignore_errors=True)
        return times


def prepared(folder: Path, port: int, rows: int) -> Path:
    """A folder with an active study of such a list, and its URL table."""
    (folder / "conf").symlink_to(ROOT / "conf")
    web.write_list(folder / "list.tsv", port, rows)
    changes = [
        *("study.name=bench", "source.path=list.tsv", "download.private_hosts=[127.0.0.1]"),
        *(f"download.threads={THREADS}", f"download.per_host={PROCESSES * THREADS}"),
        f"download.rows_per_shard={SHARD}",
    ]
    seconds(folder, [*PYTHON, "rankclip", "use", "cc3m-rn50", *changes])
    seconds(folder, [*PYTHON, "stages.ingest", "--out", f"data/{STUDY}"])
    return folder


def ours() -> list[str]:
    """The stage."""
    data = f"data/{STUDY}"
    return [
        *PYTHON,
        "stages.download",
        "--urls",
        f"{data}/urls.parquet",
        "--work",
        "work",
        "--out",
        f"{data}/crawl",
    ]


def bare(study: Path) -> list[str]:
    """img2dataset as its README says, with our choices of size and number."""
    options = {
        "url_list": study / f"data/{STUDY}/urls.parquet",
        "input_format": "parquet",
        "url_col": "url",
        "caption_col": "caption",
        "output_format": "webdataset",
        "output_folder": study / "bare",
        "processes_count": PROCESSES,
        "thread_count": THREADS,
        "number_sample_per_shard": SHARD,
        "image_size": 256,
        "resize_mode": "keep_ratio",
        "resize_only_if_bigger": True,
        "extract_exif": False,  # on by default; the stage does without
        "enable_wandb": False,
    }
    return [
        str(Path(sys.executable).with_name("img2dataset")),
        *(f"--{name}={value}" for name, value in options.items()),
    ]


def seconds(study: Path, command: list[str]) -> float:
    """Wall time of a command in the study's folder."""
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT}",
        "RANKCLIP_PROCESSES": str(PROCESSES),
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
    since = time.perf_counter()
    subprocess.run(command, cwd=study, env=environment, check=True, capture_output=True)
    return time.perf_counter() - since


def stored(study: Path) -> int:
    """Images that the last command says it has stored."""
    status = study / f"data/{STUDY}/crawl/status.parquet"
    if status.exists():
        return pq.read_table(status, columns=["reason"])["reason"].to_pylist().count("ok")
    tables = (study / "bare").glob("*.parquet")
    return sum(
        pq.read_table(path, columns=["status"])["status"].to_pylist().count("success") for path in tables
    )
