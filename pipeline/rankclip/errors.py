"""The errors a caller may want to catch.

RankclipError
├── InputError       something the user wrote or pointed at is wrong; the command line exits with 2
├── DataError        stored data are missing, damaged or of another run; exits with 1
└── RunError         a run could not go on (a worker died, a loss is not finite, a folder is locked); with 1
    ├── Preempted    a run was asked to stop and has saved its state; with 143, or 130 after Ctrl-C
    ├── InUse        another process holds a folder; to wait for it mends it
    └── Stuck        a worker did not come to where the others wait for it; to start again may mend it

Every message is one line: what was wrong, the value, and the remedy.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


class RankclipError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class InputError(RankclipError):
    """Something the user wrote or pointed at is wrong."""

    exit_code = 2


class DataError(RankclipError):
    """Stored data are missing, damaged or belong to something else."""


class RunError(RankclipError):
    """A run could not go on."""


class Preempted(RunError):  # noqa: N818  nothing is wrong
    """A run was asked to stop, and goes on from where it is when the same command is given again."""

    exit_code = 143


class InUse(RunError):  # noqa: N818  as Preempted, told apart by its remedy
    """Another process holds a folder."""


class Stuck(RunError):  # noqa: N818  as Preempted, told apart by its remedy
    """A worker did not come to where the others wait for it."""


def disk_full(error: BaseException) -> str:
    """One line with path and remedy for an error that says that the disk is full; empty for any other.

    Libraries not written in Python raise errors of their own, which only quote the system.
    """
    quoted = any(os.strerror(number) in str(error) for number in FULL)
    if getattr(error, "errno", None) not in FULL and not quoted:
        return ""
    where = getattr(error, "filename", None) or f"a file of {Path.cwd()}"
    return (
        f"the disk is full, or the quota used up: {where} could not be written; free some space and run the "
        "command again, what is finished is kept"
    )
