"""What a process of the loader does: makes pieces of batches where it is told to, until nobody asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankclip import files, lifecycle
from rankclip.data.loading.arena import Slots
from rankclip.data.loading.crop import Crops
from rankclip.data.loading.rows import Rows, Undecodable
from rankclip.data.loading.shift import move
from rankclip.errors import RankclipError, RunError


class Piece(NamedTuple):
    """Rows of a batch."""

    slot: int
    """Where the batch lies."""
    start: int
    """The first of the rows."""
    indices: NDArray[np.int64]
    """The samples that are asked for."""
    by: NDArray[np.int16] | None
    """How far their images are moved."""
    crops: Crops | None
    """What is cut out of their images."""


def serve(rows: Rows, slots: Slots, number: int, pipe: Connection, environment: Mapping[str, str]) -> None:
    """Takes pieces from `pipe` and answers each with what could not be decoded, or with what went wrong."""
    lifecycle.die_with_parent()
    os.environ.clear()
    os.environ.update(environment)  # the server that we are forked from has that of its own start
    rows.now = slots.now[number : number + 1]
    while True:
        try:
            piece: Piece = pipe.recv()
            pipe.send(answer(rows, slots, piece))
        except (EOFError, ConnectionError):
            return


def answer(rows: Rows, slots: Slots, piece: Piece) -> list[Undecodable] | RankclipError:
    """Makes the rows of a piece."""
    out = slots.rows(piece.slot, piece.start, piece.start + len(piece.indices))
    try:
        found = rows.fill(piece.indices, out, piece.crops)
        move(out["images"], piece.by)
    except RankclipError as error:
        return error
    except Exception as error:
        return RunError(f"a loader process failed ({type(error).__name__}: {files.one_line(error)})")
    return [one._replace(row=piece.start + one.row) for one in found]
