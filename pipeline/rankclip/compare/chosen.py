"""What is compared: arms by name, folders of runs or of results, and runs by what they were trained with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from rankclip import files
from rankclip.errors import InputError

RESULTS = "results.parquet"
SHORT = {"objective": "objective.name", "model": "model.name"}
"""Tags that are known by a shorter name."""


@dataclass(frozen=True)
class Column:
    """The scored runs of one arm."""

    name: str
    """As it is shown."""
    path: Path
    """Folder of its `results.parquet`."""
    arm: str
    """Whose rows they are there."""
    seeds: frozenset[int] | None = None
    """Those that were asked for; None: all."""


def columns(root: Path, study: str | None, arms: Sequence[str], asked: Sequence[str]) -> list[Column]:
    """What was asked for, each arm once, in the order of asking.

    Args:
        root: the repository.
        study: whose arms and runs are meant; None where there is none.
        arms: its arms.
        asked: as they were typed; none: every arm that is scored.

    Raises:
        InputError: there is no such thing, or it is not scored.
    """
    tags: dict[str, list[str]] = {}
    found: list[Column] = []
    for word in asked:
        key, is_tag, value = word.partition("=")
        if is_tag and not (root / word).exists():
            tags.setdefault(key, []).append(value)
        else:
            found += _of_word(root, study, arms, word)
    if tags:
        found += _tagged(root, study, tags)
    if not asked:
        found = [_arm(root, study, arm) for arm in arms if (_results(root, study) / arm / RESULTS).exists()]
        if not found:
            raise InputError(
                f"nothing of study {study} is scored yet; run `rankclip repro`, or name a folder"
            )
    return _named(_merged(found), study)


def _results(root: Path, study: str | None) -> Path:
    return root / "results" / str(study)


def _of_word(root: Path, study: str | None, arms: Sequence[str], word: str) -> list[Column]:
    if word in arms:
        return [_arm(root, study, word)]
    folder = Path(word) if Path(word).is_absolute() else root / word
    if not folder.is_dir():
        known = f"; the arms of study {study} are {', '.join(arms)}" if arms else ""
        raise InputError(
            f"{word} is no arm and no folder{known}; folders are runs/STUDY/ARM/seed-K, results/STUDY/ARM"
        )
    if (folder / RESULTS).exists():
        return _of_results(folder)
    below = sorted(path.parent for path in folder.glob(f"*/{RESULTS}"))
    if below:
        return [each for path in below for each in _of_results(path)]
    return _of_run(root, folder, word)


def _arm(root: Path, study: str | None, arm: str, seeds: frozenset[int] | None = None) -> Column:
    folder = _results(root, study) / arm
    if not (folder / RESULTS).exists():
        raise InputError(f"arm {arm} of study {study} is not scored yet; run `rankclip repro`")
    return Column(arm, folder, arm, seeds)


def _of_results(folder: Path) -> list[Column]:
    names = files.read_table(folder / RESULTS, ["arm"]).column("arm").unique().to_pylist()
    return [Column(str(name), folder, name) for name in names]


def _of_run(root: Path, folder: Path, word: str) -> list[Column]:
    """The results of a run's folder, runs/STUDY/ARM or runs/STUDY/ARM/seed-K."""
    place, runs = folder.resolve(), (root / "runs").resolve()
    parts = place.relative_to(runs).parts if place.is_relative_to(runs) else ()
    seed = parts[2].removeprefix("seed-") if len(parts) == 3 else ""
    if len(parts) == 1:
        arms = sorted(path.name for path in place.iterdir() if path.is_dir())
        return [_arm(root, parts[0], arm) for arm in arms]
    if len(parts) == 2 or seed.isdecimal():
        return [_arm(root, parts[0], parts[1], frozenset({int(seed)}) if seed else None)]
    raise InputError(
        f"{word} holds no {RESULTS} and is no run's folder; give runs/STUDY/ARM/seed-K, results/STUDY/ARM, "
        "or what `rankclip evaluate CHECKPOINT --out FOLDER` wrote"
    )


def _tagged(root: Path, study: str | None, tags: Mapping[str, Sequence[str]]) -> list[Column]:
    """The arms and seeds of the study's runs whose records have one of the values of every key."""
    records = [
        files.read_json(path) for path in sorted((root / "runs" / str(study)).glob("*/seed-*/record.json"))
    ]
    wanted = {key: [yaml.safe_load(value) for value in values] for key, values in tags.items()}
    seeds: dict[str, set[int]] = {}
    for record in records:
        if all(_value(record, key) in values for key, values in wanted.items()):
            seeds.setdefault(record["arm"], set()).add(record["seed"])
    if not seeds:
        told = ", ".join(f"{key}={value}" for key, values in tags.items() for value in values)
        there = "; ".join(
            f"{key} is {', '.join(dict.fromkeys(str(_value(record, key)) for record in records))}"
            for key in tags
        )
        raise InputError(f"no run of study {study} has {told}; {there if records else 'none is trained yet'}")
    return [_arm(root, study, arm, frozenset(of)) for arm, of in seeds.items()]


def _value(record: Mapping[str, Any], key: str) -> Any:
    """What a run's record has of a key: its arm or seed, or a dotted key of its configuration."""
    if key in ("arm", "seed"):
        return record.get(key)
    found: Any = record.get("config", {})
    for part in SHORT.get(key, key).split("."):
        if isinstance(found, list):  # terms have names
            found = next((entry for entry in found if entry.get("name") == part), None)
        else:
            found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _merged(found: Sequence[Column]) -> list[Column]:
    """Each arm of a folder once, with the seeds of all that asked for it."""
    once: dict[tuple[Path, str], Column] = {}
    for each in found:
        at = (each.path.resolve(), each.arm)
        known = once.setdefault(at, each)
        if known.seeds is None or each.seeds is None:
            once[at] = replace(known, seeds=None)
        else:
            once[at] = replace(known, seeds=known.seeds | each.seeds)
    return list(once.values())


def _named(found: Sequence[Column], study: str | None) -> list[Column]:
    """Names that differ: of equal ones those of other studies get their folder's, or all of its path."""
    for folder in (lambda path: f"{path.parent.name}/{path.name}", str):
        names = Counter(each.name for each in found)
        found = [
            replace(each, name=f"{each.arm} ({folder(each.path)})")
            if names[each.name] > 1 and each.path.parent.name != study
            else each
            for each in found
        ]
    return list(found)
