"""What a crawl of a published list should give, so that a report can say whether one is normal."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from rankclip.spec import Spec

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Expected(Spec):
    """Figures of others who crawled the same list."""

    rows: PositiveInt
    """Input rows of the study, after `subset`."""

    survival: tuple[Share, Share]
    """Lowest and highest share of those rows that a healthy crawl keeps."""

    pairs: PositiveInt
    """Pairs that training is planned for; nothing is computed from it, `train.steps` is chosen by it."""

    origin: str
    """Where these figures are from."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        low, high = self.survival
        if low > high:
            raise ValueError(f"survival {list(self.survival)} ends below its start; write [low, high]")
        if self.pairs > self.rows:
            raise ValueError(f"pairs {self.pairs} is more than rows {self.rows}")
        return self


def verdict(expected: Expected | None, rows: int, ok: int, indexed: bool) -> str:
    """One sentence that says whether `ok` pairs of `rows` input rows are what others got.

    Args:
        indexed: the images were at hand, so that none can be fetched again.
    """
    share = ok / rows if rows else 0.0
    got = f"{ok:,} of {rows:,} rows ({share:.1%})"
    if expected is None:
        return f"unknown: {got}; no figures of others are known for this list"
    low, high = expected.survival
    among = f"{low:.1%} to {high:.1%} that others got ({expected.origin})"
    if rows != expected.rows:
        return f"another list: {got}, but the list that is known has {expected.rows:,} rows"
    if share < low:
        retry = "see the reasons, `rankclip data retry --reason dns,timeout`"
        remedy = "`rankclip data ledger` has the reasons" if indexed else retry
        return f"low: {got} is below the {among}; {remedy}"
    if share > high:
        return f"high: {got} is above the {among}; compare the reasons"
    return f"normal: {got} is within the {among}"
