"""The sets of people's judgements by name; they lie beside COCO in the folder of the public sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, get_args

from rankclip.data.benchmarks import coco
from rankclip.data.benchmarks.content import SplitName
from rankclip.errors import InputError
from rankclip.spec import Spec

Name = Literal["crisscrossed", "eccv_caption", "sugarcrepe"]

NAMES: tuple[Name, ...] = get_args(Name)

NEEDED: dict[Name, tuple[str, ...]] = {
    "crisscrossed": ("crisscrossed", str(coco.CAPTIONS), "coco/val2014"),
    "eccv_caption": ("eccv_caption", str(coco.CAPTIONS), "coco/val2014"),
    "sugarcrepe": ("sugarcrepe", "coco/val2017"),
}
"""What must lie in the folder of the public sets."""


class JudgedBenchmark(Spec):
    """A set of people's judgements about images and captions of COCO."""

    name: Name
    """The set; `lines` says what each asks."""

    task: ClassVar[Literal["retrieval"]] = "retrieval"
    """No classes."""

    lines: ClassVar[Mapping[Name, str]] = {
        "crisscrossed": "How alike people find images, captions, and captions and images (Spearman).",
        "eccv_caption": "Every caption and image that match, not one alone (mAP@R, R-Precision).",
        "sugarcrepe": "A true caption against a false one that reads as well, in seven categories.",
    }
    """What each set asks, for lists of them."""


def missing(name: Name, root: Path) -> str | None:
    """What keeps a set from being read, in one line with the remedy; None where all its parts are there."""
    lacking = [part for part in NEEDED[name] if not (root / part).exists()]
    if not lacking:
        return None
    return f"{name} lacks {', '.join(lacking)} in {root}; docs/evaluation.md says where to get them"


def load(name: Name, root: Path, split: SplitName = "test") -> coco.JudgedSet:
    """A set below the folder of public sets.

    Raises:
        InputError: the set has no such split.
        DataError: a file is missing or damaged.
    """
    from rankclip.data.benchmarks import crisscrossed, eccv, sugarcrepe

    if name == "crisscrossed" and split in ("val", "test"):
        return crisscrossed.load(root, split)
    if split != "test":
        raise InputError(f"{name} has no split {split}; it has test alone, crisscrossed also val")
    return eccv.load(root) if name == "eccv_caption" else sugarcrepe.load(root)
