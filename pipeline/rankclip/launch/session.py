"""The Ray that runs are scheduled on."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankclip import lifecycle
from rankclip.errors import RunError
from rankclip.files import one_line
from rankclip.launch import guard

OBJECT_STORE_BYTES = 100 * 2**20
"""Enough for plain JSON; Ray would reserve 30 % of the memory."""

AUTH_MODE = "RAY_AUTH_MODE"
"""Environment variable by which a user may have switched authentication off, for a cluster of theirs."""

TEMPORARY = Path("/", "tmp")
"""Where local sessions keep their sockets, whose paths may have 103 bytes: TMPDIR is often too long."""


def on_cluster() -> bool:
    """Whether RAY_ADDRESS names a cluster to work on."""
    return bool(os.environ.get("RAY_ADDRESS"))


@contextlib.contextmanager
def session(*, dashboard: bool = False) -> Iterator[None]:
    """Connects to Ray for the time of the block; within another such block it does nothing.

    The cluster at `RAY_ADDRESS`, else a local one of our own: token authentication with a token of its own,
    files in a temporary folder, and nothing of it left afterwards, also when we are killed. `dashboard`
    starts the server that Ray's State API asks; it takes some seconds.

    Raises:
        RunError: Ray does not start or does not answer.
    """
    lifecycle.quiet()
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    with contextlib.ExitStack() as cleanup:
        options = {} if address else cleanup.enter_context(_local(dashboard))
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
        except Exception as error:
            where = f"at RAY_ADDRESS {address}" if address else "on this machine"
            raise RunError(
                f"Ray {where} does not answer: {one_line(error)}; try `rankclip doctor`"
            ) from error
        cleanup.callback(ray.shutdown)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own there
        yield


def count_nodes(timeout_s: int = 60) -> int:
    """Nodes of the session, as Ray's State API knows them: what frees the CPUs of a stopped group asks it.

    Raises:
        RunError: it does not answer.
    """
    import ray
    from ray.util.state import list_nodes

    try:
        # without an address it looks for any Ray on the machine, and refuses to choose between two
        return len(list_nodes(address=ray.get_runtime_context().gcs_address, timeout=timeout_s))
    except Exception as error:
        said = one_line(error).partition(". ")[0]
        raise RunError(
            f"Ray's State API does not answer: {said}; it needs the head node's dashboard (ray[default])"
        ) from error


@contextlib.contextmanager
def _local(dashboard: bool) -> Iterator[dict[str, Any]]:
    """The options of `ray.init` for a Ray of our own, and its end."""
    folder = tempfile.mkdtemp(prefix="rankclip-", dir=TEMPORARY)
    environment = {
        guard.MARK: folder,
        "PYTHONPATH": os.pathsep.join(path for path in map(_absolute, sys.path) if path),
        # A token of this session alone: the default is a file under HOME, which may be missing or shared.
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
    }
    before = {name: os.environ.get(name) for name in (guard.MARK, "PYTHONPATH", AUTH_MODE)}
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(_guarded(folder))
        os.environ.update(environment)
        # Unset, a local Ray makes it `token`; set by us it would come too late, since `import ray` reads it.
        os.environ.pop(AUTH_MODE, None)
        # The token stays: Ray reads it once in a process.
        cleanup.callback(_restore, before)
        yield {
            "include_dashboard": dashboard,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": f"{folder}/ray",  # Ray opens its folder to everyone; the one around it stays ours
            "_node_ip_address": "127.0.0.1",
        }


@contextlib.contextmanager
def _guarded(folder: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-P", guard.__file__, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.wait()  # the guard has left its first process
    try:
        yield
    finally:
        process.stdin.close()
        process.stdout.read()  # ends when the guard has ended
        process.stdout.close()


def _restore(environment: dict[str, str | None]) -> None:
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _absolute(path: str) -> str:
    return str(Path(path).resolve()) if Path(path).exists() else ""
