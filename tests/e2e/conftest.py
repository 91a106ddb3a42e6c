"""One study, run once for all the tests that look at it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.e2e import project
from tests.e2e.project import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny study, finished by `rankclip repro`. Only for looking: whoever changes it makes a `twin`."""
    made = project.new(tmp_path_factory.mktemp("study") / "finished")
    where = made.run(sys.executable, "-c", "import rankclip, stages.ingest; print(rankclip.__file__, stages)")
    assert where.count(str(made.folder)) == 2, "the copy must run its own code"
    started = time.monotonic()
    said = made.run("rankclip", "repro")
    Path(made.folder.parent, "repro.log").write_text(said)
    sys.stderr.write(f"\nrankclip repro: {time.monotonic() - started:.1f} s\n")
    return made
