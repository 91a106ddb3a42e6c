"""What a sweep searches: distributions of the keys of an arm, and under which values of others."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    PositiveFloat,
    PositiveInt,
    Strict,
    field_validator,
    model_validator,
)

from rankclip.spec import Spec


def _of_an_arm(key: str) -> str:
    if not re.fullmatch(r"(objective|train|model)(\.[A-Za-z0-9_]+)+", key):
        raise ValueError(
            f"{key!r} is no key of an arm; those are as train.lr, model.name or objective.terms.rank_in.top_k"
        )
    return key


Key = Annotated[str, AfterValidator(_of_an_arm)]
"""A dotted key of an arm, as `train.lr` or `objective.terms.rank_in.weight.final`."""


class Searched(Spec):
    """What every searched key has."""

    also: tuple[Key, ...] = ()
    """Further keys that get the same value."""

    arms: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Arms for which the key is searched, where it is not for all of the sweep."""

    when: dict[Key, tuple[JsonValue, ...]] = Field(default_factory=dict)
    """Choices that stand before this key, and the values under which it is searched; else it stays what it is
    in the arm."""


class Between(Searched):
    """A number of a range."""

    low: Any
    high: Any

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:.12g} is not below high {self.high:.12g}: the range is empty")
        return self


class Uniform(Between):
    """Any number, equal parts of the range alike."""

    name: Literal["uniform"]
    low: Annotated[float, Strict()]
    high: Annotated[float, Strict()]


class LogUniform(Between):
    """Any number, equal factors alike."""

    name: Literal["loguniform"]
    low: Annotated[PositiveFloat, Strict()]
    high: Annotated[PositiveFloat, Strict()]


class RandInt(Between):
    """A whole number from `low` to `high`, both included, in steps."""

    name: Literal["randint"]
    low: Annotated[int, Strict()]
    high: Annotated[int, Strict()]
    step: PositiveInt = 1

    @model_validator(mode="after")
    def _arrives(self) -> Self:
        beyond = (self.high - self.low) % self.step
        if beyond:
            near = sorted({max(self.high - beyond, self.low + self.step), self.high - beyond + self.step})
            raise ValueError(
                f"steps of {self.step} from low {self.low} do not lead to high {self.high}; "
                f"take {' or '.join(map(str, near))}"
            )
        return self


class Choice(Searched):
    """One of some values."""

    name: Literal["choice"]
    values: Annotated[tuple[JsonValue, ...], Field(min_length=1)]

    @field_validator("values")
    @classmethod
    def _differ(cls, values: tuple[JsonValue, ...]) -> tuple[JsonValue, ...]:
        if any(value in values[:at] for at, value in enumerate(values)):  # 1 and 1.0 are one run
            raise ValueError(f"{list(values)} has a value twice; give each once")
        return values


Distribution = Annotated[Uniform | LogUniform | RandInt | Choice, Field(discriminator="name")]
"""What is searched for a key."""


def conditions(space: Mapping[str, Distribution], *keys: str) -> dict[str, list[Any]]:
    """What other keys must have that these are searched, their own conditions included."""
    found: dict[str, list[Any]] = {}
    for other, allowed in (each for key in keys for each in space[key].when.items()):
        for each, values in [(other, list(allowed)), *conditions(space, other).items()]:
            found[each] = [value for value in found.get(each, values) if value in values]
    return found


def holds(space: Mapping[str, Distribution], key: str, values: Mapping[str, Any]) -> bool:
    """Whether a key is searched under these values."""
    return all(
        other in values and values[other] in allowed for other, allowed in conditions(space, key).items()
    )


def size(its: Distribution) -> float:
    """How many values there are."""
    if isinstance(its, Choice):
        return len(its.values)
    return (its.high - its.low) // its.step + 1 if isinstance(its, RandInt) else math.inf
