"""A worker with a wrong batch ends all workers with a cause; none is left waiting."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from rankclip.objectives.batch import gathered
from tests import forked


def work(rank: int, workers: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=workers
    )
    rows = torch.nn.functional.normalize(torch.ones(4, 3), dim=1)
    try:
        gathered(rows, rows[: 4 - rank], torch.tensor(1.0))
    except ValueError as error:
        Path(folder, f"rank-{rank}").write_text(str(error))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_shapes_that_do_not_fit_on_one_worker_are_refused_on_all(tmp_path: Path) -> None:
    forked.run(work, 2, 2, str(tmp_path))
    assert (
        tmp_path / "rank-0"
    ).read_text() == "embeddings of worker 1 do not fit each other; see what it says"
    assert "shapes (4, 3) and (3, 3); both must be [n, D]" in (tmp_path / "rank-1").read_text()
