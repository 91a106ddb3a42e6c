"""How `conf/`, a Hydra tree, becomes a study; the only door to Hydra, and nothing else composes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from rankclip import config, files
from rankclip.config import Study
from rankclip.data.sources import INDEXED, listed, webdataset
from rankclip.data.sources.table import TableSpec
from rankclip.data.tables import table_files
from rankclip.errors import InputError
from rankclip.models.spec import FILE

CONF = Path("conf")
GROUPS = ("data", "captions", "model", "train", "evaluation")
"""Folders of `conf/` of which `rankclip use` takes one by name: `model=shapes-vit`."""

DIGEST = "pretrained_sha256"
"""Key, below `model`, of the digest of the weights that `pretrained` names."""

OBJECTIVE = re.compile(r"arms\.[^.]+\.objective(\.replay)?")
"""Where an objective is chosen by name: `arms.mine.objective=clip`, `arms.mine.objective.replay=siglip`."""

ARM = re.compile(r"arms\.[^.]+")
"""Where an arm is chosen by name: `arms.mine=rankclip_rank_weights_shapes`, a file of `conf/arm`."""


def compose(study: str, changes: Sequence[str] = (), conf: Path = CONF) -> Study:
    """The study of that name with `key=value` changes.

    Raises:
        InputError: the study, a key or a value does not exist.
    """
    chosen = [f"study={chosen_of('study', study, conf)}"]
    set_after: dict[str, Any] = {}
    for key, value in map(parse, changes):
        if key in GROUPS:
            chosen.append(f"{key}={chosen_of(key, value, conf)}")
        elif OBJECTIVE.fullmatch(key) and isinstance(value, str):
            name = chosen_of("objective", value, conf)
            set_after[key] = hydra_values(f"objective/{name}", [], conf)["objective"]
        elif ARM.fullmatch(key) and isinstance(value, str):
            name = chosen_of("arm", value, conf)
            set_after[key] = read(conf / "arm" / f"{name}.yaml")
        elif key == "objective":
            raise InputError(f"objective={value} belongs to an arm; write arms.NAME.objective={value}")
        else:
            set_after[key] = value
    values = hydra_values("config", chosen, conf)
    for key, value in set_after.items():
        config.assign(values, path_of(key), value)
    complete(values)
    return config.validate(values, f"study {study}")


def changed(study: Study, changes: Sequence[str]) -> Study:
    """An active study with `key=value` changes of its values.

    Raises:
        InputError: a key or value does not exist, or is a configuration, which `compose` takes by name.
    """
    values = study.dump()
    for key, value in map(parse, changes):
        if key in GROUPS or OBJECTIVE.fullmatch(key) or (ARM.fullmatch(key) and isinstance(value, str)):
            raise InputError(
                f"{key}={value} takes a configuration by name, which `rankclip use` does; first that"
            )
        config.assign(values, path_of(key), value)
    return config.validate(values, "the changed study")


def names(group: str, conf: Path = CONF) -> list[str]:
    """Configurations of a group of `conf/`, by name; a group of which there are none yet is empty.

    Raises:
        InputError: there is no `conf/` here.
    """
    if not conf.is_dir():
        raise InputError(f"{conf / group}/ is missing here ({Path.cwd()}); run this in the repository")
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def chosen_of(group: str, name: object, conf: Path) -> str:
    """`name`, if the group has it."""
    known = names(group, conf)
    if name not in known:
        choices = f"choose one of {', '.join(known)}" if known else f"{conf / group} has none yet"
        raise InputError(f"{group} {name!r} is unknown; {choices}")
    return str(name)


def parse(change: str) -> tuple[str, Any]:
    """`key=value` as key and YAML value."""
    key, found, text = change.partition("=")
    if not found or not key:
        raise InputError(f"{change!r} is not key=value, for example train.steps=200")
    try:
        return key, value_of(text)
    except RepeatedKeyError as error:
        raise InputError(f"the value of {change!r}: {error.problem}") from None
    except (yaml.YAMLError, ValueError):  # a date of a thirteenth month is the latter
        raise InputError(f"the value of {change!r} is not YAML; quote it") from None


def path_of(key: str) -> list[str]:
    """The parts of a dotted key; an arm's override is one part, as in `arms.mine.overrides.train.lr`."""
    parts = key.split(".")
    if parts[0] == "arms" and parts[2:3] == ["overrides"] and parts[3:]:
        return [*parts[:3], ".".join(parts[3:])]
    return parts


class RepeatedKeyError(yaml.constructor.ConstructorError):
    """A key stands twice in a mapping, of which PyYAML would take the last."""


class Yaml(yaml.SafeLoader):
    """YAML 1.1, which takes 1e-3 for text, with the numbers that people mean; what is quoted stays text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, each key of which stands once."""
        seen = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                raise RepeatedKeyError(None, None, f"{key.value} stands twice; keep one", key.start_mark)
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read(path: Path) -> Any:
    """The value that a file of `conf/` holds.

    Raises:
        InputError: it is not YAML, or a key stands twice; the line names the place.
    """
    try:
        return value_of(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(fault(error, path)) from None


def fault(error: Exception, path: Path) -> str:
    """Why a file is not YAML, and in which line where that is known."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f"{path} is not YAML ({files.one_line(error)})"
    return f"{path}, line {error.problem_mark.line + 1} is not YAML ({error.problem})"


def value_of(text: str) -> Any:
    """The value that a text is in YAML.

    Raises:
        yaml.YAMLError: it is none, or a key stands twice.
    """
    loader = Yaml(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def complete(values: dict[str, Any]) -> None:
    """Fills in what follows from the rest: digests of the files that are studied, and the source's route.

    Raises:
        InputError: a file is not there.
    """
    start_from(values.get("model"), values.get("arms"))
    source = values.get("source")
    if not isinstance(source, dict):
        return
    name = source.get("name")
    values.setdefault("route", config.route(str(name)))
    if name in INDEXED:
        place, tars = source.get("place"), source.get("tars") or webdataset.ANY
        if source.get("digest") is None and isinstance(place, str) and isinstance(tars, str):
            source["digest"] = webdataset.digest_of(place, tars)
    else:
        fill_digest(source, TableSpec.digest if name == "table" else listed.digest_of)
        fill_digest(source.get("subset"), partial(listed.digest_of, key="source.subset.path"))
    captions = values.get("captions")
    digest_of = cache(table_files.digest_of)  # slots share tables of many gigabytes
    for table in captions.values() if isinstance(captions, dict) else ():
        fill_digest(table, digest_of)


def fill_digest(section: object, digest_of: Callable[[Path], str]) -> None:
    """Sets `sha256` of a section that names a file and not its digest."""
    if not isinstance(section, dict) or section.get("sha256") is not None:
        return
    if isinstance(path := section.get("path"), str):
        section["sha256"] = digest_of(Path(path))


def start_from(model: object, arms: object) -> None:
    """Sets the digest of the weights that training starts from, of the study and of arms that have others."""
    if not isinstance(model, dict):
        return
    name, pretrained = model.get("name"), model.get("pretrained")
    if model.get(DIGEST) is None:
        model[DIGEST] = digest_of_start(name, pretrained)
    for arm in arms.values() if isinstance(arms, dict) else ():
        overrides = arm.get("overrides") if isinstance(arm, dict) else None
        if isinstance(overrides, dict) and {"model.name", "model.pretrained"} & overrides.keys():
            its_name = overrides.get("model.name", name)
            its_own = overrides.get("model.pretrained", pretrained)
            if its_own is not None or pretrained is not None:
                overrides.setdefault(f"model.{DIGEST}", digest_of_start(its_name, its_own))


def digest_of_start(model: object, pretrained: object) -> str | None:
    """sha256 of the weights of that name, which are fetched where they are a tag's and not at hand.

    Raises:
        InputError: there are no such weights.
    """
    if not isinstance(pretrained, str):
        return None
    if FILE.search(pretrained):
        return listed.digest_of(Path(pretrained), key="model.pretrained")
    from rankclip.models.open_clip import fetch_tag

    return files.sha256(fetch_tag(str(model), pretrained))


def hydra_values(name: str, chosen: list[str], conf: Path) -> dict[str, Any]:
    """What Hydra composes of the file `name` of `conf` with these choices."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(conf.absolute()), version_base="1.3"):
            composed = hydra_compose(name, overrides=chosen)
        values: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)
    except yaml.MarkedYAMLError as error:  # OmegaConf, too, wants a key once
        place = Path(error.problem_mark.name).relative_to(conf.absolute()) if error.problem_mark else ""
        raise InputError(fault(error, conf / place)) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"{conf} does not compose ({files.one_line(error)}); see conf/config.yaml") from None
    return values
