"""Writes the benchmarks of a study as folders that CLIP_benchmark and we can read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rankclip import files
from rankclip.data.benchmarks import BenchmarkSpec, benchmark_folder, gains
from rankclip.data.benchmarks.content import SPLITS
from rankclip.spec import Spec

MANIFEST = "manifest.json"


def run(benchmarks: Sequence[BenchmarkSpec], source: Spec, out: Path) -> None:
    """Writes `out/wds_<name>/` for each benchmark, `out/record.json`, and last `out/manifest.json`.

    The manifest says of each benchmark
    `{"task", "classes", "val": {"images", "captions", "digest"}, "test": {...}}`.

    Raises:
        InputError: a benchmark cannot be made from this source.
        DataError: what was written cannot be read back.
    """
    (out / MANIFEST).unlink(missing_ok=True)
    for stale in out.glob("wds_*"):
        shutil.rmtree(stale)
    manifest = {spec.name: _write(spec, source, out / f"wds_{spec.name}") for spec in benchmarks}
    images = sum(entry[split]["images"] for entry in manifest.values() for split in SPLITS)
    config = {"benchmarks": [spec.dump() for spec in benchmarks], "source": source.dump()}
    files.write_record(out, config, {}, {"benchmarks": len(manifest), "images": images})
    files.write_json(out / MANIFEST, {"benchmarks": manifest})


def _write(spec: BenchmarkSpec, source: Spec, folder: Path) -> dict[str, Any]:
    for split in SPLITS:
        content = spec.content(source, split)
        if content.classnames:
            benchmark_folder.write_classes(folder, content.classnames, content.templates)
        benchmark_folder.write_split(folder, split, content.samples)
        if content.gains is not None:
            gains.write(folder / split, content.gains)
    entry: dict[str, Any] = {}
    for split in SPLITS:
        # read back, so that a benchmark that cannot be read is found here and not after hours of training
        data = benchmark_folder.read_split(folder, split)
        captions = sum(len(sample.captions) for sample in data.samples)
        graded = gains.read(folder / split, len(data.samples), captions)
        entry |= {"task": data.task, "classes": len(data.classnames)}
        entry[split] = {
            "images": len(data.samples),
            "captions": captions,
            "digest": gains.data_digest(data.digest, graded),
        }
    return entry
