"""The form of `tables.yaml`: tables as they were printed."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from rankclip.spec import Spec

Percent = Annotated[float, Field(ge=0, le=100)]


class Row(Spec):
    """One line of a table. What it leaves empty is that of the table."""

    values: list[Percent | None]
    """In percent as printed, one a column; `null` where there is none."""

    method: str = ""

    model: str = ""
    """Architecture, by open_clip's name."""

    data: str = ""
    """Pairs that it was trained on."""

    pretrained: str | None = None
    """open_clip's tag of the weights."""

    origin: str | None = None
    """Whose released checkpoints have these numbers."""

    note: str = ""


class Table(Spec):
    """Numbers from one source under one protocol."""

    source: Annotated[str, Field(min_length=1)]

    protocol: Annotated[str, Field(min_length=1)]
    """Ours that it is put beside."""

    theirs: str = ""
    """What theirs does otherwise."""

    columns: Annotated[list[Annotated[str, Field(pattern=r"^\S+ \S+( \S+)?$")]], Field(min_length=1)]
    """`benchmark metric`, and the protocol where it is not that of the table."""

    rows: Annotated[list[Row], Field(min_length=1)]

    method: str = ""

    model: str = ""

    data: str = ""

    origin: str | None = None

    note: str = ""

    @model_validator(mode="after")
    def _rows_are_whole(self) -> Self:
        for number, row in enumerate(self.rows, 1):
            if len(row.values) != len(self.columns):
                raise ValueError(f"row {number} has {len(row.values)} values for {len(self.columns)} columns")
            for what in ("method", "model", "data"):
                if not getattr(row, what) and not getattr(self, what):
                    raise ValueError(f"row {number} has no {what}, and neither has the table")
        return self
