"""What a sweep searches, how, and what it may spend: a file of `conf/sweep`."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, PositiveInt, field_validator, model_validator

from rankclip.spec import Spec
from rankclip.sweep.space import Choice, Distribution, Key, conditions, size

Seed = Annotated[int, Field(ge=0, lt=2**31)]

ELAPSED = "elapsed_s"
"""Metric of time, seconds."""

LARGEST_GRID = 10_000
"""Settings, more than anyone trains."""


class Aim(Spec):
    """A number of a trial's curve that should be large or small."""

    metric: str
    """`val/mean_top1`, `val/<benchmark>/top1`, or `elapsed_s`, seconds of training. Test is never read."""

    mode: Literal["max", "min"]

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.mode == "max" else -1

    @field_validator("metric")
    @classmethod
    def _is_not_of_test(cls, metric: str) -> str:
        if metric != ELAPSED and not re.fullmatch(r"val/.+", metric):
            raise ValueError(
                f"{metric!r} is not what a sweep may look at; choose val/mean_top1, val/<benchmark>/top1 or "
                f"{ELAPSED}"
            )
        return metric


class Tpe(Spec):
    """Optuna's tree of Parzen estimators (Bergstra et al., NeurIPS 2011): more of what was good."""

    name: Literal["tpe"]
    startup: PositiveInt
    """Trials proposed at random before it begins."""
    seed: Seed


class Random(Spec):
    """Proposes at random."""

    name: Literal["random"]
    seed: Seed


class Grid(Spec):
    """Every combination; of a range so many points, its ends among them."""

    name: Literal["grid"]
    points: Annotated[int, Field(ge=2)]


Search = Annotated[Tpe | Random | Grid, Field(discriminator="name")]


class Asha(Spec):
    """Asynchronous successive halving (Li et al., MLSys 2020): the best 1 / `reduction` of a rung go on."""

    name: Literal["asha"]
    rungs: Annotated[int, Field(ge=2)]
    """How often a trial is compared, its end included: after steps / reduction ** (rungs - 1), and so on."""
    reduction: Annotated[int, Field(ge=2)]


class Median(Spec):
    """Stops what is worse than the median of the others at the same step (Golovin et al., KDD 2017)."""

    name: Literal["median"]
    rungs: Annotated[int, Field(ge=2)]
    """How often a trial is compared, its end included, at equal distances."""
    least: PositiveInt
    """Others that must have come as far."""


class Never(Spec):
    """Every trial trains to its end."""

    name: Literal["none"]


Stopping = Annotated[Asha | Median | Never, Field(discriminator="name")]

NOT_SEARCHED = {
    "train.steps": "trials are compared after equal steps; `set` gives all the same",
    "train.validate_every": "trials validate at their rungs, see `stopping`",
    "train.checkpoint_every": "trials save at their rungs, see `stopping`",
}
"""Keys that no sweep searches, and why."""

NO_EXPLOITING = (
    "{} changes settings while a trial trains, so that no arm could be written that trains the same, and "
    "over nested trainers Ray does so without effect; choose asha, median or none"
)


class Reruns(Spec):
    """The best trials again: the best of many noisy ones is not as good as it looks."""

    best: PositiveInt
    """Settings that are trained again."""
    seeds: Annotated[int, Field(ge=2)]
    """Fresh seeds of each: those after the sweep's own."""


class SweepSpec(Spec):
    """One question about one arm, or about several with equal budgets."""

    question: str
    """The question in one sentence."""

    arms: Annotated[tuple[str, ...], Field(min_length=1)] | None
    """Arms of the study, each searched by itself; `null`: every one."""

    space: Annotated[dict[Key, Distribution], Field(min_length=1)]
    """What is searched."""

    set: dict[Key, JsonValue]
    """Keys that every trial has otherwise than the arm: fewer `train.steps`, say; the winner has them not."""

    aims: Annotated[tuple[Aim, ...], Field(min_length=1)]
    """The first ranks trials and stops them; with several no trial is stopped, and the best are a front."""

    search: Search
    stopping: Stopping

    trials: PositiveInt
    """Of each arm."""

    seed: Seed
    """Of every trial; none of the study's, which measure the winner."""

    reruns: Reruns

    def of(self, arm: str) -> Self:
        """The sweep with what is searched for this arm."""
        space = {key: its for key, its in self.space.items() if its.arms is None or arm in its.arms}
        return self.model_copy(update={"space": space})

    @field_validator("stopping", mode="before")
    @classmethod
    def _does_not_exploit(cls, given: object) -> object:
        name = given.get("name") if isinstance(given, dict) else given
        if name in ("pbt", "pb2"):
            raise ValueError(NO_EXPLOITING.format(name))
        return given

    @field_validator("arms")
    @classmethod
    def _arms_differ(cls, arms: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if arms and len(set(arms)) < len(arms):
            raise ValueError(f"{list(arms)} has an arm twice; give each once")
        return arms

    @field_validator("aims")
    @classmethod
    def _rank_by_a_score(cls, aims: tuple[Aim, ...]) -> tuple[Aim, ...]:
        metrics = [aim.metric for aim in aims]
        if len(set(metrics)) < len(metrics):
            raise ValueError(f"{metrics} has a metric twice; give each once")
        if metrics[0] == ELAPSED:
            raise ValueError(f"{ELAPSED} ranks no trials; put a metric of val first")
        return aims

    @model_validator(mode="after")
    def _keys_are_searched_once(self) -> Self:
        seen: dict[str, str] = dict.fromkeys(self.space, "space")
        for place, keys in [(f"space.{key}.also", its.also) for key, its in self.space.items()] + [
            ("set", tuple(self.set))
        ]:
            for key in keys:
                if key in seen:
                    raise ValueError(f"{place} has {key}, which {seen[key]} has too; give it once")
                seen[key] = place
        return self

    @model_validator(mode="after")
    def _lengths_are_equal(self) -> Self:
        searched = {each for key, its in self.space.items() for each in (key, *its.also)}
        for key in sorted(NOT_SEARCHED.keys() & searched):
            raise ValueError(f"space has {key}, but {NOT_SEARCHED[key]}")
        for key in sorted(NOT_SEARCHED.keys() & self.set.keys() - {"train.steps"}):
            raise ValueError(f"set has {key}, but {NOT_SEARCHED[key]}")
        return self

    @model_validator(mode="after")
    def _sections_stand_before_their_keys(self) -> Self:
        seen = list(self.set)
        for key, its in self.space.items():
            for each in (key, *its.also):
                lost = [other for other in seen if other.startswith(f"{each}.")]
                if lost:
                    raise ValueError(f"space.{each} would replace {lost[0]}, which stands before it")
                seen.append(each)
        return self

    @model_validator(mode="after")
    def _conditions_are_searched(self) -> Self:
        before: dict[str, Distribution] = {}
        for key, its in self.space.items():
            for other, values in its.when.items():
                condition = before.get(other)
                if not isinstance(condition, Choice):
                    raise ValueError(f"space.{key}.when: {other} is no choice that stands before it")
                wrong = [value for value in values if value not in condition.values]
                if wrong or not values:
                    raise ValueError(
                        f"space.{key}.when.{other} = {list(values)}: choose of {list(condition.values)}"
                    )
                if condition.arms and not (its.arms and set(its.arms) <= set(condition.arms)):
                    raise ValueError(
                        f"space.{key}.when: {other} is searched for {list(condition.arms)} alone"
                    )
            for other, left in conditions(self.space, key).items():
                if not left:
                    raise ValueError(f"space.{key}.when: no value of {other} fits all conditions")
            before[key] = its
        return self

    @model_validator(mode="after")
    def _grid_is_small(self) -> Self:
        if isinstance(self.search, Grid):
            points = self.search.points
            whole = math.prod(
                size(its) if isinstance(its, Choice) else min(size(its), points)
                for its in self.space.values()
            )
            if whole > LARGEST_GRID:
                raise ValueError(
                    f"search: a grid of {whole} settings is too large; search fewer keys, lower points "
                    f"{points}, or take tpe"
                )
        return self

    @model_validator(mode="after")
    def _seeds_of_reruns_exist(self) -> Self:
        if self.seed + self.reruns.seeds >= 2**31:
            raise ValueError(f"seed {self.seed} leaves no {self.reruns.seeds} seeds below 2**31 for re-runs")
        return self

    @model_validator(mode="after")
    def _several_aims_stop_nothing(self) -> Self:
        if len(self.aims) > 1 and self.stopping.name != "none":
            raise ValueError(
                f"stopping.name = {self.stopping.name!r} needs one aim, there are {len(self.aims)}; use none"
            )
        return self
