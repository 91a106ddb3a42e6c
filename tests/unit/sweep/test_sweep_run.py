"""What MLflow is told of a sweep's end."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rankclip.errors import Preempted, RunError
from rankclip.sweep.run import COMPLETE, FAILED, STOPPED, Driver


@pytest.mark.parametrize(
    ("error", "said"),
    [(None, COMPLETE), (Preempted("asked"), STOPPED), (RunError("no trial finished"), FAILED)],
)
def test_a_sweep_that_failed_is_told_from_one_that_was_stopped(error: Exception | None, said: str) -> None:
    told: list[str] = []
    driver: Any = SimpleNamespace(
        ended=COMPLETE,
        outcome=lambda ended: ended,
        again=[],
        log=SimpleNamespace(close=lambda ended, again: told.append(ended)),
    )
    with contextlib.suppress(RunError), Driver.tracked(cast("Driver", driver)):
        if error:
            raise error
    assert told == [said]
