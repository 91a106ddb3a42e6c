"""The benchmarks: a spec each that says how its splits are made, and their union, which is the registry.

A new benchmark is one file with a spec (`name`, `images`, `content`) and one line in `BenchmarkSpec`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rankclip.data.benchmarks.digits import DigitsBenchmark
from rankclip.data.benchmarks.drawn import DrawnBenchmark, DrawnRetrieval

BenchmarkSpec = Annotated[
    DrawnBenchmark | DrawnRetrieval | DigitsBenchmark,
    Field(discriminator="name"),
]
"""Any benchmark, chosen by its name, under which it stands in results and in `wds_<name>`."""
