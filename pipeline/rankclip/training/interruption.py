"""When a run pauses to save: by the clock, or asked by a signal or a file to save and stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import torch

from rankclip import distributed, lifecycle
from rankclip.errors import Preempted
from rankclip.lifecycle import SIGNALS
from rankclip.training.request import STOP

TOGETHER_S = 1.0
"""A Ctrl-C so soon after the first is the same: torchrun passes on to its workers what they had already."""

LOOK_EVERY_S = 1.0
"""Seconds between two looks for the file."""


class Interruption:
    """Whether this process was asked to stop, by a signal or by a file in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self._file, self._asked, self._next_look = folder / STOP, False, 0.0
        self._interrupted_at: float | None = None

    def __call__(self) -> bool:
        """Cheap enough for every step."""
        now = time.monotonic()
        if not self._asked and now >= self._next_look:
            self._next_look = now + LOOK_EVERY_S
            self._asked = self._file.exists()
        return self._asked

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals for the time of the block; only a main thread gets any.

        One that comes again must not end the save: Slurm sends it to every process, and torchrun passes on
        its own. A second Ctrl-C does.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            yield
        except Preempted as error:
            if self._interrupted_at is not None:
                error.exit_code = lifecycle.INTERRUPTED
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if number != signal.SIGINT:
            return
        now = time.monotonic()
        if self._interrupted_at is None:
            self._interrupted_at = now
            if distributed.rank() == 0:
                os.write(2, lifecycle.SAVING)  # nothing buffered: it may be what the signal interrupted
        elif now - self._interrupted_at >= TOGETHER_S:
            raise KeyboardInterrupt


class Pauses:
    """When all workers of a run save together.

    Args:
        minutes: most minutes between two checkpoints.
        stopping: whether this worker was asked to stop.
        device: of collectives.
    """

    def __init__(self, minutes: float, stopping: Callable[[], bool], device: torch.device) -> None:
        self._longest_s, self._stopping, self._device = 60.0 * minutes, stopping, device
        self.saved()

    def saved(self) -> None:
        """Starts the clock again; every worker calls this after the same steps."""
        self._saved_at = time.monotonic()

    def asked_for(self) -> bool:
        """Whether this worker wants a checkpoint: it is to stop; or it is the first, and the last is old."""
        late = time.monotonic() - self._saved_at >= self._longest_s
        return self._stopping() or (late and distributed.rank() == 0)

    def stops(self) -> bool:
        """Whether a worker is to stop; a collective, for the steps after which one has asked."""
        return distributed.largest([self._stopping()], self._device)[0] > 0
