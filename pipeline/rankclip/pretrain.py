"""Training many runs: which are asked for, which are not done, and an arm's runs as one folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rankclip import files, launch
from rankclip.config import Arm, Study
from rankclip.errors import DataError, RunError
from rankclip.launch.group import workers
from rankclip.models.open_clip import build
from rankclip.models.spec import ModelSpec
from rankclip.progress import Watch
from rankclip.tracking import RunLog, Tracker, git_commit
from rankclip.training.parallel import refuse
from rankclip.training.request import CODE, METRICS, QUARANTINE, TrainRequest
from rankclip.training.run import WEIGHTS, train_run
from rankclip.training.spec import TrainSpec

EXPORTED = (WEIGHTS, METRICS, "record.json")
"""Files of a finished run; the record last, since it says that the others are there."""


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

    A run whose logit scale another one is to follow is trained before that, whether asked for or not.

    Raises:
        RunError: a run failed; the others are finished and kept.
    """
    todo = unfinished(asked)
    for request in todo:
        request.folder.mkdir(parents=True, exist_ok=True)
    logs: dict[str, RunLog] = {}
    with Watch({request.key: (request.folder / METRICS, request.train.steps) for request in todo}) as watch:

        def poll() -> None:
            watch.refresh()
            follow(todo, logs, tracker)

        try:
            in_turn(todo, slots, poll)
        finally:
            told = {request.key: request for request in [*todo, *asked]}.values()
            follow(told, logs, tracker)  # also what an earlier driver finished and could not send
            for request in told:
                log = logs.get(request.key) or open_log(tracker, request)
                log.finish("FINISHED" if request.finished else "FAILED")


def unfinished(asked: Sequence[TrainRequest]) -> list[TrainRequest]:
    """What is to be trained, each run once: of the runs asked for and of those that they follow."""
    todo = {request.folder: request for request in asked if not request.finished}
    for request in list(todo.values()):
        leader = request.followed
        if leader is not None and not leader.finished:
            todo.setdefault(leader.folder, leader)
    return list(todo.values())


def in_turn(todo: Sequence[TrainRequest], slots: int | None, poll: Callable[[], None]) -> None:
    """Trains first what follows no other run, then what follows one that is finished.

    Raises:
        RunError: a run failed; those that do not follow it were trained all the same.
    """
    leading = [request for request in todo if request.followed is None]
    following = [request for request in todo if request.followed is not None]
    failures = []
    for wave in (leading, following):
        ready = [request for request in wave if request.followed is None or request.followed.finished]
        try:
            if ready:
                start(ready, slots, poll)
        except RunError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def follow(asked: Iterable[TrainRequest], logs: dict[str, RunLog], tracker: Tracker) -> None:
    """Sends what is new of the curves; a run begins in MLflow when it has one."""
    for request in asked:
        curve = request.folder / METRICS
        if request.key not in logs and curve.exists():
            logs[request.key] = open_log(tracker, request)
        if request.key in logs:
            logs[request.key].follow(curve)


def start(todo: Sequence[TrainRequest], slots: int | None, poll: Callable[[], None]) -> None:
    """One Ray task a run, or, with RANKCLIP_WORKERS, one group of workers after another.

    Raises:
        InputError: several workers cannot train a run exactly.
        RunError: a run failed.
    """
    count = workers()
    if count > 1:
        for request in todo:  # before minutes of starting workers that would each say the same
            refuse(request.train.batch_size, build(request.model, request.seed), count)
        failed = [line for request in todo if (line := train_together(request, count, poll))]
        if failed:
            raise RunError(f"{failed[0]} ({len(failed) - 1} more failed); what finished is kept")
        return
    cpus = max(request.train.threads for request in todo)
    items = [request.dump() for request in todo]
    logs = todo[0].work / "logs"
    launch.values(launch.map_tasks(train_run, items, cpus=cpus, slots=slots, on_poll=poll, logs=logs))


def train_together(request: TrainRequest, count: int, poll: Callable[[], None]) -> str:
    """Trains one run on several workers; returns the line of its failure, so that others go on."""
    cpus = request.train.threads
    try:
        launch.train_group(train_run, request.dump(), count, request.folder, cpus=cpus, on_poll=poll)
    except RunError as error:
        return str(error)
    return ""


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
        damaged = [QUARANTINE] if (request.folder / QUARANTINE).exists() else []
        for name in (*damaged, *EXPORTED):
            target = out / f"seed-{request.seed}" / name
            with files.replace(target) as beside:
                shutil.copyfile(request.folder / name, beside)
        record = out / f"seed-{request.seed}" / "record.json"
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
