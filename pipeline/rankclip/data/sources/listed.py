"""What every source has in common that is a list of captions and URLs in a file of the user's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import model_validator

from rankclip import files
from rankclip.data.captions.slots import RAW
from rankclip.data.ingestion.form import Form
from rankclip.data.ingestion.spec import Sha256, Subset
from rankclip.data.sources.expected import Expected
from rankclip.errors import InputError
from rankclip.spec import Spec


class ListSpec(Spec):
    """A list in a file. Nothing of the images themselves is known before they are crawled."""

    name: str

    path: Path
    """The list; it may be compressed (.gz), except parquet."""

    sha256: Sha256
    """Digest of the file, so that another list is another study; `rankclip use` fills it in."""

    subset: Subset | None = None
    """The part of the list that is studied; `null`: all of it."""

    expected: Expected | None = None
    """What others got of this list; `null`: not known."""

    licence: str = "not stated; ask whoever published the list"
    """On what terms list and images may be used, in one line."""

    @model_validator(mode="before")
    @classmethod
    def _names_a_list(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("path") is None:
            raise ValueError("source.path is missing; give the file that holds the list, source.path=FILE")
        return values

    @property
    @abstractmethod
    def form(self) -> Form:
        """How the list is laid out."""

    @property
    def has_latents(self) -> bool:
        """Of a stranger's images nobody knows how alike they are."""
        return False

    @property
    def slots(self) -> tuple[str, ...]:
        """What came with the URL; the study may join more."""
        return (RAW,)

    @property
    def is_indexed(self) -> bool:
        """The images must be crawled."""
        return False

    @property
    def images_digest(self) -> str:
        """Empty: what lies behind a stranger's URL may change, and only a new crawl would tell."""
        return ""

    def write(self, folder: Path) -> Path:
        """The list itself; nothing is copied into `folder` but what it is, `source.json`.

        Raises:
            InputError: the list, or the file that names its subset, is not there or not the study's.
        """
        found = same_file(self.path, self.sha256, "source.path")
        # not its path: the same list elsewhere is the same study
        said: dict[str, object] = {"source": self.name, "sha256": found, "bytes": self.path.stat().st_size}
        if self.subset is not None:
            if self.subset.path is not None:
                same_file(self.subset.path, self.subset.sha256, "source.subset.path")
            said["subset"] = self.subset.model_dump(mode="json", exclude={"path"})
        files.write_json(folder / "source.json", said)
        return self.path

    @contextmanager
    def serve(self) -> Iterator[dict[str, tuple[str, int]]]:
        """No host needs an answer from here."""
        yield {}


def same_file(path: Path, stated: str | None, key: str) -> str:
    """The sha256 of a file that the study names under `key`, which must be the one stated.

    Raises:
        InputError: it is another file, or none.
    """
    found = digest_of(path, key)
    if found != stated:
        raise InputError(
            f"{key} {path} has sha256 {found}, but the study is of a file with {stated}; run `rankclip use` "
            "again, to study the file as it is now"
        )
    return found


def digest_of(path: Path, key: str = "source.path") -> str:
    """The sha256 of a file that the user names under `key`, read as a stream.

    Raises:
        InputError: it is not a file, or cannot be read.
    """
    try:
        if path.is_file():
            return files.sha256(path)
    except OSError as error:
        raise InputError(
            f"{key} {path} cannot be read ({files.one_line(error)}); give a file that can"
        ) from None
    raise InputError(f"{key} {path} is not a file; give the path of one")
