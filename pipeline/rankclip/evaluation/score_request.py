"""One trained run to score, as plain JSON: what a worker is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt

from rankclip import files
from rankclip.errors import DataError
from rankclip.evaluation.spec import EvaluationSpec
from rankclip.spec import Spec, digest

CODE = (
    "data/benchmarks/benchmark.py",
    "data/benchmarks/benchmark_folder.py",
    "data/benchmarks/coco.py",
    "data/benchmarks/content.py",
    "data/benchmarks/crisscrossed.py",
    "data/benchmarks/eccv.py",
    "data/benchmarks/gains.py",
    "data/benchmarks/judged.py",
    "data/benchmarks/latents.py",
    "data/benchmarks/set_record.py",
    "data/benchmarks/set_texts.py",
    "data/benchmarks/split_array.py",
    "data/benchmarks/sugarcrepe.py",
    "data/tar_members.py",
    "data/tars.py",
    "evaluation/choices.py",
    "evaluation/conditions.py",
    "evaluation/correlation.py",
    "evaluation/embedded.py",
    "evaluation/embedding.py",
    "evaluation/encoder.py",
    "evaluation/geometry.py",
    "evaluation/graded.py",
    "evaluation/hierarchy.py",
    "evaluation/judged.py",
    "evaluation/known_texts.py",
    "evaluation/linear_layer.py",
    "evaluation/linear_probe.py",
    "evaluation/logistic.py",
    "evaluation/metrics.py",
    "evaluation/penalties.py",
    "evaluation/preparing.py",
    "evaluation/results.py",
    "evaluation/retrieval.py",
    "evaluation/row_files.py",
    "evaluation/score_request.py",
    "evaluation/scores.py",
    "evaluation/scoring.py",
    "evaluation/similarity.py",
    "evaluation/store.py",
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
    """Optimiser steps that the weights have seen: fewer than the run's where its best ones were kept."""

    checkpoint_digest: str
    """sha256 of the weights."""

    config_digest: str
    """Digest of the run's config."""

    benchmarks: Path
    """Folder of the benchmarks, with the manifest."""

    public: Path
    """Folder of the public sets."""

    benchmarks_digest: str
    """sha256 of their manifest."""

    code: str
    """Digest of the driver's sources in `CODE`."""

    evaluation: EvaluationSpec
    """What is measured."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model works; `auto`: on a GPU where the worker has one."""

    work: Path
    """Folder under which the scores of every request lie, each under its digest."""

    @property
    def content_digest(self) -> str:
        """Digest of all that the scores depend on, our code included, but not of where things lie."""
        return digest(self.model_dump(mode="json", exclude={"run", "benchmarks", "public", "device", "work"}))

    @property
    def folder(self) -> Path:
        """Where the scores are written."""
        return self.work / self.content_digest

    @property
    def finished(self) -> bool:
        """Whether the scores are there; the record is written last."""
        return (self.folder / "record.json").exists()


def request(
    run: Path,
    evaluation: EvaluationSpec,
    benchmarks: Path,
    work: Path,
    public: Path,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> ScoreRequest:
    """The request to score a finished run; `public` is the folder of public sets.

    Raises:
        DataError: the run or the benchmarks are unfinished or damaged.
    """
    remedy = "train it again with `dvc repro`"
    record = files.read_json(run / "record.json", remedy)
    weights = run / "model.safetensors"
    if not weights.exists():
        raise DataError(f"{weights} is missing; {remedy}")
    manifest = benchmarks / "manifest.json"
    listed = files.read_json(manifest, "make the benchmarks with `dvc repro benchmarks`")
    known = listed["benchmarks"].keys() | listed.get("missing", {}).keys()
    if lacking := [name for name in evaluation.names if name not in known]:
        raise DataError(
            f"{manifest} lacks {', '.join(lacking)}; make the benchmarks with `dvc repro benchmarks`"
        )
    try:
        arm, seed, steps, config = (record[name] for name in ("arm", "seed", "steps", "config"))
    except (KeyError, TypeError) as error:
        raise DataError(f"{run / 'record.json'} is not the record of a run (no {error}); {remedy}") from None
    return ScoreRequest(
        key=f"{arm}/seed-{seed}",
        run=run.absolute(),
        arm=arm,
        seed=seed,
        step=record.get("weights_step", steps),
        checkpoint_digest=files.sha256(weights),
        config_digest=digest(config),
        benchmarks=benchmarks.absolute(),
        public=public.absolute(),
        benchmarks_digest=files.sha256(manifest),
        code=files.code_digest(CODE),
        evaluation=evaluation,
        device=device,
        work=work.absolute(),
    )
