"""Real processes: what a stage does when it fails, is told to stop, or loses the dvc that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rankclip import lifecycle
from rankclip.errors import RunError

STAGE = """
import errno, subprocess, sys, time, typer
from pathlib import Path
from rankclip import lifecycle
from rankclip.errors import DataError, InputError, Preempted

def main(folder: Path = Path("."), fail: str = "", child: bool = False) -> None:
    if fail == "input":
        raise InputError("lr is -1;\\n use a positive number")
    if fail == "data":
        raise DataError("shard 3 is cut short; run dvc repro shard")
    if fail == "full":
        Path("/dev/full").write_text("x")
    if fail == "quota":
        raise OSError(errno.EDQUOT, "Disk quota exceeded", "runs/a.jsonl")
    if fail == "bug":
        raise OSError(errno.EACCES, "Permission denied", "runs")
    if fail == "stopped":
        raise Preempted("clip/seed-0: saved at step 3; run the same command again")
    if fail == "interrupt":
        raise KeyboardInterrupt
    if child:
        code = "import sys, time\\nwhile True: open(sys.argv[1], 'a').write('x'); time.sleep(0.05)"
        subprocess.Popen([sys.executable, "-c", code, str(folder / "child")])
    try:
        while (folder / "run").exists():
            with (folder / "stage").open("a") as file:
                file.write("x")
            time.sleep(0.05)
    finally:
        (folder / "cleaned").touch()

lifecycle.stage(main)
"""

FAKE_DVC = """
import os, subprocess, sys
environment = {**os.environ, "DVC_ROOT": sys.argv[1], "DVC_STAGE": "pretrain"}
# The second command keeps the shell from replacing itself by the stage.
subprocess.run(["/bin/sh", "-c", f"{sys.executable} stage.py --child --folder {sys.argv[1]}; true"],
               env=environment, cwd=sys.argv[1])
"""

DRIVER = """
import multiprocessing, pathlib, time
from rankclip import lifecycle

def work():
    lifecycle.die_with_parent()
    time.sleep(60)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work).start()
    time.sleep(60)
else:  # in the worker, while it imports what it needs
    pathlib.Path("importing").touch()
    time.sleep(0.5)
"""

DEATH = """
import os
from rankclip import launch

def die():
    os.kill(os.getpid(), 9)

with launch.session():
    import ray

    try:
        ray.get(ray.remote(max_retries=0)(die).remote())
    except ray.exceptions.WorkerCrashedError:
        print("it died")
"""


def wait_until(claim: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "dvc.py").write_text(FAKE_DVC)
    (tmp_path / "run").touch()
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )


def test_a_stage_and_its_children_stop_writing_when_dvc_is_killed_though_its_shell_lives_on(
    folder: Path,
) -> None:
    dvc = start(folder, "dvc.py", str(folder))
    below: list[psutil.Process] = []
    try:
        wait_until(lambda: (folder / "stage").exists() and (folder / "child").exists())
        below = psutil.Process(dvc.pid).children(recursive=True)
        assert len(below) == 3  # the shell, the stage and the stage's child
        dvc.kill()  # not yet waited for: dvc is a zombie now, as under a busy parent
        wait_until(lambda: not any(lifecycle._alive(process) for process in below), timeout_s=3)
    finally:
        for process in below:
            if process.is_running():
                process.kill()
        dvc.communicate()
    written = (folder / "stage").stat().st_size, (folder / "child").stat().st_size
    time.sleep(0.3)
    assert ((folder / "stage").stat().st_size, (folder / "child").stat().st_size) == written


def test_sigterm_ends_a_stage_cleanly_with_143(folder: Path) -> None:
    process = start(folder, "stage.py", "--folder", str(folder))
    wait_until(lambda: (folder / "stage").exists())
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors, (folder / "cleaned").exists()) == (143, "", True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--fail", "input"], 2, "rankclip: error: lr is -1; use a positive number\n"),
        (["--fail", "data"], 1, "rankclip: error: shard 3 is cut short; run dvc repro shard\n"),
        (["--fail", "stopped"], 143, "rankclip: clip/seed-0: saved at step 3; run the same command again\n"),
        (["--fail", "interrupt"], 130, ""),
    ],
)
def test_a_failure_is_one_line_and_its_exit_code(
    folder: Path, arguments: list[str], code: int, message: str
) -> None:
    process = start(folder, "stage.py", *arguments)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (code, message)


@pytest.mark.parametrize(("fail", "where"), [("full", "a file of {folder}"), ("quota", "runs/a.jsonl")])
def test_a_full_disk_is_one_line_with_path_and_remedy(
    folder: Path, fail: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lifecycle.TIMES, "/dev/full")  # as the table of times is then
    process = start(folder, "stage.py", "--fail", fail)
    _, errors = process.communicate(timeout=20)
    expected = f"{where.format(folder=folder)} could not be written; free some space and run the command "
    assert errors.startswith("rankclip: error: the disk is full, or the quota used up: ")
    assert expected in errors
    assert (process.returncode, errors.count("\n")) == (1, 1)


def test_an_error_of_the_system_that_nobody_expects_keeps_its_traceback(folder: Path) -> None:
    process = start(folder, "stage.py", "--fail", "bug")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Traceback" in errors


def test_a_wrong_option_exits_with_2_and_a_finished_stage_with_0(folder: Path) -> None:
    (folder / "run").unlink()
    finished, wrong = start(folder, "stage.py"), start(folder, "stage.py", "--learning-rate", "3")
    assert (finished.communicate()[1], finished.returncode) == ("", 0)
    assert "--learning-rate" in wrong.communicate()[1]
    assert wrong.returncode == 2


def test_a_worker_dies_with_its_parent(folder: Path) -> None:
    worker = (
        "from rankclip import lifecycle; import time; lifecycle.die_with_parent()\n"
        "print('up', flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {worker!r}]); p.wait()"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    [below] = psutil.Process(process.pid).children()
    process.kill()
    wait_until(lambda: not lifecycle._alive(below), timeout_s=3)
    process.communicate()


def test_a_worker_whose_parent_ended_before_it_had_begun_ends_too(folder: Path) -> None:
    (folder / "driver.py").write_text(DRIVER)
    process = start(folder, "driver.py")
    wait_until(lambda: (folder / "importing").exists())
    [below] = [each for each in psutil.Process(process.pid).children() if "spawn_main" in str(each.cmdline())]
    process.kill()
    wait_until(lambda: not lifecycle._alive(below), timeout_s=3)
    process.communicate()


LEAK = """
import multiprocessing
from rankclip import lifecycle

def hold(ready):
    lock = multiprocessing.get_context("spawn").Lock()
    ready.send(True)
    ready.recv()

def main():
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(theirs,))
    process.start()
    ours.recv()
    process.kill()
    process.join()

if __name__ == "__main__":
    lifecycle.stage(main)
"""


def test_the_locks_of_killed_workers_are_cleaned_up_without_a_word(folder: Path) -> None:
    (folder / "leak.py").write_text(LEAK)
    process = start(folder, "leak.py")
    assert (process.communicate(timeout=20)[1], process.returncode) == ("", 0)


def test_what_a_person_starts_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert lifecycle._chain_to_dvc() == []


def test_a_locked_folder_names_its_holder(tmp_path: Path) -> None:
    with (
        lifecycle.lock(tmp_path / "run"),
        pytest.raises(RunError, match=rf"run is in use by process {os.getpid()};"),
        lifecycle.lock(tmp_path / "run", wait_s=0.2),
    ):
        pytest.fail("two holders of one lock")


def test_a_lock_is_free_again_after_its_holder_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from rankclip import lifecycle\n"
        "with lifecycle.lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"process {holder.pid};"), lifecycle.lock(tmp_path, wait_s=0):
        pytest.fail("two holders of one lock")
    holder.kill()
    with lifecycle.lock(tmp_path, wait_s=10):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    holder.communicate()


def test_quiet_leaves_what_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in lifecycle.QUIET:
        monkeypatch.setenv(name, "chosen")  # restored afterwards, also where it was unset
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")
    lifecycle.quiet()
    assert (os.environ["RAY_USAGE_STATS_ENABLED"], os.environ["WANDB_MODE"]) == ("0", "chosen")


def test_ray_leaves_it_to_us_to_tell_of_a_process_that_died() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", DEATH], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("it died\n", "")
