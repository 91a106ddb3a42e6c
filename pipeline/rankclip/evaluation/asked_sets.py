"""Which benchmarks a person means: names of a study's own and of public sets, or folders."""

from __future__ import annotations

import difflib
import os
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


def find(names: Sequence[str], benchmarks: Path | None) -> AskedSets:
    """The benchmarks of these names.

    Args:
        names: of public sets, of sets of judgements, of sets drawn for the study, or folders in the layout of
            CLIP_benchmark, which have a slash.
        benchmarks: folder of the active study's own sets; None where no study is active.

    Raises:
        InputError: there is nothing of such a name.
    """
    found = AskedSets()
    root = places.root()
    for asked in names:
        folder = Path(os.path.abspath(asked))  # noqa: PTH100  resolve() would lose the name of a link
        name = folder.name.removeprefix("wds_") if "/" in asked else asked
        if name in found.folders or name in found.missing:
            raise InputError(f"benchmark {name} is asked for twice; name it once")
        if "/" in asked:
            _require_set(asked, folder)
            found.folders[name] = folder
        elif asked in SETS:
            _add(found, name, root / f"wds_{name}", public.missing(name))
        elif name in judged.NAMES:
            _add(found, name, root, judged.missing(name, root))
        elif benchmarks is not None and (benchmarks / f"wds_{name}").is_dir():
            found.folders[name] = (benchmarks / f"wds_{name}").absolute()
        else:
            raise InputError(_unknown(name, benchmarks))
    return found


def _require_set(asked: str, folder: Path) -> None:
    """Refuses what is no set before anything is opened.

    Raises:
        InputError: there is no such folder, it may not be read, or it has no test split.
    """
    try:
        there, split = folder.is_dir(), (folder / "test").is_dir()
    except OSError as error:
        raise InputError(f"{asked} cannot be read ({error.strerror}); let it be read") from None
    if there and split:
        return
    plain = asked.replace("/", "-")  # CLIP_benchmark names sets vtab/cifar10
    meant = f"did you mean {plain}? " if plain in SETS else ""
    what = "has no test/" if there else "is no folder"
    raise InputError(f"{asked} {what}; {meant}give a folder that holds classnames.txt and test/")


def _add(found: AskedSets, name: str, folder: Path, missing: str | None) -> None:
    if missing is None:
        found.folders[name] = folder
    else:
        found.missing[name] = missing


def _unknown(name: str, benchmarks: Path | None) -> str:
    folders = sorted(benchmarks.glob("wds_*")) if benchmarks else []
    drawn = [folder.name.removeprefix("wds_") for folder in folders]
    known = [*drawn, *SETS, *judged.NAMES]
    plain, _, split = name.partition(":")
    near = [each for each in known if plain in each] or difflib.get_close_matches(plain, known, n=1)
    if Path(name).is_dir():
        near = [f"./{name}"]
    meant = f"did you mean {near[0]}? " if near else ""
    of_split = "it is always the test split that is scored; " if split else ""
    of_study = ", ".join(drawn) or "none yet: `dvc repro benchmarks` makes them"
    own = f"; of the active study there are {of_study}" if benchmarks else ""
    shown = "`rankclip list benchmarks` shows those there are"
    return f"benchmark {name!r} is unknown; {meant}{of_split}{shown}{own}"
