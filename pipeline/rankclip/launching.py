"""How runs are given to Ray: which first, on what, and how those under way are asked to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

from rankclip import launch
from rankclip.errors import Preempted, RunError
from rankclip.launch.group import retries, workers
from rankclip.models.open_clip import build
from rankclip.training.machine import Machine
from rankclip.training.parallel import refuse
from rankclip.training.request import STOP, TrainRequest
from rankclip.training.run import train_run


def in_turn(
    todo: Sequence[TrainRequest], slots: int | None, poll: Callable[[], None], stopped: Callable[[], bool]
) -> None:
    """Trains first what follows no other run, then what follows one that is finished.

    Raises:
        Preempted: we were told to end.
        RunError: a run failed; those that do not follow it were trained all the same.
    """
    leading = [request for request in todo if request.followed is None]
    following = [request for request in todo if request.followed is not None]
    failures = []
    for wave in (leading, following):
        ready = [request for request in wave if request.followed is None or request.followed.finished]
        try:
            if ready:
                start(ready, slots, poll, stopped)
        except Preempted:
            raise
        except RunError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def start(
    todo: Sequence[TrainRequest], slots: int | None, poll: Callable[[], None], stopped: Callable[[], bool]
) -> None:
    """One Ray task a run, or, with RANKCLIP_WORKERS, one group of workers after another.

    Raises:
        InputError: several workers cannot train a run exactly.
        Preempted: we were told to end.
        RunError: a run failed.
    """
    count, again = workers(), retries()
    if count == 1:
        cpus = max(request.train.threads for request in todo)
        with launch.session():
            outcomes = launch.map_tasks(
                train_run,
                [request.dump() for request in todo],
                cpus=cpus,
                gpus=gpus_of(todo[0].machine),
                slots=slots,
                tries=again + 1,
                on_poll=poll,
                stopped=stopped,
                logs=todo[0].work / "logs",
            )
        launch.values(outcomes)
        return
    with launch.session():
        gpus = gpus_of(todo[0].machine)
        device = torch.device("cuda" if gpus else "cpu")
        for request in {request.arm: request for request in todo}.values():
            # before minutes of starting workers that would each say the same
            refuse(request.train.batch_size, build(request.model, request.seed), count, device)
        failed = [line for request in todo if (line := train_together(request, count, gpus, poll, stopped))]
    if failed:
        others = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        raise RunError(f"{failed[0]}{others}; what finished is kept")


def gpus_of(machine: Machine) -> int:
    """GPUs of a worker on the Ray there is: one, where there are any and none other is asked for."""
    return int(machine.device == "cuda" or (machine.device == "auto" and launch.has_gpus()))


def train_together(
    request: TrainRequest, count: int, gpus: int, poll: Callable[[], None], stopped: Callable[[], bool]
) -> str:
    """Trains one run on several workers; returns the line of its failure, so that others go on.

    Raises:
        Preempted: we were told to end.
    """
    cpus = request.train.threads
    if stopped():
        raise Preempted(f"{request.key}: was not begun before we stopped; run the same command again")
    try:
        launch.train_group(
            train_run, request.dump(), count, request.folder, cpus=cpus, gpus=gpus, on_poll=poll
        )
    except Preempted:
        raise
    except RunError as error:
        return str(error)
    return ""


def ask_to_stop(todo: Sequence[TrainRequest]) -> None:
    """Has runs, on whichever node they are, save and leave within seconds."""
    for request in todo:
        with suppress(OSError):  # a full disk, say; they then end without
            (request.folder / STOP).touch()


def forget_stops(todo: Sequence[TrainRequest]) -> None:
    """Lets runs begin that an earlier driver asked to stop."""
    for request in todo:
        request.folder.mkdir(parents=True, exist_ok=True)
        (request.folder / STOP).unlink(missing_ok=True)
