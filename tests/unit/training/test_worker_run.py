"""A whole run on two workers, with everything that an objective may look at, is that of one worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rankclip.models.spec import ModelSpec
from rankclip.training import run
from rankclip.training.loop import Training
from rankclip.training.meter import MEASURED
from rankclip.training.request import TrainRequest
from tests.numerics.towers import group, on_workers
from tests.unit.training import tiny

OBJECTIVES = {
    objective.name: objective
    for objective in (
        tiny.objective(
            "described",
            [
                tiny.CONTRASTIVE,
                {"name": "rank_cross", "teacher": "consensus"},
                {"name": "rank_in", "teacher": "oracle"},
                {"name": "multi_positive"},
            ],
        ),
        tiny.objective(
            "averaged",
            [
                {"name": "sigmoid"},
                {"name": "rank_cross", "teacher": "soft"},
                {"name": "rank_in", "teacher": "shuffled"},
            ],
        ),
        tiny.objective("replay", [tiny.CONTRASTIVE], replay=tiny.OBJECTIVE),
    )
}


def asked(data: Path, work: Path, name: str, micro_batch: int | None) -> TrainRequest:
    changes = {"steps": 4, "log_every": 1, "diagnose_every": 2, "micro_batch": micro_batch}
    return tiny.request(data, work, model=ModelSpec(name="shapes-vit"), objective=OBJECTIVES[name], **changes)


def lines(request: TrainRequest) -> list[dict[str, Any]]:
    """The reports of a run, and the lengths of its weights."""
    training = Training(request)
    reports = [{k: v for k, v in report.items() if k not in MEASURED} for report in training.reports()]
    averaged = {} if training.averaged is None else training.averaged.model.state_dict()
    weights = training.model.state_dict() | {f"averaged {name}": tensor for name, tensor in averaged.items()}
    return [*reports, {name: tensor.double().norm().item() for name, tensor in weights.items()}]


def work(rank: int, workers: int, folder: str, data: str) -> None:
    with group(rank, workers, folder):
        found = {name: lines(asked(Path(data), Path(folder), name, 3)) for name in OBJECTIVES}
    torch.save(found, Path(folder, f"rank-{rank}.pt"))


def test_two_workers_report_and_learn_what_one_does(tiny_data: Path, tmp_path: Path) -> None:
    for micro_batch in (None, 3):  # pieces are another recipe, hence another run to follow
        leader = asked(tiny_data, tmp_path, "replay", micro_batch).followed
        assert leader is not None
        run.train_run(leader.dump())
    one = {name: lines(asked(tiny_data, tmp_path, name, None)) for name in OBJECTIVES}
    first, second = on_workers(work, 2, tmp_path, str(tiny_data))
    assert first == second
    for name, expected in one.items():
        for found, line in zip(first[name], expected, strict=True):
            assert found == pytest.approx(line, rel=2e-3, abs=1e-4), name
    diagnosed = [any("diagnostics/" in key for key in line) for line in one["described"]]
    assert diagnosed == [False, True, False, True, False]
