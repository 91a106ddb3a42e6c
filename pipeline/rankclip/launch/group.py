"""One run on several workers: a Ray Train group with a process group of torch.distributed."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rankclip.errors import InputError, Preempted, RankclipError, RunError
from rankclip.launch.calls import Function, Json, call, dotted
from rankclip.launch.session import session

START_TIMEOUT_S = 300
"""Seconds for all workers to come up; Ray's 60 are short where torch is imported cold on few cores."""

OURS = re.compile(r"rankclip\.errors\.(\w+): ")
"""How the last line of a traceback begins that ends in an error raised on purpose."""

logger = logging.getLogger(__name__)


def train_group(
    function: Function,
    item: Json,
    workers: int,
    folder: Path,
    *,
    cpus: float = 1,
    gpus: int = 0,
    on_poll: Callable[[], None] = lambda: None,
    every_s: float = 0.5,
) -> Json:
    """Calls `function(item)` on `workers` processes of one process group; returns what rank 0 returned.

    Where a worker dies, or holds the others up for too long, the group is started again, RANKCLIP_RETRIES
    times, and the function resumes from its own checkpoints. What it raises on purpose would only come again
    and ends it. Ray's resume by name is kept out: every name is new. Workers have a working folder of their
    own, so paths in `item` are absolute.

    Args:
        function: as in `map_tasks`.
        item: plain JSON; the key "key" names the run.
        workers: number of processes.
        folder: work folder of the run, on storage that every node sees.
        cpus: CPU cores of a worker.
        gpus: GPUs of a worker; collectives of tensors on them are then NCCL's, all others are gloo's.
        on_poll: called about each `every_s` seconds.
        every_s: seconds between two calls of `on_poll`.

    Raises:
        Preempted: it was asked to stop, and did.
        RunError: it failed, Ray does not start, or the nodes have too few CPUs or GPUs for all workers.
    """
    key, left = item.get("key", "run"), retries()
    records = folder.resolve() / "ray"
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(START_TIMEOUT_S))
    with session():
        _fits(workers, cpus, gpus)
        try:
            while True:
                name = f"{key.replace('/', '-')}-{uuid.uuid4().hex[:8]}"
                trainer = _trainer(dotted(function), item, workers, cpus, gpus, name, records)
                ended = _followed(trainer.fit, on_poll, every_s)
                if not isinstance(ended, Exception):
                    return dict(ended.return_value)
                _raise_what_remains(key, ended, folder, left)
                left -= 1
        finally:
            shutil.rmtree(records, ignore_errors=True)  # nothing but Ray's own books


def _followed(fit: Callable[[], Any], on_poll: Callable[[], None], every_s: float) -> Any:
    """What `fit` returns, or its exception. It runs in another thread: this one hears signals and polls."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(fit())
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=run, name="group", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(every_s)
        on_poll()
    return ended[0]


def _raise_what_remains(key: str, error: Exception, folder: Path, left: int) -> None:
    """Raises what a group's failure comes to, unless the group is to be started again."""
    kind, cause = _cause(error)
    if kind == "Preempted":
        raise Preempted(f"{key}: {cause.removeprefix(f'{key}: ')}") from error
    log = folder / "failure.log"
    with contextlib.suppress(OSError):  # the disk may be full, which the line then says
        log.write_text("".join(traceback.format_exception(error)))
    if left == 0 or kind not in ("", "Stuck"):
        raise RunError(f"{key} failed: {cause} (details: {log})") from error
    logger.warning("%s: %s; its workers are started again, %d more times at most", key, cause, left)


def _cause(error: Exception) -> tuple[str, str]:
    """Class and line of what went wrong first; the class is empty where it was not raised on purpose.

    One worker's failure ends the collectives of the others, so what was raised on purpose counts first.
    """
    failures = getattr(error, "worker_failures", None) or {0: error}
    found = [(*_told(failure), rank) for rank, failure in failures.items()]
    kind, line, rank = min(found, key=lambda each: (not each[0], each[2]))
    return kind, line if kind in ("Preempted", "Stuck") else f"rank {rank}: {line}"


def _told(failure: BaseException) -> tuple[str, str]:
    """Class and line of a worker's failure, which Ray gives as raised or as the text of its traceback."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    line = lines[-1] if lines else type(failure).__name__
    if isinstance(failure, RankclipError):
        return type(failure).__name__, line
    ours = OURS.match(line)
    return (ours[1], line[ours.end() :]) if ours else ("", line)


def _fits(workers: int, cpus: float, gpus: int) -> None:
    """Refuses a group that the nodes can never hold, for which Ray would wait without end."""
    import ray

    for kind, each in (("CPU", cpus), ("GPU", gpus)):
        have = [node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"]]
        room = sum(int(count // each) for count in have) if each else workers
        if room < workers:
            raise RunError(
                f"{workers} workers of {each:g} {kind}s ask for {workers * each:g} {kind}s, the nodes have "
                f"{' + '.join(f'{count:g}' for count in have)}, room for {room}; set RANKCLIP_WORKERS to less"
            )


def _trainer(target: str, item: Json, workers: int, cpus: float, gpus: int, name: str, records: Path) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from rankclip import distributed  # torch, which no command needs before it trains

    return TorchTrainer(
        _worker,
        train_loop_config={"target": target, "item": item},
        torch_config=TorchConfig(
            backend="cpu:gloo,cuda:nccl" if gpus else "gloo", timeout_s=int(distributed.timeout_s()) or 1
        ),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=bool(gpus),
            resources_per_worker={"CPU": cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(records),
            # we start groups again ourselves: Ray would do so after errors that only come again, too
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=1),
        ),
    )


def _worker(config: Json) -> Any:
    from rankclip import distributed

    with distributed.stuck_named():
        return call(config["target"], config["item"])


def workers() -> int:
    """Processes a run is spread over: RANKCLIP_WORKERS, 1 by default.

    Raises:
        InputError: it is not a positive whole number.
    """
    return _counted("RANKCLIP_WORKERS", "1", least=1)


def retries() -> int:
    """How often a run is started again whose worker or node died: RANKCLIP_RETRIES, 3 by default.

    Raises:
        InputError: it is not a whole number.
    """
    return _counted("RANKCLIP_RETRIES", "3", least=0)


def _counted(variable: str, otherwise: str, least: int) -> int:
    text = os.environ.get(variable, otherwise)
    if not text.isdecimal() or int(text) < least:
        kind = "positive whole number" if least else "whole number"
        raise InputError(f"{variable}={text!r} is not a {kind}; set it to {least} or more")
    return int(text)
