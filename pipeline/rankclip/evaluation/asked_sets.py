"""Which benchmarks a person means: names of a study's own and of public sets, or folders."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rankclip.data.benchmarks import judged, places, public
from rankclip.data.benchmarks.public_sets import SETS
from rankclip.errors import InputError


@dataclass(frozen=True)
class AskedSets:
    """Those that are there, and those that are not."""

    folders: dict[str, Path] = field(default_factory=dict)
    """By name, in the order asked; of a set of judgements the folder of all public sets."""
    missing: dict[str, str] = field(default_factory=dict)
    """By name: a line that says how to get it."""


def find(names: Sequence[str], benchmarks: Path) -> AskedSets:
    """The benchmarks of these names.

    Args:
        names: of public sets, of sets of judgements, of sets drawn for the study, or folders in the layout of
            CLIP_benchmark, which have a slash.
        benchmarks: folder of the study's own sets.

    Raises:
        InputError: there is nothing of such a name.
    """
    found = AskedSets()
    root = places.root()
    for asked in names:
        folder = Path(asked)
        name = folder.name.removeprefix("wds_") if "/" in asked else asked
        if name in found.folders or name in found.missing:
            raise InputError(f"benchmark {name} is asked for twice; name it once")
        if "/" in asked:
            if not folder.is_dir():
                raise InputError(f"{asked} is no folder; give the one that holds classnames.txt and test/")
            found.folders[name] = folder.absolute()
        elif asked in SETS:
            _add(found, name, root / f"wds_{name}", public.missing(name))
        elif name in judged.NAMES:
            _add(found, name, root, judged.missing(name, root))
        elif (benchmarks / f"wds_{name}").is_dir():
            found.folders[name] = (benchmarks / f"wds_{name}").absolute()
        else:
            raise InputError(_unknown(name, benchmarks))
    return found


def _add(found: AskedSets, name: str, folder: Path, missing: str | None) -> None:
    if missing is None:
        found.folders[name] = folder
    else:
        found.missing[name] = missing


def _unknown(name: str, benchmarks: Path) -> str:
    drawn = [folder.name.removeprefix("wds_") for folder in sorted(benchmarks.glob("wds_*"))]
    known = [*drawn, *SETS, *judged.NAMES]
    near = [each for each in known if name in each] or difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    of_study = ", ".join(drawn) or "none yet: `dvc repro benchmarks` makes them"
    return (
        f"benchmark {name!r} is unknown; {meant}`rankclip list benchmarks` shows those there are; "
        f"of the active study there are {of_study}"
    )
