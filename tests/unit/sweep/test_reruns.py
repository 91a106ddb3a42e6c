"""Which trials are trained again, and which setting wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rankclip.errors import RunError
from rankclip.sweep import plan, reruns
from rankclip.sweep.ledger import State, Trial
from rankclip.sweep.outcome import AS_IT_IS, Setting
from rankclip.sweep.spec import SweepSpec

CONF = Path(__file__).parents[3] / "conf"


def spec(*changes: str) -> SweepSpec:
    return plan.read("rank-weights", changes, CONF)


def trial(number: int, value: float, seconds: float = 1.0, state: State = "finished") -> Trial:
    report = {"step": 520, "val/mean_top1": value, "elapsed_s": seconds}
    return Trial("rankclip", number, {"x": number}, state, (report,))


def test_the_best_finished_trials_are_trained_again_best_first() -> None:
    trials = [trial(0, 0.1), trial(1, 0.4), trial(2, 0.9, state="stopped"), trial(3, 0.3), trial(4, 0.2)]
    assert [one.number for one in reruns.best(spec(), trials)] == [1, 3, 4]
    low = spec("aims=[{metric: val/mean_top1, mode: min}]")
    assert [one.number for one in reruns.best(low, trials)] == [0, 4, 3]


def test_of_several_aims_those_are_trained_again_that_none_is_better_than() -> None:
    several = spec(
        "aims=[{metric: val/mean_top1, mode: max}, {metric: elapsed_s, mode: min}]", "stopping={name: none}"
    )
    trials = [trial(0, 0.4, 9), trial(1, 0.3, 5), trial(2, 0.2, 7), trial(3, 0.1, 1)]
    assert [one.number for one in reruns.best(several, trials)] == [0, 1, 3]


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([], "no trial of 0 finished .none was begun"),
        (
            [trial(0, 0.1, state="stopped")],
            "no trial of 1 finished .none came to its end: all others were stopped; ask for more trials",
        ),
        (
            [trial(0, 0.1, state="stopped"), trial(1, 0.1, state="proposed")],
            "no trial of 2 finished .none came to its end: the same command goes on",
        ),
        (
            [Trial("rankclip", 0, {}, "failed", error="loss is not finite")],
            "1 failed, the first with: loss is not finite",
        ),
    ],
)
def test_where_nothing_finished_the_reason_is_said(trials: list[Trial], said: str) -> None:
    with pytest.raises(RunError, match=said):
        reruns.best(spec(), trials)


def test_the_winner_has_the_best_mean_and_a_tie_is_won_by_the_arm_as_it_is() -> None:
    def setting(name: str, *scores: float) -> Setting:
        values: dict[str, Any] = {}
        return Setting("rankclip", name, values, dict(enumerate(scores)))

    as_it_is, lucky = setting(AS_IT_IS, 0.30, 0.32), setting("trial-001", 0.4, 0.1)
    assert reruns.winner(spec(), [as_it_is, lucky]) is as_it_is
    assert reruns.winner(spec(), [as_it_is, lucky, setting("trial-002", 0.33, 0.3)]).name == "trial-002"
    assert reruns.winner(spec(), [as_it_is, setting("trial-003", 0.32, 0.30)]) is as_it_is
