"""A little data like a study's, to rehearse a recipe on before there is any."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from rankclip import files
from rankclip.config import Study
from rankclip.data import tars
from rankclip.data.benchmarks import write
from rankclip.data.loading import latent_column
from rankclip.data.shapes.answers import encode
from rankclip.data.shapes.spec import ShapesSpec
from rankclip.data.shapes.world import World

WORDS = ("a", "the", "of", "in", "on", "with", "and", "man", "woman", "street", "house", "red", "portrait")
FEWEST_WORDS, MOST_WORDS = 5, 25
"""Of a caption, as in Conceptual Captions."""

DISTINCT = 64
"""Pictures that are not drawn by the world and differ; to decode one twice is as much work as two."""

LATENT_WIDTH = 16
SIDE = 256
"""Pixels of an image where nothing says how large they are."""


class Likeness(NamedTuple):
    """Where it lies, and how large it is."""

    shards: Path
    benchmarks: Path
    image_bytes: float
    """Mean of an encoded image."""


def make(study: Study, folder: Path, count: int) -> Likeness:
    """Writes so many pairs, and the benchmarks that any arm follows in training, into `folder`."""
    drawn = list(pictures(study, count))
    blobs = [drawn[number % len(drawn)] for number in range(count)]
    write_shards(study, blobs, folder / "shards")
    followed = {
        name for arm in study.arms.values() for name in arm.recipe(study.model, study.train).train.validation
    }
    wanted = [spec for spec in study.evaluation.benchmarks if spec.name in followed]
    write.run(wanted, study.source, folder / "benchmarks")
    return Likeness(folder / "shards", folder / "benchmarks", sum(map(len, blobs)) / count)


def pictures(study: Study, count: int) -> Iterator[bytes]:
    """Encoded images, at most so many: those of the world, or noise as soft as photographs are."""
    source = study.source
    if isinstance(source, ShapesSpec):
        world = World(source)
        for number in range(count):
            yield encode("plain", world.image(number))[0]
        return
    random = np.random.default_rng(0)
    side = study.download.image_size if study.download.resize != "none" else SIDE
    for _ in range(min(count, DISTINCT)):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        smooth = coarse.resize((side * 4 // 3, side), Image.Resampling.BICUBIC)
        grain = random.normal(0.0, 6.0, (side, side * 4 // 3, 1))
        picture = Image.fromarray(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8))
        sink = io.BytesIO()
        picture.save(sink, "JPEG", quality=90)
        yield sink.getvalue()


def texts(study: Study, count: int) -> Sequence[str]:
    """Captions: the world's, or words of web captions."""
    if isinstance(study.source, ShapesSpec):
        world = World(study.source)
        return [world.raw(number)[0].text for number in range(count)]
    random = np.random.default_rng(1)
    lengths = random.integers(FEWEST_WORDS, MOST_WORDS + 1, count)
    return [" ".join(random.choice(WORDS, length)) for length in lengths]


def write_shards(study: Study, blobs: Sequence[bytes], folder: Path) -> None:
    """A folder as the stage `shard` makes it, of these images and captions in every slot."""
    name = "00000.tar"
    with tars.writing(folder / name) as tar:
        spans = [tar.add(f"{number:09d}.jpg", blob) for number, blob in enumerate(blobs)]
    columns = {
        "key": [f"{number:09d}" for number in range(len(blobs))],
        "shard": [name] * len(blobs),
        "offset": [span.offset for span in spans],
        "size": [span.size for span in spans],
    }
    captions = pa.array([[text] for text in texts(study, len(blobs))], pa.list_(pa.string()))
    table = pa.table(columns)
    for slot in (*study.source.slots, *study.captions):
        table = table.append_column(f"captions.{slot}", captions)
    if study.source.has_latents:
        rows = np.random.default_rng(2).normal(size=(len(blobs), LATENT_WIDTH))
        rows = abs(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
        table = table.append_column(latent_column.NAME, pa.array(list(rows)))
    index, tar_path = folder / "index.parquet", folder / name
    files.write_table(index, table)
    about = {"sha256": files.sha256(tar_path), "bytes": tar_path.stat().st_size, "samples": len(blobs)}
    described = {"samples": len(blobs), "index_sha256": files.sha256(index), "shards": {name: about}}
    files.write_json(folder / "manifest.json", described)
