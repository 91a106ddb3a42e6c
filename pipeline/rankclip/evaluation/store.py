"""What one model makes of images and texts: each split is embedded once, and scored as often as one likes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from torch import Tensor

from rankclip import files, versions
from rankclip.data import bars
from rankclip.data.benchmarks import benchmark_folder
from rankclip.data.benchmarks.benchmark import Sample
from rankclip.data.benchmarks.coco import JudgedSet
from rankclip.evaluation import row_files
from rankclip.evaluation.conditions import Device, Model
from rankclip.evaluation.embedded import Embedded
from rankclip.evaluation.embedding import Described, Rows, assembled, embed_samples
from rankclip.evaluation.encoder import Encoder, embed_texts
from rankclip.evaluation.row_files import RowFile
from rankclip.spec import digest

EMBEDDING = (
    "data/benchmarks/benchmark.py",
    "data/benchmarks/benchmark_folder.py",
    "data/benchmarks/coco.py",
    "data/benchmarks/content.py",
    "data/benchmarks/set_record.py",
    "data/benchmarks/set_texts.py",
    "data/tar_members.py",
    "data/tars.py",
    "evaluation/embedding.py",
    "evaluation/encoder.py",
    "evaluation/known_texts.py",
    "evaluation/preparing.py",
    "evaluation/row_files.py",
    "evaluation/store.py",
    "models",
)
"""Sources, below the package, that rows depend on, and the labels and captions that are kept with them."""

PACKAGES = ("open_clip_torch", "pillow", "torch")
"""Whose versions rows depend on: they tokenise, decode and resize, and compute."""


def rows_folder(work: Path, checkpoint_digest: str, model: Model, device: Device) -> Path:
    """Where a model's rows are kept: under the digest of all that they depend on but the data.

    The weights alone do not tell: a file of RN50's is as well one of RN50-quickgelu's.
    """
    how = [model.form, model.resize, model.rounding.precision, device]
    installed = versions.installed()
    made_with = [files.code_digest(EMBEDDING), *(installed.get(name) for name in PACKAGES)]
    return work / "embeddings" / digest([checkpoint_digest, how, made_with])


class Store:
    """Embeds what it is asked for, once, and keeps it on disk where it has a folder.

    Rows of images lie under the digest of their split, those of texts under the digest of their list, since
    the last bits of a row depend on what else was in its batch.

    Args:
        encoder: the model.
        folder: of this model's rows alone: that of `rows_folder`; None keeps none.
        device: where what is learned on rows is fitted.
    """

    def __init__(self, encoder: Encoder, folder: Path | None = None, device: str = "cpu") -> None:
        self.device = device
        self._encoder = encoder
        self._folder = folder
        self.seen: dict[tuple[str, str], Described] = {}
        """The splits that were asked for, by benchmark and split."""

    def embedded(self, folder: Path, split: str) -> Embedded:
        """A split of the benchmark in `folder`.

        Raises:
            DataError: the split is missing or damaged, or the model's rows are of no use.
        """
        about = benchmark_folder.describe(folder, split)
        return self._embedded(
            about, lambda: benchmark_folder.stream(folder, split), about.images, str(folder / split)
        )

    def judged(self, data: JudgedSet) -> Embedded:
        """The images and captions of a set of judgements.

        Raises:
            DataError: an image is missing or damaged, or the model's rows are of no use.
        """
        return self._embedded(data, data.samples, data.images, data.name)

    def _embedded(
        self, about: Described, samples: Callable[[], Iterable[Sample]], images: int, where: str
    ) -> Embedded:
        self.seen[about.name, about.split] = about
        path = None if self._folder is None else self._folder / f"{about.digest}.safetensors"
        if path is not None and (kept := row_files.read(path)) is not None:
            return assembled(about, _from_file(kept), self._texts)
        with bars.bar(f"{about.name}/{about.split}", images, "images") as advance:
            rows = embed_samples(self._encoder, samples(), where, advance)
        if path is not None:
            row_files.write(path, _to_file(rows))
        return assembled(about, rows, self._texts)

    def _texts(self, texts: Sequence[str]) -> Tensor:
        """Unit rows `[M, D]` of M distinct texts."""
        if self._folder is None:
            return embed_texts(self._encoder, texts)
        # lengths keep ["ab", "c"] and ["a", "bc"] apart
        parts = (b"%d " % len(text) + text for text in (each.encode() for each in texts))
        path = self._folder / f"texts-{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}.safetensors"
        kept = row_files.read(path)
        if kept is not None:
            return kept.tensors["rows"]
        with bars.bar("texts", len(texts), "texts") as advance:
            rows = embed_texts(self._encoder, texts, advance=advance)
        row_files.write(path, RowFile({"rows": rows}, {}))
        return rows


def _to_file(rows: Rows) -> RowFile:
    tensors = {"features": rows.features} | ({} if rows.labels is None else {"labels": rows.labels})
    return RowFile(tensors, {"keys": rows.keys, "captions": rows.captions})


def _from_file(kept: RowFile) -> Rows:
    captions = tuple(tuple(said) for said in kept.notes["captions"])
    return Rows(tuple(kept.notes["keys"]), kept.tensors["features"], kept.tensors.get("labels"), captions)
