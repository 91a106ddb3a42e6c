"""A sweep as it is about to be run: its file, its arms, the run that each trial is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rankclip import complaints, composition, config, pretrain
from rankclip.config import Arm, Study
from rankclip.errors import InputError
from rankclip.spec import digest
from rankclip.sweep import settings
from rankclip.sweep.ledger import Trial
from rankclip.sweep.spec import SweepSpec
from rankclip.sweep.tuning import rungs, unit
from rankclip.training.request import TrainRequest

GROUP = "sweep"
"""Folder of `conf/` of sweeps."""


SPEC = "sweep.json"
"""Name of the file by which a sweep is found again: its specification."""

NOT_KNOWN_BY = {"question", "trials", "reruns"}
"""Of a sweep, what changes none of its trials."""


@dataclass(frozen=True)
class Plan:
    """A sweep of a study."""

    name: str
    spec: SweepSpec
    study: Study
    root: Path
    """The repository."""
    _requests: dict[tuple[str, str, int], TrainRequest] = field(default_factory=dict)

    @cached_property
    def arms(self) -> dict[str, Arm]:
        """Those that are searched, by name."""
        names = self.spec.arms or tuple(self.study.arms)
        return {name: self.study.arms[name] for name in names}

    @cached_property
    def data(self) -> Path:
        """The study's folder of data."""
        return self.root / "data" / self.study.study.name

    @cached_property
    def first(self) -> TrainRequest:
        """A run of the first arm as every trial begins."""
        arm = next(iter(self.arms))
        return self.request(arm, {}, self.spec.seed, arm)

    @cached_property
    def folder(self) -> Path:
        """Where the ledger is: one for each search of these arms on these data with this code.

        With more trials, or other re-runs, it goes on.
        """
        arms = {name: [arm.dump(), self.steps(name)] for name, arm in self.arms.items()}
        about = [
            self.spec.model_dump(mode="json", exclude=NOT_KNOWN_BY),
            arms,
            self.study.model.dump(),
            self.study.train.dump(),
        ]
        known = digest([*about, self.first.shards_digest, self.first.validation, self.first.code])
        return self.root / "work" / self.study.study.name / "sweeps" / f"{self.name}-{known}"

    def steps(self, arm: str) -> int:
        """Of a whole trial of an arm."""
        return self.changed(arm, {}).recipe(self.study.model, self.study.train).train.steps

    def changed(self, arm: str, values: Mapping[str, Any]) -> Arm:
        """An arm as a trial has it."""
        return settings.changed(self.arms[arm], {**self.spec.set, **settings.spread(self.spec, values)})

    def request(self, arm: str, values: Mapping[str, Any], seed: int, key: str) -> TrainRequest:
        """The run of an arm with these settings.

        Raises:
            DataError: the study's data are not there.
            InputError: the settings do not fit together, or not with the study.
        """
        changed = settings.fitting(self.study, arm, self.changed(arm, values))
        every = unit(self.spec, changed.recipe(self.study.model, self.study.train).train.steps)
        often = {"train.validate_every": every, "train.checkpoint_every": every}
        [request] = pretrain.requests(
            arm,
            settings.changed(changed, often),
            self.study.model,
            self.study.train,
            [seed],
            self.data,
            self.root / "work" / self.study.study.name / "runs",
        )
        return request.model_copy(update={"key": key})

    def of_trial(self, trial: Trial) -> TrainRequest:
        """The run of a trial.

        Raises:
            InputError: its settings fit one by one and by twos, but not all together.
        """
        at = (trial.arm, trial.name, self.spec.seed)
        if at not in self._requests:
            self._requests[at] = self.request(trial.arm, trial.values, self.spec.seed, trial.name)
        return self._requests[at]


def read(name: str, changes: Sequence[str] = (), conf: Path = composition.CONF) -> SweepSpec:
    """The sweep of that name in `conf/sweep`, with changes.

    Args:
        name: of a file.
        changes: `key=value`: a key of the sweep, as `trials=8`, or one of arms, as `train.steps=500`, that
            every trial then has.
        conf: the configurations.

    Raises:
        InputError: there is no such sweep, or it or a change is wrong.
    """
    path = conf / GROUP / f"{composition.chosen_of(GROUP, name, conf)}.yaml"
    values = composition.read(path)
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no keys; copy another sweep of {conf / GROUP}")
    for key, value in map(composition.parse, changes):
        path_of = ["set", key] if key.split(".")[0] in ("objective", "train", "model") else _path(key, values)
        config.assign(values, path_of, value)
    try:
        return SweepSpec.model_validate(values)
    except ValidationError as error:
        raise InputError(f"sweep {name}: {complaints.first(error, SweepSpec)}") from None


def _path(key: str, values: Mapping[str, Any]) -> list[str]:
    """The parts of a sweep's key, of which those of `space` and `set` have dots themselves."""
    parts = key.split(".")
    for known in values.get("space", {}) if parts[0] == "space" else ():
        if key.startswith(f"space.{known}."):
            return ["space", known, *key.removeprefix(f"space.{known}.").split(".")]
    return [parts[0], ".".join(parts[1:])] if parts[0] in ("space", "set") and parts[1:] else parts


def check(plan: Plan) -> None:
    """Everything that can be known to be wrong before anything is spent.

    Raises:
        DataError: the study's data are not there.
        InputError: the sweep does not fit the study.
    """
    spec, study = plan.spec, plan.study
    named = {"arms": spec.arms, **{f"space.{key}.arms": its.arms for key, its in spec.space.items()}}
    for place, names in named.items():
        unknown = [name for name in names or () if name not in study.arms]
        if unknown:
            raise InputError(
                f"{place}: {', '.join(unknown)} is none of study {study.study.name}; choose "
                f"{', '.join(study.arms)}"
            )
    settings.check(spec, study, plan.arms)
    fresh = range(spec.seed, spec.seed + spec.reruns.seeds + 1)
    taken = sorted(set(fresh) & set(study.study.seeds))
    if taken:
        raise InputError(
            f"seed {spec.seed} and its {spec.reruns.seeds} re-runs have {taken} in common with the study, "
            "whose seeds measure the winner; choose another seed"
        )
    for arm in plan.arms:
        steps = plan.steps(arm)
        compared = rungs(spec, steps)
        if compared[0] < 1 or len(set(compared)) < len(compared):
            raise InputError(
                f"{steps} steps of arm {arm} are too few for {len(compared)} rungs; lower stopping.rungs or "
                "raise train.steps"
            )
        known = metrics(plan, arm)
        for aim in spec.aims:
            if aim.metric not in known:
                raise InputError(
                    f"aims: {aim.metric} is nothing that runs of arm {arm} report; choose {', '.join(known)}"
                )


def metrics(plan: Plan, arm: str) -> list[str]:
    """What the runs of an arm report at every validation, of that which may be aimed at."""
    train = plan.changed(arm, {}).recipe(plan.study.model, plan.study.train).train
    return ["val/mean_top1", *(f"val/{name}/top1" for name in train.validation), "elapsed_s"]
