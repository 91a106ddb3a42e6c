"""Images of a stream as a model takes them: decoded by threads while it works on those before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import torch

from rankclip.data.benchmarks.benchmark import Sample
from rankclip.errors import DataError
from rankclip.evaluation.encoder import BATCH, Encoder

AHEAD = 2 * BATCH
"""Images that are decoded, or wait for it, while the model works: 77 MB at 224 pixels."""

MOST_THREADS = 16
"""Threads that decode beside a GPU; more gain nothing, since Python runs one of them at a time."""


def threads() -> int:
    """Threads that decode: as many as the model may have, or beside a GPU as there are cores."""
    if not torch.cuda.is_available():
        return torch.get_num_threads()
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(here, MOST_THREADS)


def prepared(encoder: Encoder, samples: Iterable[Sample], where: str) -> Iterator[Any]:
    """The images of samples as the encoder takes them, in order; at most `AHEAD` are held.

    Args:
        encoder: prepares them.
        samples: are read as they are needed.
        where: they are from, for what is said of a bad one.

    Raises:
        DataError: one cannot be decoded; the line names its tar and its key.
    """
    ahead: deque[tuple[str, Future[Any]]] = deque()
    coming = iter(samples)
    with ThreadPoolExecutor(threads(), thread_name_prefix="decode") as pool:
        try:
            while True:
                for sample in islice(coming, AHEAD - len(ahead)):
                    place = f"{where}/{sample.tar}" if sample.tar else where
                    ahead.append((f"{place}: image {sample.key}", pool.submit(encoder.prepare, sample.image)))
                if not ahead:
                    return
                named, future = ahead.popleft()
                try:
                    yield future.result()
                except DataError as error:
                    raise DataError(f"{named}: {error}") from error
        finally:
            pool.shutdown(cancel_futures=True)
