"""What stops trials: Ray's rules, of which each report is counted once, whoever brings it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from rankclip.sweep.ledger import Trial
from rankclip.sweep.spec import Asha, Median
from rankclip.sweep.tuning.search import ArmSearch, rungs
from rankclip.sweep.tuning.trial import AS_TUNE_KNOWS, FAILED, LEFT


class _Named:
    """A trial as rules know it: the same in every driver and after every death of its process."""

    def __init__(self, name: str) -> None:
        self.trial_id = name


class Comparison(FIFOScheduler):  # type: ignore[misc]  # Ray has no types
    """Stops trials by a rule that knows all that the arm's trials have reported.

    A trial whose process died, or that an earlier driver began, tells its rungs again. They were decided on
    when they came first; a rule would count them twice.
    """

    def __init__(self, rule: TrialScheduler, history: list[Trial]) -> None:
        super().__init__()
        self._rule = rule
        self._known: dict[str, _Named] = {}
        self._counted: set[tuple[str, float]] = set()
        for trial in history:
            for report in trial.reports:
                self._count(trial.name, report)

    def _of(self, name: str) -> _Named:
        return self._known.setdefault(name, _Named(name))

    def _count(self, name: str, report: Mapping[str, float]) -> None:
        """Tells the rule what was decided on before."""
        self._counted.add((name, report["step"]))
        self._rule.on_trial_add(None, self._of(name))
        # not as a result: a decision of now could be another, after which a rule bears no more results
        self._rule.on_trial_complete(None, self._of(name), dict(report))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Whether a trial goes on after a report."""
        name = trial.config[AS_TUNE_KNOWS]
        at = (name, result.get("step", 0))
        if FAILED in result or LEFT in result or at in self._counted:
            return str(TrialScheduler.CONTINUE)
        self._counted.add(at)
        self._rule.on_trial_add(None, self._of(name))
        return str(self._rule.on_trial_result(tune_controller, self._of(name), dict(result)))


def scheduler(asked: ArmSearch) -> TrialScheduler:
    """What stops an arm's trials; it knows what earlier ones have reported."""
    aim, stopping = asked.spec.aims[0], asked.spec.stopping
    if not isinstance(stopping, Asha | Median):
        return FIFOScheduler()
    steps = asked.request(Trial(asked.arm, 0, {})).train.steps
    common: dict[str, Any] = {
        "time_attr": "step",
        "metric": aim.metric,
        "mode": aim.mode,
        "grace_period": rungs(asked.spec, steps)[0],
    }
    rule: TrialScheduler
    if isinstance(stopping, Asha):
        rule = ASHAScheduler(
            **common, max_t=steps, reduction_factor=stopping.reduction, stop_last_trials=False
        )
    else:
        # it would pause a trial that has nothing to be compared with, so that others catch up
        rule = MedianStoppingRule(**common, min_samples_required=stopping.least, min_time_slice=math.inf)
    return Comparison(rule, asked.ledger.of(asked.arm))
