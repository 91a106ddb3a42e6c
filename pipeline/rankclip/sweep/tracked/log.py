"""A sweep in MLflow: one run for it, below that one for each trial, each re-run and each setting re-run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rankclip.errors import RankclipError
from rankclip.sweep.ledger import Trial
from rankclip.sweep.outcome import Outcome
from rankclip.sweep.tracked import page, rows, values
from rankclip.sweep.tracked.rows import Rerun, Row
from rankclip.sweep.tracked.runs import Children
from rankclip.tracking import COMPARISON, MachineMeter, RunLog, Tracker, git_commit, path
from rankclip.training.request import TrainRequest

EVERY_S = 5.0
"""Seconds between two sendings: one takes tens of milliseconds of a core for each run that trains."""

MACHINE_EVERY_S = 30.0
"""Seconds between two readings of the machine."""


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
        self._children = Children(self.tracker, self._key, self._folder, self._commit)
        self._meter: MachineMeter | None = None
        self._requests: dict[str, TrainRequest] = {}
        self._sent, self._read = -math.inf, 0.0

    def poll(self, outcome: Callable[[], Outcome], reruns: Sequence[Rerun] = ()) -> None:
        """`send`, if the last one is `EVERY_S` ago; may be called at any rate."""
        if time.monotonic() - self._sent >= EVERY_S:
            self.send(outcome(), reruns)

    def send(self, outcome: Outcome, reruns: Sequence[Rerun] = ()) -> None:
        """Sends what is new of the sweep, its trials and its re-runs."""
        parent = self._sweep(outcome)
        for row in (*self._of_trials(outcome.trials), *map(rows.of_rerun, reruns)):
            self._children.follow(row, outcome, parent)
        parent.tag(values.counts(outcome))
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
        self._children.interrupt()
        self._children.name_winners(outcome, reruns)
        for setting in outcome.settings:
            self._children.mean(outcome, setting, reruns, parent)
        self._children.models(outcome, reruns)
        parent.log_values(values.winners(outcome))
        best = values.best(outcome)
        if best:
            parent.tag({"winner": f"{best.arm} {best.name}"})
        lacking = "FAILED" if outcome.ended.startswith("failed") else "KILLED"
        parent.finish("FINISHED" if set(outcome.winners) == set(outcome.steps) else lacking)
        self._explain(outcome)

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
            self.tracker.tell(page.tags(outcome, experiment))

    def _of_trials(self, trials: Sequence[Trial]) -> Iterator[Row]:
        for trial in trials:
            if trial.name not in self._requests:
                try:
                    self._requests[trial.name] = self._request(trial)
                except RankclipError:
                    continue  # its settings do not fit together; it is in the ledger alone
            yield rows.of_trial(trial, self._requests[trial.name])
