"""The benchmarks that a run follows."""

from __future__ import annotations

from rankclip.data.benchmarks.benchmark import BenchmarkSplit
from rankclip.data.benchmarks.benchmark_folder import read_split
from rankclip.errors import DataError
from rankclip.training.request import TrainRequest


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
