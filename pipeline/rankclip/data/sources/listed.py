"""What every source has in common that is a list of captions and URLs in a file of the user's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

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
        path = values.get("path") if isinstance(values, dict) else ""
        if path is None:
            raise ValueError("source.path is missing; give the file that holds the list, source.path=FILE")
        if not isinstance(path, str | Path):
            raise ValueError(f"source.path = {path!r} is no name; give a file, source.path=FILE")
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
    def is_indexed(self) -> Literal[False]:
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
        require_same(self.path, self.digest(self.path), self.sha256, "source.path")
        size = sum(each.stat().st_size for each in self._files())
        # not its path: the same list elsewhere is the same study
        said: dict[str, object] = {"source": self.name, "sha256": self.sha256, "bytes": size}
        if self.subset is not None:
            if self.subset.path is not None:
                key = "source.subset.path"
                require_same(self.subset.path, digest_of(self.subset.path, key), self.subset.sha256, key)
            said["subset"] = self.subset.model_dump(mode="json", exclude={"path"})
        files.write_json(folder / "source.json", said)
        return self.path

    @classmethod
    def digest(cls, path: Path) -> str:
        """The digest of such a list.

        Raises:
            InputError: there is none at `path`, or it cannot be read.
        """
        return digest_of(path)

    def _files(self) -> list[Path]:
        """What the list consists of."""
        return [self.path]

    @contextmanager
    def serve(self) -> Iterator[dict[str, tuple[str, int]]]:
        """No host needs an answer from here."""
        yield {}


def require_same(path: Path, found: str, stated: str | None, key: str) -> None:
    """Refuses a file that the study names under `key`, unless its sha256 is the one stated.

    Raises:
        InputError: it is another file.
    """
    if found != stated:
        raise InputError(
            f"{key} {path} has sha256 {found}, but the study is of a file with {stated}; run `rankclip use` "
            "again, to study the file as it is now"
        )


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
    if path.parts[:1] in (("http:",), ("https:",), ("s3:",)):
        raise InputError(f"{key} {path} is an address, not a file; fetch it first, and give the file")
    raise InputError(f"{key} {path} is not a file; give the path of one")
