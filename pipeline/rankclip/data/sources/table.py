"""A table with named columns, as most other lists are published."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from rankclip.data.ingestion.form import Columns, Format
from rankclip.data.sources.listed import ListSpec

Column = Annotated[str, Field(min_length=1)]


class TableSpec(ListSpec):
    """csv (quoted), tsv (not quoted), jsonl (an object a line) or parquet; the texts also as .gz.

    csv and tsv begin with the names of their columns.
    """

    name: Literal["table"]

    format: Format | None = None
    """How the file is written; `null`: as its suffix says."""

    url: Column = "url"
    """Name of the column of URLs."""

    caption: Column = "caption"
    """Name of the column of captions."""

    key: Column | None = None
    """Name of the column of the list's own keys, where captions or a subset are known by them."""

    @model_validator(mode="after")
    def _has_a_known_format_and_different_columns(self) -> Self:
        if self.format is None and self._suffix not in get_args(Format):
            known = ", ".join(get_args(Format))
            raise ValueError(f"path {self.path} does not end as a table does; give format: one of {known}")
        if self.form.format == "parquet" and self.path.suffix == ".gz":
            raise ValueError(f"path {self.path} is a compressed parquet; uncompress it with gunzip")
        if len(set(self.form.names)) < len(self.form.names):
            raise ValueError(f"url, caption and key name one column twice: {', '.join(self.form.names)}")
        return self

    @property
    def form(self) -> Columns:
        """The columns that are read, and of what."""
        # the validator refuses any suffix that is no format
        return Columns(self.format or self._suffix, self.url, self.caption, self.key)  # type: ignore[arg-type]

    @property
    def _suffix(self) -> str:
        path = self.path.with_suffix("") if self.path.suffix == ".gz" else self.path
        return path.suffix.removeprefix(".").lower()
