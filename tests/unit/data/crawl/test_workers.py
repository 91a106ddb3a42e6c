"""The pool of restartable workers."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from rankclip.data.crawl import worker, workers
from rankclip.errors import DataError, RunError


class Tasks:
    """Does what its payload says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.together = threading.Barrier(2, timeout=30)

    def __call__(self, name: str, payload: str, line: worker.Line, failures: int) -> str:
        (self.folder / f"{name}-{os.getpid()}-{failures}").touch()
        line.report(payload)
        if payload == "die always" or (payload == "die once" and not failures):
            os.kill(os.getpid(), signal.SIGKILL)
        if payload == "die twice" and failures < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if payload == "hang once" and not failures:
            time.sleep(60)
        if payload == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if payload == "break":
            raise ValueError("broken\npiece")
        if payload == "refuse":
            raise DataError("nothing to be had; look elsewhere")
        if payload == "together":
            line.room()
            self.together.wait()
        if payload == "work beside":
            line.room()
            time.sleep(0.3)
        if payload == "noise":
            os.write(1, b"noise of a C library\n")
            sys.stderr.write("noise of Python\n")
        return f"{name} after {failures}"


def ran(folder: Path, payloads: list[str], processes: int = 1, silence_s: float = 60) -> list[workers.Event]:
    tasks = ((f"{number}", payload) for number, payload in enumerate(payloads))
    return list(workers.run(partial(Tasks, folder), tasks, processes, folder / "log", silence_s))


def finished(events: list[workers.Event]) -> list[str]:
    return sorted(event.task for event in events if event.kind == "done")


def starts(folder: Path, name: str) -> int:
    return len(list(folder.glob(f"{name}-*")))


def test_every_task_is_done_once_by_a_few_workers(tmp_path: Path) -> None:
    events = ran(tmp_path, ["work"] * 6, processes=2)
    assert finished(events) == list("012345")
    assert [event.value for event in events if event.kind == "report"] == ["work"] * 6
    assert {event.value for event in events if event.kind == "done"} == {f"{n} after 0" for n in range(6)}
    tried = [path.name for path in tmp_path.iterdir() if path.name != "log"]
    assert len(tried) == 6
    assert len({name.split("-")[1] for name in tried}) <= 2


def test_a_worker_gets_another_task_when_it_asks_for_one_and_not_before(tmp_path: Path) -> None:
    """Both tasks wait for each other in one process: they end only if they run at once."""
    assert finished(ran(tmp_path, ["together", "together", "work"])) == ["0", "1", "2"]


def test_a_worker_that_dies_is_replaced_and_its_task_given_out_again(tmp_path: Path) -> None:
    events = ran(tmp_path, ["work", "die once", "work"])
    assert finished(events) == ["0", "1", "2"]
    assert [event.task for event in events if event.kind == "again"] == ["1"]


def test_the_task_that_kills_is_found_by_trying_each_alone(tmp_path: Path) -> None:
    events = ran(tmp_path, ["work beside", "work beside", "die twice", "work"])
    assert finished(events) == ["0", "1", "2", "3"]
    again = [event.task for event in events if event.kind == "again"]
    assert again.count("2") == 2
    assert again.count("0") <= 1
    assert again.count("1") <= 1


def test_a_worker_that_falls_silent_is_replaced(tmp_path: Path) -> None:
    assert finished(ran(tmp_path, ["hang once"], silence_s=3)) == ["0"]


def test_a_task_that_goes_on_killing_its_workers_ends_the_run_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "LIMIT", 4)
    with pytest.raises(RunError, match=r"shard 1 failed 4 times, last: its process ended with exit code -9"):
        ran(tmp_path, ["work", "die always"])
    assert starts(tmp_path, "1") == 4


def test_a_task_that_always_raises_ends_the_run_sooner(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"shard 0 failed 3 times, last: ValueError: broken piece; see"):
        ran(tmp_path, ["break"])


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        ("full", r"no space left on the disk while writing shard 0; free some"),
        ("refuse", r"^shard 0: nothing to be had; look elsewhere$"),
    ],
)
def test_what_no_retry_mends_ends_the_run_at_once(tmp_path: Path, payload: str, line: str) -> None:
    with pytest.raises(RunError, match=line):
        ran(tmp_path, [payload])
    assert starts(tmp_path, "0") == 1


def test_what_workers_print_goes_to_their_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ran(tmp_path, ["noise"])
    assert capfd.readouterr() == ("", "")
    assert "noise of a C library" in (tmp_path / "log" / "worker-0.log").read_text()


def test_workers_end_when_the_caller_stops_listening(tmp_path: Path) -> None:
    tasks = [("0", "hang once")]
    events = workers.run(partial(Tasks, tmp_path), tasks, 1, tmp_path / "log", 60)
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
    pid = int(found[0].name.split("-")[1])
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)


def test_jobs_that_cannot_be_built_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^3 processes could not begin, last: its process ended with exit "):
        list(workers.run(partial(int, "no job"), [("0", "work")], 1, tmp_path / "log", 60))


def test_all_processes_begin_at_once(tmp_path: Path) -> None:
    """Each waits for the others to begin, for which a large first task must not be in the way."""
    tasks = ((f"{number}", "x" * 2**20) for number in range(2))
    events = list(workers.run(partial(after_all, tmp_path, 3), tasks, 3, tmp_path / "log", 60))
    assert finished(events) == ["0", "1"]


def after_all(folder: Path, processes: int) -> Tasks:
    (folder / f"begun-{os.getpid()}").touch()
    while len(list(folder.glob("begun-*"))) < processes:
        time.sleep(0.01)
    return Tasks(folder)
