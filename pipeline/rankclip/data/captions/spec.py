"""Which captions of which table describe the images; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rankclip.data.captions.slots import RAW
from rankclip.spec import Spec

Split = Literal["none", "sentences", "lines"]


class CaptionSpec(Spec):
    """A slot of captions, taken from a table that somebody published beside the images."""

    path: Path
    """The table, or a folder of its parts: .csv (quoted), .tsv (not quoted), .jsonl or .parquet; all but the
    last also as .gz."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Digest of the table, so that other captions are another study; `rankclip use` fills it in."""

    join: Literal["url", "key", "source_key"] = "url"
    """What a row of the table names its image by, compared letter by letter: its URL, our key (the nine
    digits that name it in our tars; in tars of somebody else their `__key__`), or the key that the list of
    the source has (DataComp's `uid`)."""

    column: Annotated[str, Field(min_length=1)]
    """The table's column that holds it."""

    take: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    """Columns of captions, texts or lists of texts; all of them become captions of this slot, in order."""

    split: Split = "none"
    """Make several captions of each: "lines" at line breaks; "sentences" also after . ! or ? before white
    space, and at the mark </s> that captioners leave."""

    @model_validator(mode="after")
    def _takes_each_column_once(self) -> Self:
        if len({self.column, *self.take}) <= len(self.take):
            raise ValueError(
                f"take {list(self.take)} names a column twice, or the key's column {self.column}"
            )
        return self


def _not_raw(captions: dict[str, CaptionSpec]) -> dict[str, CaptionSpec]:
    if RAW in captions:
        raise ValueError(
            f"{RAW} is the slot of the captions that came with the URLs; give yours another name"
        )
    return captions


SlotName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=64)]
Captions = Annotated[dict[SlotName, CaptionSpec], AfterValidator(_not_raw)]
"""The section `captions` of a study: slot -> where its captions are from."""
