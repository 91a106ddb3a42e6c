"""How curated samples are packed into shards; imports nothing heavy."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from rankclip.spec import Spec


class ShardSpec(Spec):
    """Settings of the stage `shard`."""

    samples_per_shard: PositiveInt = 10_000
    """Samples in each tar but the last."""

    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95
    """Quality, 1 to 100, of images encoded anew: all but upright JPEGs in RGB or gray."""
