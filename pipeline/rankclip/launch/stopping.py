"""How a driver that is told to stop lets what it started save first."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What says that the machine is about to be taken away: systems send the first, sbatch what it is told to."""

GRACE_S = 50.0
"""Seconds from the first signal to our end, at most; schedulers give a minute or more."""


@contextlib.contextmanager
def stoppable(stop: Callable[[], None], grace_s: float = GRACE_S) -> Iterator[threading.Event]:
    """Calls `stop` when this process is told to end while the block runs; gives an event that says so.

    The block should end soon after. A second signal, or `grace_s` seconds, end the process as SIGTERM would
    without us. In another thread than the main one, which hears no signals, the event is never set.
    """
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    timer = threading.Timer(grace_s, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True

    def hear(signum: int, frame: FrameType | None) -> None:
        if told.is_set():
            signal.signal(signal.SIGTERM, before[signal.SIGTERM])
            os.kill(os.getpid(), signal.SIGTERM)
            return
        told.set()
        timer.start()
        stop()

    before = {signum: signal.signal(signum, hear) for signum in SIGNALS}
    try:
        yield told
    finally:
        timer.cancel()
        for signum, handler in before.items():
            signal.signal(signum, handler)
