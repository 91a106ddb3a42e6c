"""Which checks every row fails, and because of which other image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankclip import files
from rankclip.data.curation import neighbours
from rankclip.data.curation.census import Census
from rankclip.data.curation.duplicates import NONE, Alike, distinct, equal_bytes, like_looks
from rankclip.data.curation.references import References
from rankclip.data.curation.spec import Check, CurateSpec

CHECKS: tuple[Check, ...] = get_args(Check)

BIT = {check: np.uint8(1 << at) for at, check in enumerate(CHECKS)}
"""Of a check in `Findings.flags`."""

_DUPLICATES: tuple[Check, ...] = ("duplicate_near", "duplicate_exact")


@dataclass(frozen=True)
class Findings:
    """Of input rows 0 to n - 1; only images that decode are checked."""

    flags: np.ndarray
    """uint8 `[n]`: a bit for each check that the row fails."""
    exact: np.ndarray
    """int32 `[n]`: row of the original with the same bytes, else `NONE`."""
    near: np.ndarray
    """int32 `[n]`: row of the original that looks like this one and has other bytes, else `NONE`."""
    leaks: np.ndarray
    """int32 `[n]`: number of the benchmarks' image with the same bytes, else of the first that looks like it,
    else `NONE`."""


def find(spec: CurateSpec, census: Census, references: References, urls: Path, remedy: str) -> Findings:
    """Make the checks of `spec`; `remedy` is for `urls`, the table with the captions.

    Raises:
        DataError: `urls` cannot be read.
        RunError: too many images look alike (`neighbours.pairs`).
    """
    flags = _shapes(spec, census)
    for table in files.read_batches(urls, ["row", "caption"], remedy):
        # rows beyond the input are refused when the ledger is written
        at = table["row"].to_numpy().clip(0, len(flags) - 1)
        flags[at[_has_wrong_length(spec, table["caption"])]] |= BIT["caption"]
        if spec.blocklist:
            blocked = pc.match_substring_regex(table["caption"], spec.blocked, ignore_case=True)
            flags[at[blocked.to_numpy()]] |= BIT["blocklist"]
    flags[~census.usable] = 0
    looks = _looks(spec, census, references)
    leaks = _leaks(census, references, looks)
    flags[leaks != NONE] |= BIT["leak"]
    removing = sum(BIT[check] for check in spec.remove if check not in _DUPLICATES)
    kept = census.usable & (flags & np.uint8(removing) == 0)
    exact, near = _duplicates(census, kept, looks)
    flags[exact != NONE] |= BIT["duplicate_exact"]
    flags[near != NONE] |= BIT["duplicate_near"]
    return Findings(flags, exact, near, leaks)


def _shapes(spec: CurateSpec, census: Census) -> np.ndarray:
    flags = np.zeros(len(census.reasons), np.uint8)
    short, long = np.minimum(census.widths, census.heights), np.maximum(census.widths, census.heights)
    flags[short < spec.min_side] |= BIT["too_small"]
    flags[long > spec.max_aspect * short] |= BIT["aspect"]
    return flags


def _has_wrong_length(spec: CurateSpec, captions: pa.ChunkedArray) -> np.ndarray:
    chars = pc.utf8_length(captions).to_numpy()
    longest = np.inf if spec.max_caption_chars is None else spec.max_caption_chars
    wrong: np.ndarray = (chars < spec.min_caption_chars) | (chars > longest)
    return wrong


@dataclass(frozen=True)
class _Looks:
    """How the images of rows and benchmarks look, together."""

    alike: Alike
    rows: np.ndarray
    """int64: rows whose hash means something, rising."""
    of_rows: np.ndarray
    """int32: for each of `rows` the position of its hash in `alike`."""
    of_references: np.ndarray
    """int32: for each benchmarks' image whose hash means something the position of its hash in `alike`."""


def _looks(spec: CurateSpec, census: Census, references: References) -> _Looks | None:
    """None where looks are not compared."""
    if spec.near_distance is None:
        return None
    rows = np.flatnonzero(census.hashed)
    every = np.concatenate([census.hashes[rows], references.hashes[references.hashed]])
    hashes, at = distinct(every)
    return _Looks(
        Alike(hashes, *neighbours.pairs(hashes, spec.near_distance)), rows, at[: len(rows)], at[len(rows) :]
    )


def _leaks(census: Census, references: References, looks: _Looks | None) -> np.ndarray:
    found = np.full(len(census.reasons), NONE, np.int32)
    if looks is not None and len(looks.of_references):
        last = len(references.hashes)
        number = np.full(len(looks.alike.hashes), last, np.int32)
        of_hash = np.flatnonzero(references.hashed)
        number[looks.of_references[::-1]] = of_hash[::-1]  # the lowest is written last and stays
        like = looks.alike.least(number)[looks.of_rows]
        found[looks.rows[like < last]] = like[like < last]
    numbers = {tuple(pair): at for at, pair in reversed(list(enumerate(references.digests.tolist())))}
    for row in _among(census.digests[:, 0], np.unique(references.digests[:, 0])).tolist():
        found[row] = numbers.get(tuple(census.digests[row].tolist()), found[row])
    return found


def _among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Positions of the `values` that are in `known`, which rises; 0, of what is not judged, is no value."""
    if not len(known):
        return np.empty(0, np.int64)
    return np.flatnonzero((known[np.searchsorted(known[:-1], values)] == values) & (values != 0))


def _duplicates(census: Census, kept: np.ndarray, looks: _Looks | None) -> tuple[np.ndarray, np.ndarray]:
    exact, near = (np.full(len(kept), NONE, np.int32) for _ in range(2))
    rows = np.flatnonzero(census.usable)
    exact[rows] = equal_bytes(census.digests, rows, kept)
    if looks is not None and len(looks.rows):
        near[looks.rows] = like_looks(looks.alike, looks.of_rows, looks.rows, kept[looks.rows])
        rows = np.flatnonzero(near != NONE)
        same = (census.digests[rows] == census.digests[near[rows]]).all(axis=1)
        near[rows[same]] = NONE
    return exact, near
