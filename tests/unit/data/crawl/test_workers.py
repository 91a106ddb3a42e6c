"""The pool of restartable workers."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from rankclip.data.crawl import workers
from rankclip.errors import RunError


class Worker:
    """Does what its payload says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, payload: str, report: workers.Report) -> None:
        tried = self.folder / f"{name}-{os.getpid()}"
        tried.touch()
        first = len(list(self.folder.glob(f"{name}-*"))) == 1
        report(payload)
        if payload == "die always" or (payload == "die once" and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if payload == "hang once" and first:
            time.sleep(60)
        if payload == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if payload == "noise":
            os.write(1, b"noise of a C library\n")
            sys.stderr.write("noise of Python\n")


def ran(folder: Path, payloads: list[str], processes: int = 1, silence_s: float = 60) -> list[workers.Event]:
    tasks = ((f"{number}", payload) for number, payload in enumerate(payloads))
    return list(workers.run(partial(Worker, folder), tasks, processes, folder / "log", silence_s))


def finished(events: list[workers.Event]) -> list[str]:
    return sorted(event.task for event in events if event.kind == "done")


def test_every_task_is_done_once_by_a_few_workers(tmp_path: Path) -> None:
    events = ran(tmp_path, ["work"] * 6, processes=2)
    assert finished(events) == list("012345")
    assert [event.value for event in events if event.kind == "report"] == ["work"] * 6
    tried = [path.name for path in tmp_path.iterdir() if path.name != "log"]
    assert len(tried) == 6
    assert len({name.split("-")[1] for name in tried}) == 2


def test_a_worker_that_dies_is_replaced_and_its_task_given_out_again(tmp_path: Path) -> None:
    events = ran(tmp_path, ["work", "die once", "work"])
    assert finished(events) == ["0", "1", "2"]
    assert [event.task for event in events if event.kind == "again"] == ["1"]


def test_a_worker_that_falls_silent_is_replaced(tmp_path: Path) -> None:
    assert finished(ran(tmp_path, ["hang once"], silence_s=3)) == ["0"]


def test_a_task_that_kills_its_workers_ends_the_run_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"shard 1 failed 3 times, last: its process ended with exit code -9"):
        ran(tmp_path, ["work", "die always"])


def test_a_full_disk_ends_the_run_at_once(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no space left on the disk while writing shard 0; free some"):
        ran(tmp_path, ["full"])
    assert len(list(tmp_path.glob("0-*"))) == 1


def test_what_workers_print_goes_to_their_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ran(tmp_path, ["noise"])
    assert capfd.readouterr() == ("", "")
    assert "noise of a C library" in (tmp_path / "log" / "worker-0.log").read_text()


def test_workers_end_when_the_caller_stops_listening(tmp_path: Path) -> None:
    tasks = [("0", "hang once")]
    events = workers.run(partial(Worker, tmp_path), tasks, 1, tmp_path / "log", 60)
    next(events)
    pid = int(next(tmp_path.glob("0-*")).name.split("-")[1])
    events.close()
    assert not psutil.pid_exists(pid)


def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from tests.unit.data.crawl.test_workers import ran\n"
        f"if __name__ == '__main__': ran(Path({str(tmp_path)!r}), ['hang once'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": "."}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as parent:
        deadline = time.monotonic() + 60
        while not (found := list(tmp_path.glob("0-*"))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        parent.kill()
    worker = int(found[0].name.split("-")[1])
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)
