"""A sweep from its first trial to its winners; what was done stays done, however it is ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rankclip import files, launch, lifecycle
from rankclip.errors import InputError, Preempted, RankclipError, RunError
from rankclip.launch.group import workers
from rankclip.launching import ask_to_stop, gpus_of
from rankclip.progress import last_report
from rankclip.sweep import reruns, settings
from rankclip.sweep.budget import Budget, Limits
from rankclip.sweep.ledger import NAME, Ledger, Trial
from rankclip.sweep.outcome import Outcome, Setting
from rankclip.sweep.plan import SPEC, Plan
from rankclip.sweep.shown.table import Table
from rankclip.sweep.tracked.log import SweepLog
from rankclip.sweep.tracked.rows import Rerun
from rankclip.sweep.tuning import ArmSearch, Resources, rungs, search
from rankclip.training.request import METRICS, TrainRequest

OUT_OF_BUDGET = "out of budget"
STOPPED = "stopped"
COMPLETE = "complete"
FAILED = "failed"
IN_PART = "failed in part"


class Driver:
    """Runs a sweep, or goes on with it.

    Args:
        plan: that was checked.
        limits: of this call.
    """

    def __init__(self, plan: Plan, limits: Limits) -> None:
        self.plan, self.limits = plan, limits
        self.budget = Budget(limits, self.gpu_hours)
        self.ledger = Ledger(plan.folder / NAME)
        self.gpus = 0
        """Of a trial, all its workers together."""
        self.told: Callable[[], bool] = lambda: False
        self.again: list[Rerun] = []
        self.settings: dict[str, list[Setting]] = {}
        self.winners: dict[str, Setting] = {}
        self.lost: dict[str, str] = {}
        """By arm: what failed of its re-runs, or why there are none."""
        self.short = False
        """Whether a budget was spent before an arm had its trials."""
        self.ended = ""
        self.log = SweepLog(plan.root, plan.folder, self.outcome(), plan.of_trial)

    def run(self) -> Outcome:
        """Searches every arm, trains its best settings again and names the winners.

        What fails of an arm costs the others nothing, and is told in `Outcome.lost`.

        Raises:
            InUse: another process runs this sweep.
            Preempted: we were told to end; the same command goes on from there.
            RunError: no arm has a winner.
        """
        with lifecycle.lock(self.plan.folder), launch.stoppable(self.leave) as told:
            self.told = told.is_set
            self.ledger = Ledger.opened(self.plan.folder)  # not before: another driver may have been writing
            files.write_json(self.plan.folder / SPEC, self.plan.spec.dump())
            with self.tracked(), launch.session(dashboard=True):
                arms = list(self.plan.arms)
                for place, arm in enumerate(arms):
                    self.budget.share(len(arms) - place)
                    self.search(arm)
                for arm in arms:
                    self.train_again(arm)
                if not self.winners:
                    raise RunError(next(iter(self.lost.values())))
        return self.outcome()

    def leave(self) -> None:
        """Has the re-runs that are under way save and leave; trials are asked by their search."""
        ask_to_stop([rerun.request for rerun in self.again])

    @contextmanager
    def tracked(self) -> Iterator[None]:
        """Notes how the sweep ends, however it does, and tells MLflow."""
        try:
            yield
            self.ended = IN_PART if self.lost else OUT_OF_BUDGET if self.short else COMPLETE
        except Preempted:
            self.ended = STOPPED
            raise
        finally:
            self.ended = self.ended or FAILED
            self.log.close(self.outcome(), self.again)

    def search(self, arm: str) -> None:
        """The trials of an arm.

        Raises:
            Preempted: we were told to end.
        """
        plan, known, spec = self.plan, self.ledger.of(arm), self.plan.spec.of(arm)
        given = self.resources(arm)
        table = Table(spec, arm, known, rungs(spec, plan.steps(arm)), curve=self.curve, left=self.budget.left)

        def poll() -> None:
            table.refresh()
            self.poll()

        def changed(trial: Trial) -> None:
            table.changed(trial)
            if trial.state == "finished":
                reruns.delete_weights(plan, self.ledger.of(arm))

        with table:
            search(
                ArmSearch(
                    spec,
                    arm,
                    self.ledger,
                    plan.of_trial,
                    given,
                    present=settings.present(spec, plan.study, plan.arms[arm]),
                    done=self.why,
                    changed=changed,
                    poll=poll,
                )
            )
        if self.budget.over and sum(one.ended for one in self.ledger.of(arm)) < spec.trials:
            self.short = True
        if self.told():
            raise Preempted(
                "the sweep was stopped, and its trials have saved; the same command goes on from here"
            )

    def train_again(self, arm: str) -> None:
        """The best settings of an arm with fresh seeds; a setting of which a run fails is not compared.

        Raises:
            Preempted: we were told to end.
        """
        try:
            chosen = reruns.chosen(self.plan, arm, self.ledger.of(arm))
        except RunError as error:
            self.lost[arm] = f"arm {arm}: {error}"
            return
        runs = reruns.requests(self.plan, arm, chosen)
        asked = [Rerun(arm, name, run) for name, of_it in runs.items() for run in of_it]
        self.again += asked
        try:
            reruns.train([rerun.request for rerun in asked], self.limits.together, self.poll, self.told)
        except Preempted:
            raise
        except RunError as error:
            self.lost[arm] = f"arm {arm}, of its re-runs: {error}"
        whole = {name: of_it for name, of_it in runs.items() if all(run.finished for run in of_it)}
        self.settings[arm] = reruns.measured(self.plan, arm, chosen, whole)
        if whole:
            self.winners[arm] = reruns.winner(self.plan.spec, self.settings[arm])

    def runs_of(self, setting: Setting) -> list[TrainRequest]:
        """The re-runs of a setting."""
        return [rerun.request for rerun in self.again if rerun.of(setting)]

    def resources(self, arm: str) -> Resources:
        """Of a trial of an arm, on the Ray there is.

        Raises:
            InputError: GPU-hours are limited, and a trial has no GPU.
        """
        request = self.plan.request(arm, {}, self.plan.spec.seed, arm)
        count, cpus, gpus = workers(), request.train.threads, gpus_of(request.machine)
        if self.limits.gpu_hours is not None and not gpus:
            raise InputError("--gpu-hours limits GPUs, and trials here have none; use --time-budget")
        self.gpus = gpus * count
        fits = launch.room(cpus * count, gpus * count)
        return Resources(count, cpus, gpus, min(self.limits.together or fits, fits))

    def why(self) -> str:
        """Why no more trials are begun; empty while they may be."""
        return STOPPED if self.told() else OUT_OF_BUDGET if self.budget.over else ""

    def curve(self, trial: Trial) -> Path:
        """Of a trial."""
        return self.plan.of_trial(trial).folder / METRICS

    def gpu_hours(self) -> float:
        """Spent on trials so far, as if all had the GPUs that a trial has now."""
        return self.gpus * sum(map(self.trained_s, self.ledger.trials.values())) / 3600

    def trained_s(self, trial: Trial) -> float:
        """Seconds that a trial has trained; of one under way as far as its curve tells."""
        if trial.ended:
            return trial.seconds
        try:
            report = last_report(self.curve(trial)) or {}
        except RankclipError:
            return 0.0  # its settings do not fit together
        return float(report.get("elapsed_s", 0.0))

    def poll(self) -> None:
        """Several times a second: MLflow is told what is new."""
        self.log.poll(self.outcome, self.again)

    def outcome(self) -> Outcome:
        """What is known now."""
        return Outcome(
            name=self.plan.name,
            study=self.plan.study.study.name,
            spec=self.plan.spec,
            steps={arm: self.plan.steps(arm) for arm in self.plan.arms},
            trials=[trial for arm in self.plan.arms for trial in self.ledger.of(arm)],
            settings=[setting for of_arm in self.settings.values() for setting in of_arm],
            winners=self.winners,
            ended=self.ended,
            lost=self.lost,
        )
