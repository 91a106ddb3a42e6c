"""A small process that ends everything of a local Ray once its driver is gone, however it went.

Ray's own agents outlive a killed driver by a minute or more. Everything that Ray starts inherits an
environment variable; the guard waits for its standard input to close, then kills what carries that variable
and deletes the session's folder. Started by path, with the folder as its argument; it needs only psutil.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator

import psutil

MARK = "RANKCLIP_RAY_SESSION"
"""Environment variable of every process of a local Ray; its value is the session's folder."""


def marked(folder: str) -> Iterator[psutil.Process]:
    """The living processes that belong to the session in `folder`."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == folder and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def end(folder: str, tries: int = 50) -> None:
    """Kills the session's processes until none is left, then deletes its folder."""
    for _ in range(tries):
        found = False
        for process in marked(folder):
            found = True
            with contextlib.suppress(psutil.Error):
                process.kill()
        if not found:
            break
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Detaches from the process that started us, waits until it lets go of our input, and cleans up."""
    if os.fork():
        os._exit(0)  # now a child of init: whoever kills the driver's children leaves us to our work
    sys.stdin.read()
    end(sys.argv[1])


if __name__ == "__main__":
    main()
