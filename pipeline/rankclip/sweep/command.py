"""`rankclip sweep` from its options to what it prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import typer

from rankclip import composition, config, estimate, files, launch, tracking
from rankclip.errors import InputError, RunError
from rankclip.sweep import plan as plans
from rankclip.sweep import winner
from rankclip.sweep.budget import Limits
from rankclip.sweep.outcome import AS_IT_IS, Outcome, Setting
from rankclip.sweep.plan import SPEC, Plan
from rankclip.sweep.run import Driver
from rankclip.sweep.shown import csv_tables, page
from rankclip.sweep.shown.words import duration
from rankclip.sweep.spec import SweepSpec
from rankclip.sweep.tuning import rungs
from rankclip.training.request import TrainRequest


def run(
    root: Path,
    name: str,
    changes: Sequence[str],
    study: str | None,
    limits: Limits,
    *,
    resume: bool = False,
    dry_run: bool = False,
) -> int:
    """Runs a sweep, or says what it would do; returns an exit code.

    Raises:
        DataError: the study's data are not there.
        InputError: the sweep does not exist, is wrong, or does not fit the study.
        Preempted: we were told to end.
        RunError: nothing could be compared.
    """
    plan = planned(root, name, changes, study, resume=resume)
    plans.check(plan)
    say(outlook(plan, limits))
    if dry_run:
        return 0
    for line in ready(plan):
        typer.echo(line, err=True)
    driver = Driver(plan, limits)
    try:
        outcome = driver.run()
    except RunError:
        if driver.ended:  # else it did not begin
            say(page.lines(driver.outcome()))
            typer.echo(str(drawn(plan, driver.outcome())))
        raise
    say(page.lines(outcome))
    for found in outcome.winners.values():
        typer.echo(named(plan, found, driver.runs_of(found)))
    shown = driver.log.page()
    at = f"; in MLflow, after `make ui`: http://127.0.0.1:5000{shown}" if shown else ""
    typer.echo(f"{drawn(plan, outcome)}{at}")
    return 1 if outcome.lost else 0


def say(lines: Iterable[str]) -> None:
    """Prints them."""
    for line in lines:
        typer.echo(line)


def drawn(plan: Plan, outcome: Outcome) -> Path:
    """Writes the page and the tables of a sweep; gives the page's path."""
    folder = plan.root / "reports" / plan.study.study.name / f"sweep-{plan.name}"
    csv_tables.write(outcome, folder)
    return page.write(outcome, folder)


def ready(plan: Plan) -> Iterator[str]:
    """Warnings before anything is spent."""
    try:
        tracking.ping(plan.root)
    except Exception as error:  # whatever a server, a database or a network may raise
        yield (
            f"MLflow at {tracking.uri(plan.root)} does not answer ({files.one_line(error)}); the sweep goes "
            "on without it, and the same command sends all once it does"
        )


def named(plan: Plan, found: Setting, runs: Sequence[TrainRequest]) -> str:
    """Writes a winner down and reads its test scores; what is said of it."""
    path = None if found.name == AS_IT_IS else winner.write(plan, found, plan.root / composition.CONF)
    scores = winner.on_test(plan, runs)
    test = f"test mean top-1 {100 * scores['mean']['top1']:.1f}" if "mean" in scores else "no test of classes"
    if path is None:
        return f"{found.arm}: nothing searched was better than the arm as it is ({test}, {len(runs)} seeds)"
    use = f"rankclip use {plan.study.study.name} arms.{found.arm}_tuned={path.stem}"
    return f"{found.arm}: {path} is the winner ({test}, {len(runs)} seeds); {use}"


def planned(root: Path, name: str, changes: Sequence[str], study: str | None, *, resume: bool) -> Plan:
    """The sweep of a study; with `resume` the last one of this name, as it was started.

    Raises:
        InputError: there is none, or it is wrong.
    """
    conf = root / composition.CONF
    chosen = composition.compose(study, (), conf) if study else config.load(root / config.PARAMS)
    if not resume:
        return Plan(name, plans.read(name, changes, conf), chosen, root.absolute())
    if changes:
        raise InputError(f"--resume goes on with a sweep as it was started; leave out {' '.join(changes)}")
    folder = root / "work" / chosen.study.name / "sweeps"
    found = sorted(folder.glob(f"{name}-*/{SPEC}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise InputError(f"{folder} has no sweep {name} to go on with; start it without --resume")
    plan = Plan(name, SweepSpec.model_validate(files.read_json(found[-1])), chosen, root.absolute())
    if plan.folder.name != found[-1].parent.name:
        raise InputError(
            f"{found[-1].parent} was begun with other code, data or arms; start it anew, without --resume"
        )
    return plan


def outlook(plan: Plan, limits: Limits) -> Iterator[str]:
    """What a sweep will do, and about how long that takes.

    Raises:
        InputError: the budget does not reach the first rung, or is of GPU-hours where there is no GPU.
    """
    spec = plan.spec
    without_gpus = not launch.on_cluster() and estimate.device_of(plan.first.machine) == "cpu"
    if limits.gpu_hours is not None and without_gpus:
        raise InputError("--gpu-hours limits GPUs, and there is none here; use --time-budget")
    yield f"{plan.name}: {spec.question}"
    for key, its in spec.space.items():
        also = f", and {', '.join(its.also)}" if its.also else ""
        when = "".join(f", where {other} is {list(values)}" for other, values in its.when.items())
        when += f", for {', '.join(its.arms)}" if its.arms else ""
        span = list(its.values) if its.name == "choice" else f"{its.name} {its.low:g} to {its.high:g}"
        yield f"  {key}{also}: {span}{when}"
    for arm in plan.arms:
        compared = rungs(spec, plan.steps(arm))
        at = ", ".join(map(str, compared))
        yield (
            f"{arm}: {spec.trials} trials by {spec.search.name}, compared after {at} steps "
            f"({spec.stopping.name}); then the best {spec.reruns.best} and the arm as it is, "
            f"{spec.reruns.seeds} fresh seeds each"
        )
        took = estimate.seconds(plan.request(arm, {}, spec.seed, arm))
        if took is None:
            continue
        first, share = took * compared[0] / compared[-1], (limits.seconds or math.inf) / len(plan.arms)
        if share < first and not launch.on_cluster():
            each = f" of each of {len(plan.arms)} arms" if len(plan.arms) > 1 else ""
            raise InputError(
                f"--time-budget of {duration(limits.seconds or 0)} is too small for one rung{each}: "
                f"{compared[0]} steps take about {duration(first)}; raise it, or lower train.steps"
            )
        whole = took * (spec.trials + (spec.reruns.best + 1) * spec.reruns.seeds)
        yield f"  {duration(took)} a whole trial, at most {duration(whole)} one after another"
