"""One run, as plain JSON: what a worker is asked to train."""

from __future__ import annotations

from pathlib import Path

from pydantic import NonNegativeInt, field_validator

from rankclip.models.spec import FILE, ModelSpec
from rankclip.objectives import Objective
from rankclip.spec import Spec, digest
from rankclip.training.machine import Machine
from rankclip.training.spec import TrainSpec

CODE = (
    "data/benchmarks/benchmark.py",
    "data/benchmarks/benchmark_folder.py",
    "data/benchmarks/content.py",
    "data/benchmarks/set_record.py",
    "data/benchmarks/set_texts.py",
    "data/images.py",
    "data/loading",
    "data/tar_members.py",
    "data/tars.py",
    "distributed.py",
    "evaluation/embedded.py",
    "evaluation/embedding.py",
    "evaluation/encoder.py",
    "evaluation/hierarchy.py",
    "evaluation/known_texts.py",
    "evaluation/metrics.py",
    "evaluation/preparing.py",
    "evaluation/scores.py",
    "evaluation/validation.py",
    "evaluation/zero_shot.py",
    "models",
    "objectives",
    "training",
)
"""Sources, below the package, that a run depends on: its weights, and its curve of validation accuracy."""


METRICS = "metrics.jsonl"
"""Name of a run's curve: a line of JSON for each report, in the order of their `step`."""

QUARANTINE = "quarantine.jsonl"
"""Name of a run's list of samples that did not decode; there is none where all did."""

NONFINITE = "nonfinite.jsonl"
"""Name of a run's list of batches that were left out, since their loss or gradient was not finite."""

STOP = "stop"
"""Name of a file by which a driver, of this machine or another, asks a run to save and leave."""


class TrainRequest(Spec):
    """One model to train. Paths are absolute, since a worker has another folder than its driver."""

    key: str
    """What messages call it: `<arm>/seed-<k>`."""

    arm: str
    """Arm of the run."""

    seed: NonNegativeInt
    """Seed of weights and order."""

    model: ModelSpec
    """What is trained."""

    objective: Objective
    """What it is trained for."""

    train: TrainSpec
    """How."""

    shards: Path
    """Folder of shards."""

    shards_digest: str
    """sha256 of their manifest."""

    benchmarks: Path
    """Folder of benchmarks, of which only validation splits are read."""

    validation: dict[str, str]
    """Digest of the validation split of each benchmark that is followed."""

    code: str
    """Digest of the driver's sources in `CODE`."""

    machine: Machine
    """How the worker uses its machine."""

    work: Path
    """Folder under which runs lie, each under its digest."""

    @field_validator("model")
    @classmethod
    def _finds_its_weights_from_any_folder(cls, model: ModelSpec) -> ModelSpec:
        if model.pretrained is None or not FILE.search(model.pretrained):
            return model
        return model.model_copy(update={"pretrained": str(Path(model.pretrained).absolute())})

    @property
    def config(self) -> dict[str, object]:
        """The science of the run: what its record, its parameters and its digest hold."""
        return {"model": self.model.dump(), "objective": self.objective.dump(), "train": self.train.dump()}

    @property
    def content_digest(self) -> str:
        """Digest of all that weights and curve depend on, our code included, but no name and no place."""
        model = self.model.model_dump(
            mode="json", exclude={"pretrained"}
        )  # its digest tells it, from any place
        science = self.config | {"model": model}
        return digest([science, self.seed, self.shards_digest, self.validation, self.code])

    @property
    def followed(self) -> TrainRequest | None:
        """The run whose logit scale this one follows, the same but for its objective, if any."""
        leader = self.objective.replay
        if leader is None:
            return None
        key = f"{self.key}/follows-{leader.name}"
        return self.model_copy(update={"key": key, "arm": leader.name, "objective": leader})

    @property
    def folder(self) -> Path:
        """Where the run trains and its results are written."""
        return self.work / self.content_digest

    @property
    def finished(self) -> bool:
        """Whether the run is done; its record is written last."""
        return (self.folder / "record.json").exists()
