"""The errors a caller may want to catch.

RankclipError
├── InputError       something the user wrote or pointed at is wrong; the command line exits with 2
├── DataError        stored data are missing, damaged or of another run; exits with 1
└── RunError         a run could not go on (a worker died, a loss is not finite, a folder is locked); with 1

Every message is one line: what was wrong, the value, and the remedy.
"""

from __future__ import annotations


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
