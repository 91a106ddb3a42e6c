"""Memory that processes share without a name, so that nothing is left of it when they are killed."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from multiprocessing import reduction
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rankclip.data.loading.rows import Arrays, Layout

ALIGNMENT = 64
"""Bytes; every array begins at a multiple."""


class Arena:
    """`size` bytes of zeros; it travels to a process that is being started, as the same memory.

    It is no file of /dev/shm, of which containers have little.
    """

    def __init__(self, size: int) -> None:
        self._open(_nameless(size), size)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (type(self), reduction.DupFd(self._descriptor), self.size)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def array(self, offset: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """An array that begins at this byte."""
        return np.ndarray(shape, dtype, self._memory, offset)

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """All of it."""
        return self.array(0, (self.size,), np.uint8)

    def _open(self, descriptor: int, size: int) -> None:
        self.size, self._descriptor = size, descriptor
        self._memory = mmap.mmap(descriptor, size)


def _opened(kind: type[Arena], handle: Any, size: int) -> Arena:
    arena = kind.__new__(kind)
    arena._open(handle.detach(), size)
    return arena


def _nameless(size: int) -> int:
    """A descriptor of memory, or where the system has no such thing, of a file without a name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("rankclip-batches")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor


class Slots:
    """Places for batches of `n` rows in an arena, behind a number for each process.

    Args:
        layout: of a row.
        n: rows of a batch.
        count: places.
        processes: that say what they are at.
        arena: where they lie; by default a new one.
    """

    def __init__(
        self, layout: Layout, n: int, count: int, processes: int, arena: Arena | None = None
    ) -> None:
        self.layout, self.n, self.count, self.processes = layout, n, count, processes
        self._offsets, self._size = _offsets(layout, n)
        self._head = _aligned(8 * processes)
        self.arena = arena or Arena(self._head + count * self._size)
        self.now: NDArray[np.int64] = self.arena.array(0, (processes,), np.int64)
        """What each process says that it is at."""

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.layout, self.n, self.count, self.processes, self.arena)

    def rows(self, slot: int, start: int = 0, stop: int | None = None) -> Arrays:
        """Rows of a batch, where they lie."""
        first = self._head + slot * self._size
        return {
            name: self.arena.array(first + offset, (self.n, *field.shape), field.dtype)[start:stop]
            for (name, field), offset in zip(self.layout.items(), self._offsets, strict=True)
        }


def places(layout: Layout, n: int, room: int, most: int) -> int:
    """How many batches of `n` rows fit into `room` bytes; two at least, one being made and one in use."""
    return max(2, min(most, room // _offsets(layout, n)[1]))


def _offsets(layout: Layout, n: int) -> tuple[list[int], int]:
    """Where in a batch of `n` rows each array begins, and bytes of the batch."""
    offsets, size = [], 0
    for field in layout.values():
        offsets.append(size)
        size += _aligned(n * prod(field.shape) * np.dtype(field.dtype).itemsize)
    return offsets, size


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


@contextmanager
def pinned(memory: NDArray[np.uint8]) -> Iterator[None]:
    """Locks memory `[bytes]` into its pages for the time of the block, so that CUDA copies by itself."""
    import torch

    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    torch.cuda.check_error(runtime.cudaHostRegister(memory.ctypes.data, memory.nbytes, 0))
    try:
        yield
    finally:
        torch.cuda.synchronize()
        torch.cuda.check_error(runtime.cudaHostUnregister(memory.ctypes.data))
