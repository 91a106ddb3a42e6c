"""Batches whose loss or gradient is not finite: written down with their samples, left out, never too many."""

from __future__ import annotations

import json

from rankclip import distributed, files
from rankclip.data.loading.order import batches
from rankclip.errors import RunError
from rankclip.training.feed import Feed
from rankclip.training.request import NONFINITE, TrainRequest


class LeftOut:
    """The batches that a run has left out. Every worker counts the same; the first writes.

    Args:
        request: the run.
        feed: knows the samples' keys.
    """

    def __init__(self, request: TrainRequest, feed: Feed) -> None:
        self._request, self._feed, self._count = request, feed, 0
        self._path = request.folder / NONFINITE

    def __len__(self) -> int:
        """How many."""
        return self._count

    def rewind(self, step: int, count: int) -> None:
        """Goes back to after a step, when there were `count`."""
        self._count = count
        if distributed.rank() == 0 and self._path.exists():
            lines = self._path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["step"] <= step]
            if len(kept) < len(lines):
                files.write_text(self._path, b"".join(kept).decode())

    def add(self, step: int, reason: str) -> None:
        """Leaves out the batch of a step.

        Raises:
            RunError: it is one too many.
        """
        self._count += 1
        allowed = self._request.train.skip_nonfinite
        if distributed.rank() == 0:
            self._write(step, reason)
        if self._count > allowed:
            raise RunError(
                f"{self._request.key}: step {step}: {reason}; {self._path} names its samples; look at them, "
                "lower train.lr, set train.clip_norm, or leave out more such batches "
                f"(train.skip_nonfinite is {allowed})"
            )

    def _write(self, step: int, reason: str) -> None:
        spec = self._request.train
        batch = next(batches(len(self._feed), spec.batch_size, self._request.seed, step - 1))
        line = {"step": step, "epoch": batch.epoch, "reason": reason, "keys": self._feed.keys(batch.indices)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        files.flush(self._path)
