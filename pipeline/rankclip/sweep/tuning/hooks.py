"""What Ray Tune calls: for the next trial, and at every report and end of one."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from rankclip.errors import RankclipError
from rankclip.launching import ask_to_stop, forget_stops
from rankclip.sweep import proposals
from rankclip.sweep.ledger import State, Trial
from rankclip.sweep.tuning.search import ArmSearch, rungs
from rankclip.sweep.tuning.trial import AS_TUNE_KNOWS, FAILED, LEFT, trained_s
from rankclip.training import checkpoint
from rankclip.training.request import METRICS, TrainRequest

LINE = 300
"""Most characters of what is said of a failure."""


class Proposer(Searcher):  # type: ignore[misc]  # Ray has no types
    """Gives Tune the trials that are not at their end, then new ones."""

    def __init__(self, asked: ArmSearch) -> None:
        aim = asked.spec.aims[0]
        super().__init__(metric=aim.metric, mode=aim.mode)
        self._search = asked
        self._left = [trial for trial in asked.ledger.of(asked.arm) if not trial.ended]
        self.given: dict[str, tuple[Trial, TrainRequest]] = {}
        """What Tune was given, by its name."""

    def suggest(self, trial_id: str) -> Any:
        """The configuration of a trial, as `train_trial` takes it, or that there are no more."""
        asked = self._search
        while not asked.done():
            trial = self._left.pop(0) if self._left else self._new()
            if trial is None:
                break
            try:
                request = asked.request(trial)
            except RankclipError as error:  # settings that fit one by one, but not together
                asked.changed(asked.ledger.end(trial, "failed", error=str(error)))
                continue
            self.given[trial_id] = trial, request
            forget_stops([request])
            return {
                AS_TUNE_KNOWS: trial.name,
                "request": request.dump(),
                "metrics": [aim.metric for aim in asked.spec.aims],
                "rungs": rungs(asked.spec, request.train.steps),
                "workers": asked.resources.workers,
                "cpus": asked.resources.cpus,
                "gpus": asked.resources.gpus,
            }
        return Searcher.FINISHED

    def _new(self) -> Trial | None:
        asked = self._search
        history = asked.ledger.of(asked.arm)
        if len(history) >= asked.spec.trials:
            return None
        values = proposals.propose(asked.spec, history, asked.present)
        return None if values is None else asked.ledger.propose(asked.arm, values)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the ledger tells of ends."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it was given, for a resume that we never ask it for."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is all there is to keep."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""


class Follower(tune.Callback):  # type: ignore[misc]
    """Writes into the ledger what becomes of trials, and has them leave when the sweep is to end."""

    def __init__(self, asked: ArmSearch, proposer: Proposer) -> None:
        self._search, self._given = asked, proposer.given
        self._running: set[str] = set()
        self._told: set[str] = set()
        self._broken: Exception | None = None
        self._heard = signal.getsignal(signal.SIGUSR1)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as `Proposer`'s."""
        return {}

    def setup(self, **info: Any) -> None:
        """Tune has just taken a signal that asks for an end, and would not let trials save."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._heard)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Several times a second."""
        if self._broken:
            raise self._broken
        self._search.poll()
        if self._search.done():
            new = self._running - self._told
            self._told |= new
            ask_to_stop([self._given[name][1] for name in new])

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A process works on it."""
        self._running.add(trial.trial_id)
        self._noted(lambda: self._now(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """It reached a rung."""
        if FAILED in result or LEFT in result:
            return
        names = ("step", *(aim.metric for aim in self._search.spec.aims))
        report = {name: result[name] for name in names if math.isfinite(result[name])}
        if report["step"] > (self._now(trial).last("step") or 0):
            self._noted(lambda: self._search.ledger.report(self._now(trial), report))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """It came to its end, was stopped, failed on purpose, or left because the sweep is to end."""
        last, steps = trial.last_result or {}, self._given[trial.trial_id][1].train.steps
        self._running.discard(trial.trial_id)
        if FAILED in last:
            self._end(trial, "failed", last[FAILED])
        elif LEFT not in last:
            self._end(trial, "finished" if last.get("step") == steps else "stopped")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Its process died, or broke, as often as it may."""
        self._running.discard(trial.trial_id)
        self._end(trial, "failed", _line(Path(trial.error_file)))

    def _now(self, trial: Any) -> Trial:
        known = self._given[trial.trial_id][0]
        return self._search.ledger.trials[known.arm, known.number]

    def _end(self, trial: Any, state: State, error: str = "") -> None:
        folder = self._given[trial.trial_id][1].folder
        if not self._now(trial).ended:
            seconds = trained_s(folder / METRICS)
            self._noted(lambda: self._search.ledger.end(self._now(trial), state, seconds, error))
            checkpoint.delete(folder)

    def _noted(self, change: Callable[[], Trial]) -> None:
        """Makes a change known. Tune takes an error here for one of the trial: it is raised between steps."""
        try:
            self._search.changed(change())
        except Exception as error:
            self._broken = self._broken or error


def _line(file: Path) -> str:
    """What went wrong in a trial's process the last time, of the file in which Ray tells of every time."""
    # the file itself: what Tune calls the trial's error is a copy of it that comes some seconds later
    last = file.read_text().rpartition("Failure # ")[2] if file.exists() else ""
    lines = [line.strip() for line in last.splitlines() if line.strip()]
    if any(line.startswith("The actor is dead") for line in lines):
        return "its process died each time (killed, or out of memory?)"
    return lines[-1][:LINE] if lines else "it broke without a word"
