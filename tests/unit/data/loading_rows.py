"""What processes of a loader are given in tests; apart, because they import it when they start."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tests.unit.data.sharded import letters

if TYPE_CHECKING:
    from rankclip.data.loading.loader import Loaded


def endless(folder: Path) -> Iterator[Loaded]:
    """Batches of 12."""
    from rankclip.data.loading.loader import Loader
    from rankclip.data.loading.rows import Rows
    from rankclip.data.loading.samples import Samples

    return Loader(Rows(Samples(folder), "raw", 8, letters), 12, seed=0).batches(0, 10**9)


def stuck(texts: Sequence[str]) -> NDArray[np.int32]:
    """Hangs where it reads of sample 17."""
    if any(text.startswith("17:") for text in texts):
        time.sleep(600)
    return letters(texts)


def deadly(texts: Sequence[str]) -> NDArray[np.int32]:
    """Dies where it reads of sample 17, as for want of memory."""
    if any(text.startswith("17:") for text in texts):
        os.kill(os.getpid(), signal.SIGKILL)
    return letters(texts)


def faulty(texts: Sequence[str]) -> NDArray[np.int32]:
    """Has a fault."""
    if any(text.startswith("17:") for text in texts):
        raise ZeroDivisionError("no\nreason")
    return letters(texts)
