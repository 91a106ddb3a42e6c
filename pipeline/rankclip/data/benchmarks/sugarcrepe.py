"""SugarCrepe: a true and a false caption of an image of COCO, in seven categories of what is false.

Hsieh et al., NeurIPS 2023; published as a JSON file a category over COCO's images val2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rankclip.data.benchmarks import coco
from rankclip.data.benchmarks.coco import JudgedSet, one_line
from rankclip.errors import DataError

NAME = "sugarcrepe"
REMEDY = "put the files of data/ of github.com/RAIVNLab/sugar-crepe there"

CATEGORIES = (
    "add_att",
    "add_obj",
    "replace_att",
    "replace_obj",
    "replace_rel",
    "swap_att",
    "swap_obj",
)


class Choice(NamedTuple):
    """One question to the model."""

    category: str
    image: int
    """Number in the set."""
    caption: str
    """Is true of the image."""
    negative: str
    """Is not."""


@dataclass(frozen=True)
class SugarCrepe(JudgedSet):
    """The one split there is, test; the captions of an image are the true ones of its choices."""

    choices: tuple[Choice, ...]


class _Row(NamedTuple):
    category: str
    file: str
    caption: str
    negative: str


def load(root: Path) -> SugarCrepe:
    """The set below the folder of public sets; images by name.

    Raises:
        DataError: a file is missing or is of another form.
    """
    rows = [row for category in CATEGORIES for row in _read(root / NAME / f"{category}.json", category)]
    said: dict[str, dict[str, None]] = {name: {} for name in sorted({row.file for row in rows})}
    for row in rows:
        said[row.file][row.caption] = None
    place = {name: number for number, name in enumerate(said)}
    captions = tuple(tuple(of_image) for of_image in said.values())
    found = coco.image_files(root / "coco" / "val2017", list(said))
    choices = tuple(Choice(row.category, place[row.file], row.caption, row.negative) for row in rows)
    return SugarCrepe(NAME, "test", found, captions, coco.set_digest(rows, captions, found), choices)


def _read(path: Path, category: str) -> list[_Row]:
    rows = []
    for key, value in coco.read_json(path, REMEDY).items():
        try:
            name, caption, negative = (value[each] for each in ("filename", "caption", "negative_caption"))
            row = _Row(category, name, one_line(caption), one_line(negative))
            in_folder = Path(name).name != name
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: {key} lacks filename, caption or negative_caption ({error}); {REMEDY}"
            ) from None
        if in_folder or not row.caption or not row.negative:
            raise DataError(
                f"{path}: {key} has an empty caption or a file name with a folder ({name!r}); {REMEDY}"
            )
        rows.append(row)
    if not rows:
        raise DataError(f"{path} is empty; {REMEDY}")
    return rows
