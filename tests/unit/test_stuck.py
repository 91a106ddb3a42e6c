"""A worker that does not come to a collective is named to the others."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from rankclip import distributed
from rankclip.errors import InputError, Stuck
from tests import forked

LATE = 1


def work(rank: int, workers: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=workers,
        timeout=timedelta(seconds=0.5),
    )  # fmt: skip
    said = ""
    try:
        with distributed.stuck_named(grace_s=1.0):
            if rank == LATE:
                time.sleep(3.0)
            else:
                distributed.summed(torch.ones(1))
    except Stuck as error:
        said = str(error)
    torch.save(said, Path(folder, f"rank-{rank}.pt"))


def test_the_worker_for_which_the_others_wait_is_named_with_its_place(tmp_path: Path) -> None:
    forked.run(work, 2, 2, str(tmp_path))
    said = torch.load(tmp_path / "rank-0.pt")
    assert said.startswith(f"rank {LATE} ({os.uname().nodename} process ")
    assert "did not come to where the others waited" in said
    assert torch.load(tmp_path / f"rank-{LATE}.pt") == ""


def test_alone_nothing_is_waited_for() -> None:
    with pytest.raises(RuntimeError, match="timed out") as caught, distributed.stuck_named():
        raise RuntimeError("timed out")
    assert not isinstance(caught.value, Stuck)


@pytest.mark.parametrize("text", ["0", "-3", "soon", "nan", "inf"])
def test_a_time_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLIP_COLLECTIVE_TIMEOUT_S", text)
    with pytest.raises(InputError, match=f"RANKCLIP_COLLECTIVE_TIMEOUT_S is '{text}'; set it to seconds"):
        distributed.timeout_s()
    monkeypatch.delenv("RANKCLIP_COLLECTIVE_TIMEOUT_S")
    assert distributed.timeout_s() == 1800
