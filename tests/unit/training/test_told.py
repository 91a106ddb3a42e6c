"""Who listens to a run is told every line of its curve, whichever process wrote it, and may end it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankclip import lifecycle
from rankclip.errors import RunError
from rankclip.training import checkpoint
from rankclip.training.request import METRICS, TrainRequest
from rankclip.training.run import WEIGHTS, train_run
from tests.unit.training import tiny


@pytest.fixture
def request_of_four(tiny_data: Path, tmp_path: Path) -> TrainRequest:
    return tiny.request(tiny_data, tmp_path, steps=4, validate_every=2, checkpoint_every=2, log_every=1)


def steps(told: list[dict[str, Any]]) -> list[int]:
    return [line["step"] for line in told]


def test_every_line_is_told_as_it_is_written_and_again_by_a_run_that_is_finished(
    request_of_four: TrainRequest,
) -> None:
    first: list[dict[str, Any]] = []
    again: list[dict[str, Any]] = []
    train_run(request_of_four.dump(), first.append)
    train_run(request_of_four.dump(), again.append)
    written = [json.loads(line) for line in (request_of_four.folder / METRICS).read_text().splitlines()]
    assert first == again == written
    assert steps(first) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "error", [RunError("enough"), SystemExit(0)], ids=["an error", "the end of a thread"]
)
def test_what_a_listener_raises_ends_a_run_where_it_is_and_the_next_process_goes_on(
    error: BaseException, request_of_four: TrainRequest
) -> None:
    told: list[dict[str, Any]] = []

    def listen(line: dict[str, Any]) -> None:
        told.append(line)
        if line["step"] == 3:
            raise error

    with pytest.raises(type(error)):
        train_run(request_of_four.dump(), listen)
    assert steps(told) == [1, 2, 3]
    assert checkpoint.steps(request_of_four.folder) == [2]
    with lifecycle.lock(request_of_four.folder, wait_s=0.1):
        pass
    told.clear()
    train_run(request_of_four.dump(), told.append)
    assert steps(told) == [1, 2, 3, 4]


def test_a_listener_hears_of_a_step_when_its_checkpoint_is_saved(request_of_four: TrainRequest) -> None:
    saved: dict[int, list[int]] = {}
    folder = request_of_four.folder
    train_run(request_of_four.dump(), lambda line: saved.update({line["step"]: checkpoint.steps(folder)}))
    assert saved == {1: [], 2: [2], 3: [2], 4: [2, 4]}
    assert (folder / WEIGHTS).exists()
