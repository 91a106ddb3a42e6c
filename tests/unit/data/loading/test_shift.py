"""Moves of images: a function of (seed, epoch, sample), of every size up to the reach, edges repeated."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from rankclip.data.loading import shift
from rankclip.data.loading.order import Batch
from rankclip.data.loading.shift import Shifts, move

N = 200


def drawn(shifts: Shifts, epoch: int) -> NDArray[np.int16]:
    found = shifts.of(Batch(0, epoch, np.arange(N)))
    assert found is not None
    return found


def test_shifts_follow_from_seed_epoch_and_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    shifts, again = Shifts(N, 4, 2), Shifts(N, 4, 2)
    third = drawn(shifts, 3)
    drawn(again, 0)
    monkeypatch.setattr(shift, "BLOCK", 7)
    assert np.array_equal(drawn(again, 3), third)
    assert not np.array_equal(drawn(shifts, 2), third)
    assert not np.array_equal(drawn(Shifts(N, 5, 2), 3), third)
    chosen = np.array([7, 0, 7])
    assert np.array_equal(shifts.of(Batch(0, 3, chosen)), third[chosen])
    assert Shifts(N, 4, 0).of(Batch(0, 3, chosen)) is None


def test_shifts_stay_the_same_between_versions_of_numpy() -> None:
    golden = hashlib.sha256(drawn(Shifts(N, 4, 2), 3).astype("<i2").tobytes()).hexdigest()
    assert golden[:16] == "64fd651f00bb1fed"


def test_shifts_take_every_value_up_to_the_reach_both_ways() -> None:
    shifts = Shifts(N, 4, 2)
    seen = np.concatenate([drawn(shifts, epoch) for epoch in range(20)])
    for axis in range(2):
        values, counts = np.unique(seen[:, axis], return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert counts.min() > 0.8 * len(seen) / 5
    assert not np.array_equal(seen[:, 0], seen[:, 1])


def test_an_image_moves_down_and_right_and_repeats_its_edge() -> None:
    images = np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3).repeat(3, axis=0).repeat(2, axis=1)
    images[:, 1] += 100
    move(images, np.array([[1, 0], [0, -2], [-1, 1]], np.int16))
    assert images[0, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert images[1, 0].tolist() == [[2, 2, 2], [5, 5, 5], [8, 8, 8]]
    assert images[2, 0].tolist() == [[3, 3, 4], [6, 6, 7], [6, 6, 7]]
    assert np.array_equal(images[:, 1], images[:, 0] + 100)


def test_a_move_beyond_the_image_leaves_its_edge() -> None:
    images = np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2).copy()
    move(images, np.array([[5, -7]], np.int16))
    assert images[0, 0].tolist() == [[1, 1], [1, 1]]
    before = images.copy()
    move(images, None)
    assert np.array_equal(images, before)
