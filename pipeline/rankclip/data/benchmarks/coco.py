"""Sets of judgements about COCO's images and captions, as users have them: COCO's own files beside theirs.

ROOT/                                       the folder of the public sets
├── coco/
│   ├── annotations/captions_val2014.json   of annotations_trainval2014.zip
│   ├── val2014/COCO_val2014_*.jpg          of val2014.zip
│   └── val2017/*.jpg                       of val2017.zip
├── crisscrossed/*.csv
├── eccv_caption/*.json
└── sugarcrepe/*.json
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from rankclip import files
from rankclip.data.benchmarks.benchmark import Sample, Task
from rankclip.data.benchmarks.content import SplitName
from rankclip.errors import DataError
from rankclip.spec import digest

CAPTIONS = Path("coco/annotations/captions_val2014.json")
CAPTIONS_REMEDY = "unpack COCO's annotations_trainval2014.zip in the folder coco beside it"


class Caption(NamedTuple):
    """A caption of COCO; its number is its key in `read_captions`."""

    image: int
    """Number of the image."""
    text: str
    """In one line."""


@dataclass(frozen=True)
class JudgedSet:
    """Images, their captions, and (in its subclasses) what people say of them; images stay in their files."""

    name: str
    split: SplitName
    files: tuple[Path, ...]
    """Of the N images."""
    captions: tuple[tuple[str, ...], ...]
    """Of each image; judgements count captions image by image."""
    digest: str
    """Of judgements, captions, and names and sizes of the images' files: 16 hexadecimal digits."""

    task: ClassVar[Task] = "retrieval"
    classnames: ClassVar[tuple[str, ...]] = ()
    templates: ClassVar[tuple[str, ...]] = ()

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.files)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the images, without the extension."""
        return tuple(file.stem for file in self.files)

    def samples(self) -> Iterator[Sample]:
        """The images with their captions, one at a time.

        Raises:
            DataError: an image cannot be read.
        """
        for file, key, said in zip(self.files, self.keys, self.captions, strict=True):
            try:
                yield Sample(key, file.read_bytes(), "jpg", captions=said)
            except OSError as error:
                raise DataError(
                    f"{file}: image of {self.name} cannot be read ({files.one_line(error)}); unpack COCO's "
                    f"{file.parent.name}.zip again"
                ) from None


def val2014(image: int) -> str:
    """The file of an image of 2014's validation split, below `coco`."""
    return f"val2014/COCO_val2014_{image:012d}.jpg"


def image_files(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """The files `folder / name`, all of which are there.

    Raises:
        DataError: some are missing.
    """
    found = tuple(folder / name for name in names)
    missing = [file for file in found if not file.is_file()]
    if missing:
        others = len(missing) - 1
        what = f"and {others} more of {len(found)} images are missing" if others else "is missing"
        raise DataError(f"{missing[0]} {what}; unpack COCO's {missing[0].parent.name}.zip in {folder}")
    return found


def set_digest(judgements: Any, captions: Sequence[Sequence[str]], images: Sequence[Path]) -> str:
    """The value of `JudgedSet.digest`; `judgements` is plain JSON."""
    return digest([judgements, captions, [(image.name, image.stat().st_size) for image in images]])


def read_captions(path: Path) -> dict[int, Caption]:
    """COCO's captions by their number, from a file such as captions_val2014.json.

    Raises:
        DataError: the file is missing or is of another form.
    """
    said = read_json(path, CAPTIONS_REMEDY)
    try:
        return {
            int(each["id"]): Caption(int(each["image_id"]), one_line(each["caption"]))
            for each in said["annotations"]
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is not COCO's list of captions ({type(error).__name__}: {files.one_line(error)}, wanted "
            f"`annotations` with `id`, `image_id`, `caption`); {CAPTIONS_REMEDY}"
        ) from None


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: the file is missing, or holds something else.
    """
    value = files.read_json(path, remedy)
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__}, not an object of JSON; {remedy}")
    return value


def one_line(text: str) -> str:
    """The text with single spaces, as tokenizers see it; some of COCO's captions end with a line feed."""
    return " ".join(text.split())
