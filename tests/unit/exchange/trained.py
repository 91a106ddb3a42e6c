"""A finished run, as `export` finds it."""

from __future__ import annotations

import json
from pathlib import Path

from rankclip.models import open_clip as door
from rankclip.models.spec import ModelSpec
from rankclip.models.weights import save_weights


def write_run(folder: Path, spec: ModelSpec, bounded: bool = True) -> Path:
    """A finished run of random weights."""
    save_weights(door.build(spec, seed=1, bounded=bounded), spec, folder / "model.safetensors")
    record = {
        "arm": "clip",
        "seed": 1,
        "steps": 1200,
        "weights_step": 900,
        "key": "0123456789abcdef",
        "config": {"model": spec.dump(), "objective": {"name": "clip"}, "train": {"lr": 0.001}},
        "inputs": {"shards": "5a" * 32},
        "counts": {"pairs_seen": 153_600},
        "git_commit": "unknown",
    }
    (folder / "record.json").write_text(json.dumps(record))
    return folder
