from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankclip.sweep.ledger import Ledger, State, Trial
from rankclip.sweep.proposals import propose, signature
from rankclip.sweep.space import Choice, RandInt, holds
from rankclip.sweep.spec import SweepSpec

TPE = {"name": "tpe", "startup": 5, "seed": 0}
RANDOM = {"name": "random", "seed": 0}
SCORE = {"metric": "val/mean_top1", "mode": "max"}
TIME = {"metric": "elapsed_s", "mode": "min"}

Values = dict[str, Any]
Judge = Callable[[Values], float]


def choice(*values: Any, **conditions: Any) -> dict[str, Any]:
    return {"name": "choice", "values": list(values), **conditions}


def number(name: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "low": low, "high": high, **more}


PLANE = {"train.x": number("uniform", -2.0, 2.0), "train.y": number("loguniform", 0.001, 10.0)}
MIXED = {
    "train.lr": number("loguniform", 1e-4, 1e-2),
    "train.schedule": choice("cosine", "constant_cooldown"),
    "train.cooldown_steps": number(
        "randint", 10, 90, step=20, when={"train.schedule": ["constant_cooldown"]}
    ),
    "train.betas": choice([0.9, 0.98], [0.9, 0.999], None),
}


def sweep(space: Mapping[str, Any], search: Mapping[str, Any] = TPE, *aims: Mapping[str, Any]) -> SweepSpec:
    """A sweep of a space."""
    return SweepSpec.model_validate(
        {
            "question": "Which?",
            "arms": None,
            "space": space,
            "set": {},
            "aims": aims or [SCORE],
            "search": search,
            "stopping": {"name": "none"},
            "trials": 40,
            "seed": 1000,
            "reruns": {"best": 1, "seeds": 2},
        }
    )


def finished(at: int, values: Values, *numbers: float, state: Any = "finished") -> Trial:
    """A trial that reported these values of score and time."""
    names = (SCORE["metric"], TIME["metric"])
    return Trial("a", at, values, state, ({"step": 90, **dict(zip(names, numbers, strict=False))},))


def searched(spec: SweepSpec, judge: Judge, trials: int) -> list[Trial]:
    """A sweep of which each trial ends before the next is proposed."""
    history: list[Trial] = []
    while len(history) < trials and (values := propose(spec, history)) is not None:
        history.append(finished(len(history), values, judge(values)))
    return history


def hill(values: Values) -> float:
    """Highest, 0, at x = 0.7, y = 0.1; each of the four corners of the plane is lower than -0.2."""
    x, y = float(values["train.x"]), math.log10(values["train.y"])
    return -(((x - 0.7) / 4) ** 2) - ((y + 1) / 4) ** 2


def past(spec: SweepSpec, trials: int, judge: Judge = lambda values: len(repr(values)) / 100) -> list[Trial]:
    """A history with trials of every state."""
    states: tuple[State, ...] = ("finished", "stopped", "finished", "failed", "proposed")
    return [
        dataclasses.replace(trial, state=states[trial.number % 5]) for trial in searched(spec, judge, trials)
    ]


def assert_is_of(spec: SweepSpec, values: Values) -> None:
    """Every value is in its distribution, and those keys have one whose conditions hold."""
    assert list(values) == [key for key in spec.space if holds(spec.space, key, values)]
    for key, value in values.items():
        its = spec.space[key]
        if isinstance(its, Choice):
            assert any(value is one for one in its.values)
        elif isinstance(its, RandInt):
            assert type(value) is int
            assert value in range(its.low, its.high + 1, its.step)
        else:
            assert type(value) is float
            assert its.low <= value <= its.high


@pytest.mark.parametrize("search", [TPE, RANDOM, {"name": "grid", "points": 3}], ids=lambda its: its["name"])
def test_a_proposal_follows_from_the_sweep_and_the_trials_so_far(search: dict[str, Any]) -> None:
    spec = sweep(MIXED, search)
    history = past(spec, 12)
    assert [trial.values for trial in past(spec, 12)] == [trial.values for trial in history]
    for length in range(13):
        assert propose(spec, history[:length]) == propose(spec, history[:length])


def test_a_proposal_is_the_same_in_every_process_and_after_reopening_the_ledger(tmp_path: Path) -> None:
    spec = sweep(MIXED)
    ledger = Ledger.opened(tmp_path)
    for trial in past(spec, 12):
        ledger.propose("a", trial.values)
        ledger.report(trial, trial.reports[0])
        if trial.ended:
            ledger.end(trial, trial.state)
    expected = [propose(spec, ledger.of("a")[:length]) for length in (0, 6, 12)]
    code = (
        "import json, pathlib, sys; from rankclip.sweep.ledger import Ledger; "
        "from rankclip.sweep.proposals import propose; from rankclip.sweep.spec import SweepSpec; "
        "trials = Ledger.opened(pathlib.Path(sys.argv[2])).of('a'); "
        "spec = SweepSpec.model_validate_json(sys.argv[1]); "
        "print(json.dumps([propose(spec, trials[:length]) for length in (0, 6, 12)]))"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, json.dumps(spec.dump()), str(tmp_path)],
            capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert json.loads(done.stdout) == expected
        assert done.stderr == ""


@pytest.mark.parametrize("search", [TPE, RANDOM], ids=lambda its: its["name"])
def test_another_seed_is_another_search(search: dict[str, Any]) -> None:
    first, other = (searched(sweep(PLANE, search | {"seed": seed}), hill, 12) for seed in (0, 1))
    assert not {signature(trial.values) for trial in first} & {signature(trial.values) for trial in other}


def test_a_search_says_nothing(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG):
        past(sweep(MIXED), 12)
        past(sweep(MIXED, TPE, SCORE, TIME), 6)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("search", [TPE, RANDOM], ids=lambda its: its["name"])
@pytest.mark.parametrize(
    ("space", "whole"),
    [
        ({"train.a": choice(1)}, 1),
        ({"train.a": choice(1, 2, 3), "train.b": choice("x", None, [1], {"y": 2})}, 12),
        ({"train.a": number("randint", 0, 20, step=4), "train.b": choice(0.1, 0.2)}, 12),
        (
            {
                "train.a": choice("x", "y"),
                "train.b": choice(1, 2, 3, when={"train.a": ["x"]}),
                "train.c": number("randint", 0, 4, when={"train.b": [1, 3]}),
            },
            12,
        ),
    ],
    ids=["one", "choices", "numbers", "conditions"],
)
def test_a_space_is_searched_to_its_last_setting_and_no_setting_twice(
    search: dict[str, Any], space: dict[str, Any], whole: int
) -> None:
    spec = sweep(space, search)
    history = searched(spec, lambda values: float(values["train.a"] == 1), whole + 1)
    assert len(history) == len({signature(trial.values) for trial in history}) == whole
    for trial in history:
        assert_is_of(spec, dict(trial.values))
    assert propose(spec, history) is None


def test_no_setting_is_proposed_twice_however_good_it_is() -> None:
    spec = sweep({"train.a": choice(*range(30)), "train.b": number("randint", 0, 30)})
    history = searched(spec, lambda values: float(values["train.a"] + values["train.b"]), 40)
    assert len({signature(trial.values) for trial in history}) == 40
    good = [trial for trial in history[10:] if trial.reports[0][SCORE["metric"]] >= 40]
    assert len(good) > 10


@pytest.mark.parametrize("search", [TPE, RANDOM], ids=lambda its: its["name"])
def test_a_space_with_a_range_is_never_exhausted(search: dict[str, Any]) -> None:
    space = {"train.a": choice(*"xyz"), "train.x": number("uniform", 0, 1, when={"train.a": ["z"]})}
    history = searched(sweep(space, search), lambda values: float(values["train.a"] != "z"), 30)
    assert len({signature(trial.values) for trial in history}) == 30


KEYS = ["train.a", "train.b", "train.c", "train.d"]
NUMBERS = st.integers(1, 50)


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """A space of up to four keys, of which later ones may be under conditions of earlier ones."""
    space: dict[str, Any] = {}
    for key in KEYS[: draw(st.integers(1, 4))]:
        name = draw(st.sampled_from(["choice", "choice", "uniform", "loguniform", "randint"]))
        its: dict[str, Any] = {"name": name}
        if name == "choice":
            its["values"] = draw(st.sampled_from([[1, 2], ["x", None, [1, 2]], [0.5, {"y": 1}], [True, "t"]]))
        elif name == "randint":
            first, step = draw(st.integers(-5, 5)), draw(st.integers(1, 4))
            its |= {"low": first, "high": first + step * draw(st.integers(1, 6)), "step": step}
        else:
            low = draw(NUMBERS) / 7
            its |= {"low": low, "high": low + draw(NUMBERS) / 3}
        before: list[str] = [other for other, one in space.items() if one["name"] == "choice"]
        under: bool = draw(st.booleans())
        if before and under:
            other = draw(st.sampled_from(before))
            its["when"] = {other: [draw(st.sampled_from(space[other]["values"]))]}
        space[key] = its
    return space


@given(space=spaces(), seed=st.integers(0, 2**31 - 1), kind=st.sampled_from(["tpe", "random", "grid"]))
@settings(max_examples=40, deadline=None)
def test_every_proposal_is_in_the_space(space: dict[str, Any], seed: int, kind: str) -> None:
    search = {"tpe": {"startup": 2, "seed": seed}, "random": {"seed": seed}, "grid": {"points": 2}}[kind]
    spec = sweep(space, {"name": kind, **search})
    history = past(spec, 8)
    assert len({signature(trial.values) for trial in history}) == len(history)
    for trial in history:
        assert_is_of(spec, dict(trial.values))


@pytest.mark.parametrize("search", [TPE, RANDOM], ids=lambda its: its["name"])
def test_both_parts_of_a_scale_of_factors_are_searched(search: dict[str, Any]) -> None:
    spec = sweep({"train.x": number("loguniform", 1e-6, 1e-2)}, search)
    failed = [finished(at, {"train.x": 0.001 * at}, state="failed") for at in range(40)]
    tried = [propose(spec, failed[:length]) for length in range(40)]
    low = [values for values in tried if values and values["train.x"] < 1e-4]
    assert 10 <= len(low) <= 30


def test_a_grid_is_every_combination_once() -> None:
    space = {
        "train.lr": number("loguniform", 1e-4, 1e-1),
        "train.warmup_steps": number("randint", 10, 20, step=5),
        "train.batch_size": number("randint", 1, 100),
        "train.schedule": choice("cosine", "constant_cooldown"),
        "train.cooldown_steps": number("randint", 0, 1, when={"train.schedule": ["constant_cooldown"]}),
    }
    spec = sweep(space, {"name": "grid", "points": 4})
    history = searched(spec, lambda values: 0.0, 10_000)
    values = {key: sorted({trial.values[key] for trial in history if key in trial.values}) for key in space}
    assert values["train.lr"] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert (values["train.lr"][0], values["train.lr"][-1]) == (1e-4, 1e-1)
    assert values["train.warmup_steps"] == [10, 15, 20]
    assert values["train.batch_size"] == [1, 34, 67, 100]
    assert len(history) == len({signature(trial.values) for trial in history}) == 4 * 3 * 4 * 3
    for trial in history:
        assert_is_of(spec, dict(trial.values))
    assert propose(spec, history) is None


def test_a_part_of_a_grid_is_spread_over_the_whole() -> None:
    keys = [f"train.{name}" for name in "abc"]
    spec = sweep(dict.fromkeys(keys, number("uniform", 0, 1)), {"name": "grid", "points": 4})
    first = searched(spec, lambda values: 0.0, 16)
    for key in keys:
        counted = Counter(trial.values[key] for trial in first)
        assert len(counted) == 4
        assert max(counted.values()) <= 8


def best(search: dict[str, Any], seed: int) -> float:
    history = searched(sweep(PLANE, search | {"seed": seed}), hill, 40)
    return max(hill(dict(trial.values)) for trial in history)


def test_tpe_finds_the_top_of_a_hill_better_than_chance() -> None:
    tpe, chance = ([best(search, seed) for seed in range(10)] for search in (TPE, RANDOM))
    assert statistics.fmean(tpe) > statistics.fmean(chance) / 2
    assert statistics.median(tpe) > -0.002


@pytest.mark.parametrize("good", [0.2, 0.8])
def test_what_was_stopped_early_tells_where_to_search(good: float) -> None:
    spec = sweep({"train.x": number("uniform", 0.0, 1.0)})

    def proposed(state: str, shift: int) -> float:
        places = [(k + 0.5) / 20 + shift / 1000 for k in range(20)]
        past = [finished(k, {"train.x": x}, -abs(x - good), state=state) for k, x in enumerate(places)]
        values = propose(spec, past)
        assert values is not None
        return float(values["train.x"])

    stopped, failed = ([proposed(state, shift) for shift in range(15)] for state in ("stopped", "failed"))
    assert statistics.fmean(abs(x - good) for x in stopped) < 0.15
    assert len(set(failed)) == 1  # what chance gives the twentieth, whatever was before


def test_what_failed_or_reported_nothing_tells_nothing() -> None:
    spec = sweep(PLANE)
    history = searched(spec, hill, 10)
    failed = {"train.x": 0.1, "train.y": 0.2}
    told = [
        propose(spec, [*history, finished(10, failed, value, state="failed")]) for value in (0.0, 5.0, -5.0)
    ]
    assert told[0] == told[1] == told[2]
    without = dataclasses.replace(finished(10, failed), state="finished", reports=({"step": 90},))
    assert propose(spec, [*history, without]) == told[0]
    assert propose(spec, [*history, finished(10, failed, 0.0)]) != told[0]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_what_is_to_be_small_is_searched_where_it_is_small(mode: str) -> None:
    spec = sweep({"train.x": number("uniform", 0.0, 1.0)}, TPE, SCORE | {"mode": mode})
    late = [trial.values["train.x"] for trial in searched(spec, lambda values: values["train.x"], 30)[10:]]
    assert (statistics.fmean(late) > 0.7) is (mode == "max")
    assert (statistics.fmean(late) < 0.3) is (mode == "min")


def test_of_several_aims_the_front_is_searched() -> None:
    """Score and time of x in [0, 3]: what is above 1 costs more and brings nothing."""
    spec = sweep({"train.x": number("uniform", 0.0, 3.0)}, TPE, SCORE, TIME)
    history: list[Trial] = []
    for at in range(40):
        values = propose(spec, history)
        assert values is not None
        x = values["train.x"]
        history.append(finished(at, values, min(x, 1.0), x))
    late = [trial.values["train.x"] for trial in history[15:]]
    assert len([x for x in late if x <= 1.2]) > 0.6 * len(late)


@pytest.mark.parametrize("aims", [(SCORE,), (SCORE, TIME)], ids=["one", "two"])
@pytest.mark.parametrize("space", [PLANE, MIXED], ids=["plane", "mixed"])
def test_trials_side_by_side_have_different_settings(space: dict[str, Any], aims: Any) -> None:
    spec = sweep(space, TPE, *aims)
    history = [finished(at, dict(one.values), at / 10, at) for at, one in enumerate(past(spec, 8))]
    for at in range(8, 16):
        values = propose(spec, history)
        assert values is not None
        history.append(Trial("a", at, values))
    assert len({signature(trial.values) for trial in history}) == 16


def test_trials_side_by_side_keep_apart() -> None:
    """Proposed one after the other they would come closer and closer to the top: 0.09."""
    spreads = []
    for seed in range(4):
        spec = sweep({"train.x": number("uniform", 0.0, 1.0)}, TPE | {"seed": seed})
        history = searched(spec, lambda values: -abs(values["train.x"] - 0.5), 25)
        for at in range(25, 33):
            values = propose(spec, history)
            assert values is not None
            history.append(Trial("a", at, values))
        spreads.append(statistics.stdev(trial.values["train.x"] for trial in history[25:]))
    assert statistics.fmean(spreads) > 0.15


@pytest.mark.parametrize("search", [TPE, RANDOM], ids=lambda its: its["name"])
def test_the_first_trial_is_the_arm_as_it_is(search: dict[str, Any]) -> None:
    spec, present = sweep(PLANE, search), {"train.x": 0.125, "train.y": 0.5}
    first = propose(spec, [], present)
    assert first == present
    history = [Trial("a", 0, present)]
    second = propose(spec, history, present)
    assert second not in (None, present)
    assert second == propose(spec, history)
    assert propose(spec, [], None) not in (None, present)


def test_a_grid_begins_with_one_of_its_points() -> None:
    spec = sweep(PLANE, {"name": "grid", "points": 3})
    assert propose(spec, [], {"train.x": 0.125, "train.y": 0.5}) == propose(spec, [])
