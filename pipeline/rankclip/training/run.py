"""A run as a worker does it: trains, writes its files, returns plain JSON."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rankclip import distributed, files, lifecycle
from rankclip.errors import DataError, InUse, Preempted
from rankclip.models.weights import save_weights
from rankclip.training import checkpoint
from rankclip.training.interruption import Interruption
from rankclip.training.loop import Report, Training
from rankclip.training.request import METRICS, TrainRequest

WEIGHTS = "model.safetensors"


def train_run(request: dict[str, Any], told: Callable[[Report], None] = lambda line: None) -> dict[str, Any]:
    """Trains one run to its end, from its last checkpoint if it has one, unless it is done.

    Args:
        request: a `TrainRequest` as plain JSON.
        told: called by the first worker with every line of the curve, those of an earlier process included;
            what it raises ends the run where it is.

    Returns:
        `{"key", "folder", "steps"}`.

    Raises:
        Preempted: it was asked to stop, by a signal or the file `STOP`, and has saved its state.
        InUse: another process trains this run.
        RunError: losses are not finite.
    """
    asked = TrainRequest.model_validate(request)
    first, stopping = distributed.rank() == 0, Interruption(asked.folder)
    with stopping.listening(), _held(asked.folder, first):
        # one answer: a run that another driver just finished must not leave some workers waiting for others
        if not distributed.agreed(asked.finished):
            if distributed.agreed(stopping()):
                raise Preempted(f"{asked.key}: not started, as asked; run the same command again to go on")
            _train(asked, first, stopping, told)
        elif first:
            for line in _lines(asked.folder / METRICS):
                told(line)
        if first:
            checkpoint.delete(asked.folder)  # of use to nobody, and as large as the weights three times
    return {"key": asked.key, "folder": str(asked.folder), "steps": asked.train.steps}


@contextlib.contextmanager
def _held(folder: Path, first: bool) -> Iterator[None]:
    """Holds the run's folder by its first worker.

    Raises:
        InUse: on every worker, that another process holds it.
    """
    with contextlib.ExitStack() as stack:
        refused = ""
        if first:
            try:
                stack.enter_context(lifecycle.lock(folder))
            except InUse as error:
                refused = str(error)
        if refused := distributed.agreed(refused):
            raise InUse(refused)
        yield


def _train(
    asked: TrainRequest, first: bool, stopping: Callable[[], bool], told: Callable[[Report], None]
) -> None:
    training = Training(asked, stopping)
    metrics = asked.folder / METRICS
    if first:
        _forget_after(metrics, training.metrics_bytes)
    with contextlib.closing(training.feed):
        for line in _lines(metrics) if first else ():
            told(line)
        for report in training.reports():
            saves = report.pop("checkpoint")
            if first:
                length = _append(metrics, report) if report else metrics.stat().st_size
                if saves:
                    # a checkpoint that outlives its curve in a power cut is worth nothing
                    files.flush(metrics)
                    training.save(length)
                if report:
                    told(report)
    if first:
        save_weights(training.kept.at_end(), asked.model, asked.folder / WEIGHTS)
        files.write_record(
            asked.folder,
            asked.config,
            {"shards": asked.shards_digest},
            {
                "samples": len(training.feed),
                "pairs_seen": asked.train.steps * asked.train.batch_size,
                "dropped_each_epoch": training.feed.dropped,
                "quarantined": len(training.feed.quarantine),
                "left_out": len(training.left_out),
            },
            arm=asked.arm,
            seed=asked.seed,
            steps=asked.train.steps,
            weights_step=training.kept.step(asked.train.steps),
            key=asked.content_digest,
            **training.inexact(),
        )


def _lines(metrics: Path) -> list[Report]:
    return [json.loads(line) for line in metrics.read_bytes().splitlines()]


def _append(path: Path, report: Report) -> int:
    """Adds a line; returns the length of the file, bytes."""
    with path.open("ab") as file:
        file.write(json.dumps(report).encode() + b"\n")
        return file.tell()


def _forget_after(path: Path, length: int) -> None:
    """Cuts the curve back to where the checkpoint was saved.

    Raises:
        DataError: part of what came before is missing.
    """
    path.touch()
    size = path.stat().st_size
    if size < length:
        raise DataError(
            f"{path} has {size} bytes, its checkpoint tells of {length}; "
            f"delete {path.parent} to train this run from its start"
        )
    os.truncate(path, length)
