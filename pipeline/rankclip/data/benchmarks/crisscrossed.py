"""Crisscrossed Captions: how alike people find images, captions, and captions and images, from 0 to 5.

Parekh et al., EACL 2021; published as {sts,sis,sits}_{val,test}.csv over COCO's images and captions of 2014.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankclip import files
from rankclip.data.benchmarks import coco
from rankclip.data.benchmarks.coco import Caption, JudgedSet
from rankclip.data.benchmarks.content import SplitName
from rankclip.errors import DataError

NAME = "crisscrossed"
FEWEST = 4
"""Queries of a table, since a sample takes half of them and correlates."""

REMEDY = "put the files of data/ of github.com/google-research-datasets/Crisscrossed-Captions there"

Kind = Literal["image_image", "text_text", "image_text"]

MOST = 5.0
"""The highest rating."""


class Layout(NamedTuple):
    """A published table."""

    prefix: str
    query: str
    candidate: str


LAYOUTS: dict[Kind, Layout] = {
    "image_image": Layout("sis", "image1", "image2"),
    "text_text": Layout("sts", "caption1", "caption2"),
    "image_text": Layout("sits", "caption", "image"),
}

_IMAGE = re.compile(r"COCO_val2014_(\d{12})\.jpg")
_CAPTION = re.compile(r"COCO_val2014:sentid:(\d+)")


@dataclass(frozen=True)
class Ratings:
    """Ratings of P pairs; images are counted as in the set, captions image by image."""

    kind: Kind
    query: NDArray[np.int64]
    """`[P]`: an image of `image_image`, else a caption."""
    candidate: NDArray[np.int64]
    """`[P]`: a caption of `text_text`, else an image."""
    score: NDArray[np.float64]
    """`[P]`, 0 to 5."""


@dataclass(frozen=True)
class Crisscrossed(JudgedSet):
    """One split with its three tables of ratings."""

    ratings: tuple[Ratings, ...]


Rows = list[tuple[int, int, float]]
"""COCO's numbers of query and candidate, and the rating."""


def load(root: Path, split: SplitName) -> Crisscrossed:
    """The split `val` or `test` below the folder of public sets.

    The images are those that are rated or have a rated caption, by number, each with all its captions of
    COCO, by number.

    Raises:
        DataError: a file is missing or is of another form, or a rating is of what COCO does not have.
    """
    known = coco.read_captions(root / coco.CAPTIONS)
    paths = {kind: root / NAME / f"{layout.prefix}_{split}.csv" for kind, layout in LAYOUTS.items()}
    tables = {kind: _read(path, LAYOUTS[kind]) for kind, path in paths.items()}
    images: set[int] = set()
    for kind, rows in tables.items():
        for column, name in enumerate(LAYOUTS[kind][1:]):
            cited = {int(row[column]) for row in rows}
            images |= cited if name.startswith("image") else _owners(cited, known, paths[kind])
    numbers = sorted(images)
    owned = {image: [] for image in numbers}  # type: dict[int, list[int]]
    for number, caption in sorted(known.items()):
        if caption.image in owned:
            owned[caption.image].append(number)
    place = {
        "image": {image: place for place, image in enumerate(numbers)},
        "caption": {n: place for place, n in enumerate(n for image in numbers for n in owned[image])},
    }
    captions = tuple(tuple(known[number].text for number in owned[image]) for image in numbers)
    found = coco.image_files(root / "coco", [coco.val2014(image) for image in numbers])
    ratings = tuple(_ratings(kind, rows, place) for kind, rows in tables.items())
    return Crisscrossed(NAME, split, found, captions, coco.set_digest(tables, captions, found), ratings)


def _read(path: Path, layout: Layout) -> Rows:
    """The rows of a published table.

    Raises:
        DataError: names the line that cannot be read.
    """
    wanted = (layout.query, layout.candidate, "agg_score")
    parse = [_image if name.startswith("image") else _caption for name in wanted[:2]]
    rows: Rows = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            lacking = [name for name in wanted if name not in (table.fieldnames or ())]
            if lacking:
                raise DataError(f"{path} has no column {', '.join(lacking)}; {REMEDY}")
            for row in table:
                try:
                    rows.append((parse[0](row[wanted[0]]), parse[1](row[wanted[1]]), _score(row[wanted[2]])))
                except (ValueError, TypeError):
                    text = ",".join(str(row[name]) for name in wanted)
                    raise DataError(
                        f"{path} line {table.line_num} is not a rating: {text[:120]!r}; {REMEDY}"
                    ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise DataError(f"{path} {what} ({files.one_line(error)}); {REMEDY}") from None
    if not rows:
        raise DataError(f"{path} holds no rating; {REMEDY}")
    if (queries := len({row[0] for row in rows})) < FEWEST:
        raise DataError(f"{path} rates {queries} queries alone, fewer than {FEWEST}: is it whole? {REMEDY}")
    return rows


def _number(pattern: re.Pattern[str]) -> Callable[[str], int]:
    def parse(text: str) -> int:
        found = pattern.fullmatch(text.strip())
        if found is None:
            raise ValueError(text)
        return int(found[1])

    return parse


_image, _caption = _number(_IMAGE), _number(_CAPTION)


def _score(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and 0 <= value <= MOST):
        raise ValueError(text)
    return value


def _owners(captions: set[int], known: Mapping[int, Caption], path: Path) -> set[int]:
    missing = sorted(captions - known.keys())
    if missing:
        raise DataError(
            f"{path} rates caption {missing[0]}, which {coco.CAPTIONS} does not have; {coco.CAPTIONS_REMEDY}"
        )
    return {known[caption].image for caption in captions}


def _ratings(kind: Kind, rows: Rows, place: Mapping[str, Mapping[int, int]]) -> Ratings:
    by_name = [place[name.rstrip("12")] for name in LAYOUTS[kind][1:]]
    return Ratings(
        kind,
        np.array([by_name[0][row[0]] for row in rows], np.int64),
        np.array([by_name[1][row[1]] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64),
    )
