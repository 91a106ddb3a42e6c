"""The measurement of sweeps counts, pools and judges as it says."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path

import pytest

from bench import sweep
from bench.sweep import Searched
from rankclip import composition
from rankclip.sweep.ledger import Trial
from rankclip.sweep.tuning import rungs

AS_IT_IS = {"as it is": {"1": 0.1, "2": 0.3}}
NO_SETTING: dict[str, dict[str, float]] = {"as it is": {}}


def searched(name: str, rate: float, scores: tuple[float, float], steps: int) -> Searched:
    """A search that trained the arm as it is and one setting again, which is the winner."""
    return Searched(
        states={"finished": 1},
        steps=steps,
        rerun_steps=100,
        winner=name,
        settings=NO_SETTING | {name: {"train.lr": rate}},
        scores=AS_IT_IS | {name: dict(zip("12", scores, strict=True))},
    )


GRID = searched("trial-003", 0.001, (0.4, 0.6), 1000)


def test_seeds_are_pooled_within_settings_by_their_degrees_of_freedom() -> None:
    sd, degrees = sweep.pooled_sd([(1.0, 3.0), (10.0, 10.0, 13.0)])
    assert sd == pytest.approx(math.sqrt((2.0 + 6.0) / 3))
    assert degrees == 3


def test_a_winner_is_compared_in_seed_deviations_and_its_trials_in_steps() -> None:
    found = sweep.compared(GRID, searched("trial-003", 0.002, (0.3, 0.5), 250))
    assert found.difference == pytest.approx(-0.1)
    assert found.seed_sd == pytest.approx(math.sqrt(0.06 / 3))
    assert found.in_sds == pytest.approx(-0.1 / found.seed_sd)
    assert found.work == 0.25
    assert found.work_with_reruns == pytest.approx(350 / 1100)


def test_runs_that_both_searches_made_count_once_for_the_deviation() -> None:
    assert sweep.compared(GRID, GRID).degrees == 2


def test_scores_that_are_all_equal_do_not_differ() -> None:
    alike = dataclasses.replace(GRID, scores={name: {"1": 0.1, "2": 0.1} for name in GRID.scores})
    assert sweep.compared(alike, alike).in_sds == 0


def test_trials_count_the_steps_of_the_last_rung_that_they_reached() -> None:
    reports = [{"step": 3}, {"step": 9}]
    trials = [Trial("a", 0, {}, "finished", reports), Trial("a", 1, {}, "stopped", reports[:1])]
    assert sweep.work([*trials, Trial("a", 2, {}, "failed")]) == 12


def test_medians_decide_and_one_bad_repeat_does_not() -> None:
    worse = searched("trial-001", 0.002, (0.1, 0.3), 900)
    good = searched("trial-001", 0.002, (0.39, 0.59), 250)
    middle = sweep.medians([sweep.compared(GRID, each) for each in (worse, good, good)])
    assert sweep.verdict(middle) == {"as_good": True, "cheap": True}


@pytest.mark.parametrize(
    ("in_sds", "work", "kept"),
    [
        (-1.0, 0.3, {"as_good": True, "cheap": True}),
        (-1.01, 0.3, {"as_good": False, "cheap": True}),
        (5.0, 0.31, {"as_good": True, "cheap": False}),
    ],
)
def test_the_bounds_themselves_are_kept_and_a_better_winner_is_as_good(
    in_sds: float, work: float, kept: dict[str, bool]
) -> None:
    assert sweep.verdict({"in_sds": in_sds, "work": work}) == kept


def test_the_searches_of_all_repeats_train_with_seeds_of_their_own() -> None:
    study = composition.compose(sweep.STUDY, (), sweep.ROOT / composition.CONF)
    taken = [set(study.study.seeds)]
    for repeat in range(sweep.REPEATS):
        grid, tpe = sweep.specs(repeat, sweep.STEPS).values()
        assert (grid.space, grid.set, grid.seed, grid.reruns) == (tpe.space, tpe.set, tpe.seed, tpe.reruns)
        taken.append(set(range(grid.seed, grid.seed + grid.reruns.seeds + 1)))
    assert sum(map(len, taken)) == len(set.union(*taken))


def test_half_of_the_sweeps_trials_may_be_trained_to_their_end() -> None:
    grid, tpe = sweep.specs(0, sweep.STEPS).values()
    first, *_, last = rungs(tpe, sweep.STEPS)
    assert tpe.trials * first < sweep.AT_MOST * grid.trials * last
    assert tpe.trials / 2 * last < sweep.AT_MOST * grid.trials * last


def test_missing_data_are_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["sweep", "--root", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"shapes-smoke is missing; .*--root"):
        sweep.main()
