"""Scoring many runs: which are asked for, which are not done, and an arm's results as one folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rankclip import files, launch, lifecycle
from rankclip.data.benchmarks import benchmark_folder, judged, places
from rankclip.data.benchmarks.content import SPLITS
from rankclip.errors import DataError
from rankclip.evaluation import conditions, embed_task, results, score_request, scoring
from rankclip.evaluation.embed_task import EmbedRequest
from rankclip.evaluation.score_request import ScoreRequest
from rankclip.evaluation.spec import EvaluationSpec
from rankclip.tracking import Tracker
from rankclip.training.machine import Machine

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]


def run(
    spec: EvaluationSpec,
    arm: str,
    runs: Path,
    benchmarks: Path,
    work: Path,
    out: Path,
    tracker: Tracker | None = None,
) -> None:
    """Scores every seed of an arm that is not scored yet and writes the arm's results.

    Args:
        spec: what is measured.
        arm: name of the arm.
        runs: the arm's folder of `seed-<k>` runs.
        benchmarks: folder of the benchmarks, with its manifest.
        work: folder of scores by digest; what is finished there is adopted.
        out: gets `results.parquet`, `predictions.parquet`, `metrics.json` and last `record.json`.
        tracker: gets the test scores of each run as its final metrics.

    Raises:
        DataError: a run, its checkpoint or a benchmark is missing, damaged or of something else.
    """
    asked = requests(spec, runs, benchmarks, work)
    others = sorted({request.arm for request in asked} - {arm})
    if others:
        raise DataError(f"{runs} holds runs of {', '.join(others)}, not only of {arm}; train {arm} again")
    score(asked, work)
    counts = results.merge([request.folder for request in asked], out)
    inputs = {f"seed-{request.seed}": request.checkpoint_digest for request in asked}
    inputs["benchmarks"] = asked[0].benchmarks_digest
    lines = files.read_json(benchmarks / "manifest.json").get("missing", {})
    missing = {name: line for name, line in lines.items() if name in spec.names}
    files.write_record(out, {"arm": arm, "evaluation": spec.dump(), "missing": missing}, inputs, counts)
    if tracker is not None:
        publish(asked, tracker)


def publish(asked: Sequence[ScoreRequest], tracker: Tracker) -> None:
    """Adds the test scores to the runs that training opened in MLflow."""
    for request in asked:
        record = files.read_json(request.run / "record.json")
        log = tracker.open_run(
            f"{request.arm}_s{request.seed}",
            f"{request.key}/{record['key']}",
            request.folder,
            params={"arm": request.arm, "seed": request.seed, **record["config"]},
        )
        log.log_final(results.metrics_summary(files.read_table(request.folder / results.RESULTS)))
        log.finish()


def requests(spec: EvaluationSpec, runs: Path, benchmarks: Path, work: Path) -> list[ScoreRequest]:
    """A request for each seed of an arm's folder of runs, in the order of seeds.

    Raises:
        DataError: there is no run, or one is unfinished.
    """
    folders = list(runs.glob("seed-*"))
    if not folders:
        raise DataError(f"{runs} holds no run (seed-<k>); train the arm with `dvc repro`")
    device = Machine.here().device
    found = [
        score_request.request(folder, spec, benchmarks, work, places.root(), device) for folder in folders
    ]
    return sorted(found, key=lambda request: request.seed)


def pending(asked: Sequence[ScoreRequest]) -> list[ScoreRequest]:
    """The requests that are not finished, each content once."""
    return list({request.folder: request for request in asked if not request.finished}.values())


def score(asked: Sequence[ScoreRequest], work: Path) -> None:
    """Scores what is pending, as many runs at once as the resources allow, of one arm or of many.

    Where there is room for more than the runs, and much to embed, the benchmarks of a run are embedded by
    several workers before.

    Raises:
        RunError: a run could not be scored (the line says why), or another process scores into `work`.
    """
    with lifecycle.lock(work):
        todo = pending(asked)
        log.info("%d of %d runs to score", len(todo), len(asked))
        if not todo:
            return
        with launch.session():
            gpus = _gpus(todo[0].device)
            if shares := embedding(todo, launch.room(1, gpus)):
                launch.values(launch.map_tasks(embed_task.embed_sets, shares, gpus=gpus, logs=work / "logs"))
            asked_for = [request.dump() for request in todo]
            launch.values(launch.map_tasks(scoring.score_run, asked_for, gpus=gpus, logs=work / "logs"))


def embedding(todo: Sequence[ScoreRequest], slots: int) -> list[dict[str, Any]]:
    """Requests to embed parts of the benchmarks of each run; none where the runs alone take all slots."""
    listed = files.read_json(todo[0].benchmarks / "manifest.json")["benchmarks"]
    images = {
        name: sum(part["images"] for part in listed[name].values() if isinstance(part, dict))
        for name in todo[0].evaluation.names
        if name in listed
    }
    count = embed_task.shared(list(images.values()), slots, len(todo))
    if count == 1:
        return []
    return [
        EmbedRequest(
            key=f"{request.key} ({', '.join(names)})",
            checkpoint=str(request.run),
            sets={split: scoring.sets(request, listed, split, names) for split in SPLITS},
            work=request.work,
            device=request.device,
            precision=scoring.PRECISION,
        ).dump()
        for request in todo
        for names in embed_task.parts(images, count)
    ]


def embed_apart(
    checkpoint: str,
    model: str | None,
    sets: Mapping[str, Path],
    work: Path,
    device: Device,
    precision: Precision,
    probes: bool = True,
) -> None:
    """Has several workers embed the test splits of benchmarks, where there are several and much to embed.

    Args:
        checkpoint: as `opening.opened` takes it.
        model: that a file of weights is of.
        sets: name of each benchmark -> its folder.
        work: folder whose `embeddings` keep the rows, on a disk that all nodes share.
        device: where the model works; `auto`: on GPUs where this process has one, since it does the rest.
        precision: of products of matrices and convolutions.
        probes: whether linear probes are fitted.

    Raises:
        InputError: a GPU is asked for, but there is none here.
        RunError: a part could not be embedded.
    """
    if not (launch.on_cluster() or (device != "cpu" and _several_gpus())):
        return
    where, how = conditions.resolved(device, precision)
    path = Path(checkpoint)
    source = str(path.absolute()) if path.exists() else checkpoint
    images = {
        name: benchmark_folder.describe(folder, "test").images
        for name, folder in sets.items()
        if name not in judged.NAMES
    }
    with launch.session():
        gpus = int(where == "cuda")
        if gpus and not launch.has_gpus():
            return  # rows of a GPU are others in their last bits
        count = embed_task.shared(list(images.values()), launch.room(1, gpus), 1)
        shares = [
            EmbedRequest(
                key=f"{checkpoint} ({', '.join(names)})",
                checkpoint=source,
                model=model,
                sets={"test": {name: sets[name] for name in names}},
                work=work,
                device=where,
                precision=how,
                probes=probes,
            ).dump()
            for names in embed_task.parts(images, count)
        ]
        if len(shares) > 1:
            launch.values(launch.map_tasks(embed_task.embed_sets, shares, gpus=gpus, logs=work / "logs"))


def _several_gpus() -> bool:
    import torch  # which the stage's driver does without

    return torch.cuda.device_count() > 1


def _gpus(device: Device) -> int:
    """GPUs of a worker on the Ray there is: one, where there are any and none other is asked for."""
    return int(device == "cuda" or (device == "auto" and launch.has_gpus()))
