"""What the runs of a study left: their records and their curves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankclip import files
from rankclip.errors import DataError
from rankclip.report.scores import Scores, Subject

VALIDATION = "val/mean_top1"
MOST_POINTS = 400


@dataclass(frozen=True)
class Point:
    """One logged step; what was not logged at it is None."""

    step: int
    loss: float | None
    logit_scale: float | None
    val_mean_top1: float | None


@dataclass(frozen=True)
class Run:
    """One arm and seed: the record of its folder and its curve in the order of steps."""

    arm: str
    seed: int
    record: dict[str, Any]
    points: tuple[Point, ...]

    def last(self, name: str) -> float | None:
        """The last logged value of a field of `Point`."""
        values = [value for point in self.points if (value := getattr(point, name)) is not None]
        return values[-1] if values else None


def read_runs(folder: Path, subject: Subject, scores: Scores) -> list[Run]:
    """Every run of the study, arm by arm.

    Raises:
        DataError: a run's file is missing or damaged, or its results are not of its weights.
    """
    runs = []
    for arm in subject.arms:
        for seed in subject.seeds:
            place = folder / arm / f"seed-{seed}"
            remedy = f"run `dvc repro pretrain@{arm}`"
            record = files.read_json(place / "record.json", remedy)
            if not isinstance(record, dict):
                raise DataError(f"{place / 'record.json'} is not a JSON object; {remedy}")
            _check_step(arm, seed, record, scores)
            runs.append(Run(arm, seed, record, _read_points(place / "metrics.jsonl", remedy)))
    return runs


def as_csv(runs: Sequence[Run]) -> str:
    """The curves in long form for `dvc plots`; an empty field where a step has no such value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "seed", "step", "loss", "logit_scale", "val_mean_top1"])
    for run in runs:
        for point in run.points:
            writer.writerow(
                [run.arm, run.seed, point.step, point.loss, point.logit_scale, point.val_mean_top1]
            )
    return text.getvalue()


def _check_step(arm: str, seed: int, record: dict[str, Any], scores: Scores) -> None:
    made = record.get("steps", record.get("counts", {}).get("steps"))
    kept = record.get("weights_step", made)
    scored = scores.steps[arm][seed]
    if isinstance(kept, int) and kept != scored:
        raise DataError(
            f"results of {arm}, seed {seed}, are of step {scored} but the run's weights are of step "
            f"{kept}; run `dvc repro -f -s evaluate@{arm}`"
        )


def _read_points(path: Path, remedy: str) -> tuple[Point, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({files.one_line(error)}); {remedy}") from None
    merged: dict[int, dict[str, float]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            merged.setdefault(int(entry["step"]), {}).update(entry)
        except (ValueError, KeyError, TypeError):
            raise DataError(f"line {number} of {path} is not a JSON object with a step; {remedy}") from None
    points = [
        Point(step, entry.get("loss"), entry.get("logit_scale"), entry.get(VALIDATION))
        for step, entry in sorted(merged.items())
    ]
    return _thin(points)


def _thin(points: list[Point]) -> tuple[Point, ...]:
    """At most about `MOST_POINTS` training points, the last among them; every validation point is kept."""
    stride = -(-len(points) // MOST_POINTS) or 1
    last = len(points) - 1
    return tuple(
        point
        for index, point in enumerate(points)
        if index % stride == 0 or index == last or point.val_mean_top1 is not None
    )
