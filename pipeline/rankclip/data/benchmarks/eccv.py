"""ECCV Caption: of COCO's 5,000 test images and 25,000 captions, which ones people say match.

Chun et al., ECCV 2022; published as JSON in the folder eccv_caption/data of the package eccv_caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rankclip.data.benchmarks import coco
from rankclip.data.benchmarks.coco import Caption, JudgedSet
from rankclip.errors import DataError

NAME = "eccv_caption"
REMEDY = "put the files of eccv_caption/data of github.com/naver-ai/eccv-caption there"

GALLERY = "original_image_to_caption.json"
TO_TEXT = "eccv_image_to_caption.json"
TO_IMAGE = "eccv_caption_to_image.json"

Table = dict[int, list[int]]
"""COCO's numbers of what matches, by that of the query."""


@dataclass(frozen=True)
class Matches:
    """The right candidates of Q queries; images are counted as in the set, captions image by image."""

    queries: NDArray[np.int64]
    """`[Q]`."""
    candidates: NDArray[np.int64]
    """Those of one query after those of the other, `[sum(counts)]`."""
    counts: NDArray[np.int64]
    """How many a query has, `[Q]`, at least 1."""


@dataclass(frozen=True)
class EccvCaption(JudgedSet):
    """The one split there is, test."""

    to_text: Matches
    to_image: Matches


def load(root: Path) -> EccvCaption:
    """The set below the folder of public sets; images and captions as the published gallery orders them.

    Raises:
        DataError: a file is missing or is of another form, or names what the gallery or COCO does not have.
    """
    known = coco.read_captions(root / coco.CAPTIONS)
    gallery, to_text, to_image = (_read(root / NAME / name) for name in (GALLERY, TO_TEXT, TO_IMAGE))
    _require_owned(gallery, known, root / NAME / GALLERY)
    images = {image: place for place, image in enumerate(gallery)}
    flat = [number for said in gallery.values() for number in said]
    texts = {number: place for place, number in enumerate(flat)}
    captions = tuple(tuple(known[number].text for number in said) for said in gallery.values())
    found = coco.image_files(root / "coco", [coco.val2014(image) for image in gallery])
    said = [[*table.items()] for table in (gallery, to_text, to_image)]
    return EccvCaption(
        NAME,
        "test",
        found,
        captions,
        coco.set_digest(said, captions, found),
        _matches(to_text, images, texts, root / NAME / TO_TEXT),
        _matches(to_image, texts, images, root / NAME / TO_IMAGE),
    )


def _read(path: Path) -> Table:
    said = coco.read_json(path, REMEDY)
    try:
        table = {int(query): [int(each) for each in right] for query, right in said.items()}
    except (TypeError, ValueError):
        raise DataError(f"{path} does not hold lists of COCO's numbers by number; {REMEDY}") from None
    if not table:
        raise DataError(f"{path} is empty; {REMEDY}")
    for query, right in table.items():
        if not right or len(set(right)) != len(right):
            raise DataError(f"{path}: {query} has no match, or one twice ({right[:5]}); {REMEDY}")
    return table


def _require_owned(gallery: Table, known: Mapping[int, Caption], path: Path) -> None:
    for image, said in gallery.items():
        for number in said:
            if number not in known or known[number].image != image:
                raise DataError(
                    f"{path}: caption {number} of image {image} is not one of its captions in "
                    f"{coco.CAPTIONS}; {coco.CAPTIONS_REMEDY}"
                )


def _matches(table: Table, queries: dict[int, int], candidates: dict[int, int], path: Path) -> Matches:
    for query, right in table.items():
        strange = (
            [query, *right] if query not in queries else [each for each in right if each not in candidates]
        )
        if strange:
            raise DataError(f"{path}: {strange[0]} (of {query}) is not in {GALLERY}; {REMEDY}")
    return Matches(
        np.array([queries[query] for query in table], np.int64),
        np.array([candidates[each] for right in table.values() for each in right], np.int64),
        np.array([len(right) for right in table.values()], np.int64),
    )
