"""kill -9 of whoever drives a study: nothing lives on, and what was complete is not done again."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import yaml

from rankclip.launch import stopping
from rankclip.training import checkpoint
from rankclip.training.request import STOP
from tests.e2e import project
from tests.e2e.project import STUDY, Project, digests, identity, wait_until

DATA = ("source/*", "*.parquet", "*.json", "crawl/status.parquet", "shards/*.tar", "shards/index.parquet",
        "shards/manifest.json", "benchmarks/manifest.json")  # fmt: skip


def test_a_crawl_whose_driver_is_killed_goes_on_and_gives_the_same_bytes_in_a_clone(
    finished: Project, tmp_path: Path
) -> None:
    elsewhere = finished.clone(tmp_path / "elsewhere")
    with elsewhere.params() as values:
        values["download"]["threads"] = 1  # every flaky answer now holds up the shard
    driver = elsewhere.start("rankclip", "repro", RANKCLIP_PROCESSES="1")
    wait_until(lambda: bool(tables(elsewhere)), 90, "the first work shard is done")
    project.kill(elsewhere, driver)
    complete, wanted = {path.stem for path in tables(elsewhere)}, len(tables(finished))
    assert 1 <= len(complete) < wanted
    before = kept(elsewhere, complete)

    elsewhere.dvc("repro", "shard", "benchmarks", RANKCLIP_PROCESSES="1")
    assert len(tables(elsewhere)) == wanted
    assert kept(elsewhere, complete) == before, "a finished work shard was fetched again"
    assert digests(elsewhere.data, *DATA) == digests(finished.data, *DATA)


def tables(study: Project) -> list[Path]:
    """The tables that say that a work shard is complete."""
    return list(study.work.glob("download-*/done/[0-9]*.parquet"))


def kept(study: Project, shards: set[str]) -> dict[str, tuple[int, int]]:
    files = {}
    for folder in study.work.glob("download-*/done"):
        files |= {name: value for name, value in identity(folder).items() if Path(name).stem in shards}
    return files


def test_a_new_seed_killed_twice_while_it_trains_ends_as_if_undisturbed_and_the_old_seed_is_kept(
    finished: Project, tmp_path: Path
) -> None:
    study = finished.twin(tmp_path / "study")
    undisturbed = digests(study.trained()["clip/1"], "model.safetensors")
    run = forget(study, "clip", seed=1)
    others = written(study)
    assert {name.split()[0] for name in others} == {"clip/0", "rankclip/0", "rankclip/1"}

    first = killed_at_next_checkpoint(study, run, 3.0, "rankclip", "repro")
    dvc = ("dvc", "repro", "pretrain@clip")
    second = killed_at_next_checkpoint(
        study, run, stopping.ORPHANED_S + 10, *dvc, then=lambda: thaw(study, run)
    )
    assert checkpoint.steps(run)[-1] >= second, "what a killed dvc's stage trains has its time to save"
    study.dvc("repro", "pretrain@clip")

    assert 4 <= first < second < 24, "the second driver went on from the first one's checkpoint"
    assert digests(run, "model.safetensors") == undisturbed
    exported = study.folder / "runs" / STUDY / "clip" / "seed-1"
    assert digests(exported, "model.safetensors") == undisturbed
    assert others.items() <= written(study).items(), "a finished seed was trained again"
    assert steps(run / "metrics.jsonl") == list(range(2, 25, 2))
    assert tracked_steps(study) == list(range(2, 25, 2))


def written(study: Project) -> dict[str, tuple[int, int]]:
    """Identity of the files of every finished run, but for what MLflow was sent."""
    return {
        f"{run} {name}": value
        for run, folder in study.trained().items()
        for name, value in identity(folder).items()
        if name != "mlflow.json"
    }


def forget(study: Project, arm: str, seed: int) -> Path:
    """Makes a study one in which this seed of an arm was never trained; the folder in which it will train."""
    run = study.trained()[f"{arm}/{seed}"]
    shutil.rmtree(run)
    shutil.rmtree(study.folder / "runs" / STUDY / arm)
    shutil.rmtree(study.folder / ".dvc" / "cache" / "runs")
    (study.folder / "mlflow.db").unlink()
    lock = study.folder / "dvc.lock"
    stages = yaml.safe_load(lock.read_text())
    del stages["stages"][f"pretrain@{arm}"]
    lock.write_text(yaml.safe_dump(stages))
    return run


def killed_at_next_checkpoint(
    study: Project, run: Path, within_s: float, *command: str, then: Callable[[], None] = lambda: None
) -> int:
    """Kills a driver when the run has saved another checkpoint; the last step that the run wrote.

    Nothing that it started may live longer than `within_s` seconds. `then` is called when it is dead.
    """
    before = checkpoint.steps(run)
    driver = study.start(*command)
    wait_until(lambda: checkpoint.steps(run) not in ([], before), 120, "a checkpoint")
    freeze(study)  # this run is too short to be met twice otherwise
    project.kill(study, driver, within_s, then)
    assert not (run / "record.json").exists()
    return steps(run / "metrics.jsonl")[-1]


def freeze(study: Project) -> None:
    """Stops the process that trains; it can still be killed."""
    for process in training(study):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()


def thaw(study: Project, run: Path) -> None:
    """Lets the process that trains go on once it has been asked to stop."""
    wait_until((run / STOP).exists, 20, "the stage asks its run to stop")
    for process in training(study):
        process.resume()


def training(study: Project) -> Iterator[psutil.Process]:
    """The process that trains."""
    for process in study.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::train_run "):
                yield process


def steps(metrics: Path) -> list[int]:
    return [
        json.loads(line)["step"]
        for line in metrics.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    ]


def tracked_steps(study: Project) -> list[int]:
    """Steps of the loss curve in MLflow."""
    query = (
        "select step from metrics join runs using (run_uuid) "
        "where name = 'clip_s1' and key = 'loss' order by step"
    )
    with closing(sqlite3.connect(study.folder / "mlflow.db")) as database:
        return [step for (step,) in database.execute(query)]
