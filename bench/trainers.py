"""One run of a trainer, ours or open_clip's own, and when each of its batches arrived.

`python -m bench.trainers JOB`, a `Job` as JSON, prints a `Run` as JSON. Each trainer is given the same model,
tars, batch, precision, threads and loader processes, and cuts as much of each picture out at random.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from bench import captioned
from rankclip import files

ROOT = Path(__file__).parents[1]
CROP = [0.9, 1.0]
"""open_clip's random resized crop, which none of its flags is needed for."""
NEVER = 10**6


@dataclass(frozen=True)
class Job:
    """What is trained, by whom, and how it is started."""

    data: str
    """Folder of `captioned.write`."""
    trainer: str = "ours"
    """`ours`, or `open_clip`."""
    start: str = "alone"
    """`alone` in this process; by `ray` as a task, `tracked` by MLflow too; or `group`, of two workers."""
    arm: str = "clip"
    model: str = "shapes-vit"
    batch_size: int = 128
    steps: int = 40
    threads: int = 2
    """Of torch, in each worker."""
    loaders: int = 1
    """Processes that decode, for each worker."""
    log_every: int = 100
    """Steps between reports; open_clip's default."""


@dataclass(frozen=True)
class Run:
    """What a run was like."""

    stamps: list[float]
    """When each batch arrived, seconds by one clock."""
    cpu: list[float]
    """CPU time of the process that trains up to then, seconds; others on the machine disturb it little."""
    peak_mib: float
    """Most memory of the process that trained, without its loaders."""


def request(job: Job, work: Path) -> dict[str, Any]:
    """Our run, as plain JSON: open_clip's defaults where they change what a step costs."""
    from rankclip import composition, pretrain
    from rankclip.training.machine import Machine
    from rankclip.training.request import CODE, TrainRequest

    changes = (
        f"model={job.model}", f"train.batch_size={job.batch_size}", f"train.steps={job.steps}",
        "train.warmup_steps=0", f"train.threads={job.threads}", "train.shift_pixels=0", f"train.crop={CROP}",
        f"train.log_every={job.log_every}", "train.diagnose_every=null",
        f"train.validation=[{captioned.BENCHMARK}]", f"train.validate_every={NEVER}",
        f"train.checkpoint_every={NEVER}",
    )  # fmt: skip
    study = composition.compose("shapes-smoke", changes, ROOT / "conf")
    data = Path(job.data)
    asked = TrainRequest(
        key=f"{job.arm}/seed-0", arm=job.arm, seed=0, model=study.model,
        objective=study.arms[job.arm].objective, train=study.train, shards=data / "shards",
        shards_digest=files.sha256(data / "shards" / "manifest.json"), benchmarks=data / "benchmarks",
        validation=pretrain.validation_digests(data / "benchmarks", study.train.validation),
        code=files.code_digest(CODE), machine=Machine(device="cpu"), work=work,
    )  # fmt: skip
    asked.folder.mkdir(parents=True, exist_ok=True)
    return asked.dump()


class Arrivals:
    """When batches arrived."""

    def __init__(self) -> None:
        self.stamps: list[float] = []
        self.cpu: list[float] = []

    def note(self) -> None:
        """One arrives now."""
        self.stamps.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def run(self) -> dict[str, Any]:
        """A `Run` as JSON, at its end."""
        return asdict(Run(self.stamps, self.cpu, peak_mib()))


@contextlib.contextmanager
def noted(arrivals: Arrivals) -> Iterator[None]:
    """Notes when each batch of our loader arrives, while the block runs."""
    from rankclip.training.feed import Feed

    batches = Feed.batches

    def watched(self: Feed, start_step: int, stop_step: int) -> Iterator[Any]:
        for loaded in batches(self, start_step, stop_step):
            arrivals.note()
            yield loaded

    with mock.patch.object(Feed, "batches", watched):
        yield


def train_noted(item: dict[str, Any]) -> dict[str, Any]:
    """`train_run` as a worker calls it, and what it was like."""
    from rankclip.training.run import train_run

    arrivals = Arrivals()
    with noted(arrivals):
        train_run(item)
    return arrivals.run()


def peak_mib() -> float:
    """Most memory that this process ever had."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def ours(job: Job, work: Path) -> dict[str, Any]:
    """Our loop, started as the job says."""
    from rankclip import launch

    item = request(job, work)
    target = "bench.trainers:train_noted"
    if job.start == "group":
        return launch.train_group(target, item, 2, Path(item["work"]), cpus=job.threads)
    if job.start == "alone":
        return train_noted(item)
    with following(item, work, tracked=job.start == "tracked") as poll:
        outcomes = launch.map_tasks(target, [item], cpus=job.threads, on_poll=poll, logs=work / "logs")
    found: dict[str, Any] = launch.values(outcomes)[0]
    return found


def following(
    item: dict[str, Any], work: Path, *, tracked: bool
) -> contextlib.AbstractContextManager[Callable[[], None]]:
    """What a driver does of a run now and then: shows a bar and, where it is tracked, tells MLflow."""
    from rankclip import pretrain
    from rankclip.tracking import Tracker
    from rankclip.training.request import TrainRequest

    asked = [TrainRequest.model_validate(item)]
    if not tracked:
        return pretrain.following(asked, asked, None)
    tracker = Tracker(work, "bench")
    tracker.attempt(lambda client, experiment: None)  # its start, database included, is no share of a step
    return pretrain.following(asked, asked, tracker)


def open_clip(job: Job, work: Path) -> dict[str, Any]:
    """open_clip's trainer, as its command line starts it; its schedule is asked once for each batch."""
    from open_clip_train import data
    from open_clip_train import main as theirs

    from rankclip.models.open_clip import register

    register()
    arrivals = Arrivals()
    schedule = theirs.cosine_lr

    def watched(*given: Any) -> Callable[[int], None]:
        rate = schedule(*given)

        def at(step: int) -> None:
            arrivals.note()
            rate(step)

        return at

    tars = sorted((Path(job.data) / "shards").glob("*.tar"))
    span = f"{{{tars[0].stem}..{tars[-1].stem}}}.tar"
    options = {
        "train-data": tars[0].parent / span, "dataset-type": "webdataset", "model": job.model,
        "train-num-samples": job.steps * job.batch_size, "batch-size": job.batch_size, "epochs": 1,
        "workers": job.loaders, "precision": "fp32", "device": "cpu", "warmup": 0, "lr": 1e-3, "wd": 0.1,
        "save-frequency": 0, "logs": work, "name": "open_clip",
    }  # fmt: skip
    # without it a webdataset from 0.2.96 on ends open_clip's loader with the first tar (webdataset#384)
    expander = functools.partial(data.tar_file_expander, eof_value=None)
    with (
        mock.patch.object(theirs, "cosine_lr", watched),
        mock.patch.object(data, "tar_file_expander", expander),
    ):
        theirs.main([text for name, value in options.items() for text in (f"--{name}", str(value))])
    return arrivals.run()


def run(job: Job) -> Run:
    """The run of a job in this process, its files in a folder that is deleted."""
    torch.set_num_threads(job.threads)
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        asked = {"RANKCLIP_LOADER_WORKERS": str(job.loaders)}
        with mock.patch.dict(os.environ, asked):
            found = (open_clip if job.trainer == "open_clip" else ours)(job, Path(work))
    return Run(**found)


def in_process(job: Job) -> Run:
    """The run of a job in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "bench.trainers", json.dumps(asdict(job))],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(job.threads)},
    )  # fmt: skip
    if ended.returncode:
        raise RuntimeError(f"{job} failed ({ended.returncode}):\n{ended.stderr[-3000:]}")
    return Run(**json.loads(ended.stdout.splitlines()[-1]))


def pairs_per_s(stamps: Sequence[float], batch_size: int, warm: int) -> float:
    """Of the steps after the first `warm`, by either clock."""
    steady = stamps[warm:]
    return (len(steady) - 1) * batch_size / (steady[-1] - steady[0])


if __name__ == "__main__":
    print(json.dumps(asdict(run(Job(**json.loads(sys.argv[1]))))))
