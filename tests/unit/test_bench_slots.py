"""The measurement of many runs at once says what it claims."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import slots
from rankclip import pretrain
from rankclip.training.request import METRICS, TrainRequest


def test_the_time_of_all_runs_is_set_against_that_of_each_alone_on_its_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[TrainRequest] = []

    def note(request: TrainRequest, seconds: float) -> None:
        request.folder.mkdir(parents=True)
        (request.folder / METRICS).write_text(f'{{"step": 20, "elapsed_s": {seconds}}}\n')

    def alone(request: TrainRequest, folder: Path) -> float:
        note(request, 1.5)
        return {"clip": 0.1, "rankclip": 0.3}[request.arm]

    def train(asked: Sequence[TrainRequest], tracker: Any, count: int) -> None:
        assert count == 2
        for request in asked:
            if request not in trained:
                note(request, 2.5)
                trained.append(request)
                time.sleep(0.1)

    monkeypatch.setattr(slots, "SAMPLES", 256)
    monkeypatch.setattr(slots, "alone", alone)
    monkeypatch.setattr(pretrain, "train", train)
    found = slots.measure(tmp_path, runs=5, slots=2, steps=20)
    assert [request.key for request in trained] == [
        "clip/seed-0", "rankclip/seed-0", "clip/seed-1", "rankclip/seed-1", "clip/seed-2"
    ]  # fmt: skip
    assert found["at_best_s"] == pytest.approx((3 * 0.1 + 2 * 0.3) / 2)
    assert found["ratio"] == pytest.approx(found["together_s"] / found["at_best_s"], rel=0.02)
    assert found["together_s"] >= 0.5 > found["again_s"]
    assert found["steps_s"] == {"alone": 1.5, "together": 2.5}
