"""Scoring one run, as a task of its own: plain JSON in, files and plain JSON out, done once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rankclip import files
from rankclip.data.benchmarks import judged
from rankclip.data.benchmarks.content import SPLITS, SplitName
from rankclip.errors import DataError
from rankclip.evaluation.score_request import CODE, ScoreRequest

if TYPE_CHECKING:
    from rankclip.evaluation.scores import Scores
    from rankclip.evaluation.store import Store

PRECISION: Literal["fp32"] = "fp32"
"""Of every score of a study, whichever worker computes it: the difference between two arms may be smaller
than what bfloat16 changes."""


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
    from rankclip.models.trained import load_encoder

    files.require_code(asked.key, asked.code, CODE)
    _require_unchanged(asked)
    device, precision = conditions.resolved(asked.device, PRECISION)
    encoder = load_encoder(asked.run, device, precision)
    folder = rows_folder(asked.work, asked.checkpoint_digest, encoder, device)
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


def _require_unchanged(asked: ScoreRequest) -> None:
    """Refuses to work under the digests of other files than those that are here.

    Raises:
        DataError: the weights or the manifest are others than when the request was made.
    """
    for path, expected in (
        (asked.run / "model.safetensors", asked.checkpoint_digest),
        (asked.benchmarks / "manifest.json", asked.benchmarks_digest),
    ):
        if files.sha256(path) != expected:
            raise DataError(f"{path} was changed while {asked.key} waited to be scored; start again")


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
