"""How our processes start and end: quiet, with one-line errors, never outliving whoever asked for the work.

When dvc is killed a stage would live on and write beside the next one, so a stage watches its ancestors up
to dvc, pool workers die with their parent, and a folder in work is locked. POSIX only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil
import typer

from rankclip.errors import InUse, Preempted, RankclipError, RunError, disk_full

QUIET = {
    "DVC_NO_ANALYTICS": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "NO_ALBUMENTATIONS_UPDATE": "1",  # albumentations, a dependency of img2dataset, asks the index for news
    "PYTHONWARNINGS": "ignore:resource_tracker",  # it cleans up after workers that we end, and complains
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the behaviour that Ray otherwise announces with a warning
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # Ray tells of every process that dies, into a live table too; so do we, in a line of ours
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed while executing a task",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_MODE": "disabled",  # img2dataset imports wandb
}
"""Environment of every process of ours: no calls home, no announcements."""

TIMES = "RANKCLIP_TIMES"
"""Environment variable: the file to which stages add how long they took."""

STOPPED_BY_US = 137
"""Exit code of a stage that ends because an ancestor is gone; the code of a SIGKILL."""

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""What says that we should end: of a system or scheduler, of sbatch when it is told to, and Ctrl-C."""

SAVING = b"\nrankclip: saves what it trains, then ends; Ctrl-C again ends it at once\n"
"""What Ctrl-C is answered while something trains."""

_PR_SET_PDEATHSIG = 1

_wishes: list[tuple[Callable[[], None], threading.Event, float]] = []


def quiet() -> None:
    """Sets `QUIET` where the user has not chosen otherwise; children inherit it."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def stage(main: Callable[..., Any]) -> NoReturn:
    """Runs `main` as a command line of one command (as `typer.run`) by the rules of `run`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    started = time.monotonic()
    try:
        run(app)
    finally:
        arm = f"@{sys.argv[sys.argv.index('--arm') + 1]}" if "--arm" in sys.argv[:-1] else ""
        note_time(Path(sys.argv[0]).stem + arm, time.monotonic() - started)


def note_time(stage: str, seconds: float) -> None:
    """Adds a line to the table of times, where the caller of this process keeps one."""
    if TIMES in os.environ:
        # not worth a failure, on a full disk say
        with contextlib.suppress(OSError), Path(os.environ[TIMES]).open("a") as file:
            file.write(json.dumps({"stage": stage, "seconds": round(seconds, 2)}) + "\n")


def run(app: Callable[[], Any]) -> NoReturn:
    """Runs a command line and exits.

    Exit codes: that of the `RankclipError` (which is one line on stderr, as is a full disk, with 1), 130
    after Ctrl-C, 143 after SIGTERM (cleanly: `finally` blocks run), 137 when the dvc that called us is gone.
    """
    quiet()
    signal.signal(signal.SIGTERM, _terminate)
    die_with_ancestors()
    try:
        app()
    except RankclipError as error:
        _end(f"{'' if isinstance(error, Preempted) else 'error: '}{error}", error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if line := disk_full(error):
            _end(f"error: {line}", RunError.exit_code)
        raise
    sys.exit(0)


def _end(line: str, code: int) -> NoReturn:
    sys.stderr.write(f"rankclip: {' '.join(line.split())}\n")
    sys.exit(code)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    # A second signal while `finally` blocks run must not interrupt them.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def die_with_ancestors(every_s: float = 0.5) -> None:
    """Ends this process and all below it soon after dvc, or a process between dvc and us, is gone.

    What is in a block of `last_wish` has its time first. Does nothing outside a DVC stage: what a person
    starts by hand may outlive the shell.
    """
    chain = _chain_to_dvc()
    if chain:
        threading.Thread(target=_watch, args=(chain, every_s), name="ancestors", daemon=True).start()


@contextlib.contextmanager
def last_wish(stop: Callable[[], None], grace_s: float) -> Iterator[None]:
    """When dvc is gone while the block runs, calls `stop` in another thread and gives it `grace_s` to end."""
    ended = threading.Event()
    wish = (stop, ended, grace_s)
    _wishes.append(wish)
    try:
        yield
    finally:
        _wishes.remove(wish)
        ended.set()


def _chain_to_dvc() -> list[psutil.Process]:
    """Our ancestors up to the dvc that runs us: the first one outside the environment it gives its stages."""
    stage_of = {name: os.environ.get(name) for name in ("DVC_ROOT", "DVC_STAGE")}
    if stage_of["DVC_STAGE"] is None:
        return []
    chain = []
    for ancestor in psutil.Process().parents():
        chain.append(ancestor)
        try:
            environment = ancestor.environ()
        except psutil.Error:
            break
        if any(environment.get(name) != value for name, value in stage_of.items()):
            break
    return chain


def _watch(chain: list[psutil.Process], every_s: float) -> None:
    while all(_alive(process) for process in chain):
        time.sleep(every_s)
    for stop, ended, grace_s in list(_wishes):
        stop()
        ended.wait(grace_s)
    kill_descendants()
    os._exit(STOPPED_BY_US)


def _alive(process: psutil.Process) -> bool:
    # psutil compares start times, so a reused pid is not mistaken; a zombie does nothing more.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_descendants() -> None:
    """Sends SIGKILL to every process below this one; twice, since one may start another meanwhile."""
    for _ in range(2):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent ends; call it first in a pool worker.

    Linux only (elsewhere nothing happens). The parent must have started us from a thread that lives as long
    as the work, its main thread say: the kernel counts the end of that thread as the end of the parent.
    """
    if not sys.platform.startswith("linux"):
        return
    parent, starter = os.getppid(), multiprocessing.parent_process()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or (starter and not starter.is_alive()):  # it ended before the request
        os._exit(STOPPED_BY_US)


@contextlib.contextmanager
def lock(folder: Path, wait_s: float = 30.0) -> Iterator[None]:
    """Holds `folder` (made when missing) for this process alone; the kernel lets go when the process ends.

    Raises:
        InUse: another process still holds it after `wait_s` seconds; the message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        deadline = time.monotonic() + wait_s
        while not _try_lock(file.fileno()):
            if time.monotonic() >= deadline:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise InUse(f"{folder} is in use by process {holder}; wait for it or end it, then try again")
            time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def repeating(call: Callable[[], object], every_s: float) -> Iterator[None]:
    """Calls `call` every so many seconds, in another thread, while the block runs."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(every_s):
            call()

    thread = threading.Thread(target=work, name="repeating", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
