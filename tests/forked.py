"""Real processes for tests, forked from one that has imported what they need: an import takes seconds."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch.multiprocessing

from rankclip import lifecycle

REPOSITORY = Path(__file__).resolve().parents[1]


def run(work: Callable[..., None], workers: int, *options: Any) -> None:
    """Runs `work(rank, *options)`, a function of a module, in as many processes, to the end of all.

    They have our environment and folder, and nothing of what an earlier call left behind.

    Raises:
        RuntimeError: one of them failed; with its traceback. The others are ended.
    """
    server, pipe = _server()
    try:
        pipe.send((sys.path, dict(os.environ), str(Path.cwd())))
        pipe.send((work, options, workers))
        said = pipe.recv()
    except BaseException:
        _server.cache_clear()
        server.kill()  # what it has started ends with it
        server.wait()
        raise
    if said:
        raise RuntimeError(said)


@functools.cache
def _server() -> tuple[subprocess.Popen[bytes], Connection]:
    """The process that forks, and where it is asked; it ends with us."""
    ours, theirs = socket.socketpair()
    with theirs:
        given = theirs.fileno()
        command = [sys.executable, "-m", "tests.forked", str(given)]
        started = subprocess.Popen(command, cwd=REPOSITORY, pass_fds=[given])
    pipe = Connection(ours.detach())
    atexit.register(started.wait)
    atexit.register(pipe.close)  # before that: what comes last goes first
    return started, pipe


def _serve(pipe: Connection) -> None:
    """Forks for each call. It imports and never computes, so that it has one thread when it forks."""
    while True:
        sys.path[:], environment, folder = pipe.recv()
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        said = ""
        try:
            work, options, workers = pipe.recv()
            torch.multiprocessing.start_processes(work, options, workers, start_method="fork")
        except Exception as error:
            said = str(error)
        pipe.send(said)


if __name__ == "__main__":
    lifecycle.die_with_parent()
    with contextlib.suppress(EOFError):
        _serve(Connection(int(sys.argv[1])))
