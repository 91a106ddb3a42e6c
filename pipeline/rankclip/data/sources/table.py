"""A table with named columns, as most other lists are published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rankclip.data.ingestion.form import Columns, Format
from rankclip.data.sources.listed import ListSpec
from rankclip.data.tables import table_files

Column = Annotated[str, Field(min_length=1)]


class TableSpec(ListSpec):
    """csv (quoted), tsv (not quoted), jsonl (an object a line) or parquet; the texts also as .gz.

    csv and tsv begin with the names of their columns. A folder of tables of one format is a table: its rows
    count on from file to file, by name.
    """

    name: Literal["table"]

    format: Format | None = None
    """How the file is written; `null`: as its suffix says, or those of the files in a folder."""

    url: Column = "url"
    """Name of the column of URLs."""

    caption: Column = "caption"
    """Name of the column of captions."""

    key: Column | None = None
    """Name of the column of the list's own keys, where captions or a subset are known by them."""

    @model_validator(mode="after")
    def _has_a_known_format_and_different_columns(self) -> Self:
        if self.path.name.endswith(".parquet.gz"):
            raise ValueError(f"path {self.path} is a compressed parquet; uncompress it with gunzip")
        if self.format is None and self.path.is_file() and table_files.format_of(self.path) is None:
            known = ", ".join(table_files.FORMATS)
            raise ValueError(f"path {self.path} does not end as a table does; give format: one of {known}")
        if len(set(self.form.names)) < len(self.form.names):
            raise ValueError(f"url, caption and key name one column twice: {', '.join(self.form.names)}")
        return self

    @property
    def form(self) -> Columns:
        """The columns that are read, and of what."""
        return Columns(self.format, self.url, self.caption, self.key)

    @classmethod
    def digest(cls, path: Path) -> str:
        """The digest of a table; of a folder that of the names and digests of its parts.

        Raises:
            InputError: there is none at `path`, or it cannot be read.
        """
        return table_files.digest_of(path, "source.path") if path.is_dir() else super().digest(path)

    def _files(self) -> list[Path]:
        return [file for file, _ in table_files.tables_at(self.path, "source.path", self.format)]
