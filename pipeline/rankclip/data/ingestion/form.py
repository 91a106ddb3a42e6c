"""How a list of captions and URLs is laid out; light to import, because every command reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["csv", "tsv", "jsonl", "parquet"]
"""csv (quoted as RFC 4180 says) and tsv (not quoted) begin with the names of their columns."""


@dataclass(frozen=True)
class Lines:
    """A pair a line, UTF-8: two columns with a tab between, no header, no quotes."""

    first: Literal["caption", "url"]
    """What stands before the tab."""

    @property
    def said(self) -> str:
        """What such a list must hold, for people."""
        second = "url" if self.first == "caption" else "caption"
        return f"one {self.first}<TAB>{second} a line, without a header"


@dataclass(frozen=True)
class Columns:
    """A table with named columns."""

    format: Format | None
    """None: as the suffix of each file says."""

    url: str
    """Name of the column of URLs."""

    caption: str
    """Name of the column of captions."""

    key: str | None
    """Name of the column of the list's own keys, where it has some."""

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return [self.url, self.caption, *([self.key] if self.key else [])]

    @property
    def said(self) -> str:
        """What such a list must hold, for people."""
        return f"{self.format or 'tables'} with the columns {', '.join(self.names)}"


Form = Lines | Columns
