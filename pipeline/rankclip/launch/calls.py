"""How a function is named, found and called in a worker."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from rankclip.errors import Preempted, RankclipError, RunError, disk_full

Json = dict[str, Any]
Function = str | Callable[[Json], Any]


def dotted(function: Function) -> str:
    """The name "package.module:name" by which a worker imports `function`.

    Raises:
        TypeError: it has no such name (a lambda, a nested function, one of `__main__`).
    """
    if isinstance(function, str):
        return function
    name = getattr(function, "__qualname__", "")
    if not name.isidentifier() or function.__module__ == "__main__":
        raise TypeError(f"{function!r} cannot be imported by a worker; define it at the top of a module")
    return f"{function.__module__}:{name}"


def call(target: str, item: Json) -> Any:
    """Calls the function named `target` with `item`.

    Raises:
        RunError: the disk is full.
    """
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)(item)
    except RankclipError:
        raise
    except Exception as error:
        if line := disk_full(error):
            raise RunError(line) from error
        raise


class Said(NamedTuple):
    """What a call came to, all of which travels: an exception of a library may not pickle."""

    value: Any = None
    error: str = ""
    """One line; empty where the function returned."""
    trace: str = ""
    preempted: bool = False
    """Whether it saved and left because it was asked to."""


def guarded_call(target: str, item: Json) -> Said:
    """What `call` returns or raises."""
    try:
        return Said(call(target, item))
    except RankclipError as error:
        return Said(None, str(error), traceback.format_exc(), isinstance(error, Preempted))
    except Exception as error:
        return Said(None, f"{type(error).__name__}: {error}", traceback.format_exc())
