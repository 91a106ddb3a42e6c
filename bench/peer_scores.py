"""CLIP_benchmark's scores of the weights and files that ours are of: its functions, called as it does.

Its reader of tars asks for another package, so a list of samples stands in for it. Model, transform and
tokenizer are open_clip's, as `clip_benchmark eval` loads them anew for every data set.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval
from clip_benchmark.models.open_clip import load_open_clip
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from rankclip.data.benchmarks.benchmark import BenchmarkSplit
from rankclip.models.open_clip import register

KS = (1, 5, 10)


class Stored:
    """A model whose rows are known: what it is asked to encode are their numbers."""

    def __init__(self, images: Tensor, texts: Tensor) -> None:
        self.images, self.texts = images, texts

    def encode_image(self, numbers: Tensor) -> Tensor:
        """Rows of images."""
        return self.images[numbers]

    def encode_text(self, numbers: Tensor) -> Tensor:
        """Rows of texts."""
        return self.texts[numbers]


class Samples(Dataset[Any]):
    """The samples of a split: an image as the model takes it, and its label or its captions."""

    def __init__(self, data: BenchmarkSplit, transform: Any) -> None:
        self.samples = data.samples
        self.transform = transform
        self.classes = list(data.classnames)
        self.templates = list(data.templates)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> tuple[Tensor, Any]:
        sample = self.samples[number]
        pixels = self.transform(Image.open(io.BytesIO(sample.image)))
        return pixels, sample.label if sample.label is not None else list(sample.captions)


def collated(batch: Sequence[Any]) -> tuple[Any, Any]:
    """Images, and the captions of each."""
    images, captions = zip(*batch, strict=True)
    return default_collate(list(images)), captions


def number(value: Any) -> float:
    """`float`, also of an array of one number, which numpy gave up in 2.4 and their accuracy asks for."""
    return float(value.item() if isinstance(value, np.ndarray) else value)


def load(name: str, weights: Path) -> tuple[Any, Any, Any]:
    """Model, transform and tokenizer of a file of weights."""
    register()
    model, transform, tokenizer = load_open_clip(name, str(weights))
    return model.eval(), transform, tokenizer


def score(
    loaded: tuple[Any, Any, Any], data: BenchmarkSplit, batch: int = 64, workers: int = 4
) -> dict[str, float]:
    """What CLIP_benchmark says of a split, float32 throughout; `batch` and `workers` are its defaults."""
    model, transform, tokenizer = loaded
    samples = Samples(data, transform)
    collate = collated if data.task == "retrieval" else None
    loader = DataLoader(samples, batch_size=batch, num_workers=workers, collate_fn=collate)
    found: dict[str, float]
    if data.task == "retrieval":
        found = zeroshot_retrieval.evaluate(
            model, loader, tokenizer, device="cpu", amp=False, recall_k_list=list(KS)
        )
    else:
        with mock.patch.object(zeroshot_classification, "float", number, create=True):
            found = zeroshot_classification.evaluate(
                model, loader, tokenizer, samples.classes, samples.templates, device="cpu", amp=False
            )
    return found


def recalls(images: Tensor, texts: Tensor, counts: Sequence[int], batch: int = 64) -> dict[str, float]:
    """What it says of rows `[N, D]` and `[M, D]`, so many of the M of each image."""
    ends = list(itertools.accumulate(counts))
    captions = [list(range(end - count, end)) for count, end in zip(counts, ends, strict=True)]
    batches = [
        (torch.arange(start, min(start + batch, len(images))), captions[start : start + batch])
        for start in range(0, len(images), batch)
    ]
    found: dict[str, float] = zeroshot_retrieval.evaluate(
        Stored(images, texts), batches, torch.tensor, "cpu", amp=False, recall_k_list=list(KS)
    )
    return found


def recalls_of_scores(scores: Tensor, counts: Sequence[int], batch: int = 64) -> dict[str, float]:
    """What it says of scores `[M, N]` of texts and images: the last part of `recalls`, line for line."""
    owner = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(len(scores)), owner] = True
    found = {}
    for k in KS:
        for side, (table, true) in {"image": (scores, positive), "text": (scores.T, positive.T)}.items():
            each = zeroshot_retrieval.batchify(zeroshot_retrieval.recall_at_k, table, true, batch, "cpu", k=k)
            found[f"{side}_retrieval_recall@{k}"] = float((each > 0).float().mean())
    return found
