"""A study small enough to train in a second: real shards, a real benchmark, a real model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rankclip import files, pretrain
from rankclip.data.benchmarks import benchmark_folder
from rankclip.models.spec import ModelSpec
from rankclip.objectives import Objective
from rankclip.training.machine import Machine
from rankclip.training.request import CODE, TrainRequest
from rankclip.training.spec import TrainSpec
from tests.unit.data import sharded
from tests.unit.data.crawled import encoded, picture

IMAGES = 20
MODEL = ModelSpec(name="shapes-rn")
TRAIN = TrainSpec(
    batch_size=8, steps=7, lr=1e-3, logit_scale_lr=None, schedule="cosine", warmup_steps=2, cooldown_steps=0,
    schedule_ahead=0, weight_decay=0.1, betas=(0.9, 0.98), eps=1e-6, initial_alpha=None,
    max_alpha=100.0, clip_norm=None,
    skip_nonfinite=0, precision="fp32", patch_dropout=0.0, micro_batch=None, weights="last",
    ema_decay=0.9, captions="raw", shift_pixels=2, crop=None, threads=1, log_every=2, diagnose_every=None,
    validation=("shape",), validate_every=5, checkpoint_every=3,
)  # fmt: skip
ONE = {"name": "constant", "value": 1.0}
CONTRASTIVE = {"name": "contrastive", "weight": ONE}


def ranked(name: str, **options: Any) -> Objective:
    """CLIP with both rank terms, of these options."""
    rank = {"weight": {**ONE, "value": 0.1}, **options}
    return objective(name, [CONTRASTIVE, {"name": "rank_cross", **rank}, {"name": "rank_in", **rank}])


def objective(name: str, terms: Sequence[Mapping[str, Any]], replay: Objective | None = None) -> Objective:
    """An objective of terms of weight 1."""
    weighted = [{"weight": ONE, **term} for term in terms]
    followed = replay and replay.dump()
    return Objective.model_validate({"name": name, "terms": weighted, "replay": followed})


OBJECTIVE = ranked("rankclip_shuffled", teacher="shuffled")


def write(folder: Path, captions: bool = True) -> Path:
    """`folder/data` with shards of IMAGES images (the first has no caption `detail`) and a benchmark.

    The latents of the images are directions in a quarter of a plane.
    """
    data = folder / "data"
    blobs = [encoded(picture((10 * k, 255 - 9 * k, 40), (40 + k, 36))) for k in range(IMAGES)]
    slots: dict[str, list[str | list[str]]] = {"raw": [f"caption {k}" for k in range(IMAGES)]}
    if captions:
        slots["detail"] = [[]] + [f"detail of {k}" for k in range(1, IMAGES)]
    sharded.write(data / "shards", blobs, slots, per_shard=9)
    angles = np.linspace(0, np.pi / 2, IMAGES)
    latents = pa.array(list(np.stack([np.cos(angles), np.sin(angles)], axis=1)))
    index = data / "shards" / "index.parquet"
    files.write_table(index, files.read_table(index).append_column("latents", latents))
    sharded.describe(index.parent)
    shape = data / "benchmarks" / "wds_shape"
    samples = [
        benchmark_folder.Sample(f"s{k:07d}", encoded(picture((60 * k, 9, 9), (32, 32)), "PNG"), "png", k % 2)
        for k in range(4)
    ]
    benchmark_folder.write_split(shape, "val", samples)
    benchmark_folder.write_classes(shape, ["circle", "square"], ["a {c}"])
    listed = {"shape": {"val": {"digest": benchmark_folder.read_split(shape, "val").digest}}}
    files.write_json(data / "benchmarks" / "manifest.json", {"benchmarks": listed})
    return data


def request(data: Path, work: Path, **changes: Any) -> TrainRequest:
    """A run of the tiny study in `work`, its recipe changed."""
    return TrainRequest(
        key="arm/seed-4", arm="arm", seed=changes.pop("seed", 4), model=changes.pop("model", MODEL),
        objective=changes.pop("objective", OBJECTIVE),
        train=TrainSpec.model_validate({**TRAIN.dump(), **changes}),
        shards=data / "shards", shards_digest="0", benchmarks=data / "benchmarks", work=work,
        validation=pretrain.validation_digests(data / "benchmarks", ("shape",)), code=files.code_digest(CODE),
        machine=Machine(device="cpu"),
    )  # fmt: skip
