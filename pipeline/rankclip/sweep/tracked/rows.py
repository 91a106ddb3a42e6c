"""What of a sweep is a run in MLflow: each trial, each re-run, and each setting that is trained again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rankclip.sweep.ledger import Trial
from rankclip.sweep.outcome import Setting
from rankclip.training.request import TrainRequest

STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
"""How MLflow calls the end of a trial."""


@dataclass(frozen=True)
class Rerun:
    """A setting that is trained again with a fresh seed."""

    arm: str
    setting: str
    """As in `Setting.name`."""
    request: TrainRequest

    def of(self, setting: Setting) -> bool:
        """Whether it trains this setting."""
        return (self.arm, self.setting) == (setting.arm, setting.name)


@dataclass(frozen=True)
class Row:
    """A run to be shown."""

    name: str
    tags: Mapping[str, str]
    arm: str
    request: TrainRequest
    state: Mapping[str, str]
    """Tags that change."""
    status: str = ""
    """How it ended; empty while it has not."""

    @property
    def kind(self) -> str:
        """`trial`, `rerun` or `setting`."""
        return self.tags["rankclip.kind"]


def of_trial(trial: Trial, request: TrainRequest) -> Row:
    """A trial and what it trains."""
    tags = {"rankclip.kind": "trial", "arm": trial.arm, "trial": str(trial.number)}
    state = {
        "state": trial.state if trial.ended else "training",
        "rung": str(len(trial.reports)),
        "error": trial.error,
    }
    return Row(trial.name.replace("/", " "), tags, trial.arm, request, state, STATUS.get(trial.state, ""))


def of_rerun(rerun: Rerun) -> Row:
    """A re-run as its folder shows it."""
    name = f"{rerun.arm} {rerun.setting} seed {rerun.request.seed}"
    tags = {"rankclip.kind": "rerun", "arm": rerun.arm, "setting": rerun.setting}
    done = rerun.request.finished
    state = {"state": "finished" if done else "training"}
    return Row(name, tags, rerun.arm, rerun.request, state, "FINISHED" if done else "")


def of_setting(setting: Setting, request: TrainRequest) -> Row:
    """A setting for its means over seeds; `request` is one of its re-runs."""
    tags = {"rankclip.kind": "setting", "arm": setting.arm, "setting": setting.name}
    return Row(f"{setting.arm} {setting.name} mean", tags, setting.arm, request, {}, "FINISHED")
