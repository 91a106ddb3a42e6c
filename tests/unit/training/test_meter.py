"""Speed, waiting and arithmetic of the steps between two reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from rankclip import distributed
from rankclip.training import meter
from rankclip.training.meter import MEASURED, Meter
from tests.unit.training import tiny

CPU = torch.device("cpu")


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(meter, "time", found)
    return found


def late(clock: Clock, batches: int, wait_s: float) -> Iterator[Any]:
    for number in range(batches):
        clock.now += wait_s
        yield number


def test_speed_is_of_all_pairs_and_waiting_is_the_share_of_time_without_a_batch(clock: Clock) -> None:
    measured = Meter(tiny.TRAIN, CPU, elapsed_s=50.0)
    for _ in measured.waiting(late(clock, 4, wait_s=0.25)):
        clock.now += 0.75
    first = measured.read()
    assert (first["samples_per_s"], first["data_wait"], first["elapsed_s"]) == (8.0, 0.25, 54.0)
    assert first.keys() == set(MEASURED) - {"mfu", "validation_s"}
    clock.now += 1000.0  # a validation
    measured.restart()
    for _ in measured.waiting(late(clock, 2, wait_s=0.0)):
        clock.now += 0.5
    second = measured.read()
    assert (second["samples_per_s"], second["data_wait"], second["elapsed_s"]) == (16.0, 0.0, 55.0)


def test_mfu_is_the_share_of_what_all_devices_can_do(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def flops(model: object, length: int) -> float:
        asked.append(length)
        clock.now += 30.0  # not training
        return 2e12

    monkeypatch.setattr(meter, "flops_per_pair", flops)
    monkeypatch.setattr(meter, "peak_flops", lambda device, precision: 64e12)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    measured = Meter(tiny.TRAIN, CPU)
    tokens = torch.tensor([[9, 5, 99, 0, 0], [9, 99, 0, 0, 0]])
    for _ in measured.waiting(late(clock, 2, wait_s=0.5)):
        if not asked:
            measured.count_flops(object(), tokens)
        clock.now += 0.5
    assert asked == [3]
    found = measured.read()
    assert (found["tflops"], found["mfu"], found["elapsed_s"]) == (16.0, 0.125, 2.0)
