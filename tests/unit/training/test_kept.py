"""A run ends with the weights that its recipe names."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rankclip.errors import DataError, Preempted
from rankclip.evaluation.validation import validation_top1
from rankclip.models.trained import load_encoder
from rankclip.training import checkpoint, loop, run
from rankclip.training.request import TrainRequest
from rankclip.training.validation import validation_set
from tests.unit.training import tiny
from tests.unit.training.test_interruption import at_step
from tests.unit.training.test_run import curve, weights

SCORES = {1: 0.2, 2: 0.5, 3: 0.4, 4: 0.5, 5: 0.3, 6: 0.6, 7: 0.1}
"""Mean validation of a run's steps."""


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, float]], None]:
    """Gives validations the scores of steps; returns what gives them others."""

    def give(scores: dict[int, float]) -> None:
        def validate(self: loop.Training) -> dict[str, float]:
            return {"val/mean_top1": scores[self.step]}

        monkeypatch.setattr(loop.Training, "validate", validate)

    give(SCORES)
    return give


def best(data: Path, work: Path, **changes: Any) -> TrainRequest:
    return tiny.request(
        data, work, **{"weights": "best", "validate_every": 1, "checkpoint_every": 7} | changes
    )


def record(request: TrainRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((request.folder / "record.json").read_text())
    return found


def after(data: Path, work: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Weights after a step of the same run."""
    request, found = best(data, work), {}
    train_step = loop.train_step

    def stepping(model: Any, *given: Any, **options: Any) -> Any:
        done = train_step(model, *given, **options)
        found[len(found) + 1] = {name: each.clone() for name, each in model.state_dict().items()}
        return done

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", stepping)
        run.train_run(request.dump())
    return found[step]


@pytest.mark.usefixtures("scored")
def test_the_best_in_validation_is_kept_and_told(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = best(tiny_data, tmp_path)
    run.train_run(request.dump())
    assert record(request)["weights_step"] == 6
    expected = after(tiny_data, tmp_path / "again", 6, monkeypatch)
    for name, tensor in load_file(request.folder / run.WEIGHTS).items():
        assert torch.equal(tensor, expected[f"clip.{name}"]), name


def test_of_equal_scores_the_first_counts(
    tiny_data: Path, tmp_path: Path, scored: Callable[[dict[int, float]], None]
) -> None:
    scored(dict.fromkeys(SCORES, 0.5))
    request = best(tiny_data, tmp_path)
    run.train_run(request.dump())
    assert record(request)["weights_step"] == 1


@pytest.mark.usefixtures("scored")
def test_the_best_up_to_each_checkpoint_is_kept_with_it(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, kept, save = best(tiny_data, tmp_path, checkpoint_every=1), [], checkpoint.save

    def saving(folder: Path, state: checkpoint.Checkpoint, keep: int) -> None:
        save(folder, state, keep)
        kept.append(checkpoint.steps(folder))

    monkeypatch.setattr(checkpoint, "save", saving)
    run.train_run(request.dump())
    assert kept == [[1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [2, 5, 6], [6, 7]]


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_run_that_is_stopped_ends_with_the_same_best(
    step: int, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = best(tiny_data, tmp_path / "whole"), best(tiny_data, tmp_path / "broken")
    run.train_run(whole.dump())
    with pytest.raises(Preempted):
        at_step(broken, step - 1, stop, monkeypatch)
    run.train_run(broken.dump())
    assert weights(broken) == weights(whole)
    assert curve(broken) == curve(whole)
    assert record(broken)["weights_step"] == 6


@pytest.mark.usefixtures("scored")
def test_a_best_that_is_gone_is_named(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = best(tiny_data, tmp_path)
    with pytest.raises(Preempted):
        at_step(request, 4, stop, monkeypatch)
    checkpoint.path(request.folder, 2).unlink()
    with pytest.raises(DataError, match=r"checkpoint-2\.pt, the best of this run so far, is gone; delete "):
        run.train_run(request.dump())


def test_a_best_with_a_changed_byte_is_not_what_a_run_ends_with(
    tiny_data: Path,
    tmp_path: Path,
    scored: Callable[[dict[int, float]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scored(dict.fromkeys(SCORES, 0.5) | {2: 0.9})
    request = best(tiny_data, tmp_path)
    with pytest.raises(Preempted):
        at_step(request, 4, stop, monkeypatch)
    file = checkpoint.path(request.folder, 2)
    whole = file.read_bytes()
    place = whole.index(checkpoint.read(file).model["clip.text_projection"].numpy().tobytes())
    file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(DataError, match=r"checkpoint-2\.pt, the best of this run, is damaged; delete "):
        run.train_run(request.dump())
    assert not request.finished


def test_the_average_is_what_validation_scores_and_the_run_ends_with(tiny_data: Path, tmp_path: Path) -> None:
    request = tiny.request(tiny_data, tmp_path, weights="averaged", steps=30, log_every=30, lr=1e-2)
    run.train_run(request.dump())
    last = tiny.request(tiny_data, tmp_path, steps=30, log_every=30, lr=1e-2)
    run.train_run(last.dump())
    assert curve(request)[-1]["loss"] == curve(last)[-1]["loss"]  # it changes nothing of the training
    assert weights(request) != weights(last)
    [data] = [validation_set(request, name) for name in request.train.validation]
    scores = validation_top1(load_encoder(request.folder), [data])
    assert {name: curve(request)[-1][name] for name in scores} == scores


def test_a_run_with_averaged_weights_resumes_exactly(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = (tiny.request(tiny_data, tmp_path / name, weights="averaged") for name in ("a", "b"))
    run.train_run(whole.dump())
    with pytest.raises(Preempted):
        at_step(broken, 3, stop, monkeypatch)
    run.train_run(broken.dump())
    assert weights(broken) == weights(whole)
