from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rankclip import complaints, composition
from rankclip.sweep.space import conditions, holds
from rankclip.sweep.spec import SweepSpec

CONF = Path(__file__).parents[3] / "conf" / "sweep"

SCHEDULE = {"name": "choice", "values": ["cosine", "constant_cooldown"]}
COOLDOWN = {"name": "randint", "low": 10, "high": 50, "when": {"train.schedule": ["constant_cooldown"]}}
LR = {"name": "loguniform", "low": 1e-4, "high": 1e-2}

GOOD: dict[str, Any] = {
    "question": "Which learning rate?",
    "arms": ["clip", "rankclip"],
    "space": {"train.lr": LR, "train.schedule": SCHEDULE, "train.cooldown_steps": COOLDOWN},
    "set": {"train.steps": 260},
    "aims": [{"metric": "val/mean_top1", "mode": "max"}],
    "search": {"name": "tpe", "startup": 8, "seed": 0},
    "stopping": {"name": "asha", "rungs": 3, "reduction": 3},
    "trials": 24,
    "seed": 1000,
    "reruns": {"best": 3, "seeds": 3},
}


def complaint(**changes: Any) -> str:
    """What is said of a sweep that is wrong in this."""
    with pytest.raises(ValidationError) as raised:
        SweepSpec.model_validate(copy.deepcopy(GOOD) | changes)
    return complaints.first(raised.value, SweepSpec)


def searching(its: Any, key: str = "train.lr", **changes: Any) -> str:
    """What is said of a space with one wrong key."""
    return complaint(space={key: its}, **changes)


def test_a_sweep_survives_its_json() -> None:
    spec = SweepSpec.model_validate(GOOD)
    assert SweepSpec.model_validate(json.loads(json.dumps(spec.dump()))) == spec


def keys(values: dict[str, Any]) -> set[str]:
    """The keys of a sweep's file, but those of its space."""
    sections = ("search", "stopping", "reruns")
    return set(values) | {f"{section}.{key}" for section in sections for key in values[section]}


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_sweep_hides_no_default(path: Path) -> None:
    values = composition.value_of(path.read_text())
    assert keys(values) == keys(SweepSpec.model_validate(values).dump())


RANGES = {
    "an empty range": (
        {"name": "uniform", "low": 1, "high": 1},
        "space.train.lr: low 1 is not below high 1: the range is empty",
    ),
    "a range that is upside down": (
        {"name": "randint", "low": 10**9, "high": 1},
        "space.train.lr: low 1000000000 is not below high 1: the range is empty",
    ),
    "text for a number": (
        {"name": "uniform", "low": "little", "high": 1},
        "space.train.lr.low = 'little': must be a number",
    ),
    "a number in quotes": (
        {"name": "loguniform", "low": "1e-3", "high": 1},
        "space.train.lr.low = '1e-3': must be a number",
    ),
    "a boolean for a number": (
        {"name": "uniform", "low": False, "high": 1.0},
        "space.train.lr.low = False: must be a number",
    ),
    "zero on a scale of factors": (
        {"name": "loguniform", "low": 0, "high": 1},
        "space.train.lr.low = 0: must be greater than 0",
    ),
    "no end": (
        {"name": "uniform", "low": 0, "high": float("inf")},
        "space.train.lr.high = inf: must be a finite number",
    ),
    "half a whole number": (
        {"name": "randint", "low": 0.5, "high": 3},
        "space.train.lr.low = 0.5: must be an integer",
    ),
    "steps that miss the end": (
        {"name": "randint", "low": 1, "high": 10, "step": 4},
        "space.train.lr: steps of 4 from low 1 do not lead to high 10; take 9 or 13",
    ),
    "a step beyond the end": (
        {"name": "randint", "low": 1, "high": 10, "step": 40},
        "space.train.lr: steps of 40 from low 1 do not lead to high 10; take 41",
    ),
    "no step at all": (
        {"name": "randint", "low": 1, "high": 10, "step": 0},
        "space.train.lr.step = 0: must be greater than 0",
    ),
    "a key that a distribution has not": (
        {"name": "uniform", "low": 1, "high": 2, "step": 1},
        "unknown key space.train.lr.step = 1; the keys there are also, arms, when, low, high, name",
    ),
    "one end": ({"name": "uniform", "low": 1}, "key space.train.lr.high is missing"),
    "an unknown distribution": (
        {"name": "normal", "low": 1, "high": 2},
        "space.train.lr.name = 'normal' is unknown; choose one of 'uniform', 'loguniform', 'randint', "
        "'choice'",
    ),
    "no name": (
        {"low": 1, "high": 2},
        "space.train.lr.name is missing; it chooses what space.train.lr is",
    ),
    "a value for a distribution": (
        3,
        "space.train.lr = 3: must be a section of keys, of which `name` chooses what it is",
    ),
    "no choices": (
        {"name": "choice", "values": []},
        "space.train.lr.values = []: must have 1 or more entries",
    ),
    "one choice twice": (
        {"name": "choice", "values": [1, 2, 1.0]},
        "space.train.lr.values: [1, 2, 1.0] has a value twice; give each once",
    ),
    "one choice twice in another order": (
        {"name": "choice", "values": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]},
        "space.train.lr.values: [{'a': 1, 'b': 2}, {'b': 2, 'a': 1}] has a value twice; give each once",
    ),
    "a choice that is no number": (
        {"name": "choice", "values": [float("nan"), 1]},
        "space.train.lr.values.0 = nan: must be a finite number",
    ),
    "one text for choices": (
        {"name": "choice", "values": "abc"},
        "space.train.lr.values = 'abc': must be a list: [...]",
    ),
}


@pytest.mark.parametrize(("its", "told"), RANGES.values(), ids=RANGES)
def test_a_wrong_distribution_is_one_line_that_names_key_and_value(its: Any, told: str) -> None:
    assert searching(its) == told


@pytest.mark.parametrize(
    "key", ["lr", "data.images", "train", "train.", "train..lr", "train.l r", "train.lr\n"]
)
def test_only_keys_of_an_arm_are_searched_or_set(key: str) -> None:
    told = f"{key!r} is no key of an arm; those are as train.lr, model.name or objective.terms.rank_in.top_k"
    assert searching(LR, key) == f"space.{key}: {told}"
    assert complaint(set={key: 1}) == f"set.{key}: {told}"
    assert searching(LR | {"also": [key]}) == f"space.train.lr.also.0: {told}"
    assert searching(LR | {"when": {key: [1]}}) == f"space.train.lr.when.{key}: {told}"


@pytest.mark.parametrize(
    ("space", "changes", "told"),
    [
        (
            {"train.lr": LR | {"also": ["train.lr"]}},
            {},
            "space.train.lr.also has train.lr, which space has too; give it once",
        ),
        (
            {"train.lr": LR | {"also": ["train.eps"]}, "train.weight_decay": LR | {"also": ["train.eps"]}},
            {},
            "space.train.weight_decay.also has train.eps, which space.train.lr.also has too; give it once",
        ),
        (
            {"train.steps": COOLDOWN | {"when": {}}},
            {},
            "set has train.steps, which space has too; give it once",
        ),
        (
            {"train.lr": LR | {"also": ["train.eps"]}},
            {"set": {"train.eps": 1e-6}},
            "set has train.eps, which space.train.lr.also has too; give it once",
        ),
    ],
)
def test_a_key_has_one_place(space: dict[str, Any], changes: dict[str, Any], told: str) -> None:
    assert complaint(space=space, **changes) == told


def test_a_section_does_not_replace_what_was_set_in_it() -> None:
    weight, final = "objective.terms.rank_in.weight", "objective.terms.rank_in.weight.final"
    whole = {"name": "choice", "values": [{"name": "constant", "value": 0.1}]}
    told = f"space.{weight} would replace {final}, which stands before it"
    assert complaint(space={final: LR, weight: whole}) == told
    assert complaint(space={weight: whole}, set={final: 0.5}) == told
    assert SweepSpec.model_validate(GOOD | {"space": {weight: whole, final: LR}})


CONDITIONS = {
    "an unknown key": ({"train.precision": ["bf16"]}, "train.precision is no choice that stands before it"),
    "a range": ({"train.lr": [1e-3]}, "train.lr is no choice that stands before it"),
    "a key that comes later": (
        {"train.weights": ["best"]},
        "train.weights is no choice that stands before it",
    ),
    "itself": ({"train.eps": [1]}, "train.eps is no choice that stands before it"),
}


@pytest.mark.parametrize(("when", "told"), CONDITIONS.values(), ids=CONDITIONS)
def test_a_condition_is_a_choice_that_stands_before_its_key(when: dict[str, Any], told: str) -> None:
    last = {"name": "choice", "values": ["best", "last"]}
    space = {"train.lr": LR, "train.eps": LR | {"when": when}, "train.weights": last}
    assert complaint(space=space) == f"space.train.eps.when: {told}"


@pytest.mark.parametrize("values", [["linear"], [], ["cosine", "linear"]])
def test_a_condition_is_made_of_values_of_its_choice(values: list[str]) -> None:
    space = {"train.schedule": SCHEDULE, "train.lr": LR | {"when": {"train.schedule": values}}}
    told = f"space.train.lr.when.train.schedule = {values}: choose of ['cosine', 'constant_cooldown']"
    assert complaint(space=space) == told


def test_conditions_that_exclude_each_other_are_refused() -> None:
    weights = {"name": "choice", "values": ["best", "last"], "when": {"train.schedule": ["cosine"]}}
    both = {"train.weights": ["best"], "train.schedule": ["constant_cooldown"]}
    space = {"train.schedule": SCHEDULE, "train.weights": weights, "train.lr": LR | {"when": both}}
    assert complaint(space=space) == "space.train.lr.when: no value of train.schedule fits all conditions"


def test_a_condition_has_the_conditions_of_its_own_key() -> None:
    weights = {"name": "choice", "values": ["best", "last"], "when": {"train.schedule": ["cosine"]}}
    space = {
        "train.schedule": SCHEDULE,
        "train.weights": weights,
        "train.lr": LR | {"when": {"train.weights": ["best"]}},
    }
    searched = SweepSpec.model_validate(GOOD | {"space": space}).space
    assert conditions(searched, "train.lr") == {"train.weights": ["best"], "train.schedule": ["cosine"]}
    assert holds(searched, "train.lr", {"train.schedule": "cosine", "train.weights": "best"})
    assert not holds(searched, "train.lr", {"train.schedule": "constant_cooldown", "train.weights": "best"})
    assert not holds(searched, "train.lr", {"train.schedule": "cosine"})


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"trails": 3}, "unknown key trails = 3; did you mean trials? the keys there are"),
    "nothing searched": ({"space": {}}, "space = {}: must have 1 or more entries"),
    "a list of keys": ({"space": ["train.lr"]}, "space = ['train.lr']: must be a section of keys"),
    "no section": ({"set": None}, "set = None: must be a section of keys"),
    "no arm": ({"arms": []}, "arms = []: must have 1 or more entries"),
    "an arm twice": ({"arms": ["clip", "clip"]}, "arms: ['clip', 'clip'] has an arm twice; give each once"),
    "an arm that is no list": ({"arms": "clip"}, "arms = 'clip': must be a list: [...]"),
    "no trial": ({"trials": 0}, "trials = 0: must be greater than 0"),
    "text for trials": ({"trials": "many"}, "trials = 'many': must be an integer"),
    "an unknown search": (
        {"search": {"name": "bayes"}},
        "search.name = 'bayes' is unknown; choose one of 'tpe', 'random', 'grid'",
    ),
    "a search without its keys": ({"search": {"name": "random"}}, "key search.seed is missing"),
    "a search with another's keys": (
        {"search": {"name": "random", "seed": 0, "startup": 8}},
        "unknown key search.startup = 8; the keys there are name, seed",
    ),
    "text for a search": (
        {"search": "tpe"},
        "search = 'tpe': must be a section of keys, of which `name` chooses what it is",
    ),
    "a grid of a point": (
        {"search": {"name": "grid", "points": 1}},
        "search.points = 1: must be greater than or equal to 2",
    ),
    "an unknown stopping": (
        {"stopping": {"name": "hyperband"}},
        "stopping.name = 'hyperband' is unknown; choose one of 'asha', 'median', 'none'",
    ),
    "one rung": (
        {"stopping": {"name": "asha", "rungs": 1, "reduction": 3}},
        "stopping.rungs = 1: must be greater than or equal to 2",
    ),
    "no aim": ({"aims": []}, "aims = []: must have 1 or more entries"),
    "an aim that is no list": (
        {"aims": {"metric": "val/mean_top1", "mode": "max"}},
        "aims = {'metric': 'val/mean_top1', 'mode': 'max'}: must be a list: [...]",
    ),
    "another way": (
        {"aims": [{"metric": "val/mean_top1", "mode": "up"}]},
        "aims.0.mode = 'up': must be 'max' or",
    ),
    "one re-run": (
        {"reruns": {"best": 3, "seeds": 1}},
        "reruns.seeds = 1: must be greater than or equal to 2",
    ),
    "no seeds left": (
        {"seed": 2**31 - 2},
        "seed 2147483646 leaves no 3 seeds below 2**31 for re-runs",
    ),
    "two wrong values": ({"trials": 0, "seed": -1}, "trials = 0: must be greater than 0 (and 1 more)"),
}


@pytest.mark.parametrize(("changes", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_one_line_that_says_what_would_be_right(changes: dict[str, Any], told: str) -> None:
    line = complaint(**changes)
    assert line.startswith(told)
    assert "\n" not in line


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_sweep_has_no_defaults(key: str) -> None:
    values = {other: value for other, value in GOOD.items() if other != key}
    with pytest.raises(ValidationError) as raised:
        SweepSpec.model_validate(values)
    assert complaints.first(raised.value, SweepSpec) == f"key {key} is missing"


@pytest.mark.parametrize("name", ["pbt", "pb2"])
@pytest.mark.parametrize("whole", [True, False])
def test_what_changes_settings_under_way_is_refused_with_the_reason(name: str, whole: bool) -> None:
    told = complaint(stopping={"name": name, "interval": 2} if whole else name)
    assert told.startswith(f"stopping: {name} changes settings while a trial trains")
    assert told.endswith("over nested trainers Ray does so without effect; choose asha, median or none")


@pytest.mark.parametrize(
    "metric", ["test/shape/top1", "shape/top1", "val/", "val", "loss", "", "xval/a/top1"]
)
def test_a_sweep_looks_at_validation_and_time_alone(metric: str) -> None:
    told = complaint(aims=[{"metric": metric, "mode": "max"}])
    assert told.startswith(
        f"aims.0.metric: {metric!r} is not what a sweep may look at; choose val/mean_top1, "
        "val/<benchmark>/top1 or elapsed_s"
    )


def test_a_score_comes_first_and_each_aim_once() -> None:
    time, score = ({"metric": name, "mode": "min"} for name in ("elapsed_s", "val/mean_top1"))
    never = {"name": "none"}
    assert complaint(aims=[time]) == "aims: elapsed_s ranks no trials; put a metric of val first"
    told = "aims: ['val/mean_top1', 'val/mean_top1'] has a metric twice; give each once"
    assert complaint(aims=[score, score], stopping=never) == told
    assert SweepSpec.model_validate(GOOD | {"aims": [score, time], "stopping": never})


@pytest.mark.parametrize("name", ["asha", "median"])
def test_several_aims_stop_nothing(name: str) -> None:
    aims = [{"metric": "val/mean_top1", "mode": "max"}, {"metric": "elapsed_s", "mode": "min"}]
    stopping = {"asha": {"rungs": 3, "reduction": 3}, "median": {"rungs": 3, "least": 3}}[name]
    told = complaint(aims=aims, stopping={"name": name, **stopping})
    assert told == f"stopping.name = {name!r} needs one aim, there are 2; use none"


def test_a_grid_that_nobody_can_train_is_refused() -> None:
    space = {f"train.key{number}": LR for number in range(10)}
    told = complaint(space=space, search={"name": "grid", "points": 4})
    assert told == (
        "search: a grid of 1048576 settings is too large; search fewer keys, lower points 4, or take tpe"
    )
    assert SweepSpec.model_validate(GOOD | {"space": space})
