"""Steps whose outcome arrives late, as from a GPU: nothing is lost, and nobody waits for the last one."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from rankclip.errors import Preempted, RunError
from rankclip.training import checkpoint, loop, run
from rankclip.training.step import Step
from rankclip.training.verdicts import Verdict, Verdicts
from tests.unit.training import tiny


class Event:
    """Stands for one of CUDA."""

    waited = 0

    def synchronize(self) -> None:
        Event.waited += 1


class Late(Verdicts):
    """Those of a GPU."""

    def add(self, number: int, step: Step) -> None:
        super().add(number, step)
        self._arriving.append(self._arriving.pop()._replace(there=Event()))


def step(finite: bool = True, asking: float = 0.0, fault: str = "") -> Step:
    zero = torch.tensor(0.0)
    return Step({"loss": zero}, zero, torch.tensor(finite), torch.tensor(asking), fault)


def test_on_a_cpu_every_step_is_known_at_once() -> None:
    told = Verdicts()
    told.add(1, step())
    told.add(2, step(finite=False))
    told.add(3, step(finite=False, fault="text embedding 3", asking=2.0))
    assert list(told.known()) == [
        Verdict(1, "", False),
        Verdict(2, "loss or gradient is not finite", False),
        Verdict(3, "text embedding 3", True),
    ]
    assert list(told.known(wait=True)) == []


def test_the_last_step_of_a_gpu_is_waited_for_only_where_that_is_asked() -> None:
    told, Event.waited = Late(), 0
    told.add(1, step(asking=1.0))
    assert list(told.known()) == []
    told.add(2, step())
    assert list(told.known()) == [Verdict(1, "", True)]
    assert Event.waited == 1
    assert list(told.known(wait=True)) == [Verdict(2, "", False)]


@pytest.mark.parametrize("log_every", [1, 7])
def test_who_asks_to_stop_is_heard_though_late(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_every: int
) -> None:
    train_step, made = loop.train_step, []

    def stepping(*given: Any, **options: Any) -> Any:
        made.append(given)
        if len(made) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(*given, **options)

    monkeypatch.setattr(loop, "Verdicts", Late)
    monkeypatch.setattr(loop, "train_step", stepping)
    request = tiny.request(tiny_data, tmp_path, log_every=log_every, validate_every=7, checkpoint_every=7)
    with pytest.raises(Preempted):
        run.train_run(request.dump())
    assert checkpoint.steps(request.folder) == [3]  # it asks in the step after the signal


def test_a_batch_too_many_is_named_by_its_own_step(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step = loop.train_step

    def stepping(model: Any, optimizer: Any, objective: Any, *given: Any, **options: Any) -> Any:
        done = train_step(model, optimizer, objective, *given, **options)
        bad = round(given[2] * 7) + 1 == 4
        return (
            done._replace(finite=torch.tensor(False), values={"loss": torch.tensor(math.nan)})
            if bad
            else done
        )

    monkeypatch.setattr(loop, "Verdicts", Late)
    monkeypatch.setattr(loop, "train_step", stepping)
    request = tiny.request(tiny_data, tmp_path, log_every=7, validate_every=7, checkpoint_every=3)
    with pytest.raises(RunError, match=r"^arm/seed-4: step 4: loss or gradient is not finite; "):
        run.train_run(request.dump())
    assert checkpoint.steps(request.folder) == [3]
