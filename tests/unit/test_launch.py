"""Real Ray: one session for the tests that can share it, a driver of its own for each that is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from operator import truediv
from pathlib import Path

import psutil
import pytest

from rankclip import launch
from rankclip.data import processes
from rankclip.errors import Preempted, RunError
from rankclip.launch import guard
from rankclip.launch.calls import dotted

FUNCTIONS = """
import os, subprocess, time
from pathlib import Path

def double(item):
    return {"x": 2 * item["x"], "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}

def troubled(item):
    if item["what"] == "fails":
        from rankclip.errors import DataError
        raise DataError("shard 3 is cut short;\\n run dvc repro shard")
    if item["what"] == "breaks":
        return {}["missing"]
    if item["what"] == "fills the disk":
        Path("/dev/full").write_text("x")
    if item["what"] in ("dies", "dies once"):
        with open(item["trace"], "a") as file:
            file.write("x")
        if item["what"] == "dies" or Path(item["trace"]).stat().st_size == 1:
            os.kill(os.getpid(), 9)
    return item["what"]

def together(item):
    Path(item["folder"], item["key"]).touch()
    time.sleep(0.3)
    running = len(list(Path(item["folder"]).iterdir()))
    Path(item["folder"], item["key"]).unlink()
    return running

def wait_for(item):
    while not Path(item["file"]).exists():
        time.sleep(0.01)
    return os.getpid()

def until_asked(item):
    from rankclip.errors import Preempted
    marks = Path(item["folder"], f"begun-{item['key']}")
    again = marks.exists()
    marks.touch()
    while not Path(item["folder"], "stop").exists() and not (again and item.get("once")):
        if item.get("once"):
            raise Preempted("its node is taken away")
        time.sleep(0.01)
    if again:
        return "went on"
    raise Preempted(f"{item['key']}: saved at step 3")

def endless(item):
    subprocess.Popen(["sleep", "600"])
    while True:
        Path(item["folder"], f"beat-{item['x']}").touch()
        time.sleep(0.05)

def all_reduce(item):
    import torch
    import torch.distributed
    rank = torch.distributed.get_rank()
    ranks = torch.tensor([rank + 1.0])
    torch.distributed.all_reduce(ranks)
    marks = Path(item["folder"], f"rank-{rank}")
    if rank == 1 and not marks.exists():
        marks.touch()
        raise ValueError("the first start of rank 1 fails")
    return {"sum": ranks.item(), "world": torch.distributed.get_world_size()}
"""

DRIVER = """
import signal
import sys
from rankclip import launch, lifecycle

def main() -> None:
    launch.map_tasks("launched:endless", [{"x": x, "folder": sys.argv[1]} for x in range(2)])

if __name__ == "__main__":
    folder = sys.argv[1]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # behind a shell it is ignored
    lifecycle.run(main)
"""


def wait_until(claim: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("functions")
    (folder / "launched.py").write_text(FUNCTIONS)
    (folder / "driver.py").write_text(textwrap.dedent(DRIVER))
    return folder


@pytest.fixture(scope="module")
def ray_session(functions: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(functions))
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.delenv("OMP_NUM_THREADS", raising=False)
        with launch.session():
            yield


@pytest.mark.usefixtures("ray_session")
def test_values_come_in_the_order_of_items_each_from_a_process_of_its_own() -> None:
    polls: list[float] = []
    outcomes = launch.map_tasks(
        "launched:double",
        [{"x": x} for x in range(3)],
        on_poll=lambda: polls.append(time.monotonic()),
        every_s=0.1,
    )
    found = launch.values(outcomes)
    assert [value["x"] for value in found] == [0, 2, 4]
    assert {value["threads"] for value in found} == {"1"}
    assert len({value["pid"] for value in found} | {os.getpid()}) == 4
    assert polls


@pytest.mark.usefixtures("ray_session")
def test_a_failure_is_one_line_that_names_the_item_and_the_others_are_kept(tmp_path: Path) -> None:
    items = [
        {"key": f"clip/seed-{seed}", "what": what, "trace": str(tmp_path / what)}
        for seed, what in enumerate(["fine", "fails", "breaks", "dies", "dies once"])
    ]
    outcomes = launch.map_tasks("launched:troubled", items, logs=tmp_path / "logs")
    log = tmp_path / "logs"
    assert [outcome.value for outcome in outcomes] == ["fine", None, None, None, "dies once"]
    assert outcomes[1].error == (
        f"clip/seed-1 failed: shard 3 is cut short; run dvc repro shard (details: {log}/clip-seed-1.log)"
    )
    assert outcomes[2].error == f"clip/seed-2 failed: KeyError: 'missing' (details: {log}/clip-seed-2.log)"
    assert "died twice" in outcomes[3].error
    assert (tmp_path / "dies").read_text() == (tmp_path / "dies once").read_text() == "xx"  # tried twice each
    assert 'return {}["missing"]' in (log / "clip-seed-2.log").read_text()
    with pytest.raises(RunError, match=r"^clip/seed-1 failed: .*\(2 more failed\)"):
        launch.values(outcomes)


@pytest.mark.usefixtures("ray_session")
def test_a_full_disk_in_a_task_is_one_line_also_where_its_log_finds_no_room(tmp_path: Path) -> None:
    items = [{"key": "clip/seed-0", "what": "fills the disk"}, {"key": "clip/seed-1", "what": "fine"}]
    (tmp_path / "file").touch()
    outcomes = launch.map_tasks("launched:troubled", items, logs=tmp_path / "file" / "logs")
    assert outcomes[1].value == "fine"
    assert outcomes[0].error.startswith("clip/seed-0 failed: the disk is full, or the quota used up: ")
    assert outcomes[0].error.endswith("run the command again, what is finished is kept")


@pytest.mark.usefixtures("ray_session")
def test_no_more_tasks_than_slots_run_at_once(tmp_path: Path) -> None:
    items = [{"key": str(x), "folder": str(tmp_path)} for x in range(3)]
    assert launch.values(launch.map_tasks("launched:together", items, cpus=0.1, slots=1)) == [1, 1, 1]


@pytest.mark.usefixtures("ray_session")
def test_when_we_are_to_stop_what_runs_may_save_and_no_more_is_begun(tmp_path: Path) -> None:
    items = [{"key": str(x), "folder": str(tmp_path)} for x in range(3)]

    def stop_once_one_runs() -> None:
        if list(tmp_path.glob("begun-*")):
            (tmp_path / "stop").touch()

    outcomes = launch.map_tasks(
        "launched:until_asked", items, cpus=0.1, slots=1, every_s=0.05,
        on_poll=stop_once_one_runs, stopped=(tmp_path / "stop").exists, logs=tmp_path,
    )  # fmt: skip
    assert [outcome.preempted for outcome in outcomes] == [True, True, True]
    assert [path.name for path in tmp_path.glob("begun-*")] == ["begun-0"]
    with pytest.raises(Preempted, match=r"^0: saved at step 3 \(2 more stopped\)$"):
        launch.values(outcomes)


@pytest.mark.usefixtures("ray_session")
def test_what_dies_when_we_are_to_stop_is_told_as_often_as_it_did(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    items = [{"key": "clip", "what": "dies", "trace": str(trace)}]
    [outcome] = launch.map_tasks(
        "launched:troubled", items, cpus=0.1, tries=4, stopped=trace.exists, logs=tmp_path
    )
    assert outcome.error.startswith("clip failed: its process died once (killed, or out of memory?)")


@pytest.mark.usefixtures("ray_session")
def test_what_is_stopped_though_we_are_not_is_tried_again(tmp_path: Path) -> None:
    items = [{"key": "clip", "folder": str(tmp_path), "once": True}]
    assert launch.values(launch.map_tasks("launched:until_asked", items, cpus=0.1, logs=tmp_path)) == [
        "went on"
    ]


class Drawn:
    """Items that note how many of them were drawn; each waits for the file of its number."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.drawn = 0

    def __iter__(self) -> Iterator[dict[str, object]]:
        for number in range(self.count):
            self.drawn += 1
            yield {"key": f"shard {number}", "file": str(self.folder / str(number))}

    def let(self, *numbers: int) -> None:
        for number in numbers:
            (self.folder / str(number)).touch()


@pytest.mark.usefixtures("ray_session")
def test_a_stream_draws_items_when_there_is_room_and_gives_outcomes_as_they_come(tmp_path: Path) -> None:
    items = Drawn(tmp_path, 6)
    stream = launch.stream_tasks("launched:wait_for", items, slots=2, cpus=0.5, logs=tmp_path)
    items.let(1)
    first = next(stream)
    assert (first.item["key"], items.drawn) == ("shard 1", 2)
    items.let(*range(6))
    others = list(stream)
    assert {outcome.item["key"] for outcome in others} == {f"shard {number}" for number in (0, 2, 3, 4, 5)}
    assert len({outcome.value for outcome in (first, *others)}) < 6  # processes are used again


@pytest.mark.usefixtures("ray_session")
def test_a_stream_in_order_waits_for_a_slow_item_with_bounded_outcomes(tmp_path: Path) -> None:
    items = Drawn(tmp_path, 12)
    items.let(*range(1, 12))
    drawn: list[int] = []

    def let_the_first_go() -> None:
        wait_until(lambda: items.drawn == 4, timeout_s=60)
        time.sleep(0.5)
        drawn.append(items.drawn)
        items.let(0)

    thread = threading.Thread(target=let_the_first_go)
    thread.start()
    stream = launch.stream_tasks("launched:wait_for", items, slots=2, cpus=0.5, ordered=True, logs=tmp_path)
    assert [outcome.item["key"] for outcome in stream] == [f"shard {number}" for number in range(12)]
    thread.join()
    assert drawn == [4]


@pytest.mark.usefixtures("ray_session")
def test_a_stream_tries_items_again_whose_process_dies_but_not_for_ever(tmp_path: Path) -> None:
    kinds = ("dies", "dies once", "fails")
    items = ({"key": what, "what": what, "trace": str(tmp_path / what)} for what in kinds)
    stream = launch.stream_tasks("launched:troubled", items, logs=tmp_path / "logs")
    outcomes = {outcome.item["key"]: outcome for outcome in stream}
    assert outcomes["dies once"].value == "dies once"
    assert (outcomes["dies"].died, outcomes["fails"].died) == (True, False)
    assert "its process died 3 times" in outcomes["dies"].error
    assert (tmp_path / "dies").read_text() == "xxx"


@pytest.mark.usefixtures("ray_session")
def test_what_a_stream_runs_ends_when_nobody_listens(tmp_path: Path) -> None:
    (tmp_path / "0").touch()
    items = [{"file": str(tmp_path / "0")}, {"file": str(tmp_path / "never")}]
    stream = launch.stream_tasks("launched:wait_for", items, slots=2, cpus=0.5, logs=tmp_path)
    next(stream)
    stream.close()
    [session] = {os.environ[guard.MARK]}
    wait_until(lambda: not any("ray::wait_for" in " ".join(p.cmdline()) for p in guard.marked(session)), 20)


@pytest.mark.usefixtures("ray_session")
def test_mapped_items_are_tasks_on_a_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray

    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    monkeypatch.chdir(tmp_path)
    assert list(processes.mapped(abs, range(-9, 0), images=processes.WORTH_SHARING)) == list(range(9, 0, -1))
    assert os.getpid() not in set(processes.mapped(process_of, range(3), images=processes.WORTH_SHARING))
    assert set(processes.mapped(process_of, range(3), images=10)) == {os.getpid()}
    with pytest.raises(RunError, match=r"^truediv 2 of 2 failed: ZeroDivisionError"):
        list(processes.mapped(partial(truediv, 1), [1, 0], images=processes.WORTH_SHARING))


def process_of(item: int) -> int:
    return os.getpid()


@pytest.mark.usefixtures("ray_session")
def test_a_task_that_no_node_can_hold_is_refused_at_once() -> None:
    with pytest.raises(RunError, match="a run asks for 4096 CPUs and 0 GPUs, the nodes have "):
        launch.map_tasks("launched:double", [{"x": 1}], cpus=4096)


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore:.use_.* is deprecated:DeprecationWarning")  # Ray Data, of its own options
@pytest.mark.usefixtures("ray_session")
def test_two_workers_share_a_process_group_and_a_failed_group_is_started_once_more(tmp_path: Path) -> None:
    polls: list[int] = []
    item = {"key": "clip-seed-0", "folder": str(tmp_path)}
    value = launch.train_group("launched:all_reduce", item, 2, tmp_path, on_poll=lambda: polls.append(1))
    assert value == {"sum": 3.0, "world": 2}
    assert (tmp_path / "rank-1").exists()
    assert polls
    assert not (tmp_path / "ray").exists()


@pytest.mark.usefixtures("ray_session")
def test_a_group_that_the_nodes_cannot_hold_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"^2048 workers of 2 CPUs ask for 4096 CPUs, the nodes have \d+, room "
    ):
        launch.train_group("launched:all_reduce", {"key": "clip"}, 2048, tmp_path, cpus=2)


SESSION = """
import os, subprocess, sys
from rankclip import launch

with launch.session():
    import ray
    address = ray.get_runtime_context().gcs_address
    code = f"import ray; ray.init(address='{address}', log_to_driver=False); print('let in')"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    stranger = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment | {"RAY_AUTH_MODE": "disabled"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    for line in stranger.stdout:
        if "InvalidAuthToken" in line or "let in" in line:
            print("refused" if "InvalidAuthToken" in line else "let in")
            break
    stranger.kill()  # it would try for twenty seconds
    stranger.communicate()
print(os.environ["RAY_AUTH_MODE"])
"""


def test_a_local_session_asks_for_its_token_though_the_user_has_switched_tokens_off(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", SESSION],
        env=environment | {"RAY_AUTH_MODE": "disabled"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == ["refused", "disabled"], done.stderr


def beats(folder: Path) -> list[float]:
    return [path.stat().st_mtime for path in sorted(folder.glob("beat-*"))]


@pytest.mark.parametrize(
    ("stop", "code", "within_s"), [(signal.SIGKILL, -signal.SIGKILL, 10), (signal.SIGINT, 130, 20)]
)
def test_nothing_of_a_local_ray_outlives_its_driver(
    functions: Path, tmp_path: Path, stop: signal.Signals, code: int, within_s: int
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path / ("long" * 30))}  # too long for the path of a socket
    environment.pop("RAY_ADDRESS", None)
    driver = subprocess.Popen([sys.executable, str(functions / "driver.py"), str(tmp_path)], env=environment)
    wait_until(lambda: len(beats(tmp_path)) == 2 or driver.poll() is not None, timeout_s=60)
    assert driver.poll() is None
    [session] = {
        process.environ()[guard.MARK]
        for process in psutil.Process(driver.pid).children(recursive=True)
        if guard.MARK in process.environ()
    }
    assert len(list(guard.marked(session))) > 4
    assert Path(session).stat().st_mode & 0o777 == 0o700
    driver.send_signal(stop)
    wait_until(lambda: not Path(session).exists() and not list(guard.marked(session)), within_s)
    assert driver.wait(timeout=10) == code
    last = beats(tmp_path)
    time.sleep(0.3)
    assert beats(tmp_path) == last


def test_no_items_need_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # an import would fail
    assert launch.map_tasks("launched:double", []) == []


def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(**options: object) -> None:
        assert options["address"] == "127.0.0.1:1"
        raise ConnectionError("nobody\nthere")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(RunError, match=r"Ray at RAY_ADDRESS 127\.0\.0\.1:1 does not answer: nobody there"):
        launch.map_tasks("launched:double", [{"x": 1}])


def test_only_what_a_worker_can_import_is_accepted() -> None:
    def nested(item: object) -> None: ...

    assert dotted("launched:double") == "launched:double"
    assert dotted(guard.end) == "rankclip.launch.guard:end"
    for function in (nested, lambda item: item):
        with pytest.raises(TypeError, match="cannot be imported by a worker"):
            dotted(function)
