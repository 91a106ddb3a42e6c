"""A study small enough to train in a second: real shards, a real benchmark, a real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rankclip import files, pretrain
from rankclip.data.benchmarks import benchmark_folder
from rankclip.data.curation import curate
from rankclip.data.curation.spec import CurateSpec
from rankclip.data.sharding import shards
from rankclip.data.sharding.spec import ShardSpec
from rankclip.models.spec import ModelSpec
from rankclip.objectives import Objective
from rankclip.training.request import CODE, TrainRequest
from rankclip.training.spec import TrainSpec
from tests.unit.data.crawled import Row, encoded, lay_out, picture

IMAGES = 20
MODEL = ModelSpec(name="shapes-rn")
TRAIN = TrainSpec(
    batch_size=8, steps=7, lr=1e-3, warmup_steps=2, weight_decay=0.1, betas=(0.9, 0.98), eps=1e-6,
    max_alpha=100.0, captions="raw", shift_pixels=2, threads=1, log_every=2, validation=("shape",),
    validate_every=5, checkpoint_every=3,
)  # fmt: skip
ONE = {"name": "constant", "value": 1.0}
RANK = {"weight": {**ONE, "value": 0.1}, "teacher": "shuffled"}
OBJECTIVE = Objective.model_validate(
    {
        "name": "rankclip_shuffled",
        "terms": [
            {"name": "contrastive", "weight": ONE},
            {"name": "rank_cross", **RANK},
            {"name": "rank_in", **RANK},
        ],
    }
)


def write(folder: Path, captions: bool = True) -> Path:
    """`folder/data` with shards of IMAGES images (the first has no caption `detail`) and a benchmark."""
    rows = [Row(encoded(picture((10 * k, 255 - 9 * k, 40), (40 + k, 36)))) for k in range(IMAGES)]
    data = lay_out(folder / "data", rows, captions)
    curate.run(CurateSpec(), data)
    shards.run(ShardSpec(samples_per_shard=9), data, folder / "work")
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
        objective=OBJECTIVE, train=TrainSpec.model_validate({**TRAIN.dump(), **changes}),
        shards=data / "shards", shards_digest="0", benchmarks=data / "benchmarks", work=work,
        validation=pretrain.validation_digests(data / "benchmarks", ("shape",)), code=files.code_digest(CODE),
    )  # fmt: skip
