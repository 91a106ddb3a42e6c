"""The best settings again, with fresh seeds: the best of many noisy trials is not as good as it looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from rankclip import pretrain
from rankclip.errors import RunError
from rankclip.launching import forget_stops, in_turn
from rankclip.sweep import standing
from rankclip.sweep.ledger import Trial
from rankclip.sweep.outcome import AS_IT_IS, Setting
from rankclip.sweep.plan import Plan
from rankclip.sweep.spec import SweepSpec
from rankclip.training.request import METRICS, TrainRequest
from rankclip.training.run import WEIGHTS


def best(spec: SweepSpec, trials: Sequence[Trial]) -> list[Trial]:
    """The finished trials that are trained again, best first; with several aims those that none dominates.

    Raises:
        RunError: no trial has finished.
    """
    finished = [trial for trial in trials if trial.state == "finished"]
    if not finished:
        failed = [trial for trial in trials if trial.state == "failed"]
        left = any(not trial.ended for trial in trials)
        then = "the same command goes on" if left else "all others were stopped; ask for more trials"
        begun = f"none came to its end: {then}" if trials else "none was begun"
        why = f"{len(failed)} failed, the first with: {failed[0].error}" if failed else begun
        raise RunError(f"no trial of {len(trials)} finished ({why}); nothing can be compared")
    aim = spec.aims[0]
    able = standing.front(finished, spec.aims) if len(spec.aims) > 1 else finished
    read = {one.number: one.last(aim.metric) for one in able}
    known = [one for one in able if read[one.number] is not None]  # else it was not finite
    ranked = sorted(known, key=lambda one: aim.sign * (read[one.number] or 0.0), reverse=True)
    return ranked[: spec.reruns.best]


def delete_weights(plan: Plan, trials: Sequence[Trial]) -> None:
    """Deletes the weights of an arm's finished trials but the best, so that disk use is bounded.

    Their curves stay. Without its record a run counts as unfinished, should anything ever ask for it again.
    """
    finished = [trial for trial in trials if trial.state == "finished"]
    kept = {trial.number for trial in best(plan.spec, trials)} if finished else set()
    for trial in finished:
        if trial.number not in kept:
            folder = plan.of_trial(trial).folder
            (folder / "record.json").unlink(missing_ok=True)
            (folder / WEIGHTS).unlink(missing_ok=True)


def chosen(plan: Plan, arm: str, trials: Sequence[Trial]) -> dict[str, Mapping[str, Any]]:
    """The settings of an arm that are trained again, by name: the arm as it is, and the best."""
    as_it_is = science(plan, arm, {})
    others = {
        trial.short: trial.values
        for trial in best(plan.spec, trials)
        if science(plan, arm, trial.values) != as_it_is
    }
    return {AS_IT_IS: {}, **others}


def science(plan: Plan, arm: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What an arm with these settings trains, by which equal runs are known."""
    changed = plan.changed(arm, values)
    return changed.objective, changed.recipe(plan.study.model, plan.study.train)


def requests(
    plan: Plan, arm: str, settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[TrainRequest]]:
    """The runs of settings: each with the seeds after the sweep's."""
    seeds = range(plan.spec.seed + 1, plan.spec.seed + 1 + plan.spec.reruns.seeds)
    return {
        name: [
            plan.request(arm, values, seed, f"{arm}/{name.replace(' ', '-')}/seed-{seed}") for seed in seeds
        ]
        for name, values in settings.items()
    }


def train(
    asked: Sequence[TrainRequest], slots: int | None, poll: Callable[[], None], stopped: Callable[[], bool]
) -> None:
    """Trains what is not finished.

    Raises:
        Preempted: we were told to end.
        RunError: a run failed.
    """
    todo = pretrain.unfinished(asked)
    forget_stops(todo)
    with pretrain.following(todo, asked, None) as show:

        def look() -> None:
            show()
            poll()

        in_turn(todo, slots, look, stopped)


def measured(
    plan: Plan,
    arm: str,
    settings: Mapping[str, Mapping[str, Any]],
    runs: Mapping[str, Sequence[TrainRequest]],
) -> list[Setting]:
    """What the finished runs of settings came to."""
    metric = plan.spec.aims[0].metric
    return [
        Setting(arm, name, settings[name], {run.seed: last(run, metric) for run in of_it})
        for name, of_it in runs.items()
    ]


def last(run: TrainRequest, metric: str) -> float:
    """What a finished run reports at its end."""
    lines = (run.folder / METRICS).read_bytes().splitlines()
    return float(json.loads(lines[-1])[metric])


def winner(spec: SweepSpec, settings: Sequence[Setting]) -> Setting:
    """Of an arm's settings the one with the best mean; of equal ones the first, which is the arm as it is."""
    sign = spec.aims[0].sign
    return max(settings, key=lambda one: sign * fmean(one.scores.values()))
