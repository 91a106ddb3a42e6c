"""Scoring one run, as a task of its own: plain JSON in, files and plain JSON out, done once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import NonNegativeInt

from rankclip import files
from rankclip.data.benchmarks.content import SPLITS
from rankclip.errors import DataError
from rankclip.evaluation.spec import EvaluationSpec
from rankclip.spec import Spec, digest

if TYPE_CHECKING:
    from rankclip.evaluation.scores import Scores

CODE = (
    "data/benchmarks/benchmark.py",
    "data/benchmarks/benchmark_folder.py",
    "data/benchmarks/content.py",
    "data/benchmarks/gains.py",
    "data/tar_members.py",
    "data/tars.py",
    "evaluation/encoder.py",
    "evaluation/metrics.py",
    "evaluation/results.py",
    "evaluation/retrieval.py",
    "evaluation/scores.py",
    "evaluation/scoring.py",
    "evaluation/suite.py",
    "evaluation/zero_shot.py",
    "models",
)
"""Sources, below the package, that a score depends on."""


class ScoreRequest(Spec):
    """One trained run to score. Paths are absolute, since a worker has another folder than its driver."""

    key: str
    """What messages call it: `<arm>/seed-<k>`."""

    run: Path
    """The run's folder: `model.safetensors` and `record.json`."""

    arm: str
    """Arm of the run."""

    seed: NonNegativeInt
    """Seed of the run."""

    step: NonNegativeInt
    """Optimiser steps that the checkpoint has seen."""

    checkpoint_digest: str
    """sha256 of the weights."""

    config_digest: str
    """Digest of the run's config."""

    benchmarks: Path
    """Folder of the benchmarks."""

    benchmarks_digest: str
    """sha256 of their manifest."""

    code: str
    """Digest of the driver's sources in `CODE`."""

    evaluation: EvaluationSpec
    """What is measured."""

    work: Path
    """Folder under which the scores of every request lie, each under its digest."""

    @property
    def content_digest(self) -> str:
        """Digest of all that the scores depend on, our code included, but not of where things lie."""
        return digest(self.model_dump(mode="json", exclude={"run", "benchmarks", "work"}))

    @property
    def folder(self) -> Path:
        """Where the scores are written."""
        return self.work / self.content_digest

    @property
    def finished(self) -> bool:
        """Whether the scores are there; the record is written last."""
        return (self.folder / "record.json").exists()


def request(run: Path, evaluation: EvaluationSpec, benchmarks: Path, work: Path) -> ScoreRequest:
    """The request to score a finished run.

    Raises:
        DataError: the run or the benchmarks are unfinished or damaged.
    """
    remedy = "train it again with `dvc repro`"
    record = files.read_json(run / "record.json", remedy)
    weights = run / "model.safetensors"
    if not weights.exists():
        raise DataError(f"{weights} is missing; {remedy}")
    manifest = benchmarks / "manifest.json"
    listed = files.read_json(manifest, "make the benchmarks with `dvc repro benchmarks`")["benchmarks"]
    missing = [name for name in evaluation.names if name not in listed]
    if missing:
        raise DataError(
            f"{manifest} lacks {', '.join(missing)}; make the benchmarks with `dvc repro benchmarks`"
        )
    try:
        arm, seed, step, config = (record[name] for name in ("arm", "seed", "steps", "config"))
    except (KeyError, TypeError) as error:
        raise DataError(f"{run / 'record.json'} is not the record of a run (no {error}); {remedy}") from None
    return ScoreRequest(
        key=f"{arm}/seed-{seed}",
        run=run.absolute(),
        arm=arm,
        seed=seed,
        step=step,
        checkpoint_digest=files.sha256(weights),
        config_digest=digest(config),
        benchmarks=benchmarks.absolute(),
        benchmarks_digest=files.sha256(manifest),
        code=files.code_digest(CODE),
        evaluation=evaluation,
        work=work.absolute(),
    )


def score_run(request: dict[str, Any]) -> dict[str, Any]:
    """Scores a run on the validation and test splits, unless that is done; the function of a worker.

    Args:
        request: a `ScoreRequest` as plain JSON.

    Returns:
        `{"arm", "seed", "folder", "elapsed_s"}` of what was scored.

    Raises:
        DataError: the checkpoint is of another model, its weights are not finite, or a benchmark is damaged.
    """
    asked = ScoreRequest.model_validate(request)
    started = time.monotonic()
    if not asked.finished:
        _score(asked)
    elapsed = round(time.monotonic() - started, 3)
    return {"arm": asked.arm, "seed": asked.seed, "folder": str(asked.folder), "elapsed_s": elapsed}


def _score(asked: ScoreRequest) -> None:
    from rankclip.evaluation import results, suite
    from rankclip.evaluation.scores import Scores
    from rankclip.models.open_clip import load_encoder

    files.require_code(asked.key, asked.code, CODE)
    encoder = load_encoder(asked.run)
    scores = Scores()
    for split in SPLITS:
        scores += suite.evaluate(encoder, asked.benchmarks, asked.evaluation.names, split)
    _require_listed(asked, scores)
    identity = results.RunIdentity(
        asked.arm, asked.seed, asked.step, asked.checkpoint_digest, asked.config_digest
    )
    results.write_scores(asked.folder, identity, scores)
    inputs = {"checkpoint": asked.checkpoint_digest, "benchmarks": asked.benchmarks_digest}
    files.write_record(asked.folder, asked.evaluation.dump(), inputs, {"results": len(scores.rows)})


def _require_listed(asked: ScoreRequest, scores: Scores) -> None:
    """Refuses scores on other images than the manifest lists: the sets lie beside it, untracked.

    Raises:
        DataError: a set is not the one of the manifest.
    """
    listed = files.read_json(asked.benchmarks / "manifest.json")["benchmarks"]
    for row in scores.rows:
        expected = listed[row.benchmark][row.split]["digest"]
        if row.data_digest != expected:
            folder = asked.benchmarks / f"wds_{row.benchmark}" / row.split
            raise DataError(
                f"{folder} ({row.data_digest}) is not what the manifest lists ({expected}); make it again "
                "with `dvc repro -f -s benchmarks`"
            )
