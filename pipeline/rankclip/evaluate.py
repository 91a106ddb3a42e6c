"""Scoring many runs: which are asked for, which are not done, and an arm's results as one folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from rankclip import files, launch, lifecycle
from rankclip.errors import DataError
from rankclip.evaluation import results, scoring
from rankclip.evaluation.scoring import ScoreRequest
from rankclip.evaluation.spec import EvaluationSpec
from rankclip.tracking import Tracker

log = logging.getLogger(__name__)


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
    files.write_record(out, {"arm": arm, "evaluation": spec.dump()}, inputs, counts)
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
    found = [scoring.request(folder, spec, benchmarks, work) for folder in folders]
    return sorted(found, key=lambda request: request.seed)


def pending(asked: Sequence[ScoreRequest]) -> list[ScoreRequest]:
    """The requests that are not finished, each content once."""
    return list({request.folder: request for request in asked if not request.finished}.values())


def score(asked: Sequence[ScoreRequest], work: Path) -> None:
    """Scores what is pending, as many runs at once as the resources allow, of one arm or of many.

    Raises:
        RunError: a run could not be scored (the line says why), or another process scores into `work`.
    """
    with lifecycle.lock(work):
        todo = pending(asked)
        log.info("%d of %d runs to score", len(todo), len(asked))
        if todo:
            asked_for = [request.dump() for request in todo]
            launch.values(launch.map_tasks(scoring.score_run, asked_for, logs=work / "logs"))
