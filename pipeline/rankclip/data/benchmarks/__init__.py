"""The benchmarks: a spec each that says how its splits are made, and their union, which is the registry.

A new benchmark is one file with a spec (`name`, `images`, `content`) and one line in `BenchmarkSpec`; a new
published set is one entry in `public_sets`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rankclip.data.benchmarks.digits import DigitsBenchmark
from rankclip.data.benchmarks.drawn import DrawnBenchmark, DrawnRetrieval
from rankclip.data.benchmarks.judged import JudgedBenchmark
from rankclip.data.benchmarks.public import PublicBenchmark

BenchmarkSpec = Annotated[
    DrawnBenchmark | DrawnRetrieval | DigitsBenchmark | PublicBenchmark | JudgedBenchmark,
    Field(discriminator="name"),
]
"""Any benchmark, chosen by its name, under which it stands in results and in `wds_<name>`."""
