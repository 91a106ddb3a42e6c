"""What a crawled image must be like to be used; imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, StringConstraints, model_validator

from rankclip.data.reasons import MAX_PIXELS
from rankclip.spec import Spec

Check = Literal["too_small", "aspect", "caption", "blocklist", "leak", "duplicate_near", "duplicate_exact"]
"""What is looked at in every image that decodes, in the order in which a row's reason is chosen."""


def _compiled(pattern: str) -> str:
    """The pattern, if it is one that some captions match and others do not."""
    # only studies with a blocklist pay for the import; RE2 takes linear time whatever the caption
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        everywhere = pc.match_substring_regex(pa.array([""]), pattern, ignore_case=True)[0].as_py()
    except pa.ArrowInvalid as error:
        why = str(error).rpartition("expression: ")[2][:100]
        raise ValueError(
            f"{pattern[:100]!r} is no regular expression as RE2 knows them ({why}); correct it"
        ) from None
    if everywhere:
        raise ValueError(f"{pattern!r} is found in an empty caption, so in every one; make it say more")
    return pattern


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_compiled)]
"""A regular expression in RE2's language, searched for in a caption, capitals or not; a word is one."""


class CurateSpec(Spec):
    """Checks of the stage `curate`. An image that cannot be decoded in full is always removed.

    Each check is made, counted and noted in the ledger for every image; those in `remove` also remove it.
    """

    remove: tuple[Check, ...] = ()
    """Checks that remove the rows that fail them; the others only report."""

    min_side: PositiveInt = 16
    """`too_small` is a shortest side, of the upright image, below so many pixels."""

    max_pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS)] = 40_000_000
    """Width times height above which an image is removed as `too_large_pixels` before it is decoded."""

    max_aspect: Annotated[float, Field(ge=1.0, allow_inf_nan=False)] = 3.0
    """`aspect` is a longer side of more than so many times the shorter one."""

    min_caption_chars: NonNegativeInt = 0
    """`caption` is a caption of fewer characters."""

    max_caption_chars: PositiveInt | None = None
    """`caption` is a caption of more characters; null for any length."""

    blocklist: Annotated[tuple[Pattern, ...], Field(max_length=1000)] = ()
    """`blocklist` is a caption in which one of these words or regular expressions is found."""

    near_distance: Annotated[int, Field(ge=0, le=4)] | None = 4
    """Images look alike, for `duplicate_near` and `leak`, when so many of the 64 bits of their perceptual
    hashes differ, or fewer; null: looks are not compared, and `leak` knows equal bytes alone."""

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks that are made, in their order."""
        return tuple(
            check for check in get_args(Check) if check != "duplicate_near" or self.near_distance is not None
        )

    @property
    def blocked(self) -> str:
        """One regular expression for the whole blocklist; empty where there is none."""
        return "|".join(f"(?:{pattern})" for pattern in self.blocklist)

    @model_validator(mode="after")
    def _blocklist_compiles_as_a_whole(self) -> Self:
        if len(self.blocklist) > 1:
            _compiled(self.blocked)
        return self

    @model_validator(mode="after")
    def _removes_what_is_checked(self) -> Self:
        if len(set(self.remove)) < len(self.remove):
            raise ValueError(f"remove {list(self.remove)} names a check twice; once will do")
        if "duplicate_near" in self.remove and self.near_distance is None:
            raise ValueError("remove names duplicate_near, but near_distance is null; give it 0 to 4")
        if "duplicate_near" in self.remove and "duplicate_exact" not in self.remove:
            raise ValueError(
                "remove names duplicate_near, but not duplicate_exact: of like images one would stay, of "
                "equal ones all; name both"
            )
        if self.max_caption_chars is not None and self.min_caption_chars > self.max_caption_chars:
            raise ValueError(
                f"min_caption_chars {self.min_caption_chars} is above max_caption_chars "
                f"{self.max_caption_chars}; lower it"
            )
        return self
