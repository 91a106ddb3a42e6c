"""A list that the user has, in CC3M's official form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rankclip.errors import InputError
from rankclip.spec import Spec


class TsvSpec(Spec):
    """`caption<TAB>url` a line, no header, UTF-8: the form in which CC3M is published."""

    name: Literal["tsv"]

    path: Path
    """The list."""

    def write(self, folder: Path) -> Path:
        """The list itself; nothing is copied into `folder`."""
        if not self.path.is_file():
            raise InputError(f"source.path {self.path} is not a file; give the list of captions and URLs")
        return self.path

    @property
    def images_digest(self) -> str:
        """Empty: what lies behind a stranger's URL may change, and only a new crawl would tell."""
        return ""

    @contextmanager
    def serve(self) -> Iterator[dict[str, tuple[str, int]]]:
        """No host needs an answer from here."""
        yield {}
