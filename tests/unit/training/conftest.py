from __future__ import annotations

from pathlib import Path

import pytest

from tests.counted_once import counted_once
from tests.one_thread import one_thread
from tests.unit.training import tiny

__all__ = ["counted_once", "one_thread", "tiny_data"]


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny"))
