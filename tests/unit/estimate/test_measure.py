from __future__ import annotations

from pathlib import Path

import pytest

from rankclip import composition
from rankclip.config import Study
from rankclip.estimate import likeness, measure
from rankclip.estimate.measure import Arm, between, fits, middle, pairs_of, rehearsal
from rankclip.estimate.need import Worker
from rankclip.estimate.rehearsal import Parts
from rankclip.estimate.study import arms_of
from rankclip.training.machine import Machine

CONF = Path(__file__).parents[3] / "conf"
WORKER = Worker("cpu", 1, recompute=False)


@pytest.fixture(scope="module")
def smoke() -> Study:
    few = [f"evaluation.benchmarks.{name}.images=20" for name in ("shape", "colour", "composition")]
    return composition.compose("shapes-smoke", [*few, "train.micro_batch=32"], CONF)


@pytest.fixture(scope="module")
def arm(smoke: Study) -> Arm:
    return arms_of(smoke, WORKER)[1]


def parts(begun: float, ended: float, step_s: float = 1.0) -> Parts:
    return Parts(
        begun=begun, ready=begun, ended=ended, first_s=0, step_s=step_s, decode_s=0, diagnose_s=0,
        validate_s=0, save_s=0,
    )  # fmt: skip


def test_a_whole_batch_is_rehearsed_where_it_is_little_work(
    arm: Arm, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pairs_of(arm, WORKER) == 128
    assert pairs_of(arm, Worker("cuda", 2, recompute=False)) == 64
    monkeypatch.setattr(measure, "CPU_FLOPS", 16 * arm.need.flops_per_pair)
    assert pairs_of(arm, WORKER) == 16
    assert pairs_of(arm, Worker("cuda", 1, recompute=False)) == 128


def test_a_part_of_a_batch_passes_in_as_many_pieces_as_the_whole(
    smoke: Study, arm: Arm, tmp_path: Path
) -> None:
    made = likeness.make(smoke, tmp_path, 32)
    request = rehearsal(arm, 16, made, Machine(device="cpu"), WORKER, tmp_path)
    assert (request.train.batch_size, request.train.micro_batch) == (16, 4)
    assert fits(request, samples=6000)
    assert not fits(request, samples=10**9)


def test_time_between_runs_is_that_of_one_slot() -> None:
    found = [parts(0.0, 10.0), parts(1.0, 14.0), parts(13.0, 30.0), parts(17.0, 40.0)]
    assert between(found, slots=2) == 3.0


def test_of_several_rehearsals_the_middle_counts() -> None:
    assert middle([parts(0.0, 1.0, step_s) for step_s in (9.0, 1.0, 2.0)]).step_s == 2.0
