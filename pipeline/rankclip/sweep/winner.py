"""The winner as an arm that a study can have, and its one look at test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import yaml

from rankclip import evaluate, files, pretrain
from rankclip.config import Arm
from rankclip.evaluation import results
from rankclip.sweep import settings
from rankclip.sweep.outcome import Setting
from rankclip.sweep.plan import Plan
from rankclip.training.request import TrainRequest

GROUP = "arm"
"""Folder of `conf/` of arms that sweeps have found."""


def arm(plan: Plan, found: Setting) -> Arm:
    """The arm with the searched values, and without what the sweep fixed for all its trials."""
    return settings.changed(plan.arms[found.arm], settings.spread(plan.spec, found.values))


def name(plan: Plan, found: Setting) -> str:
    """Of the arm's file."""
    return f"{found.arm}_{plan.name}_{plan.study.study.name}".replace("-", "_")


def write(plan: Plan, found: Setting, conf: Path) -> Path:
    """Writes the arm to `conf/arm`, complete, for `rankclip use STUDY arms.NAME=FILE`."""
    path = conf / GROUP / f"{name(plan, found)}.yaml"
    aim, count = plan.spec.aims[0], len(found.scores)
    head = (
        f"# {found.arm} as sweep {plan.name} found it best on {plan.study.study.name}.\n"
        f"# {aim.metric} {fmean(found.scores.values()):.4f}, mean of {count} fresh seeds in validation.\n"
    )
    files.write_text(path, head + yaml.safe_dump(arm(plan, found).dump(), sort_keys=False, width=110))
    return path


def on_test(plan: Plan, runs: Sequence[TrainRequest]) -> dict[str, dict[str, float]]:
    """The winner's scores on test, by benchmark and metric: the one time that a sweep reads test."""
    folder = plan.folder / "winner" / runs[0].arm
    pretrain.export(runs, folder / "runs")
    asked = evaluate.requests(
        plan.study.evaluation, folder / "runs", plan.data / "benchmarks", plan.folder / "scores"
    )
    evaluate.score(asked, plan.folder / "scores")
    results.merge([request.folder for request in asked], folder / "results")
    return results.metrics_summary(files.read_table(folder / "results" / results.RESULTS))
