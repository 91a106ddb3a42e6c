"""The whole study in one command.

DVC runs the stages; what they would train and score one arm after another is done side by side before.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from rankclip import config, files, launch, lifecycle, storage
from rankclip.config import Study
from rankclip.launch.group import workers

DVC = (sys.executable, "-m", "dvc")


def run(root: Path) -> int:
    """Brings the active study up to date; returns an exit code.

    Raises:
        InputError: params.yaml is wrong.
    """
    study = config.load(root / config.PARAMS)
    name = study.study.name
    report = Path("reports") / name / "index.html"
    lifecycle.quiet()
    forget_incomplete(root / "data" / name)
    if call([*DVC, "status", "--quiet"], root).returncode == 0:
        typer.echo(f"{name} is up to date: {report}")
        return 0
    workers()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times.jsonl"
        # dvc.yaml says `python`: the one that runs this
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        environment = os.environ | {lifecycle.TIMES: str(times), "PATH": path}
        steps: list[list[str]] = [
            [*DVC, "repro", "shard" if study.route.crawl else "index", "benchmarks"],
            [sys.executable, "-m", "rankclip", "pretrain", "--pending"],
            [*DVC, "repro", *(f"pretrain@{arm}" for arm in study.arms)],
            [sys.executable, "-m", "rankclip", "evaluate", "--pending"],
            [*DVC, "repro"],
        ]
        for step in steps:
            since = time.monotonic()
            ours = step[2] == "rankclip"
            code = (
                patiently(step, root, environment) if ours else call(step, root, env=environment).returncode
            )
            if code:
                typer.echo("Stopped. What is finished is kept: the same command goes on from here.", err=True)
                return code
            if ours:
                with times.open("a") as file:
                    row = {"stage": " ".join(step[3:]), "seconds": round(time.monotonic() - since, 2)}
                    file.write(json.dumps(row) + "\n")
        print_times(times, time.monotonic() - started)
    typer.echo(f"\n{name}: {report}\nCompare the runs with: make ui")
    return 0


def forget_incomplete(data: Path) -> None:
    """Removes the lists of shards and benchmarks that are not all there, so that DVC makes them again.

    DVC tracks the lists alone, and would take what was deleted beside them for being there.
    """
    for part, complete in (("shards", shards_are_there), ("benchmarks", benchmarks_are_there)):
        manifest = data / part / "manifest.json"
        if manifest.exists() and not complete(manifest):
            typer.echo(f"{manifest.parent} has lost a part and is made again", err=True)
            manifest.unlink()


def shards_are_there(manifest: Path) -> bool:
    """Whether every tar of a list of shards has its size, and their index its digest."""
    listed = files.read_json(manifest)
    found = storage.of_tars(manifest.parent).sizes("")
    index = manifest.parent / "index.parquet"
    return all(found.get(name) == of["bytes"] for name, of in listed["shards"].items()) and (
        index.is_file() and files.sha256(index) == listed["index_sha256"]
    )


def benchmarks_are_there(manifest: Path) -> bool:
    """Whether every benchmark of a list has its splits, and the public ones are as they were."""
    from rankclip.data.benchmarks import write

    drawn = {
        name: entry
        for name, entry in files.read_json(manifest)["benchmarks"].items()
        if not entry.get("public")
    }
    return write.is_current(manifest) and all(
        (manifest.parent / f"wds_{name}" / split / "0.tar").is_file()
        for name, entry in drawn.items()
        for split in ("val", "test", *(["train"] if "train" in entry else []))
    )


def call(command: Sequence[str], root: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command in `root` that never outlives this process; `options` are those of `subprocess.run`."""
    ours = lifecycle.die_with_parent
    return subprocess.run(command, cwd=root, check=False, preexec_fn=ours, **options)


def patiently(command: Sequence[str], root: Path, environment: dict[str, str]) -> int:
    """Exit code of a command that, when we are told to end, has time to save what it trains."""
    ours = lifecycle.die_with_parent
    process = subprocess.Popen(command, cwd=root, env=environment, preexec_fn=ours)
    try:
        with launch.stoppable(process.terminate, grace_s=launch.GRACE_S + 5):
            return process.wait()
    finally:
        process.kill()  # nothing, where it has ended


def print_times(times: Path, total_s: float) -> None:
    """A table of where the time went."""
    rows = [json.loads(line) for line in times.read_text().splitlines()] if times.exists() else []
    typer.echo("\nstage                          seconds")
    for row in rows:
        typer.echo(f"{row['stage']:28} {row['seconds']:9.1f}")
    typer.echo(f"{'DVC and the rest':28} {total_s - sum(row['seconds'] for row in rows):9.1f}")
    typer.echo(f"{'total':28} {total_s:9.1f}")


def stale(root: Path, stage: str, study: Study) -> list[str]:
    """Arms whose stage DVC would run; what DVC holds in its cache needs no work."""
    targets = [f"{stage}@{arm}" for arm in study.arms]
    done = call([*DVC, "status", "--json", *targets], root, capture_output=True, text=True)
    changed = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else {}
    return [arm for arm in study.arms if done.returncode or f"{stage}@{arm}" in changed]


def pretrain_pending(root: Path, slots: int | None) -> None:
    """Trains what is missing of all arms at once.

    Raises:
        DataError: the shards are not there.
        RunError: a run failed.
    """
    from rankclip import pretrain
    from rankclip.tracking import Tracker

    study = config.load(root / config.PARAMS)
    name = study.study.name
    arms = stale(root, "pretrain", study)
    if not arms:
        return
    asked = pretrain.of_study(study, arms, data=root / "data" / name, work=root / "work" / name / "runs")
    pretrain.train(asked, Tracker(root.absolute(), name), slots)


def evaluate_pending(root: Path) -> None:
    """Scores what is not scored of all arms at once.

    Raises:
        DataError: runs or benchmarks are not there.
        RunError: a run could not be scored.
    """
    from rankclip import evaluate

    study = config.load(root / config.PARAMS)
    name = study.study.name
    work = root / "work" / name / "scores"
    asked = [
        request
        for arm in stale(root, "evaluate", study)
        for request in evaluate.requests(
            study.evaluation, root / "runs" / name / arm, root / "data" / name / "benchmarks", work
        )
    ]
    if asked:
        evaluate.score(asked, work)


def ui(root: Path, port: int) -> int:
    """MLflow's pages over the project's runs, or where their server has them; returns an exit code."""
    from rankclip import tracking

    config.load(root / config.PARAMS)  # elsewhere an empty database would be made and shown
    address = tracking.uri(root.absolute())
    if address.startswith(("http://", "https://")):
        typer.echo(f"{address}  (the server of MLFLOW_TRACKING_URI has the pages)")
        return 0
    lifecycle.quiet()
    tracking.ready(root)
    typer.echo(f"http://127.0.0.1:{port}  (Ctrl-C ends it)")
    command: Sequence[str] = [
        *(sys.executable, "-m", "mlflow", "ui"),
        *("--backend-store-uri", address),
        *("--default-artifact-root", str(tracking.artifacts(root.absolute()))),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    server = subprocess.Popen(command, start_new_session=True)
    try:
        return server.wait()
    finally:  # its many helpers outlive it unless the whole group is ended
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
