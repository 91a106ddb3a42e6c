"""A trial as a worker of Ray Tune does it: it trains a run and reports at every rung."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rankclip.errors import InUse, Preempted, RankclipError, RunError
from rankclip.training.request import METRICS, STOP, TrainRequest

AS_TUNE_KNOWS = "trial"
"""Key of a trial's configuration: what messages call it."""

FAILED = "error"
"""Key of the report of a trial that failed on purpose, which trying again would not mend: the reason."""

LEFT = "left"
"""Key of the report of a trial that left without an end: the driver had asked, or its folder is in use."""

LEAVES_S = "60"
"""Seconds in which a stopped trial lets go of all it has; Ray's 2 may be too few where cores are shared."""

Line = Mapping[str, Any]


def train_trial(config: Mapping[str, Any]) -> None:
    """Trains a run, and reports to Ray Tune: at each rung, and at the end when its files are written.

    Args:
        config: `trial`, its name; `request`, a `TrainRequest` as plain JSON; `metrics`, names of what is
            reported beside `step`; `rungs`, the steps at which; `workers`, `cpus` and `gpus` of a worker.
    """
    from ray import tune

    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = LEAVES_S
    request = TrainRequest.model_validate(config["request"])
    names, nothing = config["metrics"], dict.fromkeys(config["metrics"], float("nan"))
    last: dict[str, Any] = {}

    def told(line: Line) -> None:
        if line["step"] in config["rungs"]:
            report = chosen(request.key, line, names)
            if line["step"] == request.train.steps:
                last.update(report)  # a report may end us, and the weights are not written yet
            else:
                tune.report(report)

    try:
        _train(request, config, told)
    except (Preempted, InUse):  # another sweep may train the very run; this one takes it up after that
        last = {"step": 0, **nothing, LEFT: True}
    except RankclipError as error:
        last = {"step": 0, **nothing, FAILED: str(error)}
    tune.report(last)


def chosen(key: str, line: Line, names: Sequence[str]) -> dict[str, Any]:
    """Of a line of a curve, the step and the metrics of these names.

    Raises:
        RunError: it has not all of them.
    """
    lacking = [name for name in names if name not in line]
    if lacking:
        there = ", ".join(name for name in line if name.startswith("val/")) or "no validation"
        raise RunError(
            f"{key} has no {lacking[0]} at step {line['step']}, only {there}; aim at one of these, or name "
            "its benchmark in train.validation"
        )
    return {"step": line["step"], **{name: line[name] for name in names}}


def _train(request: TrainRequest, config: Mapping[str, Any], told: Callable[[Line], None]) -> None:
    from rankclip import launch
    from rankclip.training.run import train_run

    if config["workers"] == 1:
        train_run(request.dump(), told)
        return
    coming, stopped = growing(request.folder / METRICS), False

    def poll() -> None:
        nonlocal stopped
        for line in coming():
            if stopped:
                return
            try:
                told(line)
            except SystemExit:  # Tune has stopped this trial; its workers save and leave, and we after them
                stopped = True
                (request.folder / STOP).touch()

    try:
        launch.train_group(
            train_run, request.dump(), config["workers"], request.folder,
            cpus=config["cpus"], gpus=config["gpus"], on_poll=poll,
        )  # fmt: skip
        poll()
    finally:
        if stopped:  # whatever the group came to: Tune hears no report of a trial that it has stopped
            raise SystemExit


def growing(curve: Path) -> Callable[[], Iterator[Line]]:
    """Gives, at each call, the lines of a curve that are of later steps than those before."""
    seen = 0

    def news() -> Iterator[Line]:
        nonlocal seen
        for line in _lines(curve):
            if line["step"] > seen:
                seen = line["step"]
                yield line

    return news


def trained_s(curve: Path) -> float:
    """Seconds of training that a curve tells of, over all processes that had the run; 0 without one."""
    try:
        lines = list(_lines(curve))
    except OSError:
        return 0.0
    return float(lines[-1].get("elapsed_s", 0.0)) if lines else 0.0


def _lines(curve: Path) -> Iterator[Line]:
    if not curve.exists():
        return
    content = curve.read_bytes()
    for text in content[: content.rfind(b"\n") + 1].splitlines():  # the last may be under way
        yield json.loads(text)
