"""One run on several workers: a Ray Train group with a process group of torch.distributed."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rankclip.errors import InputError, RunError
from rankclip.launch.calls import Function, Json, call, dotted
from rankclip.launch.session import session

START_TIMEOUT_S = 300
"""Seconds for all workers to come up; Ray's 60 are short where torch is imported cold on few cores."""


def train_group(
    function: Function,
    item: Json,
    workers: int,
    folder: Path,
    *,
    cpus: float = 1,
    on_poll: Callable[[], None] | None = None,
    every_s: float = 0.5,
) -> Json:
    """Calls `function(item)` on `workers` processes of one process group; returns what rank 0 returned.

    Ray starts `torch.distributed` with gloo, on CPUs, and starts the group once more when a worker
    fails; the function then resumes from its own checkpoints. Ray's resume by name is kept out: every name is
    new. Workers have a working folder of their own, so paths in `item` are absolute.

    Args:
        function: as in `map_tasks`.
        item: plain JSON; the key "key" names the run.
        workers: number of processes.
        folder: work folder of the run, on storage that every node sees.
        cpus: CPU cores of a worker.
        on_poll: called about each `every_s` seconds from another thread, and once at the end.
        every_s: seconds between two calls of `on_poll`.

    Raises:
        RunError: it failed twice, Ray does not start, or the nodes have too few CPUs for all workers.
    """
    key = item.get("key", "run")
    records = folder.resolve() / "ray"
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(START_TIMEOUT_S))
    with session(), _polled(on_poll, every_s):
        _fits(workers, cpus)
        trainer = _trainer(dotted(function), item, workers, cpus, f"{key}-{uuid.uuid4().hex[:8]}", records)
        try:
            result = trainer.fit()
        except Exception as error:
            log = folder / "failure.log"
            with contextlib.suppress(OSError):  # the disk may be full, which the line then says
                log.write_text("".join(traceback.format_exception(error)))
            raise RunError(f"{key} failed: {_cause(error)} (details: {log})") from error
    shutil.rmtree(records, ignore_errors=True)  # nothing but Ray's own books
    return dict(result.return_value)


def _fits(workers: int, cpus: float) -> None:
    """Refuses a group that the nodes can never hold, for which Ray would wait without end."""
    import ray

    have = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    room = sum(int(count // cpus) for count in have)
    if room < workers:
        raise RunError(
            f"{workers} workers of {cpus:g} CPUs ask for {workers * cpus:g} CPUs, the nodes have "
            f"{' + '.join(f'{count:g}' for count in have)}, room for {room}; set RANKCLIP_WORKERS to less"
        )


def _trainer(target: str, item: Json, workers: int, cpus: float, name: str, records: Path) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    return TorchTrainer(
        _worker,
        train_loop_config={"target": target, "item": item},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": cpus}),
        run_config=RunConfig(
            name=name,
            storage_path=str(records),
            failure_config=FailureConfig(max_failures=1, controller_failure_limit=1),
        ),
    )


def _worker(config: Json) -> Any:
    return call(config["target"], config["item"])


def _cause(error: BaseException) -> str:
    """The last line of the first rank's failure, which says what went wrong; others failed because of it."""
    failures = getattr(error, "worker_failures", None) or {0: error}
    rank, first = min(failures.items())
    lines = [line.strip() for line in str(first).splitlines() if line.strip()]
    return f"rank {rank}: {lines[-1] if lines else type(first).__name__}"


@contextlib.contextmanager
def _polled(on_poll: Callable[[], None] | None, every_s: float) -> Iterator[None]:
    """Calls `on_poll` while the block runs, and once at its end."""
    if on_poll is None:
        yield
        return
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(every_s):
            on_poll()

    thread = threading.Thread(target=poll, name="poll", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        on_poll()


def workers() -> int:
    """Processes a run is spread over: RANKCLIP_WORKERS, 1 by default.

    Raises:
        InputError: it is not a positive whole number.
    """
    text = os.environ.get("RANKCLIP_WORKERS", "1")
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"RANKCLIP_WORKERS={text!r} is not a positive whole number; set it to 1 or more")
    return int(text)
