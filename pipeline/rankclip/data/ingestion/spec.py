"""What `ingest` accepts; light to import, because every command reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from rankclip.spec import Spec

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class IngestSpec(Spec):
    """Limits on the rows of a list of captions and URLs."""

    max_caption_chars: PositiveInt = 4096
    """Longest caption kept, in characters; a longer one is refused as `caption_too_long`."""

    max_url_chars: PositiveInt = 8192
    """Longest URL kept, in characters; a longer one is refused as `malformed_row`."""


class Subset(Spec):
    """A part of a list: so many rows drawn by a rule, or those that a file names."""

    pairs: PositiveInt | None = None
    """Rows drawn: those whose `blake2b(f"{seed}/{row}", digest_size=8)` is smallest, rows counted from 0."""

    seed: NonNegativeInt = 0
    """Another seed draws other rows."""

    path: Path | None = None
    """A file with a key or a URL a line (it may be compressed: .gz): the rows that have one of them. A key is
    the list's own or, where it has none, the number of the row, nine digits."""

    sha256: Sha256 | None = None
    """Digest of that file, which `rankclip use` fills in; of rows drawn, digest of the file that would name
    them: their keys in order, nine digits and a line feed each. What is stated is checked."""

    @field_validator("path", mode="before")
    @classmethod
    def _is_a_name(cls, path: object) -> object:
        if not isinstance(path, str | Path | None):
            raise ValueError(f"source.subset.path = {path!r} is no name; give a file of keys or URLs")
        return path

    @model_validator(mode="after")
    def _is_drawn_or_named(self) -> Self:
        if (self.pairs is None) == (self.path is None):
            raise ValueError("subset needs either pairs, to draw that many, or path, a file of keys or URLs")
        if self.path is not None and self.sha256 is None:
            raise ValueError("subset.sha256 is missing; `rankclip use` fills it in")
        return self
