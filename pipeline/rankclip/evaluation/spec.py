"""What a study measures; nothing heavy is imported here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from rankclip.data.benchmarks import BenchmarkSpec
from rankclip.spec import Spec


class EvaluationSpec(Spec):
    """The suite that every model of a study is scored on."""

    benchmarks: Annotated[list[BenchmarkSpec], Field(min_length=1)]
    """The benchmarks in the order of the report; each name once."""

    @field_validator("benchmarks")
    @classmethod
    def _names_differ(cls, benchmarks: list[BenchmarkSpec]) -> list[BenchmarkSpec]:
        names = [benchmark.name for benchmark in benchmarks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"benchmark {', '.join(twice)} is listed more than once; keep one of each")
        return benchmarks

    @property
    def names(self) -> list[str]:
        """Names of the benchmarks, in order."""
        return [benchmark.name for benchmark in self.benchmarks]
