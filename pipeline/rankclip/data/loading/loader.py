"""Ready batches, in an order that is a function of the seed, however many processes make them."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankclip.data.loading.arena import pinned
from rankclip.data.loading.crop import Crops
from rankclip.data.loading.kept import Kept
from rankclip.data.loading.order import Batch, batches, share
from rankclip.data.loading.rows import Arrays, Rows, Undecodable
from rankclip.data.loading.shift import Shifts, move
from rankclip.data.loading.workers import Workers
from rankclip.errors import InputError

WORKERS = "RANKCLIP_LOADER_WORKERS"
"""Environment variable: processes that decode for each worker of a run; 0 to decode in the run itself."""

MOST_WORKERS = 8
"""Processes that are started where nobody says how many."""

MEMORY, KEPT_BYTES = "RANKCLIP_CACHE_BYTES", 2 << 30
"""Environment variable, and what is meant without it: memory for rows of a run that decodes for itself,
shared by its workers on this machine; what does not fit is decoded again each epoch, and so is every image
of which each epoch cuts out another part."""


class Loaded(NamedTuple):
    """A worker's part of a batch; its tensors are valid until the next one is asked for."""

    step: int
    """0-based, counted over the whole run."""
    epoch: int
    """0-based."""
    indices: NDArray[np.int64]
    """`[n]` positions of the samples in the index."""
    images: Tensor
    """`[n, 3, S, S]`, uint8; normalised by the model, on its device."""
    tokens: Tensor
    """`[n, L]`, int32, of the caption that is learnt from."""
    described: Tensor
    """`[n, M, L]`, int32, of the first caption in each of M slots."""
    there: Tensor
    """`[n, M]`, which of those there are."""
    undecodable: list[Undecodable]
    """What could not be decoded, and was replaced."""


class Loader:
    """Batches of one worker of a run, from any step on.

    The cursor is the global step: the order is a function of (seed, epoch), each worker takes its part of
    every global batch, and what is left of an epoch is dropped, so that all workers have equally many steps.

    Args:
        rows: makes rows of batches.
        batch_size: pairs of a global batch, a multiple of `ranks`.
        seed: of the order.
        rank: this worker.
        ranks: workers of the run.
        reach: images are moved by up to so many pixels, their edges repeated.
        crop: least and largest share of an image's area that is cut out, at random; None for the middle.
        pinned: whether batches lie in memory that CUDA copies from while the host goes on.

    Raises:
        InputError: RANKCLIP_LOADER_WORKERS or RANKCLIP_CACHE_BYTES is no number.
    """

    def __init__(
        self, rows: Rows, batch_size: int, seed: int, *, rank: int = 0, ranks: int = 1, reach: int = 0,
        crop: tuple[float, float] | None = None, pinned: bool = False,
    ) -> None:  # fmt: skip
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.rank, self.ranks, self.pinned = rank, ranks, pinned
        self.shifts, self.crop = Shifts(len(rows), seed, reach), crop
        room = kept_bytes()
        self.workers = worker_count(crop is None and len(rows) * rows.row_bytes <= room)
        self.kept = Kept(rows, 0 if self.workers or crop else room)

    def batches(self, start_step: int, stop_step: int) -> Iterator[Loaded]:
        """This worker's parts of the batches from `start_step` on and before `stop_step`.

        Raises:
            InputError: the samples do not fill a batch.
            DataError: a shard cannot be read, or too many samples in a row cannot be decoded.
            RunError: a process of the loader died or hangs, or the store does not answer.
        """
        whole = batches(len(self.rows), self.batch_size, self.seed, start_step)
        plan = (
            batch._replace(indices=share(batch, self.rank, self.ranks))
            for batch in itertools.islice(whole, max(0, stop_step - start_step))
        )
        return self._ahead(plan) if self.workers else map(self.batch, plan)

    def batch(self, batch: Batch) -> Loaded:
        """A batch of any samples, made in this process."""
        self.rows.samples.check()
        out = self.rows.empty(len(batch.indices))
        crops = self.crops_of(batch)
        found = self.rows.fill(batch.indices, out, crops) if crops else self.kept.fill(batch.indices, out)
        move(out["images"], self.shifts.of(batch))
        return _loaded(batch, out, found)

    def crops_of(self, batch: Batch) -> Crops | None:
        """What is cut out of the images of a batch; None for the middle."""
        return Crops(self.seed, batch.epoch, *self.crop) if self.crop else None

    def _ahead(self, plan: Iterator[Batch]) -> Iterator[Loaded]:
        asked: deque[Batch] = deque()
        copied: deque[torch.cuda.Event] = deque()
        with contextlib.ExitStack() as stack:
            workers = stack.enter_context(Workers(self.rows, self.workers, self.batch_size // self.ranks))
            if self.pinned:
                stack.enter_context(pinned(workers.slots.arena.bytes))
            while True:
                for batch in itertools.islice(plan, workers.slots.count - 1 - len(asked)):
                    moves, crops = self.shifts.of(batch), self.crops_of(batch)
                    workers.submit(batch.step, batch.indices, moves, crops)
                    asked.append(batch)
                if not asked:
                    return
                self.rows.samples.check()
                yield _loaded(asked.popleft(), *workers.next())
                if self.pinned:
                    copied.append(torch.cuda.current_stream().record_event())
                if len(copied) > 1:
                    copied.popleft().synchronize()  # the place of that batch is the next to be used again


def kept_bytes() -> int:
    """Memory of this worker of a run for rows that are decoded.

    Raises:
        InputError: RANKCLIP_CACHE_BYTES is no number.
    """
    text = os.environ.get(MEMORY) or str(KEPT_BYTES)
    if not text.isdecimal():
        raise InputError(f"{MEMORY} is {text!r}; set it to a number of bytes, 0 for none")
    return int(text) // _beside()


def worker_count(all_fit: bool) -> int:
    """Processes that decode for this worker of a run.

    Args:
        all_fit: whether memory has room for every sample once it is decoded, so that each is decoded once.

    Raises:
        InputError: RANKCLIP_LOADER_WORKERS is no number.
    """
    text = os.environ.get(WORKERS, "")
    if text.isdecimal():
        return int(text)
    if text:
        raise InputError(f"{WORKERS} is {text!r}; set it to a number of processes, 0 for none")
    if all_fit:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(cores // _beside() - 1, MOST_WORKERS))


def _beside() -> int:
    """Workers of the run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _loaded(batch: Batch, out: Arrays, found: list[Undecodable]) -> Loaded:
    images, tokens, described, there = (
        torch.from_numpy(out[name]) for name in ("images", "tokens", "described", "there")
    )
    indices = out["index"].copy()
    return Loaded(batch.step, batch.epoch, indices, images, tokens, described, there, found)
