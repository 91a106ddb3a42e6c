"""Writes the benchmarks of a study as folders that CLIP_benchmark and we can read."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rankclip import files
from rankclip.data.benchmarks import BenchmarkSpec, benchmark_folder, gains, judged, latents, places, public
from rankclip.data.benchmarks.content import SPLITS, Content, SplitName
from rankclip.data.benchmarks.judged import JudgedBenchmark
from rankclip.data.benchmarks.public import PublicBenchmark
from rankclip.errors import DataError
from rankclip.spec import Spec

MANIFEST = "manifest.json"

log = logging.getLogger(__name__)


class Made(Protocol):
    """A benchmark that is written for a study."""

    def content(self, source: Spec, split: SplitName) -> Content:
        """One split."""
        ...


def run(benchmarks: Sequence[BenchmarkSpec], source: Spec, out: Path) -> None:
    """Writes `out/wds_<name>/` for each benchmark, `out/record.json`, and last `out/manifest.json`.

    The manifest says of each benchmark
    `{"task", "classes", "val": {"images", "captions", "digest"}, "test": {...}}`. Public sets are read where
    they lie: they have no `val`, and `"public": true`; those that are not there are named under `missing`,
    each with a line that says how to get it.

    Raises:
        InputError: a benchmark cannot be made from this source.
        DataError: what was written cannot be read back, or a public set is damaged.
    """
    (out / MANIFEST).unlink(missing_ok=True)
    for stale in out.glob("wds_*"):
        shutil.rmtree(stale)
    made: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    for spec in benchmarks:
        if not isinstance(spec, PublicBenchmark | JudgedBenchmark):
            made[spec.name] = _write(spec, source, out / f"wds_{spec.name}")
        elif (why := public.missing(spec.name)) is None:
            made[spec.name] = _entry(spec.name)
        else:
            missing[spec.name] = why
            log.warning("%s", why)
    if missing:
        log.warning("left out of results: %s; they belong in %s", ", ".join(missing), places.root())
    images = sum(of["images"] for entry in made.values() for of in entry.values() if isinstance(of, dict))
    config = {"benchmarks": [spec.dump() for spec in benchmarks], "source": source.dump()}
    counts = {"benchmarks": len(made), "missing": len(missing), "images": images}
    files.write_record(out, config, {}, counts)
    files.write_json(out / MANIFEST, {"benchmarks": made, "missing": missing})


def is_current(manifest: Path) -> bool:
    """Whether the public sets of a manifest are as they were when it was made: there, missing, the same."""
    listed: Any = files.read_json(manifest)
    known = {name: entry for name, entry in listed["benchmarks"].items() if entry.get("public")}
    try:
        return all(public.missing(name) for name in listed.get("missing", {})) and all(
            public.missing(name) is None and _entry(name) == entry for name, entry in known.items()
        )
    except DataError:  # which the stage tells of
        return False


def _entry(name: str) -> dict[str, Any]:
    """What the manifest says of a public or judged set."""
    if name in judged.NAMES:
        data = judged.load(name, places.root())
        counts = {"images": data.images, "captions": sum(map(len, data.captions)), "digest": data.digest}
        return {"task": data.task, "classes": 0, "test": counts, "public": True, "judged": True}
    folder = places.root() / f"wds_{name}"
    entry: dict[str, Any] = {}
    for split in public.splits_here(name):
        about = benchmark_folder.describe(folder, split)
        entry |= {"task": about.task, "classes": len(about.classnames)}
        entry[split] = {"images": about.images, "captions": about.captions, "digest": about.digest}
    return entry | {"public": True}


def _write(spec: Made, source: Spec, folder: Path) -> dict[str, Any]:
    splits: tuple[SplitName, ...] = getattr(spec, "splits", SPLITS)
    for split in splits:
        content = spec.content(source, split)
        if content.classnames:
            benchmark_folder.write_classes(folder, content.classnames, content.templates)
        benchmark_folder.write_split(folder, split, content.samples)
        if content.gains is not None:
            gains.write(folder / split, content.gains)
        if content.latents is not None:
            latents.write(folder / split, content.latents)
    entry: dict[str, Any] = {}
    for split in splits:
        # read back, so that a benchmark that cannot be read is found here and not after hours of training
        about = benchmark_folder.describe(folder, split)
        graded = gains.read(folder / split, about.images, about.captions)
        known = latents.read(folder / split, about.images)
        digest = latents.data_digest(gains.data_digest(about.digest, graded), known)
        entry |= {"task": about.task, "classes": len(about.classnames)}
        entry[split] = {"images": about.images, "captions": about.captions, "digest": digest}
    return entry
