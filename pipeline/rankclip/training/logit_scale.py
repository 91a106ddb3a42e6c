"""Where alpha = exp(logit scale) may be after a step: learnt within bounds, or along another run's path."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankclip import files
from rankclip.errors import DataError
from rankclip.models.open_clip import build, initial_logit_scale
from rankclip.training.request import METRICS, TrainRequest


def clamp_alpha(logit_scale: Tensor, max_alpha: float | None) -> None:
    """Keeps exp(logit scale) in [1, max_alpha], as CLIP does; `None`: without an upper bound, as SigLIP."""
    with torch.no_grad():
        logit_scale.clamp_(0.0, None if max_alpha is None else math.log(max_alpha))


def path_of(leader: TrainRequest, follower: str) -> NDArray[np.float64]:
    """ln alpha after 0, 1, ... steps of a finished run: `[steps + 1]`, linear between the lines of its curve.

    Args:
        leader: the run that learnt it.
        follower: key of the run that is to follow it, for the error.

    Raises:
        DataError: the curve of the run is missing, damaged or shorter than its recipe.
    """
    curve, steps = leader.folder / METRICS, leader.train.steps
    known = {0: start_of(leader)}
    try:
        known |= dict(_points(curve))
        wrong = "" if max(known) == steps else f"ends at step {max(known)} of {steps}"
    except FileNotFoundError:
        wrong = "is missing"
    except (ValueError, KeyError, TypeError) as error:
        wrong = f"is damaged ({files.one_line(error)})"
    if wrong:
        raise DataError(
            f"{curve}, along which {follower} sets its logit scale, {wrong}; delete its folder and start "
            "again with `dvc repro pretrain`, which first trains the run that is followed"
        )
    at = sorted(known)
    return np.interp(np.arange(steps + 1), at, [known[step] for step in at])


def start_of(run: TrainRequest) -> float:
    """ln alpha of a run before its first step."""
    if run.train.initial_alpha is not None:
        return math.log(run.train.initial_alpha)
    if run.model.pretrained is None:
        return initial_logit_scale(run.objective.bounded)
    return build(run.model, run.seed, run.objective.bounded).logit_scale.item()


def _points(curve: Path) -> Iterator[tuple[int, float]]:
    """Step and ln alpha of each line."""
    for line in curve.read_bytes().splitlines():
        report = json.loads(line)
        yield int(report["step"]), math.log(report["logit_scale"])


def follow(logit_scale: Tensor, path: NDArray[np.float64], step: int) -> None:
    """Sets the logit scale to where a path is after `step` steps."""
    with torch.no_grad():
        logit_scale.fill_(float(path[step]))
