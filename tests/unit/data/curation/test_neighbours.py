from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.data.curation import neighbours
from rankclip.errors import RunError


def found(hashes: np.ndarray, distance: int) -> list[tuple[int, int]]:
    left, right = neighbours.pairs(hashes, distance)
    return sorted((min(pair), max(pair)) for pair in zip(left.tolist(), right.tolist(), strict=True))


def by_comparing_all(hashes: np.ndarray, distance: int) -> list[tuple[int, int]]:
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    left, right = np.nonzero(np.triu(apart <= distance, 1))
    return list(zip(left.tolist(), right.tolist(), strict=True))


@st.composite
def crowds(draw: st.DrawFn) -> np.ndarray:
    """Hashes near a few centres, so that many pairs are near and many just not."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = draw(st.lists(st.sets(st.integers(0, 63), max_size=4), min_size=1, max_size=40))
    every = {
        centre ^ sum(1 << bit for bit in bits)
        for number, bits in enumerate(flips)
        for centre in centres[number % len(centres) :]
    }
    return np.array(sorted(every), np.uint64)


@settings(max_examples=200, deadline=None)
@given(crowds(), st.integers(0, 4))
def test_every_near_pair_is_found_once_and_no_other(hashes: np.ndarray, distance: int) -> None:
    if distance == 0:
        assert found(hashes, 0) == []
    else:
        assert found(hashes, distance) == by_comparing_all(hashes, distance)


@pytest.mark.parametrize("distance", [1, 2, 3, 4])
def test_among_many_random_hashes_the_planted_pairs_are_found(distance: int) -> None:
    draw = np.random.default_rng(distance)
    hashes = draw.integers(0, 2**64, 3000, dtype=np.uint64)
    near = hashes[:500].copy()
    for _ in range(distance):
        near ^= np.uint64(1) << draw.integers(0, 64, len(near), dtype=np.uint64)
    every = np.unique(np.concatenate([hashes, near]))
    pairs = found(every, distance)
    assert pairs == by_comparing_all(every, distance)
    assert len(pairs) >= 450


@pytest.mark.parametrize("hashes", [[], [5], [0, 2**64 - 1]])
def test_few_hashes_need_no_care(hashes: list[int]) -> None:
    assert found(np.array(hashes, np.uint64), 4) == []


def test_hashes_that_differ_in_few_bits_only_are_still_compared() -> None:
    hashes = np.arange(3000, dtype=np.uint64)  # all agree in 52 bits, as no photographs do
    assert found(hashes, 2) == by_comparing_all(hashes, 2)


def test_more_pairs_than_fit_are_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MOST_PAIRS", 1000)
    with pytest.raises(RunError, match=r"more than 1,000 pairs of 200 .* lower curate.near_distance"):
        neighbours.pairs(np.arange(200, dtype=np.uint64), 4)
