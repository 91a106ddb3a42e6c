"""Fixtures on the suite whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rankclip.data.benchmarks import gains
from tests.unit.evaluation.known import Known, make


@pytest.fixture
def known(tmp_path: Path) -> Known:
    return make(tmp_path / "benchmarks")


@pytest.fixture
def broken_gains(known: Known) -> Callable[[np.ndarray], Path]:
    """Replaces the gains of the test split of `pairs`; returns their file."""

    def put(values: np.ndarray) -> Path:
        gains.write(known.folder / "wds_pairs" / "test", values)
        return known.folder / "wds_pairs" / "test" / gains.NAME

    return put
