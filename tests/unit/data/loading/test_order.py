from __future__ import annotations

import hashlib
from itertools import islice

import numpy as np
import pytest

from rankclip.data.loading.order import Batch, batches, dropped, epoch_order, share, steps_per_epoch
from rankclip.errors import InputError


def first(number: int, start_step: int = 0) -> list[Batch]:
    return list(islice(batches(10, 3, seed=5, start_step=start_step), number))


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_an_epoch_holds_every_sample_once(n: int) -> None:
    assert sorted(epoch_order(n, seed=0, epoch=0)) == list(range(n))


def test_orders_differ_between_epochs_and_between_seeds() -> None:
    orders = {epoch_order(100, seed, epoch).tobytes() for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    before = epoch_order(100, seed=3, epoch=7)
    epoch_order(50, seed=1, epoch=2)
    np.testing.assert_array_equal(epoch_order(100, seed=3, epoch=7), before)


def test_the_order_stays_the_same_between_versions_of_numpy() -> None:
    golden = hashlib.sha256(epoch_order(1000, seed=1, epoch=2).astype("<i8").tobytes()).hexdigest()
    assert golden[:16] == "095c3c829aab2441"


def test_every_sample_is_equally_often_first() -> None:
    counts = np.bincount([epoch_order(4, seed, epoch=0)[0] for seed in range(4000)])
    assert (abs(counts - 1000) < 150).all()  # 5 standard deviations


def test_the_remainder_of_an_epoch_is_dropped() -> None:
    run = first(6)
    assert [batch.step for batch in run] == list(range(6))
    assert [batch.epoch for batch in run] == [0, 0, 0, 1, 1, 1]
    seen = np.concatenate([batch.indices for batch in run[:3]])
    np.testing.assert_array_equal(seen, epoch_order(10, seed=5, epoch=0)[:9])


def test_what_is_dropped_is_counted_and_differs_between_epochs() -> None:
    left = []
    for epoch in range(4):
        own = [batch.indices for batch in first(12) if batch.epoch == epoch]
        left.append(frozenset(range(10)) - set(np.concatenate(own).tolist()))
    assert {len(samples) for samples in left} == {dropped(10, 3)} == {1}
    assert len(set(left)) > 1
    assert dropped(12, 3) == 0


@pytest.mark.parametrize("ranks", [1, 2, 3, 6])
def test_the_shares_of_all_workers_are_equal_and_make_the_batch(ranks: int) -> None:
    for batch in islice(batches(20, 6, seed=1), 7):
        shares = [share(batch, rank, ranks) for rank in range(ranks)]
        assert {len(part) for part in shares} == {6 // ranks}
        np.testing.assert_array_equal(np.concatenate(shares), batch.indices)


@pytest.mark.parametrize("start", range(8))
def test_a_start_at_any_step_gives_the_same_continuation(start: int) -> None:
    whole, later = first(12), first(12 - start, start_step=start)
    assert [(a.step, a.epoch, a.indices.tolist()) for a in whole[start:]] == [
        (b.step, b.epoch, b.indices.tolist()) for b in later
    ]


def test_data_that_do_not_fill_a_batch_are_an_error_with_both_numbers() -> None:
    assert steps_per_epoch(10, 10) == 1
    with pytest.raises(InputError, match=r"9 samples .* batch of 10"):
        steps_per_epoch(9, 10)
