"""A run as a worker does it: trains, writes its files, returns plain JSON."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from rankclip import distributed, files, lifecycle
from rankclip.errors import DataError
from rankclip.models.open_clip import save_weights
from rankclip.training import checkpoint
from rankclip.training.loop import Report, Training
from rankclip.training.request import METRICS, TrainRequest

WEIGHTS = "model.safetensors"


def train_run(request: dict[str, Any]) -> dict[str, Any]:
    """Trains one run to its end, from its last checkpoint if it has one, unless it is done.

    Args:
        request: a `TrainRequest` as plain JSON.

    Returns:
        `{"key", "folder", "steps"}`.

    Raises:
        RunError: another process trains this run, or a loss is not finite.
    """
    asked = TrainRequest.model_validate(request)
    first = distributed.rank() == 0
    with lifecycle.lock(asked.folder) if first else contextlib.nullcontext():
        # one answer: a run that another driver just finished must not leave some workers waiting for others
        if not distributed.agreed(asked.finished):
            _train(asked, first)
        if first:
            checkpoint.delete(asked.folder)  # of use to nobody, and as large as the weights three times
    return {"key": asked.key, "folder": str(asked.folder), "steps": asked.train.steps}


def _train(asked: TrainRequest, first: bool) -> None:
    training = Training(asked)
    metrics = asked.folder / METRICS
    if first:
        _forget_after(metrics, training.metrics_bytes)
    with contextlib.closing(training.feed):
        for report in training.reports():
            saves = report.pop("checkpoint")
            if first:
                length = _append(metrics, report)
                if saves:
                    files.flush(
                        metrics
                    )  # a checkpoint that outlives its curve in a power cut is worth nothing
                    training.save(length)
    if first:
        save_weights(training.model, asked.model, asked.folder / WEIGHTS)
        files.write_record(
            asked.folder,
            asked.config,
            {"shards": asked.shards_digest},
            {
                "samples": len(training.feed),
                "pairs_seen": asked.train.steps * asked.train.batch_size,
                "dropped_each_epoch": training.feed.dropped,
                "quarantined": len(training.feed.quarantine),
            },
            arm=asked.arm,
            seed=asked.seed,
            steps=asked.train.steps,
            key=asked.content_digest,
            **training.inexact(),
        )


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
