from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rankclip.data.curation import duplicates, neighbours
from rankclip.data.curation.duplicates import NONE, Alike

Image = tuple[int, int, bool]
"""Digest, hash, and whether no other check removes the row."""

images = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 63), st.booleans()), max_size=30)


def near_one_after_another(rows: list[Image], distance: int) -> list[int]:
    """The rule as it is told, row by row."""
    originals: list[int] = []
    found = []
    for row, (_, code, kept) in enumerate(rows):
        like = [o for o in originals if (rows[o][1] ^ code).bit_count() <= distance]
        found.append(min(like, default=NONE))
        if kept and not like:
            originals.append(row)
    return found


def exact_one_after_another(rows: list[Image]) -> list[int]:
    found = []
    for row, (digest, _, _) in enumerate(rows):
        found.append(next((o for o in range(row) if rows[o][0] == digest and rows[o][2]), NONE))
    return found


@settings(max_examples=300, deadline=None)
@given(images, st.integers(0, 2))
@example([(0, 0, True), (1, 1, True), (2, 3, True), (3, 7, True), (4, 15, True)], 1)
def test_looks_follow_the_rule(rows: list[Image], distance: int) -> None:
    hashes = np.array([code for _, code, _ in rows], np.uint64)
    kept = np.array([each[2] for each in rows], bool)
    every = np.append(hashes, np.uint64(40))  # the last is of no row, as a benchmark's may be
    known, at = duplicates.distinct(every)
    alike = Alike(known, *neighbours.pairs(known, distance))
    found = duplicates.like_looks(alike, at[:-1], np.arange(len(rows)), kept)
    assert found.tolist() == near_one_after_another(rows, distance)


@settings(max_examples=300, deadline=None)
@given(images)
def test_bytes_follow_the_rule(rows: list[Image]) -> None:
    digests = np.array([(digest % 2, digest) for digest, _, _ in rows], np.uint64).reshape(-1, 2)
    kept = np.array([each[2] for each in rows], bool)
    found = duplicates.equal_bytes(digests, np.arange(len(rows)), kept)
    assert found.tolist() == exact_one_after_another(rows)


def test_a_long_chain_of_likeness_alternates() -> None:
    hashes = np.array([(1 << at) - 1 for at in range(64)], np.uint64)  # each a bit from the one before
    alike = Alike(hashes, *neighbours.pairs(hashes, 1))
    found = duplicates.like_looks(alike, np.arange(64), np.arange(64), np.ones(64, bool))
    assert found.tolist() == [NONE if at % 2 == 0 else at - 1 for at in range(64)]


def test_one_popular_hash_costs_no_pairs() -> None:
    hashes = np.full(100_000, 7, np.uint64)
    known, at = duplicates.distinct(hashes)
    alike = Alike(known, *neighbours.pairs(known, 4))
    found = duplicates.like_looks(alike, at, np.arange(len(hashes)), np.ones(len(hashes), bool))
    assert (found[0], set(found[1:].tolist())) == (NONE, {0})
    assert len(alike.left) == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3)))
def test_distinct_is_what_numpy_calls_unique(values: list[int]) -> None:
    hashes = np.array(values, np.uint64)
    found, at = duplicates.distinct(hashes)
    unique, inverse = np.unique(hashes, return_inverse=True)
    assert (found.tolist(), at.tolist()) == (unique.tolist(), inverse.tolist())
