"""Scoring one run, as a task of its own: plain JSON in, files and plain JSON out, done once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import NonNegativeInt

from rankclip import files
from rankclip.data.benchmarks import judged
from rankclip.data.benchmarks.content import SPLITS, SplitName
from rankclip.errors import DataError
from rankclip.evaluation.spec import EvaluationSpec
from rankclip.spec import Spec, digest

if TYPE_CHECKING:
    from rankclip.evaluation.scores import Scores
    from rankclip.evaluation.store import Store

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
    """Optimiser steps that the checkpoint has seen."""

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
    """Where the model works, with bfloat16 on a GPU; `auto`: on a GPU where the worker has one."""

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
        public=public.absolute(),
        benchmarks_digest=files.sha256(manifest),
        code=files.code_digest(CODE),
        evaluation=evaluation,
        device=device,
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
    from rankclip.evaluation import conditions, results, suite
    from rankclip.evaluation.scores import Scores
    from rankclip.evaluation.store import Store, rows_folder
    from rankclip.models.open_clip import load_encoder

    files.require_code(asked.key, asked.code, CODE)
    device, precision = conditions.resolved(asked.device, "auto")
    encoder = load_encoder(asked.run, device, precision)
    folder = rows_folder(asked.work, asked.checkpoint_digest, device, precision)
    store = Store(encoder, folder, device)
    listed = files.read_json(asked.benchmarks / "manifest.json")
    known, scores = listed["benchmarks"], Scores()
    for split in SPLITS:
        scores += suite.evaluate(store, sets(asked, known, split, asked.evaluation.names), split)
    _require_listed(asked, known, scores, store)
    identity = results.RunIdentity(
        asked.arm, asked.seed, asked.step, asked.checkpoint_digest, asked.config_digest
    )
    how = conditions.of(encoder, device)
    results.write_scores(asked.folder, identity, scores, how)
    missing = {
        name: line for name, line in listed.get("missing", {}).items() if name in asked.evaluation.names
    }
    files.write_record(
        asked.folder,
        {**asked.evaluation.dump(), "missing": missing, "conditions": how.dump()},
        {"checkpoint": asked.checkpoint_digest, "benchmarks": asked.benchmarks_digest},
        {"results": len(scores.rows), "missing": len(missing)},
    )


def sets(
    asked: ScoreRequest, listed: Mapping[str, Any], split: SplitName, among: Sequence[str]
) -> dict[str, Path]:
    """Folders of those benchmarks that have a split, by name; public sets have no `val`."""
    return {name: place(asked, listed, name) for name in among if split in listed.get(name, {})}


def place(asked: ScoreRequest, listed: Mapping[str, Any], name: str) -> Path:
    """The folder of a benchmark; of a set of judgements that of all public sets."""
    if name in judged.NAMES:
        return asked.public
    return (asked.public if listed[name].get("public") else asked.benchmarks) / f"wds_{name}"


def _require_listed(asked: ScoreRequest, listed: Mapping[str, Any], scores: Scores, store: Store) -> None:
    """Refuses scores on other images than the manifest lists: the sets lie beside it, untracked.

    Raises:
        DataError: a set is not the one of the manifest.
    """
    found: dict[tuple[str, str], str] = {}
    for row in scores.rows:  # the first is of the split alone, those of probes also of what they learned on
        found.setdefault((row.benchmark, row.split), row.data_digest)
    found |= {key: about.digest for key, about in store.seen.items() if key[1] == "train"}
    for (name, split), data_digest in found.items():
        expected = listed[name].get(split, {}).get("digest", "nothing")
        if data_digest != expected:
            raise DataError(
                f"{place(asked, listed, name) / split} ({data_digest}) is not what the manifest lists "
                f"({expected}); make it again with `dvc repro -f -s benchmarks`"
            )
