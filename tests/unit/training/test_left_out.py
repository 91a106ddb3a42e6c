"""Batches without a finite loss: named, left out, and never more than the recipe allows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from rankclip.data.loading.order import batches
from rankclip.data.loading.samples import Samples
from rankclip.errors import RunError
from rankclip.training import checkpoint, loop, run
from rankclip.training.loop import Training
from rankclip.training.request import METRICS, NONFINITE, TrainRequest
from tests.unit.training import tiny

Poison = Callable[[Collection[int]], None]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    """Makes the losses of these steps, counted from 1, NaN."""
    step = loop.train_step

    def poisoning(steps: Collection[int]) -> None:
        def stepping(model: Any, optimizer: Any, objective: Any, *given: Any, **options: Any) -> Any:
            def nan(batch: Any, progress: float) -> Any:
                return {name: value * math.nan for name, value in objective(batch, progress).items()}

            now = round(given[2] * tiny.TRAIN.steps) + 1
            return step(model, optimizer, nan if now in steps else objective, *given, **options)

        monkeypatch.setattr(loop, "train_step", stepping)

    return poisoning


def told(request: TrainRequest) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (request.folder / NONFINITE).read_text().splitlines()]


def lines(request: TrainRequest) -> dict[int, dict[str, Any]]:
    found = [json.loads(line) for line in (request.folder / METRICS).read_text().splitlines()]
    return {line["step"]: line for line in found}


def keys(request: TrainRequest, step: int) -> list[str]:
    samples = Samples(request.shards)
    batch = next(batches(len(samples), request.train.batch_size, request.seed, step - 1))
    return [samples.keys[k] for k in batch.indices]


def test_a_batch_that_is_allowed_for_is_left_out_and_its_samples_are_named(
    tiny_data: Path, tmp_path: Path, poison: Poison
) -> None:
    request = tiny.request(tiny_data, tmp_path, skip_nonfinite=1)
    poison([4])
    run.train_run(request.dump())
    (entry,) = told(request)
    assert (entry["step"], entry["epoch"], entry["reason"]) == (4, 1, "loss or gradient is not finite")
    assert entry["keys"] == keys(request, 4)
    curve = lines(request)
    assert "skipped" not in curve[3]
    assert (curve[4]["skipped"], curve[7]["skipped"]) == (1, 1)
    assert "loss" not in curve[4]
    assert math.isfinite(curve[4]["logit_scale"])
    assert all(math.isfinite(value) for line in curve.values() for value in line.values())
    assert json.loads((request.folder / "record.json").read_text())["counts"]["left_out"] == 1


def test_one_more_than_allowed_ends_the_run_with_step_file_and_remedy(
    tiny_data: Path, tmp_path: Path, poison: Poison
) -> None:
    request = tiny.request(tiny_data, tmp_path, skip_nonfinite=1)
    poison([2, 6])
    wanted = (
        r"^arm/seed-4: step 6: loss or gradient .*nonfinite\.jsonl names its samples; .*skip_nonfinite is 1"
    )
    with pytest.raises(RunError, match=wanted):
        run.train_run(request.dump())
    assert [entry["step"] for entry in told(request)] == [2, 6]
    assert max(lines(request)) == 5


def test_a_run_that_goes_on_remembers_what_it_left_out_up_to_its_checkpoint(
    tiny_data: Path, tmp_path: Path, poison: Poison
) -> None:
    whole, broken = (tiny.request(tiny_data, tmp_path / name, skip_nonfinite=2) for name in ("a", "b"))
    poison([2, 5])
    run.train_run(whole.dump())
    poison([2, 4, 5])
    with pytest.raises(RunError, match="step 5"):
        run.train_run(broken.dump())
    assert [entry["step"] for entry in told(broken)] == [2, 4, 5]
    assert checkpoint.steps(broken.folder) == [3]
    poison([2, 5])
    run.train_run(broken.dump())
    assert told(broken) == told(whole)
    weights = [(request.folder / run.WEIGHTS).read_bytes() for request in (whole, broken)]
    assert weights[0] == weights[1]


def test_embeddings_that_are_not_finite_say_what_is_wrong_with_them(tiny_data: Path, tmp_path: Path) -> None:
    request = tiny.request(tiny_data, tmp_path)
    training = Training(request)
    steps = training.reports()
    assert next(steps)["step"] == 2
    training.model.clip.get_parameter("text_projection").data[0, 0] = math.nan
    wanted = r"arm/seed-4: step 3: text embedding 0 .* holds NaN .* lower the lear.*names its samples"
    with pytest.raises(RunError, match=wanted):
        next(steps)
    assert checkpoint.load(request.folder) is None
    assert told(request)[0]["keys"] == keys(request, 3)
