"""Shards of small pictures with captions like those of Conceptual Captions, which any trainer reads.

Tars in webdataset's layout, with our index and manifest beside them, and a benchmark for the validation that
our runs end with. Pictures are stored a seventh larger than the model sees them, as 256 pixels are to 224.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.loading import photo
from rankclip import files
from rankclip.data import tars
from rankclip.data.benchmarks import benchmark_folder

SIDE = 36
PER_SHARD = 256
BENCHMARK = "shape"
# fmt: off
WORDS = (
    "a", "the", "of", "in", "on", "with", "and", "at", "for", "by", "photo", "person", "view", "city",
    "during", "illustration", "actor", "festival", "night", "people", "background", "portrait", "house",
    "young", "woman", "man", "water", "vector", "white", "old", "street", "beach", "team", "film",
    "premiere", "garden", "mountain", "sunset", "tree", "player", "football", "dress", "artist", "winter",
    "flowers", "kitchen", "design", "fashion", "dog", "landscape", "blue", "building", "car", "road",
    "musician", "performs", "stage",
)
# fmt: on
CC = (5, 25)
"""Words of a caption: Conceptual Captions has 10 on average, 12M has 20."""
LONG = (80, 90)
"""Words of captions that fill the text tower, of which nothing can be trimmed."""


def caption(number: int, words: tuple[int, int]) -> str:
    """As many words as drawn between both bounds, each as likely."""
    stream = np.random.default_rng(number)
    return " ".join(stream.choice(WORDS, stream.integers(words[0], words[1] + 1)))


def write(folder: Path, samples: int, words: tuple[int, int]) -> Path:
    """A folder of data, `shards` and `benchmarks`; what is there already stays."""
    if (folder / "benchmarks" / "manifest.json").exists():
        return folder
    shards, rows, described = folder / "shards", [], {}
    for start in range(0, samples, PER_SHARD):
        path = shards / f"{start // PER_SHARD:05d}.tar"
        numbers = range(start, min(start + PER_SHARD, samples))
        with tars.writing(path) as tar:
            for number in numbers:
                span = tar.add(f"{number:09d}.jpg", photo(number, SIDE))
                text = caption(number, words)
                tar.add(f"{number:09d}.txt", text.encode())
                rows.append((f"{number:09d}", path.name, span.offset, span.size, [text]))
        described[path.name] = {
            "sha256": files.sha256(path), "bytes": path.stat().st_size, "samples": len(numbers)
        }  # fmt: skip
    names = ("key", "shard", "offset", "size", "captions.raw")
    columns: dict[str, Any] = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    files.write_table(shards / "index.parquet", pa.table(columns))
    index = files.sha256(shards / "index.parquet")
    told = {"samples": samples, "index_sha256": index, "shards": described}
    files.write_json(shards / "manifest.json", told)
    write_benchmark(folder / "benchmarks")
    return folder


def write_benchmark(folder: Path) -> None:
    """Four pictures of two classes."""
    own = folder / f"wds_{BENCHMARK}"
    pictures = [benchmark_folder.Sample(f"s{k:07d}", photo(k, SIDE), "jpg", k % 2) for k in range(4)]
    benchmark_folder.write_split(own, "val", pictures)
    benchmark_folder.write_classes(own, ["wave", "grain"], ["a {c}"])
    listed = {BENCHMARK: {"val": {"digest": benchmark_folder.read_split(own, "val").digest}}}
    (folder / "manifest.json").write_text(json.dumps({"benchmarks": listed}))
