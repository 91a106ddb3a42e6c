"""Reading and loading of shards, ours against webdataset + PIL + torchvision, each in a process of its own.

`python -m bench.loading` prints JSON. What is compared gives the same: images of 224 pixels from JPEGs of 256
and tokens of their captions, with as many processes. webdataset's are normalised where they are decoded, as
open_clip does it; ours are normalised as batches, which is timed too. Images are scaled as in evaluation, and
cut out at random as open_clip does in training.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from bench import timing
from rankclip import files
from rankclip.data.loading.samples import Samples

ROOT = Path(__file__).parents[1]
SIZE, SIDE, QUALITY = 224, 256, 90
BATCH = 64
PER_SHARD = 500
RAW_ROUNDS = 15


def photo(number: int, side: int = SIDE) -> bytes:
    """A JPEG as large as that of a photo: waves of colour and noise."""
    stream = np.random.default_rng(number)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [
        128 + 60 * (stream.normal() * x + stream.normal() * y)
        + 30 * np.sin(stream.uniform(10, 120) * (stream.normal() * x + stream.normal() * y))
        for _ in range(3)
    ]  # fmt: skip
    grain = stream.normal(0, 6, (side, side, 1)) + stream.normal(0, 3, (side, side, 3))
    pixels = (np.stack(waves, axis=-1) + grain).clip(0, 255).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=QUALITY)
    return target.getvalue()


def caption(number: int) -> str:
    """About as long as those of CC12M."""
    words = ["photo", "of", "a", "wave", "in", "colour", "over", "grain", "at", "sunset", "with", "water"]
    stream = np.random.default_rng(number)
    return " ".join(words[k] for k in stream.integers(0, len(words), 18)) + f" {number}"


def write(folder: Path, samples: int) -> None:
    """Shards in webdataset's layout with our index."""
    columns: dict[str, list[Any]] = {name: [] for name in ("key", "shard", "offset", "size")}
    manifest = {}
    for start in range(0, samples, PER_SHARD):
        path = folder / f"{start // PER_SHARD:05d}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = range(start, min(start + PER_SHARD, samples))
        with tarfile.open(path, "w") as tar:
            for number in numbers:
                key, note = f"{number:09d}", json.dumps({"key": number, "width": SIDE}).encode()
                for suffix, blob in (
                    ("jpg", photo(number)),
                    ("json", note),
                    ("txt", caption(number).encode()),
                ):
                    member = tarfile.TarInfo(f"{key}.{suffix}")
                    member.size = len(blob)
                    if suffix == "jpg":
                        place = (key, path.name, tar.offset + tarfile.BLOCKSIZE, len(blob))
                    tar.addfile(member, io.BytesIO(blob))
                for column, value in zip(columns.values(), place, strict=True):
                    column.append(value)
        manifest[path.name] = {
            "sha256": files.sha256(path), "bytes": path.stat().st_size, "samples": len(numbers)
        }  # fmt: skip
    columns["captions.raw"] = [[caption(number)] for number in range(samples)]
    files.write_table(folder / "index.parquet", pa.table(columns))
    index = files.sha256(folder / "index.parquet")
    files.write_json(
        folder / "manifest.json", {"samples": samples, "index_sha256": index, "shards": manifest}
    )


def raw(folder: Path, workers: int) -> dict[str, float]:
    """Samples/s of images and captions as stored: webdataset's in order of the tars, ours in another too."""
    import webdataset

    paths = sorted(str(path) for path in folder.glob("*.tar"))
    with Samples(folder) as samples:
        order, texts = list(range(len(samples))), samples.captions("raw")
        shuffled = np.random.default_rng(0).permutation(len(samples)).tolist()
        calls: dict[str, timing.Call] = {
            "raw webdataset": lambda: sum(1 for _ in webdataset.WebDataset(paths, shardshuffle=False)),
            "raw ours in order": lambda: [bool(samples.read(i) and texts[i]) for i in order],
            "raw ours at random": lambda: [bool(samples.read(i) and texts[i]) for i in shuffled],
        }
        times = timing.interleaved(calls, RAW_ROUNDS, "cpu")
        return {name: len(samples) / statistics.median(each) for name, each in times.items()}


CROP = (0.9, 1.0)
"""Share of an image that is cut out: open_clip's."""


def full_ours(
    folder: Path, workers: int, *, normalised: bool = False, crop: tuple[float, float] | None = None
) -> float:
    """Samples/s of batches."""
    from rankclip.data.loading.loader import Loader
    from rankclip.data.loading.rows import Rows
    from rankclip.models.spec import ModelSpec
    from rankclip.training.feed import tokens

    os.environ["RANKCLIP_LOADER_WORKERS"] = str(workers)
    samples = Samples(folder)
    rows = Rows(samples, "raw", SIZE, functools.partial(tokens, ModelSpec(name="RN50")))
    steps = 3 * len(samples) // BATCH
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))

    def batches() -> Iterator[torch.Tensor]:
        for loaded in Loader(rows, BATCH, seed=0, crop=crop).batches(0, steps):
            yield loaded.images.float().div_(255).sub_(mean).div_(std) if normalised else loaded.images

    return steady(batches(), steps)


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def full_webdataset(folder: Path, workers: int, *, crop: tuple[float, float] | None = None) -> float:
    """Samples/s of batches."""
    import open_clip
    import webdataset
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    tokenize = open_clip.get_tokenizer("RN50")
    bicubic = InterpolationMode.BICUBIC
    if crop:
        square = [transforms.RandomResizedCrop(SIZE, scale=crop, interpolation=bicubic)]
    else:
        square = [transforms.Resize(SIZE, interpolation=bicubic), transforms.CenterCrop(SIZE)]
    image = transforms.Compose([*square, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    paths = sorted(str(path) for path in folder.glob("*.tar"))
    data = (
        webdataset.WebDataset(paths, shardshuffle=False, workersplitter=webdataset.split_by_worker)
        .decode("pilrgb")
        .to_tuple("jpg", "txt")
        .map_tuple(image, lambda text: tokenize(text)[0])
    )
    passes = 3
    found = DataLoader(data.repeat(passes), batch_size=BATCH, num_workers=workers)
    total = passes * len(files.read_table(folder / "index.parquet", ["key"])) // BATCH
    return steady((images for images, _ in found), total - workers)


def steady(batches: Iterator[torch.Tensor], steps: int) -> float:
    """Samples/s of all but the first batch."""
    next(batches)
    since, done = time.perf_counter(), 0
    for images in batches:
        done += len(images)
    return done / (time.perf_counter() - since)


CASES: dict[str, Callable[[Path, int], float | dict[str, float]]] = {
    "raw": raw,
    "full webdataset": full_webdataset,
    "full ours": full_ours,
    "full ours normalised": functools.partial(full_ours, normalised=True),
    "full webdataset cut": functools.partial(full_webdataset, crop=CROP),
    "full ours cut": functools.partial(full_ours, crop=CROP),
}
RATIOS = {
    "raw_in_order": ("raw ours in order", "raw webdataset"),
    "raw_at_random": ("raw ours at random", "raw webdataset"),
    "full": ("full ours", "full webdataset"),
    "full_normalised_here": ("full ours normalised", "full webdataset"),
    "full_cut": ("full ours cut", "full webdataset cut"),
}


def in_process(case: str, folder: Path, workers: int) -> dict[str, float]:
    """Samples/s of a case, measured in a process of its own."""
    command = [sys.executable, "-m", "bench.loading", "--case", case, "--folder", str(folder)]
    ended = subprocess.run(
        [*command, "--workers", str(workers)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(ended.stdout.splitlines()[-1])
    return found if isinstance(found, dict) else {case: found}


def measure(folder: Path, samples: int = 2000, rounds: int = 5, workers: int = 1) -> dict[str, Any]:
    """Every case in turn, `rounds` times; medians, and what they are of each other.

    Args:
        folder: for the shards, which are written where they are not there.
        samples: how many.
        rounds: of all cases.
        workers: processes that decode.
    """
    if not (folder / "manifest.json").exists():
        write(folder, samples)
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        for case in CASES:
            for name, found in in_process(case, folder, workers).items():
                rates.setdefault(name, []).append(found)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "samples": samples,
        "workers": workers,
        "samples_per_s": {name: round(value, 1) for name, value in medians.items()},
        "rounds": {name: [round(value, 1) for value in found] for name, found in rates.items()},
        "ratios": {
            name: round(medians[above] / medians[below], 2) for name, (above, below) in RATIOS.items()
        },
    }


def main() -> None:
    """Measures and prints."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--folder", type=Path, required=True)
    asked.add_argument("--samples", type=int, default=2000)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--workers", type=int, default=1)
    asked.add_argument("--case", choices=CASES)
    given = asked.parse_args()
    torch.set_num_threads(1)
    if given.case:
        print(json.dumps(CASES[given.case](given.folder, given.workers)))
        return
    print(json.dumps(measure(given.folder, given.samples, given.rounds, given.workers), indent=2))


if __name__ == "__main__":
    main()
