"""What a trial changes of an arm, and whether the study allows it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from rankclip import complaints, config
from rankclip.config import Arm, Study
from rankclip.errors import InputError
from rankclip.sweep.space import Choice, Distribution, RandInt, conditions, holds
from rankclip.sweep.spec import SweepSpec

Values = Mapping[str, Any]
"""Dotted keys of an arm and their values."""


def spread(spec: SweepSpec, proposed: Values) -> dict[str, Any]:
    """Proposed values with the keys that have the same."""
    return {each: value for key, value in proposed.items() for each in (key, *spec.space[key].also)}


def changed(arm: Arm, values: Values) -> Arm:
    """An arm with other values: of its objective, or as overrides of its model and recipe.

    Raises:
        InputError: its objective has no such key, or not with this value.
    """
    objective, overrides = arm.objective.dump(), dict(arm.overrides)
    for key, value in values.items():
        if key.startswith("objective."):
            config.assign({"objective": objective}, key.split("."), value)
        else:
            overrides[key] = value
    try:
        return Arm.model_validate({"objective": objective, "overrides": overrides})
    except ValidationError as error:
        raise InputError(_by_name(complaints.first(error, Arm), arm)) from None


def _by_name(line: str, arm: Arm) -> str:
    """A complaint with terms by name, as keys have them, not by number."""

    def term(found: re.Match[str]) -> str:
        objective = arm.objective.replay if found[1] else arm.objective
        return (
            f"{found[0].rpartition('.')[0]}.{objective.terms[int(found[2])].name}" if objective else found[0]
        )

    return re.sub(r"\bobjective(\.replay)?\.terms\.(\d+)\b", term, line)


def fitting(study: Study, name: str, arm: Arm) -> Arm:
    """The arm, if the study may have it; what the study's other arms and its report are does not count.

    Raises:
        InputError: it may not; the line names the key.
    """
    values = study.dump()
    values["arms"] = {name: arm.dump()}
    values["report"] |= {"baseline": name, "treatment": None, "control": None}
    try:
        return Study.model_validate(values).arms[name]
    except ValidationError as error:
        line = complaints.first(error, Study)
    line = line.removeprefix(f"arms.{name}.").removeprefix("overrides: ")
    raise InputError(f"arm {name}: {_by_name(line, arm)}")


def ends(its: Distribution) -> tuple[Any, ...]:
    """Each choice, or both ends of a range."""
    return its.values if isinstance(its, Choice) else (its.low, its.high)


def corners(space: Mapping[str, Distribution]) -> Iterator[dict[str, Any]]:
    """The ends of each key, then those of each two keys together, the others as the arm has them.

    A key that is searched under conditions comes with values that fulfil them.
    """
    for count in (1, 2):
        for keys in itertools.combinations(space, count):
            needed = conditions(space, *keys)
            for values in itertools.product(*(ends(space[key]) for key in keys)):
                chosen = {other: allowed[0] for other, allowed in needed.items() if allowed}
                chosen |= dict(zip(keys, values, strict=True))
                if all(chosen.get(other) in allowed for other, allowed in needed.items()):
                    yield {key: chosen[key] for key in space if key in chosen}


def check(spec: SweepSpec, study: Study, arms: Mapping[str, Arm]) -> None:
    """Tries the ends of the space on every arm, as trials have them and as a winner has them, without `set`.

    Raises:
        InputError: an arm has no such key, or may not have such a value; the line names arm, key and value.
    """
    for name, arm in arms.items():
        space = spec.of(name).space
        if not space:
            raise InputError(f"space has no key for arm {name}; give it one, or leave it out of arms")
        for values in ({}, *corners(space)):
            tried = spread(spec, values)
            _try(study, name, arm, {**spec.set, **tried}, tried or spec.set)
            if spec.set:
                _try(study, name, arm, tried, tried, " without `set`, as a winner is")


def _try(study: Study, name: str, arm: Arm, values: Values, told: Values, how: str = "") -> None:
    """Complains with those of the values to be told that the complaint does not name itself."""
    try:
        fitting(study, name, changed(arm, values))
    except InputError as error:
        reason = re.sub(r"^(objective|train|model): ", "", str(error).removeprefix(f"arm {name}: "))
        named = any(key in reason for key in told)
        also = ", ".join(f"{key} = {complaints.shown(value)}" for key, value in told.items())
        told_with = f"{',' if how else ''} with {also}" if told and not named else ""
        raise InputError(f"arm {name}{how}{told_with}: {reason}") from None


def present(spec: SweepSpec, study: Study, arm: Arm) -> dict[str, Any] | None:
    """The values that an arm has itself, with what the sweep sets; None where one is not in the space."""
    own = changed(arm, spec.set)
    sections = {"objective": own.objective.dump(), **own.recipe(study.model, study.train).dump()}
    values: dict[str, Any] = {}
    try:
        for key, its in spec.space.items():
            if holds(spec.space, key, values):
                values[key] = _within(its, [_at(sections, each) for each in (key, *its.also)])
    except LookupError:
        return None
    return values


def _at(sections: Mapping[str, Any], key: str) -> Any:
    place: Any = sections
    for part in key.split("."):
        if isinstance(place, list):
            place = {each["name"]: each for each in place if isinstance(each, dict)}
        if not isinstance(place, dict):
            raise LookupError(key)
        place = place[part]
    return place


def _within(its: Distribution, found: Sequence[Any]) -> Any:
    """The value that all keys have, if it is one of the distribution, as that gives it."""
    value = found[0]
    if any(other != value for other in found):
        raise LookupError("keys with the same value differ")
    if isinstance(its, Choice):
        if value not in its.values:
            raise LookupError(value)
        return its.values[its.values.index(value)]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not its.low <= value <= its.high:
        raise LookupError(value)
    if isinstance(its, RandInt):
        if (value - its.low) % its.step:
            raise LookupError(value)
        return int(value)
    return float(value)
