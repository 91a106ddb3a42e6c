"""How much trials tell of each searched key."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rankclip.sweep import standing
from rankclip.sweep.shown import places
from rankclip.sweep.shown.importance import ENOUGH, LEAST, importance
from rankclip.sweep.space import Choice, LogUniform, RandInt, Uniform
from rankclip.sweep.spec import Aim
from tests.unit.sweep.outcomes import CROSS, RUNGS, TOP1, sweep, trials

AIM = Aim(metric=TOP1, mode="max")
SPACE = sweep().space


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Two repeats say as much here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rankclip.sweep.shown.importance.REPEATS", 2)
        yield


def test_the_key_that_decides_is_the_most_important() -> None:
    found = importance(SPACE, trials(count=30), AIM)
    assert found is not None
    assert next(iter(found.shares)) == CROSS
    decisive, *others = found.shares.values()
    assert decisive.low > 5 * max(share.mean for share in others)
    assert decisive.low <= decisive.mean <= decisive.high
    assert found.explained > 0.5
    assert not found.warning
    assert importance(SPACE, trials(count=30), AIM) == found


def test_trials_are_compared_at_the_last_rung_that_all_of_them_reached() -> None:
    made = trials(count=12)
    found = importance(SPACE, made, AIM)
    assert found is not None
    assert (found.rung, found.trials) == (RUNGS[0], 12)
    whole = [replace(trial, state="finished", reports=made[0].reports) for trial in made[:3]]
    rung, read = standing.common(whole, AIM)
    assert (rung, len(read)) == (90, 3)


def test_failed_and_unfinished_trials_tell_nothing() -> None:
    made = trials(count=12)
    spoilt = [
        replace(made[0], state="failed", reports=()),
        replace(made[1], state="proposed", reports=()),
        *made[2:],
    ]
    found = importance(SPACE, spoilt, AIM)
    assert found is not None
    assert found.trials == 10
    assert standing.common([], AIM) == (0, [])


def test_of_few_trials_there_is_a_warning_and_of_fewer_nothing() -> None:
    found = importance(SPACE, trials(count=ENOUGH - 1), AIM)
    assert found is not None
    assert "Only 9 trials" in found.warning
    assert importance(SPACE, trials(count=LEAST - 1), AIM) is None


def test_trials_that_all_read_the_same_tell_nothing() -> None:
    same = [replace(trial, reports=[{"step": 10, TOP1: 0.1}]) for trial in trials(count=12)]
    assert importance(SPACE, same, AIM) is None


def test_noise_has_a_warning() -> None:
    dice = random.Random(0)
    noise = [
        replace(trial, reports=[{"step": 10, TOP1: dice.gauss(0.1, 0.01)}]) for trial in trials(count=20)
    ]
    found = importance(SPACE, noise, AIM)
    assert found is not None
    assert "hardly better than the mean" in found.warning


def test_values_lie_where_they_are_searched() -> None:
    assert places.place(LogUniform(name="loguniform", low=0.01, high=1.0), 0.1) == pytest.approx(0.5)
    assert places.place(Uniform(name="uniform", low=2.0, high=4.0), 3.5) == pytest.approx(0.75)
    assert places.place(RandInt(name="randint", low=0, high=4), 4) == 1.0
    choice = Choice(name="choice", values=("other", None))
    assert [places.place(choice, value) for value in choice.values] == [0.25, 0.75]
    assert [told for _, told in places.ticks(choice)] == ["other", "null"]
    ticks = places.ticks(LogUniform(name="loguniform", low=0.01, high=1.0))
    assert [told for _, told in ticks] == ["0.01", "0.1", "1"]


def test_the_front_is_what_nothing_beats_in_all_aims() -> None:
    made = [trial for trial in trials(count=30) if trial.state == "finished"]
    aims = sweep(aims=2).aims
    front = standing.front(made, aims)
    read = {trial.number: (trial.last(TOP1) or 0.0, -(trial.last("elapsed_s") or 0.0)) for trial in made}
    for trial in made:
        own = read[trial.number]
        beaten = any(other[0] >= own[0] and other[1] >= own[1] and other != own for other in read.values())
        assert (trial in front) is not beaten
    assert 0 < len(front) < len(made)
