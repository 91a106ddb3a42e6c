"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import logging
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rankclip import files
from rankclip.errors import DataError

NAME = re.compile(r"checkpoint-(\d+)\.pt")
"""Of a checkpoint: the steps that were done."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """State after `step` optimiser steps, from which the place in the data and random numbers follow."""

    step: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    elapsed_s: float
    """Seconds trained so far, over all attempts."""
    metrics_bytes: int
    """Length of metrics.jsonl when this was saved; what came later is trained again."""
    averaged: dict[str, Any] | None = None
    """The averaged model, where the run has one."""
    left_out: int = 0
    """Batches so far whose loss or gradient was not finite."""
    improved: tuple[tuple[int, float], ...] = ()
    """Steps whose validation score was above all before, and the score, where a run ends with the best."""

    def best(self, step: int) -> int:
        """The best step up to one; 0 where there is none."""
        return max((each for each, _ in self.improved if each <= step), default=0)


def path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"checkpoint-{step}.pt"


def steps(folder: Path) -> list[int]:
    """The steps of a folder's checkpoints, the last one last."""
    found = (NAME.fullmatch(each.name) for each in folder.glob("checkpoint-*.pt"))
    return sorted(int(match[1]) for match in found if match)


def save(folder: Path, checkpoint: Checkpoint, keep: int = 1) -> None:
    """Adds a checkpoint, then deletes all but the last `keep` and the best up to each of them.

    A crash in between leaves the old ones. Those of later steps go too: a run that is here again was taken
    back to before them.
    """
    # opened here: by a path torch raises a RuntimeError on a full disk that does not say so
    with files.replace(path(folder, checkpoint.step)) as beside, beside.open("wb") as file:
        torch.save(vars(checkpoint), file)
    known = steps(folder)
    last = [step for step in known if step <= checkpoint.step][-keep:]
    for step in set(known) - {*last, *map(checkpoint.best, last)}:
        path(folder, step).unlink(missing_ok=True)


def delete(folder: Path) -> None:
    """Deletes the folder's checkpoints, and what killed writers left of some."""
    for step in steps(folder):
        path(folder, step).unlink(missing_ok=True)
    sweep(folder)


def sweep(folder: Path) -> None:
    """Deletes what killed writers left; whoever calls this holds the folder's lock."""
    for left in folder.glob(".checkpoint-*.pt.*.tmp"):
        left.unlink(missing_ok=True)


def load(folder: Path) -> Checkpoint | None:
    """The folder's last checkpoint that is whole, if it has one; a line in the log names each that is not.

    Raises:
        DataError: it has some and none is whole.
    """
    sweep(folder)
    wrong: DataError | None = None
    for step in reversed(steps(folder)):
        try:
            return read(path(folder, step), checked=True)
        except DataError as error:
            wrong = wrong or error
            logger.warning("%s; an earlier one is looked for", error)
    if wrong:
        raise wrong
    return None


def read(file: Path, *, checked: bool = False) -> Checkpoint:
    """A checkpoint.

    Args:
        file: its path.
        checked: whether its bytes are compared with their checksums, which torch does not do.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        if checked:
            with zipfile.ZipFile(file) as archive:
                changed = archive.testzip()
            if changed:
                raise zipfile.BadZipFile(f"bad checksum of {changed}")
        return Checkpoint(**torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # changed bytes that are unpickled may raise anything
        raise DataError(
            f"{file} is not a checkpoint ({files.one_line(error)}); delete it to train this run from the "
            "checkpoint before it, or from its start"
        ) from error
