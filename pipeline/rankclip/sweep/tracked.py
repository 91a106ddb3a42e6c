"""A sweep in MLflow: one run for it, below that one for each trial, each re-run and each setting re-run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankclip.sweep import tracked_page, tracked_values
from rankclip.sweep.ledger import Trial
from rankclip.sweep.outcome import Outcome, Setting
from rankclip.tracking import (
    COMPARISON,
    MachineMeter,
    RunLog,
    Tracker,
    Weights,
    git_commit,
    link,
    name_winner,
    path,
)
from rankclip.training.request import METRICS, TrainRequest
from rankclip.training.run import WEIGHTS

EVERY_S = 5.0
"""Seconds between two sendings: one takes tens of milliseconds of a core for each run that trains."""

MACHINE_EVERY_S = 30.0
"""Seconds between two readings of the machine."""

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
class _Row:
    """A run to be shown."""

    name: str
    tags: Mapping[str, str]
    arm: str
    request: TrainRequest
    state: Mapping[str, str]
    """Tags that change."""
    status: str = ""
    """How it ended; empty while it has not."""


class SweepLog:
    """What MLflow shows of a sweep; every call may be made again, by a later driver too, and sends news.

    A tracker that cannot be reached costs one warning.
    """

    def __init__(
        self, root: Path, folder: Path, outcome: Outcome, request: Callable[[Trial], TrainRequest]
    ) -> None:
        """Nothing is sent before the first `send`.

        Args:
            root: the repository's folder.
            folder: of the sweep, with its ledger; its name tells it from other sweeps of the same name.
            outcome: what is known of it at first.
            request: what a trial trains.
        """
        aim = outcome.spec.aims[0]
        self.tracker = Tracker(
            root, outcome.study, f"final/{aim.metric}", outcome.name, greater_is_better=aim.mode == "max"
        )
        self._key, self._folder, self._request = folder.name, folder / "mlflow", request
        self._commit = git_commit(root)
        self._parent: RunLog | None = None
        self._meter: MachineMeter | None = None
        self._runs: dict[str, RunLog] = {}
        self._requests: dict[str, TrainRequest] = {}
        self._ended: set[str] = set()
        self._sent, self._read = -math.inf, 0.0

    def poll(self, outcome: Callable[[], Outcome], reruns: Sequence[Rerun] = ()) -> None:
        """`send`, if the last one is `EVERY_S` ago; may be called at any rate."""
        if time.monotonic() - self._sent >= EVERY_S:
            self.send(outcome(), reruns)

    def send(self, outcome: Outcome, reruns: Sequence[Rerun] = ()) -> None:
        """Sends what is new of the sweep, its trials and its re-runs."""
        parent = self._sweep(outcome)
        for row in (*map(self._of_trial, outcome.trials), *map(self._of_rerun, reruns)):
            if row.name not in self._ended:
                self._follow(row, outcome, parent)
        parent.tag(tracked_values.counts(outcome))
        if self._meter is None:
            self._meter, self._read = MachineMeter(), time.monotonic()
        if time.monotonic() - self._read >= MACHINE_EVERY_S:
            self._read_machine(self._meter, parent)
        self._sent = time.monotonic()

    def close(self, outcome: Outcome, reruns: Sequence[Rerun] = ()) -> None:
        """Sends all and what came of it: means over seeds, models, winners. To be called however it ends."""
        self.send(outcome, reruns)
        parent = self._sweep(outcome)
        if self._meter is not None:
            self._read_machine(self._meter, parent)
        for name, log in self._runs.items():
            if name not in self._ended:
                log.tag({"state": "interrupted"})
                log.finish("KILLED")
        self._name_winners(outcome, reruns)
        for setting in outcome.settings:
            self._mean(outcome, setting, reruns, parent)
        self._models(outcome, reruns)
        parent.log_values(tracked_values.winners(outcome))
        best = tracked_values.best(outcome)
        if best:
            parent.tag({"winner": f"{best.arm} {best.name}"})
        self._explain(outcome)
        lacking = "FAILED" if outcome.ended == "failed" else "KILLED"
        parent.finish("FINISHED" if set(outcome.winners) == set(outcome.steps) else lacking)

    def page(self) -> str:
        """What follows the address of MLflow's pages to open the comparison; empty while unknown."""
        experiment = self.tracker.attempt(lambda _, experiment: experiment)
        return "" if experiment is None else path(experiment, COMPARISON)

    def _read_machine(self, meter: MachineMeter, parent: RunLog) -> None:
        parent.log_now(meter.read())
        self._read = time.monotonic()

    def _sweep(self, outcome: Outcome) -> RunLog:
        if self._parent is None:
            self._parent = self.tracker.open_run(
                outcome.name,
                self._key,
                self._folder,
                params={"sweep": outcome.spec.dump()},
                tags={"rankclip.kind": "sweep", "git_commit": self._commit},
            )
            self._explain(outcome)
        return self._parent

    def _explain(self, outcome: Outcome) -> None:
        experiment = self.tracker.attempt(lambda _, experiment: experiment)
        if experiment is not None:
            self.tracker.tell(tracked_page.tags(outcome, experiment))

    def _of_trial(self, trial: Trial) -> _Row:
        name = trial.name.replace("/", " ")
        if name not in self._requests:
            self._requests[name] = self._request(trial)
        tags = {"rankclip.kind": "trial", "arm": trial.arm, "trial": str(trial.number)}
        state = {
            "state": trial.state if trial.ended else "training",
            "rung": str(len(trial.reports)),
            "error": trial.error,
        }
        return _Row(name, tags, trial.arm, self._requests[name], state, STATUS.get(trial.state, ""))

    def _of_rerun(self, rerun: Rerun) -> _Row:
        name = f"{rerun.arm} {rerun.setting} seed {rerun.request.seed}"
        tags = {"rankclip.kind": "rerun", "arm": rerun.arm, "setting": rerun.setting}
        done = rerun.request.finished
        state = {"state": "finished" if done else "training"}
        return _Row(name, tags, rerun.arm, rerun.request, state, "FINISHED" if done else "")

    def _follow(self, row: _Row, outcome: Outcome, parent: RunLog) -> None:
        curve = row.request.folder / METRICS
        if not row.status and not curve.exists():
            return  # not begun
        if row.name not in self._runs:
            self._runs[row.name] = self._open(row, outcome, parent)
        log = self._runs[row.name]
        log.follow(curve)
        log.tag({tag: text for tag, text in row.state.items() if text})
        if row.status:
            log.log_values(tracked_values.ends(curve, outcome.spec.aims))
            if row.tags["rankclip.kind"] == "rerun":
                link(self.tracker, weights(row.request, log))
            if log.finish(row.status):
                self._ended.add(row.name)

    def _open(self, row: _Row, outcome: Outcome, parent: RunLog) -> RunLog:
        params = tracked_values.params(row.arm, row.request, outcome.spec.space)
        tags = {**row.tags, "git_commit": self._commit}
        if row.tags["rankclip.kind"] == "setting":
            del params["seed"]  # it is of several
        else:
            tags |= tracked_page.colour(outcome, row.arm)
        return self.tracker.open_run(
            row.name,
            f"{self._key}/{row.name}",
            self._folder / row.name.replace(" ", "-"),
            params=params,
            tags=tags,
            data_digest=row.request.shards_digest[:16],
            parent=parent,
            resume=not row.status,
        )

    def _mean(self, outcome: Outcome, setting: Setting, reruns: Sequence[Rerun], parent: RunLog) -> None:
        """A run for a setting with the means over its re-runs, since MLflow's tables know no intervals."""
        done = [one.request for one in reruns if one.of(setting) and one.request.finished]
        if not done:
            return
        tags = {"rankclip.kind": "setting", "arm": setting.arm, "setting": setting.name}
        name = f"{setting.arm} {setting.name} mean"
        log = self._open(_Row(name, tags, setting.arm, done[0], {}, "FINISHED"), outcome, parent)
        won = outcome.winners.get(setting.arm) == setting
        log.tag({"state": "finished", "seeds": str(len(done)), "winner": "yes" if won else "no"})
        ends = [tracked_values.ends(one.folder / METRICS, outcome.spec.aims) for one in done]
        log.log_values(tracked_values.aggregates(ends))
        log.finish()

    def _name_winners(self, outcome: Outcome, reruns: Sequence[Rerun]) -> None:
        for rerun in reruns:
            won = any(rerun.of(setting) for setting in outcome.winners.values())
            if log := self._runs.get(self._of_rerun(rerun).name):
                log.tag({"winner": "yes" if won else "no"})

    def _models(self, outcome: Outcome, reruns: Sequence[Rerun]) -> None:
        """The winners' weights, of the seed that validates best, as versions of one registered model."""
        best = tracked_values.best(outcome)
        for arm, setting in outcome.winners.items():
            seed = tracked_values.best_seed(setting, outcome.spec.aims[0])
            text = f"{arm}, {setting.name}: {tracked_page.mean(setting)}. The weights are of seed {seed}."
            for rerun in reruns:
                log = self._runs.get(self._of_rerun(rerun).name)
                if log and rerun.of(setting) and rerun.request.seed == seed:
                    aliases = [f"winner-{arm}", *(["winner"] if setting == best else [])]
                    model = f"rankclip-{outcome.study}-{outcome.name}"
                    name_winner(self.tracker, model, weights(rerun.request, log), aliases, text)


def weights(request: TrainRequest, log: RunLog) -> Weights:
    """The weights of a finished run, as MLflow lists them."""
    name = request.key.replace("/", "-")
    return Weights(log, name, (request.folder / WEIGHTS).absolute().as_uri(), {"seed": str(request.seed)})
