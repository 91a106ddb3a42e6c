"""Workers that torchrun starts: together they stop, and the run goes on with any number of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rankclip import lifecycle
from rankclip.data.loading.loader import Loaded
from rankclip.data.loading.order import batches
from rankclip.errors import DataError, InputError, Preempted, RunError
from rankclip.models.spec import ModelSpec
from rankclip.training import checkpoint, run, worker
from rankclip.training.feed import Feed
from rankclip.training.machine import Machine
from rankclip.training.request import METRICS, STOP, TrainRequest
from tests.numerics.towers import on_workers
from tests.unit.training import tiny

VIT = ModelSpec(name="shapes-vit")
save = checkpoint.save


def free_port() -> str:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@contextmanager
def joined(rank: int, port: str) -> Iterator[None]:
    """Two processes as torchrun would have started them."""
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
             "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in place.items():
            patch.setenv(name, value)
        with worker.process_group(Machine(device="cpu")):
            yield


def train(request: TrainRequest, seen: list[Any], stop_at: int | None = None) -> str:
    """Trains, notes the samples of each step, and is sent a SIGTERM while it makes a step, counted from 1."""
    loaded_batches = Feed.batches

    def noting(feed: Feed, start: int, stop: int) -> Iterator[Loaded]:
        for loaded in loaded_batches(feed, start, stop):
            seen.append((loaded.step, loaded.indices.tolist()))
            if loaded.step + 1 == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield loaded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Feed, "batches", noting)
        try:
            run.train_run(request.dump())
        except (Preempted, RunError) as error:
            return str(error)
    return ""


def taken(folder: Path, data: Path) -> TrainRequest:
    """A run that another process trains."""
    return tiny.request(data, folder / "taken", model=VIT)


SAVE_S = 0.5
"""How long a save takes, at the least."""


def slowly(*given: Any) -> None:
    """Saves a checkpoint on a slow disk."""
    time.sleep(SAVE_S)
    save(*given)


def phases(rank: int, workers: int, folder: str, data: str, ports: tuple[str, str]) -> None:
    """Two workers are refused a run, train one till the second is stopped; one goes on, two end it."""
    torch.set_num_threads(1)
    request = tiny.request(Path(data), Path(folder), model=VIT)
    seen: list[list[Any]] = [[], [], []]
    lock = lifecycle.lock
    with joined(rank, ports[0]), pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle, "lock", lambda place: lock(place, wait_s=0.1))
        patch.setattr(checkpoint, "save", slowly)
        said = [train(taken(Path(folder), Path(data)), [])]
        said.append(train(request, seen[0], 3 if rank == 1 else None))
        saved = checkpoint.steps(request.folder)
    if rank == 0:
        said.append(train(request, seen[1], 5))
    with joined(rank, ports[1]):
        said.append(train(request, seen[2]))
    torch.save((seen, said, saved), Path(folder, f"rank-{rank}.pt"))


@pytest.fixture(scope="module")
def together(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The folder in which two workers did all that, and what they saw and were told."""
    folder = tmp_path_factory.mktemp("together")
    with lifecycle.lock(taken(folder, tiny_data).folder):
        return folder, on_workers(phases, 2, folder, str(tiny_data), (free_port(), free_port()))


def test_a_run_stopped_on_two_workers_and_on_one_goes_on_with_the_next_samples(
    tiny_data: Path, tmp_path: Path, together: tuple[Path, list[Any]]
) -> None:
    folder, ((first, said, _), (second, other, _)) = together
    stopped = "arm/seed-4: stopped as asked and saved at step {} of 7; run the same command again to go on"
    assert said[1:] == [stopped.format(3), stopped.format(5), ""]
    assert other[1:] == [stopped.format(3), ""]
    found = {step: rows for phase in first for step, rows in phase}
    for phase in second:
        found |= {step: found[step] + rows for step, rows in phase}
    wanted = batches(tiny.IMAGES, 8, 4)
    assert found == {step: next(wanted).indices.tolist() for step in range(7)}
    assert [len(phase) for phase in first] == [3, 2, 2]
    whole = tiny.request(tiny_data, tmp_path, model=VIT)
    run.train_run(whole.dump())
    ours = load_file(folder / whole.folder.name / run.WEIGHTS)
    for name, tensor in load_file(whole.folder / run.WEIGHTS).items():
        assert (ours[name] - tensor).norm() <= 2e-3 * tensor.norm() + 1e-4, name


def test_two_workers_refuse_a_run_that_another_process_trains_alike(
    together: tuple[Path, list[Any]],
) -> None:
    _, ((_, said, _), (_, other, _)) = together
    assert said[0] == other[0]
    assert f"is in use by process {os.getpid()}; wait for it or end it" in said[0]


def test_no_worker_leaves_before_the_first_has_saved(together: tuple[Path, list[Any]]) -> None:
    _, workers = together
    assert [saved for *_, saved in workers] == [[3], [3]]  # a launcher ends the others when one is gone


def test_torchrun_trains_what_one_process_trains(tiny_data: Path, tmp_path: Path) -> None:
    request, whole = (
        tiny.request(tiny_data, tmp_path / name, model=VIT, steps=3, validate_every=3, log_every=1)
        for name in ("two", "one")
    )
    (tmp_path / "request.json").write_text(json.dumps(request.dump()))
    request.folder.mkdir(parents=True)
    (request.folder / STOP).touch()  # an earlier driver asked for that
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["rankclip.training.worker", str(tmp_path / "request.json")]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run.train_run(whole.dump())
    losses = [
        [json.loads(line)["loss"] for line in (each.folder / METRICS).read_text().splitlines()]
        for each in (request, whole)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    assert request.finished
    assert not checkpoint.steps(request.folder)


def test_a_request_that_is_none_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "request.json"
    with pytest.raises(DataError, match=r"request\.json is missing; give a request"):
        worker.read(path)
    path.write_text('{"key": 5}')
    with pytest.raises(InputError, match=r"request\.json is no request for a run: key: Input should be"):
        worker.read(path)
    monkeypatch.setattr(sys, "argv", ["worker"])
    with pytest.raises(InputError, match="give one file, of a request as JSON, not 0 arguments"):
        worker.main()


def test_alone_there_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with worker.process_group(Machine(device="cpu")):
        assert not torch.distributed.is_initialized()


def test_a_worker_that_died_is_told_by_the_others_in_one_line() -> None:
    said = "[pair.cc:553] Connection closed by peer [127.0.0.1]:37193"
    wanted = r"^another worker of this run died \(.*; run the same command again"
    with pytest.raises(RunError, match=wanted), worker.lost_named():
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="shapes do not fit"), worker.lost_named():
        raise RuntimeError("shapes do not fit")
