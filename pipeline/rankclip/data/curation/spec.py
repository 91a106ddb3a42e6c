"""What a crawled image must be like to be used; imports nothing heavy."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from rankclip.spec import Spec


class CurateSpec(Spec):
    """Filters of the stage `curate`, which also refuses every image that cannot be decoded in full."""

    min_side: PositiveInt = 16
    """Shortest side of the upright image, in pixels, below which it is refused as `too_small`."""

    max_pixels: Annotated[int, Field(ge=1, le=178_000_000)] = 40_000_000
    """Width times height above which an image is refused as `too_large_pixels` before it is decoded."""

    max_aspect: Annotated[float, Field(ge=1.0, allow_inf_nan=False)] = 3.0
    """Longer over shorter side above which an image is refused as `aspect`."""

    drop_exact_duplicates: bool = True
    """Of images with equal bytes keep the one of the lowest row; the others are `duplicate_exact`."""
