"""Whole runs on a GPU: stopped, resumed, and through batches without a finite loss."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rankclip.errors import Preempted, RunError
from rankclip.models.spec import ModelSpec
from rankclip.training import checkpoint, loop, run
from rankclip.training.loop import Training
from rankclip.training.machine import Machine
from rankclip.training.request import METRICS, NONFINITE, TrainRequest
from tests.unit.training import tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
VIT = ModelSpec(name="shapes-vit")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny"))


def request(data: Path, work: Path, **changes: Any) -> TrainRequest:
    machine = Machine(device="cuda", compiled=changes.pop("compiled", False))
    asked = tiny.request(data, work, **{"model": VIT, **changes})
    return asked.model_copy(update={"machine": machine})


def lines(asked: TrainRequest) -> dict[int, dict[str, Any]]:
    found = [json.loads(line) for line in (asked.folder / METRICS).read_text().splitlines()]
    return {line["step"]: line for line in found}


def poison(steps: Collection[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the losses of these steps, counted from 1, NaN."""
    step = loop.train_step

    def stepping(model: Any, optimizer: Any, objective: Any, *given: Any, **options: Any) -> Any:
        def nan(batch: Any, progress: float) -> Any:
            return {name: value * math.nan for name, value in objective(batch, progress).items()}

        now = round(given[2] * tiny.TRAIN.steps) + 1
        return step(model, optimizer, nan if now in steps else objective, *given, **options)

    monkeypatch.setattr(loop, "train_step", stepping)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["shapes-vit", "shapes-rn"])
def test_a_run_trains_validates_and_reports_its_memory(
    data: Path, tmp_path: Path, model: str, precision: str
) -> None:
    asked = request(data, tmp_path, model=ModelSpec(name=model), precision=precision)
    run.train_run(asked.dump())
    curve = lines(asked)
    assert all(math.isfinite(value) for line in curve.values() for value in line.values())
    assert "val/mean_top1" in curve[7]
    assert 0 < curve[7]["memory_mb"] < 20_000


def test_losses_are_those_of_the_cpu(data: Path, tmp_path: Path) -> None:
    ours, theirs = request(data, tmp_path / "gpu"), tiny.request(data, tmp_path / "cpu", model=VIT)
    for asked in (ours, theirs):
        run.train_run(asked.dump())
    for step, line in lines(theirs).items():
        assert lines(ours)[step]["loss"] == pytest.approx(line["loss"], rel=5e-3), step


def test_a_stopped_run_goes_on_near_an_undisturbed_one(data: Path, tmp_path: Path) -> None:
    whole, broken = (request(data, tmp_path / name, patch_dropout=0.5) for name in ("a", "b"))
    run.train_run(whole.dump())
    training = Training(broken, lambda: training.step >= 3)
    broken.folder.mkdir(parents=True)
    reports = (training.save(0) for report in training.reports() if report["checkpoint"])
    with pytest.raises(Preempted, match="at step 4 of 7"):  # what is asked in step 3 is known a step later
        list(reports)
    assert checkpoint.steps(broken.folder) == [4]
    run.train_run(broken.dump())
    ours, theirs = (load_file(asked.folder / run.WEIGHTS) for asked in (broken, whole))
    for name, tensor in theirs.items():
        assert (ours[name] - tensor).norm() <= 1e-3 * tensor.norm() + 1e-5, name


def test_a_batch_without_a_finite_loss_is_left_out_though_known_a_step_late(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison([4, 6], monkeypatch)
    asked = request(data, tmp_path / "a", skip_nonfinite=2, log_every=7)
    run.train_run(asked.dump())
    told = [json.loads(line) for line in (asked.folder / NONFINITE).read_text().splitlines()]
    assert [entry["step"] for entry in told] == [4, 6]
    assert lines(asked)[7]["skipped"] == 2
    refused = request(data, tmp_path / "b", skip_nonfinite=1, log_every=7)
    with pytest.raises(RunError, match="step 6: loss or gradient is not finite"):
        run.train_run(refused.dump())


def test_a_compiled_run_is_near_the_plain_one(data: Path, tmp_path: Path) -> None:
    plain, compiled = (request(data, tmp_path / str(on), compiled=on) for on in (False, True))
    for asked in (plain, compiled):
        run.train_run(asked.dump())
    for step, line in lines(plain).items():
        assert lines(compiled)[step]["loss"] == pytest.approx(line["loss"], rel=5e-3), step
