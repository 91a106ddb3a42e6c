"""Training many runs: which are asked for, which are not done, and an arm's runs as one folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from rankclip import estimate, files, launch
from rankclip.config import Arm, Study
from rankclip.errors import DataError, Preempted
from rankclip.launching import ask_to_stop, forget_stops, in_turn
from rankclip.models.spec import ModelSpec
from rankclip.progress import Watch
from rankclip.tracking import RunLog, Tracker, git_commit
from rankclip.training.machine import Machine
from rankclip.training.request import CODE, METRICS, NONFINITE, QUARANTINE, TrainRequest
from rankclip.training.run import WEIGHTS
from rankclip.training.spec import TrainSpec

EXPORTED = (WEIGHTS, METRICS, "record.json")
"""Files of a finished run; the record last, since it says that the others are there."""

TRACK_EVERY_S = 5.0
"""Seconds between two sendings to MLflow: one takes tens of milliseconds of a core, even of one line."""


def requests(
    name: str, arm: Arm, model: ModelSpec, train: TrainSpec, seeds: Sequence[int], data: Path, work: Path
) -> list[TrainRequest]:
    """A request for each seed of an arm.

    Args:
        name: of the arm.
        arm: objective and overrides.
        model: the study's model.
        train: the study's recipe.
        seeds: the study's seeds.
        data: the study's folder of data, with `shards` and `benchmarks`.
        work: folder of runs by digest.

    Raises:
        DataError: there are no shards.
    """
    recipe = arm.recipe(model, train)
    benchmarks = data / "benchmarks"
    manifest = data / "shards" / "manifest.json"
    files.read_json(manifest, "make the shards with `dvc repro shard`")
    return [
        TrainRequest(
            key=f"{name}/seed-{seed}",
            arm=name,
            seed=seed,
            model=recipe.model,
            objective=arm.objective,
            train=recipe.train,
            shards=manifest.parent.absolute(),
            shards_digest=files.sha256(manifest),
            benchmarks=benchmarks.absolute(),
            validation=validation_digests(benchmarks, recipe.train.validation),
            code=files.code_digest(CODE),
            machine=Machine.here(),
            work=work.absolute(),
        )
        for seed in seeds
    ]


def validation_digests(benchmarks: Path, names: Sequence[str]) -> dict[str, str]:
    """Digests of the validation splits of these benchmarks, by their manifest.

    Raises:
        DataError: a benchmark has not been made.
    """
    path, remedy = benchmarks / "manifest.json", "make the benchmarks with `dvc repro benchmarks`"
    made = files.read_json(path, remedy)["benchmarks"]
    missing = [name for name in names if name not in made]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; {remedy}")
    return {name: made[name]["val"]["digest"] for name in names}


def of_study(study: Study, arms: Sequence[str], data: Path, work: Path) -> list[TrainRequest]:
    """The requests of several arms, their seeds in turn, so that each arm has a first result early."""
    by_arm = [
        requests(arm, study.arms[arm], study.model, study.train, study.study.seeds, data, work)
        for arm in arms
    ]
    return [request for turn in zip(*by_arm, strict=True) for request in turn]


def train(asked: Sequence[TrainRequest], tracker: Tracker, slots: int | None = None) -> None:
    """Trains what is not finished, as many runs at once as the resources allow, and follows it in MLflow.

    A run whose logit scale another one is to follow is trained before that, whether asked for or not. When
    this process is told to end, the runs save and end first.

    Raises:
        Preempted: we were told to end; the same command goes on from there.
        RunError: a run failed; the others are finished and kept.
    """
    todo = unfinished(asked)
    announce(todo)
    with following(todo, asked, tracker) as poll, launch.stoppable(lambda: ask_to_stop(todo)) as told:
        forget_stops(todo)
        in_turn(todo, slots, poll, told.is_set)


def announce(todo: Sequence[TrainRequest]) -> None:
    """Says of each arm, before anything is spent, what its runs will take."""
    for request in {request.arm: request for request in reversed(todo)}.values():
        typer.echo(estimate.line(request), err=True)


@contextmanager
def following(
    todo: Sequence[TrainRequest], asked: Sequence[TrainRequest], tracker: Tracker | None
) -> Iterator[Callable[[], None]]:
    """Gives what is to be called now and then: it shows the runs' progress and sends it to MLflow.

    At the end MLflow is told how each run ended, those included that an earlier driver finished and could
    not send. Without a tracker it is told nothing.
    """
    logs: dict[str, RunLog] = {}
    ended, sent = "FAILED", -TRACK_EVERY_S
    with Watch({request.key: (request.folder / METRICS, request.train.steps) for request in todo}) as watch:

        def poll() -> None:
            nonlocal sent
            watch.refresh()
            if tracker and time.monotonic() - sent >= TRACK_EVERY_S:
                follow(todo, logs, tracker)
                sent = time.monotonic()

        try:
            yield poll
        except Preempted:
            ended = "KILLED"
            raise
        finally:
            if tracker:
                told = {request.key: request for request in [*todo, *asked]}.values()
                follow(told, logs, tracker)
                for request in told:
                    log = logs.get(request.key) or open_log(tracker, request)
                    log.finish("FINISHED" if request.finished else ended)


def unfinished(asked: Sequence[TrainRequest]) -> list[TrainRequest]:
    """What is to be trained, each run once: of the runs asked for and of those that they follow."""
    todo = {request.folder: request for request in asked if not request.finished}
    for request in list(todo.values()):
        leader = request.followed
        if leader is not None and not leader.finished:
            todo.setdefault(leader.folder, leader)
    return list(todo.values())


def follow(asked: Iterable[TrainRequest], logs: dict[str, RunLog], tracker: Tracker) -> None:
    """Sends what is new of the curves; a run begins in MLflow when it has one."""
    for request in asked:
        curve = request.folder / METRICS
        if request.key not in logs and curve.exists():
            logs[request.key] = open_log(tracker, request)
        if request.key in logs:
            logs[request.key].follow(curve)


def open_log(tracker: Tracker, request: TrainRequest) -> RunLog:
    """The run in MLflow."""
    params = {"arm": request.arm, "seed": request.seed, **request.config}
    return tracker.open_run(
        f"{request.arm}_s{request.seed}",
        f"{request.arm}/seed-{request.seed}/{request.content_digest}",
        request.folder,
        params=params,
        tags={"arm": request.arm, "seed": str(request.seed), "git_commit": git_commit(tracker.root)},
        data_digest=request.shards_digest[:16],
    )


def export(asked: Sequence[TrainRequest], out: Path) -> None:
    """Writes exactly these finished runs to an arm's folder, `seed-<k>` each."""
    shutil.rmtree(out, ignore_errors=True)
    for request in asked:
        copy(request, out / f"seed-{request.seed}")


def copy(request: TrainRequest, folder: Path) -> None:
    """Writes a finished run to a folder."""
    damaged = [name for name in (QUARANTINE, NONFINITE) if (request.folder / name).exists()]
    for name in (*damaged, *EXPORTED):
        with files.replace(folder / name) as beside:
            shutil.copyfile(request.folder / name, beside)
    record = folder / "record.json"
    # the run may have been trained under another arm's name
    files.write_json(record, files.read_json(record) | {"arm": request.arm})


def run(asked: Sequence[TrainRequest], study: str, root: Path, out: Path) -> None:
    """The stage: trains what is missing of an arm's requests and exports all.

    Args:
        asked: the arm's requests.
        study: name of the study.
        root: the repository, where MLflow's database lies by default.
        out: the arm's folder of runs.
    """
    train(asked, Tracker(root, study))
    export(asked, out)
