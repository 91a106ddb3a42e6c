"""The small files of a benchmark set: its task, its class names, its prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rankclip import files
from rankclip.data.benchmarks.benchmark import Task, check_line
from rankclip.errors import DataError, InputError

CLASSNAMES, TEMPLATES, TYPE = "classnames.txt", "zeroshot_classification_templates.txt", "dataset_type.txt"
REMEDY = (
    "make it again with `dvc repro -f -s benchmarks`, fetch it with `rankclip data benchmarks pull NAME`, "
    "or mend it where it is your own"
)
NAMED_TWICE = frozenset({"missile", "sunglasses"})
"""Names that two classes of ImageNet have in OpenAI's list, which everybody compares with."""


def write_classes(folder: Path, classnames: Sequence[str], templates: Sequence[str]) -> None:
    """Write class names, in the order of their labels, and prompts.

    Raises:
        InputError: one of them is empty or holds a line break, two classes have one name, or a prompt lacks
            `{c}`.
    """
    for line in (*classnames, *templates):
        check_line(line, "class name or prompt", folder)
    for name, count in Counter(classnames).items():
        if count > 1:
            raise InputError(f"{count} classes for {folder} are named {name!r}; give each its own name")
    for template in templates:
        if "{c}" not in template:
            raise InputError(
                f"prompt {template!r} for {folder} has no place for the class; write {{c}} there"
            )
    files.write_text(folder / CLASSNAMES, "".join(f"{name}\n" for name in classnames))
    files.write_text(folder / TEMPLATES, "".join(f"{template}\n" for template in templates))


def about(folder: Path) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
    """The task, the class names and the prompts of a set; both empty for retrieval.

    Raises:
        DataError: a file is missing or damaged, two classes have one name, or a prompt lacks `{c}`.
    """
    file = folder / TYPE
    said = "".join(lines(file)).lower() if _is_there(file) else "classification"
    if said == "retrieval":
        return "retrieval", (), ()
    if said != "classification":
        raise DataError(
            f"{file} says {said!r}, which is not supported; use a classification or retrieval set"
        )
    if not _is_there(folder / CLASSNAMES):
        said = f"a set of captions has a {TYPE} that says retrieval"
        raise DataError(f"{folder / CLASSNAMES} is missing; {REMEDY}; {said}")
    classnames, templates = lines(folder / CLASSNAMES), lines(folder / TEMPLATES)
    for path, found in ((folder / CLASSNAMES, classnames), (folder / TEMPLATES, templates)):
        if not found or "" in found:
            where = f"line {found.index('') + 1} is empty" if found else "it is empty"
            raise DataError(f"{path}: {where}; a class or a prompt a line, none left out; {REMEDY}")
    for name, times in Counter(classnames).items():
        if times > 1 and name not in NAMED_TWICE:
            raise DataError(f"{folder / CLASSNAMES} names {times} classes {name!r}; {REMEDY}")
    for template in templates:
        if "{c}" not in template:
            raise DataError(f"{folder / TEMPLATES}: prompt {template!r} has no {{c}} for the class; {REMEDY}")
    return "classification", tuple(classnames), tuple(templates)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise DataError(f"{path.parent} cannot be read ({files.one_line(error)}); let it be read") from None


def lines(path: Path) -> list[str]:
    """The lines of a text file of a set.

    Raises:
        DataError: it is missing or no text.
    """
    try:
        # without the mark that editors on Windows begin a file with, which no class has in its name
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {REMEDY}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({files.one_line(error)}); {REMEDY}") from None
