"""A study: its sections, and `params.yaml`, which holds the active one, all that DVC and the stages read.

`composition` makes a study of `conf/`. Every command imports this module, so it imports neither torch nor any
other large package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, JsonValue, ValidationError, model_validator

from rankclip import complaints, files
from rankclip.data.captions.spec import Captions
from rankclip.data.crawl.spec import DownloadSpec
from rankclip.data.curation.spec import CurateSpec
from rankclip.data.ingestion.spec import IngestSpec
from rankclip.data.sharding.spec import ShardSpec
from rankclip.data.sources import INDEXED, SourceSpec
from rankclip.errors import InputError
from rankclip.evaluation.spec import EvaluationSpec
from rankclip.models.spec import ModelSpec
from rankclip.objectives import Objective
from rankclip.report.spec import ReportSpec
from rankclip.spec import Spec
from rankclip.training.spec import TrainSpec

PARAMS = Path("params.yaml")
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
ArmName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=64)]


class StudySpec(Spec):
    """What the study asks."""

    name: Name
    """Part of every path of the study, so that studies never mix."""

    question: str
    """The question in one sentence."""

    claims: bool
    """Whether the answer means anything; a study that only proves the pipeline claims nothing."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1)]
    """Seeds of every arm, paired in comparisons."""

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat one; a repeated seed is no second measurement")
        return self


class Route(Spec):
    """The stages by which the source's pairs come to shards, for dvc.yaml; follows from the source."""

    crawl: tuple[str, ...]
    """The source's name where its images are crawled, else empty: ingest, download, curate, shard."""

    index: tuple[str, ...]
    """The source's name where its images are at hand, else empty: the stage index alone."""


def route(name: str) -> dict[str, list[str]]:
    """The route of the source of that name."""
    return {"crawl": [], "index": [name]} if name in INDEXED else {"crawl": [name], "index": []}


class Recipe(Spec):
    """What an arm's overrides may change."""

    model: ModelSpec
    train: TrainSpec


class Arm(Spec):
    """An objective, and what else is different from the study's model and recipe."""

    objective: Objective
    """What the arm is trained for."""

    overrides: dict[str, JsonValue] = Field(default_factory=dict)
    """Dotted keys of `model` and `train` and their values, for example `train.lr: 2e-3`."""

    def recipe(self, model: ModelSpec, train: TrainSpec) -> Recipe:
        """The study's model and recipe with this arm's overrides."""
        values = {"model": model.dump(), "train": train.dump()}
        for key, value in self.overrides.items():
            assign(values, key.split("."), value)
        return Recipe.model_validate(values)


class Study(Spec):
    """The complete active study; `params.yaml` holds exactly this."""

    study: StudySpec
    source: SourceSpec
    route: Route
    ingest: IngestSpec
    download: DownloadSpec
    curate: CurateSpec
    captions: Captions
    shard: ShardSpec
    model: ModelSpec
    train: TrainSpec
    evaluation: EvaluationSpec
    report: ReportSpec
    arms: Annotated[dict[ArmName, Arm], Field(min_length=1)]

    @model_validator(mode="after")
    def _route_is_the_sources(self) -> Self:
        if self.route != Route.model_validate(route(self.source.name)):
            raise ValueError(
                f"route is not that of source {self.source.name}; let `rankclip use STUDY` write params.yaml"
            )
        return self

    @model_validator(mode="after")
    def _arms_are_different_runs(self) -> Self:
        seen: dict[str, str] = {}
        for name, arm in self.arms.items():
            replay = arm.objective.replay
            run = repr((arm.objective.terms, replay and replay.terms, self._recipe(name)))
            if run in seen:
                raise ValueError(f"arms.{name} and arms.{seen[run]} are the same run; remove one")
            seen[run] = name
        return self

    @model_validator(mode="after")
    def _replays_follow_the_arms_they_name(self) -> Self:
        """What is followed has the follower's recipe; of a sweep it must be one arm's run."""
        for name, arm in self.arms.items():
            leader = arm.objective.replay
            named = [
                other
                for other, its in self.arms.items()
                if leader and other != name and leader.name in (other, its.objective.name)
            ]
            differ = {other: self._differ(name, other) for other in named}
            if leader and differ and all(differ.values()):
                other = leader.name if leader.name in differ else named[0]
                raise ValueError(
                    f"arms.{name}.objective.replay is called {leader.name!r}, but is not the run of "
                    f"arms.{other}: they differ in {', '.join(differ[other])}; give both arms the same "
                    "overrides and terms, or the replay another name"
                )
        return self

    def _differ(self, name: str, other: str) -> list[str]:
        """In what the run that arm `name` follows is not the run of arm `other`."""
        leader, objective = self.arms[name].objective.replay, self.arms[other].objective
        ours, theirs = self._recipe(name).dump(), self._recipe(other).dump()
        terms = ["terms"] if leader is None or leader.terms != objective.terms else []
        return [
            *terms,
            *(["replay"] if objective.replay else []),
            *(f"{part}.{key}" for part in ours for key in ours[part] if ours[part][key] != theirs[part][key]),
        ]

    @model_validator(mode="after")
    def _arms_have_what_they_need(self) -> Self:
        for name, arm in self.arms.items():
            pairs = self._recipe(name).train.batch_size
            for objective in filter(None, (arm.objective, arm.objective.replay)):
                if "latents" in objective.needs and not self.source.has_latents:
                    raise ValueError(
                        f"arms.{name}.objective: teacher oracle of {objective.name!r} needs the true "
                        f"similarity of images, which source {self.source.name} does not know; choose another"
                    )
                if pairs < objective.fewest_pairs:
                    raise ValueError(
                        f"arms.{name}.objective: top_k of {objective.name!r} needs {objective.fewest_pairs} "
                        f"pairs a batch, but train.batch_size is {pairs}; lower top_k"
                    )
        return self

    @model_validator(mode="after")
    def _captions_are_there(self) -> Self:
        for slot in self.captions:
            if slot in self.source.slots:
                raise ValueError(
                    f"captions.{slot}: source {self.source.name} has that slot; name it otherwise"
                )
        known = (*self.source.slots, *self.captions)
        recipes = {f"arms.{name}.overrides: ": self._recipe(name).train for name in self.arms}
        for place, train in {"": self.train, **recipes}.items():
            if train.captions not in known:
                raise ValueError(
                    f"{place}train.captions = {train.captions!r} is no slot of captions; "
                    f"choose one of {', '.join(known)}"
                )
        return self

    @model_validator(mode="after")
    def _validates_on_what_has_classes(self) -> Self:
        known = [
            each.name
            for each in self.evaluation.benchmarks
            if getattr(each, "task", "classification") == "classification"
            and "val" in getattr(each, "splits", ("val",))
        ]
        recipes = {f"arms.{name}.overrides: ": self._recipe(name).train for name in self.arms}
        for place, train in {"": self.train, **recipes}.items():
            wrong = [name for name in train.validation if name not in known]
            if wrong:
                raise ValueError(
                    f"{place}train.validation names {', '.join(wrong)}, which is no classification benchmark "
                    f"of evaluation.benchmarks with a validation split; it has {', '.join(known) or 'none'}"
                )
        return self

    @model_validator(mode="after")
    def _roles_are_arms(self) -> Self:
        choices, alone = f"choose one of {', '.join(self.arms)}", len(self.arms) == 1
        for role, name in self.report.model_dump(include={"baseline", "treatment", "control"}).items():
            if name is not None and name not in self.arms:
                none = ", or null for none" if role == "control" or (role == "treatment" and alone) else ""
                raise ValueError(f"report.{role} = {name!r} is no arm; {choices}{none}")
        if self.report.treatment is None and not alone:
            raise ValueError(f"report.treatment is missing; {choices}, which the headline will be about")
        return self

    def _recipe(self, name: str) -> Recipe:
        """An arm's recipe; what is wrong with it is said with the arm's name."""
        try:
            return self.arms[name].recipe(self.model, self.train)
        except ValidationError as error:
            wrong = complaints.first(error, Recipe)
        except InputError as error:
            wrong = str(error)
        raise ValueError(f"arms.{name}.overrides: {wrong}")


VALUE = "a value; remove what follows it"


def assign(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Sets what lies at a path; missing sections are made, so that the schema can complain of them.

    An entry of a list is known by its `name`, as in `objective.terms.rank_in.top_k`.
    """
    place: Any = values
    for above, part in zip(["", *path], path[:-1], strict=False):
        place = place.setdefault(part, {}) if isinstance(place, dict) else entry(place, above, part, path)
    if not isinstance(place, dict):
        kind = "a list; give it whole, or a key of one entry" if isinstance(place, list) else VALUE
        raise InputError(f"{'.'.join(path)} is unknown: {path[-2]} is {kind}")
    place[path[-1]] = value


def entry(entries: object, above: str, name: str, path: Sequence[str]) -> Any:
    """The entry of the list `above` that has this name."""
    if not isinstance(entries, list):
        raise InputError(f"{'.'.join(path)} is unknown: {above} is {VALUE}")
    known = {str(each["name"]): each for each in entries if isinstance(each, dict) and "name" in each}
    if name not in known:
        choices = f"choose one of {', '.join(known)}" if known else "give the list whole"
        raise InputError(f"{'.'.join(path)} is unknown: no entry of {above} is named {name!r}; {choices}")
    return known[name]


def validate(values: Mapping[str, Any], origin: str) -> Study:
    """The study in `values`.

    Raises:
        InputError: a key or value is wrong; the line names it and the valid choices.
    """
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{origin}: {complaints.first(error, Study)}") from None


def load(path: Path = PARAMS) -> Study:
    """The active study.

    Raises:
        InputError: there is none, or it is wrong.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing here ({Path.cwd()}); run this in the repository, after `rankclip use STUDY`"
        ) from None
    except yaml.MarkedYAMLError as error:
        place = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(
            f"{path}{place} is not YAML ({error.problem}); write it with `rankclip use STUDY`"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} cannot be read ({files.one_line(error)}); write it with `rankclip use STUDY`"
        ) from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no sections; write it with `rankclip use STUDY`")
    return validate(values, str(path))


def write(study: Study, path: Path = PARAMS) -> None:
    """Writes the active study, complete, so that no default hides."""
    head = "# The complete active study, written by `rankclip use`; `dvc exp run -S key=value` may edit it.\n"
    text = yaml.safe_dump(study.dump(), sort_keys=False, allow_unicode=True, width=110)
    files.write_text(path, head + text)
