"""The benchmarks that a run follows, scored by all its workers together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor

from rankclip import distributed
from rankclip.data.benchmarks.benchmark import BenchmarkSplit
from rankclip.data.benchmarks.benchmark_folder import read_split
from rankclip.errors import DataError
from rankclip.evaluation.encoder import Encoder
from rankclip.training.request import TrainRequest

Item = TypeVar("Item", bytes, str)


def validation_set(request: TrainRequest, name: str) -> BenchmarkSplit:
    """The validation split of a benchmark.

    Raises:
        DataError: it is missing, damaged, or not the one that the driver's manifest lists.
    """
    split = read_split(request.benchmarks / f"wds_{name}", "val")
    if split.digest != request.validation[name]:
        raise DataError(
            f"{request.benchmarks / f'wds_{name}'} ({split.digest}) is not what its manifest lists "
            f"({request.validation[name]}); make it again with `dvc repro -f -s benchmarks`"
        )
    return split


class Shared:
    """An encoder of which every worker has a copy: each encodes its part, and all have all rows."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def prepare(self, image: bytes) -> bytes:
        """The image as it is, since which worker decodes it is decided with the others."""
        return image

    def image_features(self, prepared: Sequence[bytes]) -> Tensor:
        """Rows `[N, D]` of N encoded images, the same on every worker; a collective."""
        return shared(self._features, prepared)

    def _features(self, images: Sequence[bytes]) -> Tensor:
        return self._encoder.image_features([self._encoder.prepare(image) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings `[N, D]` of N texts, the same on every worker; a collective."""
        return shared(self._encoder.encode_texts, texts)


def shared(encode: Callable[[Sequence[Item]], Tensor], items: Sequence[Item]) -> Tensor:
    """The rows of all items, of which this worker encodes its part; all of them where there are too few."""
    count, rank = distributed.world_size(), distributed.rank()
    if len(items) < count:
        return encode(items)
    bounds = [len(items) * part // count for part in range(count + 1)]
    rows = encode(items[bounds[rank] : bounds[rank + 1]])
    return distributed.gather(rows, [end - start for start, end in itertools.pairwise(bounds)])
