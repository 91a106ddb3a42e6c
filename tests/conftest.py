from __future__ import annotations

import pytest

from tests.s3 import bucket, s3_server

__all__ = ["bucket", "s3_server"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what is dear to set up stay in one process: all of tests/e2e, else those of a file."""
    for item in items:
        shared = "e2e" if "e2e" in item.path.parts else str(item.path)
        item.add_marker(pytest.mark.xdist_group(shared))
