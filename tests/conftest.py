from __future__ import annotations

import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.s3 import bucket, s3_server

__all__ = ["bucket", "s3_server"]

# Before torch is there: threads of processes side by side wait for each other far longer than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")


class _Scheduling(LoadScopeScheduling):
    """Tests that share what is dear to set up stay in one process: all of tests/e2e, else those of a file."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "tests/e2e" if path.startswith("tests/e2e/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _Scheduling(config, log)
