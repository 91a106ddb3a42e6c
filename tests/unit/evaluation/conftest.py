"""Fixtures on the suite whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rankclip.data.benchmarks import gains, write
from rankclip.evaluation.spec import EvaluationSpec
from tests.unit.evaluation.known import Known, make


@pytest.fixture
def known(tmp_path: Path) -> Known:
    return make(tmp_path / "benchmarks")


@pytest.fixture(scope="session")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a small set of real pictures, by its name."""
    folder = tmp_path_factory.mktemp("pictured")
    spec = EvaluationSpec.model_validate({"benchmarks": [{"name": "digits", "images": 20, "side": 16}]})
    write.run(spec.benchmarks, spec, folder)
    return {"digits": folder / "wds_digits"}


@pytest.fixture
def broken_gains(known: Known) -> Callable[[np.ndarray], Path]:
    """Replaces the gains of the test split of `pairs`; returns their file."""

    def put(values: np.ndarray) -> Path:
        gains.write(known.folder / "wds_pairs" / "test", values)
        return known.folder / "wds_pairs" / "test" / gains.NAME

    return put
