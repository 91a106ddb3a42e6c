"""Published benchmark sets as a study asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from rankclip.data.benchmarks import judged
from rankclip.data.benchmarks.benchmark import Task
from rankclip.data.benchmarks.content import TRAIN, SplitName
from rankclip.data.benchmarks.places import root
from rankclip.data.benchmarks.public_sets import SETS
from rankclip.data.benchmarks.set_record import RECORD, read_record
from rankclip.spec import Spec

FOLDER = "the folder of public sets"


class PublicBenchmark(Spec):
    """A published set, fetched with `rankclip data benchmarks pull` and read where it lies."""

    name: Literal[
        "imagenet1k",
        "imagenetv2",
        "imagenetv2-threshold",
        "imagenetv2-top",
        "imagenet_sketch",
        "imagenet-a",
        "imagenet-r",
        "vtab-cifar10",
        "vtab-cifar100",
        "stl10",
        "vtab-caltech101",
        "vtab-dtd",
        "fgvc_aircraft",
        "vtab-flowers",
        "food101",
        "gtsrb",
        "vtab-pets",
        "cars",
        "vtab-svhn",
        "renderedsst2",
        "flickr30k",
        "mscoco_captions",
    ]
    """The set; `rankclip list benchmarks` says what each asks."""

    lines: ClassVar[Mapping[str, str]] = {name: about.line for name, about in SETS.items()}
    """What each set asks, for lists of them."""

    splits: ClassVar[tuple[SplitName, ...]] = ("test", TRAIN)
    """It has no `val`, so that no choice can be made on it; `train` is there where it was fetched."""

    @property
    def task(self) -> Task:
        """What is measured on it."""
        return SETS[self.name].task


def missing(name: str) -> str | None:
    """Why a public or judged set cannot be read here, with the remedy, in a line; None where it can be.

    The line names no folder of this machine: it stands in manifests, on whose digest results depend.
    """
    if name in judged.NAMES:
        said = judged.missing(name, root())
        return said and said.replace(str(root()), FOLDER)
    folder = root() / f"wds_{name}"
    pull = f"`rankclip data benchmarks pull {name}`"
    try:
        there, recorded = folder.exists(), (folder / RECORD).exists()
    except OSError as error:
        return f"{name} in {FOLDER} may not be read ({error.strerror}); let it be read"
    if not there:
        return f"{name} is not in {FOLDER}; fetch it with {pull}"
    if not recorded:
        return (
            f"{name} has no record.json in {FOLDER}: {pull} ends a pull that was interrupted, "
            f"`rankclip data benchmarks verify --adopt {name}` takes what was put there by hand"
        )
    return None


def splits_here(name: str) -> list[str]:
    """The splits of a public set that its record lists.

    Raises:
        DataError: there is no record, or it is damaged.
    """
    return list(read_record(root() / f"wds_{name}")["splits"])
