"""A worker process of the pool: does the tasks that it is given, several at once, and says how they go."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from rankclip import files, lifecycle
from rankclip.errors import RankclipError

FULL = "disk full"
"""What a failure for lack of space is called; any other is told in its own words."""


class Line(Protocol):
    """By which a job speaks to whoever gave it out."""

    def report(self, value: Any) -> None:
        """Tell news of the task; also the sign that it has not hung."""
        ...

    def room(self) -> None:
        """Ask for another task beside this one, once."""
        ...


class Job(Protocol):
    """What a worker does with a task; called in a thread of its own for each, so several at once."""

    def __call__(self, name: str, payload: Any, line: Line, failures: int) -> Any:
        """The task's result.

        Args:
            failures: attempts at this task that ended without a result; what they left half done is met here.
        """
        ...


def main(channel: Connection, build: Callable[[], Job], log: Path) -> None:
    """Builds the job, then begins each task that comes until the channel closes."""
    lifecycle.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    _speak_into(log)
    speaker = _Speaker(channel)
    job = build()
    speaker.say("ready", "")
    try:
        while True:
            name, payload, failures = channel.recv()
            threading.Thread(target=_do, args=(job, name, payload, speaker, failures), daemon=True).start()
    except (EOFError, OSError):
        return


class _Speaker:
    """The channel to the parent, shared by the tasks' threads."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self._lock = threading.Lock()

    def say(self, kind: str, task: str, value: Any = None) -> None:
        with self._lock:
            self._channel.send((kind, task, value))


class _Line:
    def __init__(self, speaker: _Speaker, task: str) -> None:
        self._speaker = speaker
        self._task = task

    def report(self, value: Any) -> None:
        self._speaker.say("report", self._task, value)

    def room(self) -> None:
        self._speaker.say("room", self._task)


def _do(job: Job, name: str, payload: Any, speaker: _Speaker, failures: int) -> None:
    try:
        speaker.say("done", name, job(name, payload, _Line(speaker, name), failures))
    except RankclipError as error:
        speaker.say("refused", name, files.one_line(error))
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        speaker.say("failed", name, FULL if full else f"{type(error).__name__}: {files.one_line(error)}")
        raise


def _speak_into(log: Path) -> None:
    """Send what libraries print, also from C, to a file: the console belongs to the progress bar."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
