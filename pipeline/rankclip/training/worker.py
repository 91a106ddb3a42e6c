"""A run without Ray, on one process or on several that torchrun starts.

`python -m torch.distributed.run --nproc-per-node 2 -m rankclip.training.worker REQUEST.json`
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch.distributed
from pydantic import ValidationError

from rankclip import distributed, files, lifecycle
from rankclip.errors import InputError, Preempted, RunError
from rankclip.training.device import chosen
from rankclip.training.machine import Machine
from rankclip.training.request import STOP, TrainRequest
from rankclip.training.run import train_run


@contextlib.contextmanager
def process_group(machine: Machine) -> Iterator[None]:
    """The group of the processes that torchrun started with this one; nothing where it started none.

    Raises:
        InputError: a GPU is asked for, but there is none for this worker.
        RunError: a worker died.
        Stuck: a worker did not come to where the others waited for it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    # agreements are between hosts and need not wait for a device
    backend = "cpu:gloo,cuda:nccl" if chosen(machine).type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=timedelta(seconds=distributed.timeout_s()))
    try:
        with lost_named(), distributed.stuck_named():
            yield
    finally:
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def lost_named() -> Iterator[None]:
    """Says in one line that another worker died, of which gloo only says that its connection ended.

    Raises:
        RunError: it did.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in ("closed by peer", "reset by peer", "Broken pipe")):
            raise
        raise RunError(
            f"another worker of this run died ({files.one_line(error)}); run the same command again to go on "
            "from the last checkpoint"
        ) from error


def read(path: Path) -> TrainRequest:
    """A request that lies in a file as JSON.

    Raises:
        DataError: the file is missing or is not JSON.
        InputError: it is no request.
    """
    try:
        return TrainRequest.model_validate(
            files.read_json(path, "give a request as `rankclip train` makes it")
        )
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise InputError(f"{path} is no request for a run: {where}: {problem['msg']}") from None


def main() -> None:
    """The command."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # what torchrun starts would live on after its `kill -9`
        lifecycle.die_with_parent()
    if len(sys.argv) != 2:
        raise InputError(f"give one file, of a request as JSON, not {len(sys.argv) - 1} arguments")
    request = read(Path(sys.argv[1]))
    with process_group(request.machine):
        try:
            if distributed.rank() == 0:
                (request.folder / STOP).unlink(missing_ok=True)
            train_run(request.dump())
        except Preempted as error:
            if distributed.rank() == 0:
                raise
            sys.exit(error.exit_code)  # one line is enough


if __name__ == "__main__":
    lifecycle.run(main)
