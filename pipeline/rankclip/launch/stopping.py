"""How a driver that is told to stop lets what it started save first."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from rankclip import lifecycle
from rankclip.errors import Preempted
from rankclip.lifecycle import SIGNALS

GRACE_S = 50.0
"""Seconds from the first signal to our end, at most; schedulers give a minute or more."""

ORPHANED_S = 25.0
"""The same when dvc is gone; less than the next dvc's stage waits for our locks."""

TOGETHER_S = 1.0
"""Signals that come so soon after the first are part of it: Ctrl-C reaches a whole group, and some of it
pass it on."""


@contextlib.contextmanager
def stoppable(stop: Callable[[], None], grace_s: float = GRACE_S) -> Iterator[threading.Event]:
    """Calls `stop` when this process is told to end while the block runs; gives an event that says so.

    The block should end soon after. A second signal, or `grace_s` seconds, end the process as SIGTERM would
    without us; `Preempted` after Ctrl-C has the exit code of Ctrl-C. In another thread than the main one,
    which hears no signals, the event is never set.
    """
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    first, heard_at = 0, 0.0

    def end() -> None:
        nonlocal heard_at
        heard_at = -math.inf
        os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Timer(grace_s, end)
    timer.daemon = True

    def ask() -> None:
        told.set()
        stop()

    def hear(signum: int, frame: FrameType | None) -> None:
        nonlocal first, heard_at
        if not first:
            first, heard_at = signum, time.monotonic()
            timer.start()
            if signum == signal.SIGINT:
                os.write(2, lifecycle.SAVING)  # nothing buffered: it may be what the signal interrupted
            ask()
        elif time.monotonic() - heard_at >= TOGETHER_S:
            last = signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM
            signal.signal(last, before[last])
            os.kill(os.getpid(), last)

    before = {signum: signal.signal(signum, hear) for signum in SIGNALS}
    try:
        with lifecycle.last_wish(ask, ORPHANED_S):
            yield told
    except Preempted as error:
        if first == signal.SIGINT:
            error.exit_code = lifecycle.INTERRUPTED
        raise
    finally:
        timer.cancel()
        for signum, handler in before.items():
            signal.signal(signum, handler)
