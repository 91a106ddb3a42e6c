from __future__ import annotations

from rankclip.estimate.plan import of_parts, times, together
from rankclip.estimate.rehearsal import Parts
from rankclip.training.machine import Machine
from tests.unit.training import tiny

PARTS = Parts(
    begun=10.0,
    ready=13.0,
    ended=20.0,
    first_s=2.0,
    step_s=0.5,
    decode_s=0.25,
    diagnose_s=4.0,
    validate_s=100.0,
    save_s=1000.0,
)


def test_runs_take_the_first_slot_that_is_free() -> None:
    assert together([3.0, 1.0, 1.0, 4.0], 2) == 6.0
    assert together([3.0, 1.0, 1.0, 4.0], 1) == 9.0
    assert together([3.0, 1.0], 8) == 3.0


def test_what_is_done_now_and_then_is_done_at_the_end_too() -> None:
    assert times(tiny.TRAIN, 5) == 2  # of 7 steps
    assert times(tiny.TRAIN, 7) == 1
    assert times(tiny.TRAIN, None) == 0


def test_a_run_is_the_sum_of_its_parts() -> None:
    train = tiny.TRAIN.model_copy(update={"diagnose_every": 4})  # 7 steps of 8 pairs
    found = of_parts(PARTS, 8, train, Machine(checkpoint_minutes=1e6), workers=1, samples=20)
    assert found.step_s == 0.5
    assert found.run_s == 3.0 + 2.0 + 7 * 0.5 + 20 * 0.25 + 2 * 4.0 + 2 * 100.0 + 3 * 1000.0


def test_a_part_of_a_batch_stands_for_the_whole() -> None:
    alone = of_parts(PARTS, 4, tiny.TRAIN, Machine(), workers=1, samples=0)
    shared = of_parts(PARTS, 4, tiny.TRAIN, Machine(), workers=2, samples=0)
    assert (alone.step_s, shared.step_s) == (1.0, 0.5)


def test_checkpoints_by_the_clock_count_where_they_are_more() -> None:
    seldom, often = (
        of_parts(PARTS, 8, tiny.TRAIN, Machine(checkpoint_minutes=minutes), workers=1, samples=0)
        for minutes in (10.0, 0.005)
    )
    assert often.run_s > seldom.run_s
